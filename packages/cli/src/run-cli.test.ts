import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@pinion/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runCli } from "./run-cli.ts";

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "pinion-run-cli-"));
});
afterEach(() => rm(cwd, { recursive: true }));

interface World {
  readonly env?: NodeJS.ProcessEnv;
  readonly isTTY?: boolean;
}

async function run(args: readonly string[], { env = {}, isTTY = false }: World = {}) {
  let [stdout, stderr] = ["", ""];
  const code = await runCli(args, {
    stdout: { write: (text) => (stdout += text), isTTY },
    stderr: { write: (text) => (stderr += text), isTTY },
    env,
    cwd,
    clock: systemClock,
    onStopSignal: () => () => {},
    exitNow: () => {},
  });
  return { code, stdout, stderr };
}

const ESCAPE = "\u001b[";

describe("colours", () => {
  test("are for terminals", async () => {
    expect((await run(["config"], { isTTY: true })).stdout).toContain(ESCAPE);
    expect((await run(["config"])).stdout).not.toContain(ESCAPE);
    expect((await run(["status"], { isTTY: true })).stderr).toContain(ESCAPE);
  });

  test.each([{ NO_COLOR: "1" }, { TERM: "dumb" }])(
    "are left out where %j asks for that",
    async (env) => {
      expect((await run(["config"], { isTTY: true, env })).stdout).not.toContain(ESCAPE);
      expect((await run(["status"], { isTTY: true, env })).stderr).not.toContain(ESCAPE);
    },
  );

  test("an empty NO_COLOR is none", async () => {
    expect((await run(["config"], { isTTY: true, env: { NO_COLOR: "" } })).stdout).toContain(
      ESCAPE,
    );
  });

  test("have no place in JSON", async () => {
    expect((await run(["config", "--json"], { isTTY: true })).stdout).not.toContain(ESCAPE);
  });
});

describe("--json", () => {
  test.each([
    [["status", "--json"]],
    [["--json", "status"]],
    [["--json", "sttus"]],
    [["status", "--json", "--bogus"]],
    [["call", "--json", "counter/a"]],
    [["--json"]],
    [["config", "--json", "bogus"]],
    [["start", "--json", "nothing.ts"]],
  ])("%j makes one document of an error, on standard output", async (args) => {
    const { stdout, stderr, code } = await run(args);
    expect(stderr).toBe("");
    expect(stdout.endsWith("\n")).toBe(true);
    const { error } = JSON.parse(stdout) as { error: Record<string, unknown> };
    expect(error).toMatchObject({
      code: expect.any(String),
      message: expect.any(String),
      hints: expect.any(Array),
    });
    expect(error).not.toHaveProperty("stack");
    expect(code).toBe(args.includes("status") && args.length === 2 ? 3 : 2);
  });

  test("behind -- it is an argument", async () => {
    const { stdout, stderr } = await run(["call", "--", "--json"]);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/error\[usage\]: missing required argument 'method'/);
  });

  test("--debug adds the stack", async () => {
    const { stdout } = await run(["status", "--json", "--debug"]);
    expect(JSON.parse(stdout)).toMatchObject({
      error: { stack: expect.stringContaining("find-host.ts") as string },
    });
  });
});

describe("a data directory", () => {
  test.each([
    [{ PINION_DATA_DIR: "elsewhere" }, [], "elsewhere"],
    [{ PINION_DATA_DIR: "elsewhere" }, ["--data-dir", "here"], "here"],
    [{}, [], ".pinion"],
  ])("with %j and %j is %s", async (env, args, dir) => {
    const { stdout } = await run(["status", "--json", ...args], { env });
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: "no-host", details: { dataDir: join(cwd, dir) } },
    });
  });
});

test("the version is that of the package", async () => {
  expect((await run(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\S*\n$/);
});

test("an address that cannot be one is refused before anything is tried", async () => {
  const { code, stderr } = await run(["status", "--host", "localhost"]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/--host takes "name:port", for instance 127\.0\.0\.1:7466/);
});
