/** A host that cannot start says why, in a way its operator can act on, and changes nothing. */
import { spawnSync } from "node:child_process";
import { createServer, type AddressInfo } from "node:net";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@pinion/client";
import { isPinionError } from "@pinion/core";
import { startHost, type Host, type StartHostOptions } from "@pinion/runtime";
import { expect, it } from "vitest";
import { COUNTER_MODULE, HostProcess } from "../support/host-process.ts";
import { temporaryDir } from "../support/temporary-dir.ts";
import { Counter } from "./fixtures/counter.ts";

const QUIET = { port: 0, adminPort: 0, logLevel: "silent" } as const;

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly remoteStack: string | undefined;
}

/** What a start in this process rejects with. By default the actors come from a module. */
async function failureOf(options: Partial<StartHostOptions>): Promise<Failure> {
  const from =
    options.actors === undefined && options.module === undefined ? { module: COUNTER_MODULE } : {};
  const all = { ...QUIET, ...from, ...options } as StartHostOptions;
  let host: Host;
  try {
    host = await startHost(all);
  } catch (error) {
    if (isPinionError(error)) return error;
    throw error;
  }
  await host.stop();
  throw new Error("the host started");
}

async function startAndStop(options: { dataDir: string; shardCount?: number }): Promise<void> {
  await using _host = await startHost({ actors: [Counter], ...QUIET, ...options });
}

async function portInUse(): Promise<{ port: number } & AsyncDisposable> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** Names of everything below a folder. */
async function contents(dir: string): Promise<string[]> {
  const names = await readdir(dir, { recursive: true });
  return names.sort();
}

it("a second host on a data directory is refused, names the first, and disturbs nothing", async () => {
  await using dir = await temporaryDir();
  await using first = await HostProcess.start({ dataDir: dir.path });
  const failure = await failureOf({ dataDir: dir.path });
  expect(failure.code).toBe("data-dir-locked");
  expect(failure.message).toContain(`process ${first.program.child.pid}`);
  await using client = await connect(first.endpoint);
  expect(await client.get(Counter, "a").increment(1)).toBe(1);
});

it.each([
  ["values", { actors: [Counter] }],
  ["a module", { module: COUNTER_MODULE }],
])("a port in use is named, and nothing is left behind (%s)", async (_what, from) => {
  await using dir = await temporaryDir();
  await using taken = await portInUse();
  for (const key of ["port", "adminPort"]) {
    const failure = await failureOf({ ...from, dataDir: dir.path, [key]: taken.port });
    expect(failure.code).toBe("port-in-use");
    expect(failure.message).toContain(String(taken.port));
  }
  // Lock, log and stores were given back: the next start works.
  const options = { ...from, dataDir: dir.path, ...QUIET } as StartHostOptions;
  await using host = await startHost(options);
  expect(await host.client.get(Counter, "a").increment(1)).toBe(1);
});

it.each([
  ["newer", 3, "format-too-new"],
  ["older", 1, "config-invalid"],
])(
  "a data directory of a %s format is refused, says what wrote it, and is not touched",
  async (_, format, code) => {
    await using dir = await temporaryDir();
    await writeFile(join(dir.path, "format.json"), `{"format":${format},"version":"9.0.0"}\n`);
    await mkdir(join(dir.path, "worker-0"));
    await writeFile(join(dir.path, "worker-0", "state.mdb"), "");
    const before = await contents(dir.path);
    const failure = await failureOf({ dataDir: dir.path });
    expect(failure.code).toBe(code);
    expect(failure.message).toContain("Pinion 9.0.0");
    expect(await contents(dir.path)).toEqual(before);
  },
);

it("a directory that holds something else is refused and not touched", async () => {
  await using dir = await temporaryDir();
  await writeFile(join(dir.path, "thesis.tex"), "text");
  const failure = await failureOf({ dataDir: dir.path });
  expect(failure.code).toBe("config-invalid");
  expect(failure.message).toContain("thesis.tex");
  expect(await contents(dir.path)).toEqual(["thesis.tex"]);
});

it("a path below a file is refused as that", async () => {
  await using dir = await temporaryDir();
  await writeFile(join(dir.path, "file"), "");
  const failure = await failureOf({ dataDir: join(dir.path, "file", "data") });
  expect(failure).toMatchObject({ code: "config-invalid", details: { key: "dataDir" } });
});

it("a damaged cluster file is refused, and the data stays", async () => {
  await using dir = await temporaryDir();
  await startAndStop({ dataDir: dir.path });
  const path = join(dir.path, "cluster");
  const bytes = await readFile(path);
  bytes[bytes.length - 20]! ^= 1;
  await writeFile(path, bytes);
  const failure = await failureOf({ dataDir: dir.path });
  expect(failure.code).toBe("corruption");
  expect(failure.message).toContain(path);
  expect(await readFile(path)).toEqual(bytes);
});

it("another shard count than the data was written with is refused and names both", async () => {
  await using dir = await temporaryDir();
  await startAndStop({ dataDir: dir.path, shardCount: 8 });
  const failure = await failureOf({ dataDir: dir.path, shardCount: 32 });
  expect(failure.code).toBe("config-invalid");
  expect(failure.message).toMatch(/32.*created with 8/);
});

it("a directory nobody may write to is refused as read-only", async () => {
  await using dir = await temporaryDir();
  const dataDir = join(dir.path, "data");
  await mkdir(dataDir);
  await chmod(dataDir, 0o555);
  const isRoot = process.getuid?.() === 0;
  // Root may write anywhere: there only a read-only mount says no.
  if (isRoot) mount("tmpfs", "ro", dataDir);
  try {
    expect((await failureOf({ dataDir })).code).toBe("disk-read-only");
  } finally {
    if (isRoot) spawnSync("umount", [dataDir]);
  }
});

it.runIf(process.getuid?.() === 0)("a disk too small for the first segment is named", async () => {
  await using dir = await temporaryDir();
  const dataDir = join(dir.path, "data");
  await mkdir(dataDir);
  mount("tmpfs", "size=8m", dataDir);
  try {
    expect((await failureOf({ dataDir })).code).toBe("disk-full");
  } finally {
    spawnSync("umount", [dataDir]);
  }
});

function mount(type: string, options: string, at: string): void {
  const done = spawnSync("mount", ["-t", type, "-o", options, type, at], { encoding: "utf8" });
  if (done.status !== 0) throw new Error(`mount: ${done.stderr}`);
}

it.each([
  [
    "throws on import",
    `export const a = 1;\nfunction setUp(): void {\n  throw new Error("no database");\n}\nsetUp();\n`,
    /no database/,
  ],
  ["does not parse", `export const = 1;\n`, /cannot be loaded/],
  ["exports no actor", `export const a = 1;\n`, /exports no actor: it exports a/],
  [
    "defines two actors of one name",
    `import { defineActor } from ${JSON.stringify(join(import.meta.dirname, "../../packages/runtime/src/index.ts"))};\nexport const A = defineActor("a", { state: () => 0, methods: {} });\nexport const B = defineActor("a", { state: () => 0, methods: {} });\n`,
    /two actor types are named "a"/,
  ],
])("a module that %s is refused with its own words", async (_what, source, message) => {
  await using dir = await temporaryDir();
  const module = join(dir.path, "actors.ts");
  await writeFile(module, source);
  const failure = await failureOf({ dataDir: join(dir.path, "data"), module });
  expect(failure.message).toMatch(message);
  expect(["module-failed", "invalid-argument"]).toContain(failure.code);
  if (source.includes("setUp()")) expect(failure.remoteStack).toMatch(/setUp.*actors\.ts:3/s);
});

it("a module that does not exist is named", async () => {
  await using dir = await temporaryDir();
  const failure = await failureOf({
    dataDir: join(dir.path, "data"),
    module: join(dir.path, "nowhere.ts"),
  });
  expect(failure.code).toBe("module-failed");
  expect(failure.message).toContain("nowhere.ts");
});

it.each([
  [{}, /either actors/],
  [{ actors: [Counter], module: COUNTER_MODULE }, /not both/],
  [{ actors: [] }, /actors is empty/],
  [{ actors: [{} as typeof Counter] }, /defineActor has not returned/],
  [{ actors: [Counter], prot: 1 }, /prot.*port/],
])("options that make no host are refused: %o", async (options, message) => {
  await using dir = await temporaryDir();
  const start = startHost({ ...QUIET, dataDir: dir.path, ...options });
  await expect(start).rejects.toMatchObject({ code: "config-invalid" });
  await expect(start).rejects.toThrow(message);
});

it("other machines are not served by accident", async () => {
  await using dir = await temporaryDir();
  for (const key of ["listenHost", "adminHost"]) {
    const failure = await failureOf({ dataDir: dir.path, [key]: "0.0.0.0" });
    expect(failure.code).toBe("config-invalid");
    expect(failure.message).toContain("insecurePlaintext");
  }
});
