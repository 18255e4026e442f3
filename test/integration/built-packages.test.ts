/**
 * The packages as they are built: what scripts/build.mjs makes of them and the files their manifests list, without the
 * sources, in a folder that has nothing of this repository but their dependencies.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, readdir, readFile, rename, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Program, ROOT, type Ended } from "../support/program.ts";
import { temporaryDir, type TemporaryDir } from "../support/temporary-dir.ts";

const ACTORS = `
import { defineActor, readonly } from "@pinion/runtime";
export const Counter = defineActor("counter", {
  state: () => ({ n: 0 }),
  methods: { increment: (ctx, by) => (ctx.state.n += by), value: readonly((ctx) => ctx.state.n) },
});
`;
/** Actors that are values: they run in the program's own thread, beside the thread of the control plane and LMDB's. */
const EMBEDDED = `
import { nativeDoor } from "@pinion/storage";
import { startHost } from "@pinion/runtime";
import { TestHost } from "@pinion/runtime/testing";
import { Counter } from "./actors.mjs";
const host = await startHost({ actors: [Counter], dataDir: "embedded", port: 0, adminPort: 0, logLevel: "warn" });
const n = await host.client.get(Counter, "a").increment(2);
await host.stop();
console.log(n, typeof TestHost, nativeDoor().constructor.name);
`;

let dir: TemporaryDir;

beforeAll(async () => {
  await promisify(execFile)(process.execPath, [join(ROOT, "scripts/build.mjs")]);
  dir = await temporaryDir();
  for (const name of await readdir(join(ROOT, "packages"))) await install(name);
  await writeFile(join(dir.path, "actors.mjs"), ACTORS);
  await writeFile(join(dir.path, "embedded.mjs"), EMBEDDED);
});
afterAll(() => dir[Symbol.asyncDispose]());

/** As a package manager would, and with the addon that this tree has built. */
async function install(name: string): Promise<void> {
  const from = join(ROOT, "packages", name);
  const to = join(dir.path, "node_modules", "@pinion", name);
  const manifest = JSON.parse(await readFile(join(from, "package.json"), "utf8")) as {
    readonly files: readonly string[];
    readonly dependencies?: Readonly<Record<string, string>>;
  };
  await mkdir(to, { recursive: true });
  const listed = manifest.files.filter((file) => !file.startsWith("!") && file !== "src");
  for (const file of ["package.json", ...listed]) {
    await cp(join(from, file), join(to, file), { recursive: true });
  }
  for (const dependency of Object.keys(manifest.dependencies ?? {})) {
    if (dependency.startsWith("@pinion/")) continue;
    const link = join(to, "node_modules", dependency);
    await mkdir(join(link, ".."), { recursive: true });
    await symlink(join(from, "node_modules", dependency), link);
  }
}

const start = (file: string, ...args: string[]): Program =>
  new Program(join(dir.path, file), args, { cwd: dir.path, flags: [] });

const pinion = (...args: string[]): Program =>
  start("node_modules/@pinion/cli/dist/main.js", ...args);

async function ended(program: Program): Promise<Ended> {
  await using _ = program;
  return await program.ended();
}

test("they have no character beyond ASCII, which would make them slower to load", async () => {
  const beyond: string[] = [];
  for (const name of await readdir(join(ROOT, "packages"))) {
    const dist = join(ROOT, "packages", name, "dist");
    for (const file of await readdir(dist, { recursive: true })) {
      if (!file.endsWith(".js")) continue;
      if (/[\u0080-\uffff]/.test(await readFile(join(dist, file), "utf8"))) beyond.push(file);
    }
  }
  expect(beyond).toEqual([]);
});

test("an embedded host finds its threads, its addon and what it has written", async () => {
  const first = await ended(start("embedded.mjs"));
  expect(first).toEqual({ code: 0, stdout: "2 function AddonDoor\n", stderr: "" });
  expect((await ended(start("embedded.mjs"))).stdout).toBe("4 function AddonDoor\n");
});

test("without its folder `native`, as in an image stripped of it, the storage package does without the addon", async () => {
  const folder = join(dir.path, "node_modules", "@pinion", "storage", "native");
  await rename(folder, `${folder}-away`);
  try {
    const { code, stdout } = await ended(start("embedded.mjs"));
    expect({ code, stdout }).toEqual({ code: 0, stdout: "6 function PortableDoor\n" });
  } finally {
    await rename(`${folder}-away`, folder);
  }
});

test("the command serves a module in workers, answers a call, and says its version", async () => {
  const where = ["--data-dir", join(dir.path, "served")];
  await using host = pinion("start", "actors.mjs", ...where, "--port", "0", "--admin-port", "0");
  await host.printed(/gateway/);
  expect(await ended(pinion("call", ...where, "counter/a", "increment", "3"))).toMatchObject({
    code: 0,
    stdout: "3\n",
  });
  host.signal("SIGTERM");
  expect((await host.ended()).code).toBe(0);
  expect((await ended(pinion("--version"))).stdout).toMatch(/^\d+\.\d+\.\d+/);
});

test("the code of a package is a few files, which is what makes it load fast", async () => {
  for (const name of await readdir(join(ROOT, "packages"))) {
    const dist = join(dir.path, "node_modules", "@pinion", name, "dist");
    const code = (await readdir(dist, { recursive: true })).filter((file) => file.endsWith(".js"));
    expect(code.length).toBeLessThanOrEqual(16);
  }
});
