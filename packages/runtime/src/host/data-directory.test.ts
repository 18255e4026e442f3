import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RealDisk } from "@pinion/storage";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DataDirectory } from "./data-directory.ts";

let root: string;
let dir: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "pinion-dir-"));
  dir = join(root, "data");
});
afterEach(() => rm(root, { recursive: true }));

const open = (): Promise<DataDirectory> => DataDirectory.open(dir, new RealDisk());

test("a new directory gets its parents, its format and its lock", async () => {
  dir = join(root, "a", "b");
  const directory = await open();
  expect(JSON.parse(await readFile(join(dir, "format.json"), "utf8"))).toMatchObject({ format: 2 });
  await expect(open()).rejects.toMatchObject({ code: "data-dir-locked" });
  await directory.close();
  await (await open()).close();
});

test("a worker's files have places of their own", async () => {
  const directory = await open();
  expect(directory.worker(1)).toEqual({
    dir: join(dir, "worker-1"),
    log: join(dir, "worker-1", "log"),
    logIndex: join(dir, "worker-1", "log-index.mdb"),
    segments: join(dir, "worker-1", "segments"),
  });
  await directory.close();
});

test("what a crash of the very first start leaves is no obstacle", async () => {
  await mkdir(dir);
  await writeFile(join(dir, "lock"), "");
  await writeFile(join(dir, "format.json.new"), "{");
  const directory = await open();
  expect(directory.dir).toBe(dir);
  await directory.close();
});

test.each([["{"], [`{"format":"1"}`], [`{"format":0}`], ["[]"], [""]])(
  "a format.json of %j is damage, and stays as it is",
  async (text) => {
    await mkdir(dir);
    await writeFile(join(dir, "format.json"), text);
    await expect(open()).rejects.toMatchObject({ code: "corruption" });
    expect(await readdir(dir)).toEqual(["format.json"]);
  },
);
