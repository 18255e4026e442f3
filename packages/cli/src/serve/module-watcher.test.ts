import { mkdtemp, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { systemClock } from "@pinion/core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ModuleWatcher } from "./module-watcher.ts";

let dir: string;
let watcher: ModuleWatcher;
/** Each callback's file names. */
let batches: string[][];
let onBatch: () => void;
let hold: Promise<void> | undefined;

const write = (name: string, text: string) => writeFile(join(dir, name), text);
const batch = () => new Promise<void>((resolve) => (onBatch = resolve));

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "pinion-watch-"));
  await write("main.ts", `import "./a.ts"`);
  await write("a.ts", "1");
  batches = [];
  hold = undefined;
  onBatch = () => {};
  watcher = new ModuleWatcher(join(dir, "main.ts"), systemClock, async (changed) => {
    batches.push(changed.map((path) => basename(path)));
    onBatch();
    await hold;
  });
  await watcher.start();
});
afterEach(async () => {
  await watcher.stop();
  await rm(dir, { recursive: true });
});

test("a change of an imported file is told", async () => {
  const told = batch();
  await write("a.ts", "2");
  await told;
  expect(batches).toEqual([["a.ts"]]);
});

test("several saves in quick succession are told once", async () => {
  const told = batch();
  await write("a.ts", "2");
  await write("main.ts", `import "./a.ts"; 2`);
  await write("a.ts", "3");
  await told;
  expect(batches).toEqual([["main.ts", "a.ts"]]);
});

test("a file that is replaced by renaming, as editors do, is told and stays watched", async () => {
  for (const text of ["2", "3"]) {
    const told = batch();
    await write("a.ts.tmp", text);
    await rename(join(dir, "a.ts.tmp"), join(dir, "a.ts"));
    await told;
  }
  expect(batches).toEqual([["a.ts"], ["a.ts"]]);
});

test("a save without a change, a touched date and a file next to it are not told", async () => {
  for (const change of [
    () => write("a.ts", "1"),
    () => utimes(join(dir, "a.ts"), 1, 1),
    () => write("other.ts", "x"),
  ]) {
    const before = watcher.lookCount;
    await change();
    await expect.poll(() => watcher.lookCount).toBeGreaterThan(before);
  }
  const told = batch();
  await write("main.ts", `import "./a.ts"; 2`);
  await told;
  expect(batches).toEqual([["main.ts"]]);
});

test("an import that is new is watched from then on", async () => {
  let told = batch();
  await write("b.ts", "1");
  await write("main.ts", `import "./b.ts"`);
  await told;
  told = batch();
  await write("b.ts", "2");
  await told;
  expect(batches.at(-1)).toEqual(["b.ts"]);
});

test("a change during a callback is told afterwards, not at the same time", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  hold = promise;
  let told = batch();
  await write("a.ts", "2");
  await told;
  told = batch();
  const before = watcher.lookCount;
  await write("a.ts", "3");
  await expect.poll(() => watcher.lookCount).toBeGreaterThan(before);
  expect(batches).toEqual([["a.ts"]]);
  hold = undefined;
  resolve();
  await told;
  expect(batches).toEqual([["a.ts"], ["a.ts"]]);
});
