// The pinion command as a person and as a script use it: real processes, a real host.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Program, ROOT, runCommand, type Ended } from "../support/program.ts";

const FREE_PORTS = ["--port", "0", "--admin-port", "0"];
/** A module beside the repository's packages, so that it finds them. */
const moduleSource = (body: string): string =>
  `import { defineActor, readonly } from "@pinion/runtime";\nimport { STEP } from "./step.ts";\n${body}`;

const COUNTER = moduleSource(`
export const Counter = defineActor("counter", {
  state: () => ({ value: 0, seen: new Map() }),
  methods: {
    increment: (ctx, by = STEP) => (ctx.state.value += by),
    hang: () => new Promise(() => {}),
    fail() { throw new RangeError("never again"); },
    store(ctx, key, value) { ctx.state.seen.set(key, value); return ctx.state.seen; },
    echo: (ctx, ...args) => args,
    value: readonly((ctx) => ctx.state.value),
  },
});`);

let work: string;
let dataDir: string;
const dataDirs: string[] = [];

beforeAll(async () => {
  work = await mkdtemp(join(ROOT, "test", "integration", ".cli-"));
});
afterAll(async () => {
  for (const dir of [work, ...dataDirs]) await rm(dir, { recursive: true });
});
beforeEach(async () => {
  dataDir = await newDataDir();
});

async function newDataDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "pinion-cli-test-"));
  dataDirs.push(dir);
  return dir;
}

async function write(step: number, source = COUNTER): Promise<string> {
  await writeFile(join(work, "step.ts"), `export const STEP = ${step};\n`);
  await writeFile(join(work, "actors.ts"), source);
  return join(work, "actors.ts");
}

async function serve(
  command: "dev" | "start",
  module: string,
  ...args: string[]
): Promise<Program> {
  const all = [command, module, "--data-dir", dataDir, ...FREE_PORTS, ...args];
  const program = new Program("packages/cli/src/main.ts", all);
  await program.printed(/gateway|"started"/);
  return program;
}

const pinion = (command: string, ...args: string[]): Promise<Ended> =>
  runCommand([command, "--data-dir", dataDir, ...args]);

async function json(
  command: string,
  ...args: string[]
): Promise<{ code: number | null; lines: unknown[] }> {
  const { code, stdout, stderr } = await pinion(command, "--json", ...args);
  expect(stderr).toBe("");
  const lines = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
  return { code, lines };
}

/** A call that does not end. */
const hang = (): Program =>
  new Program("packages/cli/src/main.ts", ["call", "--data-dir", dataDir, "counter/a", "hang"]);

describe("with a host", () => {
  let host: Program;
  let sharedDir: string;
  beforeAll(async () => {
    sharedDir = dataDir = await newDataDir();
    host = await serve("start", await write(1));
  });
  beforeEach(() => {
    dataDir = sharedDir;
  });
  afterAll(() => host[Symbol.asyncDispose]());

  test("a call prints its result for people, and as JSON", async () => {
    expect(await pinion("call", "counter/a", "increment", "3")).toMatchObject({
      code: 0,
      stdout: "3\n",
    });
    const { code, lines } = await json("call", "counter/a", "increment", "-5");
    expect(code).toBe(0);
    expect(lines).toEqual([
      { actor: "counter/a", method: "increment", result: -2, tookMs: expect.any(Number) },
    ]);
    const map = await pinion("call", "counter/a", "store", "apple", '{"price":1}');
    expect(map.stdout).toBe("Map(1) { 'apple' => { price: 1 } }\n");
    const words = await json(
      "call",
      "shop:counter/a b",
      "echo",
      "word",
      "1",
      '"1"',
      "null",
      "--",
      "--json",
    );
    expect(words.lines).toMatchObject([
      { actor: "shop:counter/a%20b", result: ["word", 1, "1", null, "--json"] },
    ]);
  });

  test("a method that throws shows its error, not our stack, and ends with 1", async () => {
    const { code, stdout, stderr } = await pinion("call", "counter/a", "fail");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toBe("error[RangeError]: never again\n");
    const debug = await pinion("call", "counter/a", "fail", "--debug");
    expect(debug.stderr).toMatch(/on the host: RangeError: never again\n +at .*actors\.ts/);
    const { code: jsonCode, lines } = await json("call", "counter/a", "fail");
    expect(jsonCode).toBe(1);
    expect(lines).toMatchObject([
      {
        error: { code: "actor-error", name: "RangeError", message: "never again", retry: "never" },
      },
    ]);
  });

  test.each([
    [["call", "conter/a", "increment"], 1, /unknown-actor-type.*did you mean counter\?/],
    [["call", "counter/a", "incremnt"], 1, /unknown-method.*did you mean increment\?/],
    [["call", "counter", "increment"], 2, /must look like "type\/key"/],
    [["call", "counter/a", "echo", "{a:1}"], 2, /is not JSON/],
    [["call", "counter/a", "increment", "--timeout", "soon"], 2, /--timeout takes milliseconds/],
    [["actors", "--type", "countr"], 1, /unknown-actor-type.*did you mean counter\?/],
    [["actors", "--limit", "0"], 2, /--limit takes a number from 1/],
    [["actors", "--prefix", "a"], 2, /--prefix needs --type/],
    [["inspect", "conter/a"], 1, /unknown-actor-type.*did you mean counter\?/],
    [["inspct", "counter/a"], 2, /did you mean inspect\?/i],
    [["call", "counter/a", "value", "--jsn"], 2, /did you mean --json\?/i],
  ])("%j is refused with %d and says what was meant", async (args, exitCode, message) => {
    const { code, stdout, stderr } = await pinion(...(args as [string, ...string[]]));
    expect({ code, stdout }).toEqual({ code: exitCode, stdout: "" });
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n +at /);
  });

  test("actors and inspect show what is there", async () => {
    await pinion("call", "counter/list-a", "increment", "3");
    await pinion("call", "counter/list-b", "increment");
    const { lines } = await json("actors", "--type", "counter", "--prefix", "list-");
    expect(lines).toEqual([
      {
        id: "counter/list-a",
        state: "active",
        storedBytes: null,
        shard: expect.any(Number),
        lsn: expect.any(Number),
      },
      expect.objectContaining({ id: "counter/list-b" }),
    ]);
    expect((await pinion("actors", "--limit", "1")).stderr).toMatch(/there are more/);
    expect((await json("inspect", "counter/list-a")).lines).toMatchObject([
      {
        id: "counter/list-a",
        activation: "active",
        state: { value: 3, seen: {} },
        turns: [],
        reminders: [],
      },
    ]);
    expect((await pinion("inspect", "counter/list-a")).stdout).toMatch(
      /state +\{ value: 3, seen: \{\} \}/,
    );
    expect((await pinion("inspect", "counter/never")).stdout).toMatch(/never written/);
  });

  test("status says that the host is ready, and what it runs", async () => {
    const { code, lines } = await json("status");
    expect(code).toBe(0);
    expect(lines).toMatchObject([
      { ready: true, problems: [], host: { dataDir }, workers: [{ condition: { state: "up" } }] },
    ]);
    expect((await pinion("status")).stdout).toMatch(/^ready +yes/);
  });

  test("a second host on the same directory is refused, naming the first", async () => {
    const { code, stderr } = await pinion("start", join(work, "actors.ts"), ...FREE_PORTS);
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`data-dir-locked.*process ${host.child.pid}`));
    expect(stderr).toMatch(/pinion stop --data-dir/);
  });
});

describe("stop", () => {
  test("waits for a call under way, but not for ever", async () => {
    await using host = await serve("start", await write(1));
    await using _caller = hang();
    await expect
      .poll(async () => (await json("inspect", "counter/a")).lines, { timeout: 20_000 })
      .toMatchObject([{ turns: [{ method: "hang" }] }]);
    const { code, lines } = await json("stop", "--grace", "700");
    expect(code).toBe(0);
    expect((lines as { tookMs: number }[])[0]?.tookMs).toBeGreaterThanOrEqual(700);
    expect((await host.ended()).code).toBe(0);
  });

  test("ends a host in order, and the next start finds everything", async () => {
    await using host = await serve("start", await write(1));
    await pinion("call", "counter/a", "increment", "7");
    const { code, lines } = await json("stop");
    expect({ code, lines }).toMatchObject({
      code: 0,
      lines: [{ stopped: true, pid: host.child.pid }],
    });
    expect((await host.ended()).code).toBe(0);
    expect(await pinion("call", "counter/a", "value")).toMatchObject({ code: 3, stdout: "" });
    await using again = await serve("start", join(work, "actors.ts"), "--json");
    expect((await json("call", "counter/a", "value")).lines).toMatchObject([{ result: 7 }]);
    again.signal("SIGTERM");
    expect((await again.ended()).code).toBe(0);
    const events = again.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string });
    expect(events.map(({ event }) => event)).toEqual(["started", "stopping", "stopped"]);
    expect(events[0]).toMatchObject({
      pid: again.child.pid,
      dataDir,
      actors: [{ name: "counter" }],
    });
  });
});

describe("dev", () => {
  test("reloads when an imported file changes; state survives; a broken file changes nothing", async () => {
    await using host = await serve("dev", await write(1));
    const increment = async () => (await pinion("call", "counter/a", "increment")).stdout.trim();
    expect(await increment()).toBe("1");
    await host.printed(/watching 2 files/);

    await write(10);
    await host.printed(/step\.ts changed: reloaded in .*\(counter\)/);
    expect(await increment()).toBe("11");

    await writeFile(join(work, "step.ts"), "export const STEP = ;");
    await host.printed(
      /step\.ts changed, but does not load; the code from before goes on\n.*module-failed/,
    );
    expect(await increment()).toBe("21");

    await write(100);
    await host.printed(/reloaded in [^]*reloaded in /);
    expect(await increment()).toBe("121");
  });

  test("waits for a change when the module does not load at first", async () => {
    const module = await write(1, "export const nothing = 1;");
    await using host = new Program("packages/cli/src/main.ts", [
      "dev",
      module,
      "--data-dir",
      dataDir,
      ...FREE_PORTS,
    ]);
    await host.printed(/module-failed.*exports no actor/);
    await host.printed(/waiting for a change/);
    await write(1);
    await host.printed(/gateway/);
    expect((await pinion("call", "counter/a", "increment")).stdout).toBe("1\n");
  });

  test("Ctrl-C stops in order; a second one while a method hangs ends it at once", async () => {
    await using host = await serve("dev", await write(1));
    await using _caller = hang();
    await expect
      .poll(async () => (await json("inspect", "counter/a")).lines, { timeout: 20_000 })
      .toMatchObject([{ turns: [{ method: "hang" }] }]);
    host.signal("SIGINT");
    await host.printed(/stopping/);
    host.signal("SIGINT");
    expect((await host.ended()).code).toBe(130);
  });
});

describe("without a host", () => {
  test.each(["actors", "status", "stop"])(
    "%s ends with 3 and says how to start one",
    async (command) => {
      const { code, stdout, stderr } = await pinion(command);
      expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
      expect(stderr).toMatch(/error\[no-host\]: no host is running on the data directory/);
      expect(stderr).toMatch(/pinion dev \.\/my-actors\.ts --data-dir/);
    },
  );

  test("a host that was killed is told from one that never was", async () => {
    const host = await serve("start", await write(1));
    const pid = host.child.pid;
    await host[Symbol.asyncDispose]();
    const { code, lines } = await json("status");
    expect(code).toBe(3);
    expect(lines).toMatchObject([
      { error: { code: "no-host", message: expect.stringContaining(`process ${pid}`) } },
    ]);
  });

  test("a file that is not there is named with the ones that are", async () => {
    await write(1);
    const { code, stderr } = await pinion("start", join(work, "actor.ts"));
    expect(code).toBe(2);
    expect(stderr).toMatch(/there is no file .*actor\.ts\n.*did you mean .*actors\.ts\?/);
  });

  test("every command has help with an example", async () => {
    const { code, stdout } = await runCommand(["--help"]);
    expect(code).toBe(0);
    const names = [...stdout.matchAll(/^ {2}([a-z]+) /gm)].map((match) => match[1]!);
    expect(names).toEqual(
      expect.arrayContaining([
        "dev",
        "start",
        "stop",
        "status",
        "call",
        "actors",
        "inspect",
        "doctor",
      ]),
    );
    for (const name of names.filter((n) => Number.isNaN(Number(n)))) {
      const help = await runCommand([name, "--help"]);
      expect(help.code).toBe(0);
      expect(help.stdout).toMatch(new RegExp(`Examples:\n +\\$ pinion ${name}`));
      expect(help.stdout).toMatch(/With --json:/);
    }
  });

  test("config says what each option is and where it comes from", async () => {
    await writeFile(join(dataDir, "pinion.toml"), '[host]\nsegmentBytes = "16MiB"\nport = 1\n');
    const options = { cwd: dataDir, env: { PINION_PORT: "2", PINION_STOP_GRACE_MS: "9s" } };
    const { code, stdout } = await runCommand(
      ["config", "--json", "--set", "stopGraceMs=7s"],
      options,
    );
    expect(code).toBe(0);
    const { file, options: all } = JSON.parse(stdout) as {
      file: string;
      options: { key: string; value: unknown; source: string }[];
    };
    const byKey = Object.fromEntries(all.map(({ key, value, source }) => [key, [value, source]]));
    expect(file).toBe(join(dataDir, "pinion.toml"));
    expect(byKey).toMatchObject({
      segmentBytes: [16 * 2 ** 20, "file"],
      port: [2, "environment"],
      stopGraceMs: [7_000, "argument"],
      adminPort: [7466, "default"],
      dataDir: [join(dataDir, ".pinion"), "default"],
    });
    const mistaken = await runCommand(["config", "--set", "segmntBytes=1MiB"], options);
    expect(mistaken).toMatchObject({ code: 2, stdout: "" });
    expect(mistaken.stderr).toMatch(/config-invalid.*did you mean segmentBytes/);
  });

  test("doctor measures the disk and finds no failure on this machine", async () => {
    const { code, lines } = await json("doctor");
    expect(code).toBe(0);
    const [{ fail, findings }] = lines as [
      { fail: number; findings: { check: string; figures?: object }[] },
    ];
    expect(fail).toBe(0);
    expect(findings.find(({ check }) => check === "disk-flush")?.figures).toMatchObject({
      flushP50Ms: expect.any(Number),
    });
  });
});
