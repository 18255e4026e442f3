import { seededRng } from "@pinion/core";
import { SimDisk } from "@pinion/storage";
import { expect, test } from "vitest";
import { CheckedFile } from "./checked-file.ts";

const DIR = "/data";
const PATH = "/data/thing";
const bytes = (text: string): Uint8Array => Buffer.from(text);
const text = (content: Uint8Array | undefined): string | undefined =>
  content === undefined ? undefined : Buffer.from(content).toString();
const fileOn = (disk: SimDisk, formatVersion = 1): CheckedFile =>
  new CheckedFile(disk, PATH, { kind: "thing", formatVersion });

async function newDisk(seed = 1): Promise<SimDisk> {
  const disk = new SimDisk({ rng: seededRng(seed) });
  await disk.mkdir(DIR);
  return disk;
}

test("what was stored is loaded, and nothing before the first time", async () => {
  const file = fileOn(await newDisk());
  expect(await file.load()).toBeUndefined();
  await file.store(bytes("one"));
  await file.store(bytes("two, longer than before"));
  expect(text(await file.load())).toBe("two, longer than before");
});

test("stores that are asked for at once happen in order", async () => {
  const file = fileOn(await newDisk());
  await Promise.all(["a", "b", "c"].map((content) => file.store(bytes(content))));
  expect(text(await file.load())).toBe("c");
});

test("wherever the power goes, the old content is there or the new one", async () => {
  const whole = await newDisk();
  await fileOn(whole).store(bytes("old"));
  const before = whole.operationCount;
  await fileOn(whole).store(bytes("new"));
  const operations = whole.operationCount - before;
  const seen = new Set<string | undefined>();
  for (let cut = 1; cut <= operations + 1; cut++) {
    for (let seed = 0; seed < 8; seed++) {
      let disk = await newDisk(seed);
      await fileOn(disk).store(bytes("old"));
      const from = disk.operationCount;
      let left: SimDisk | undefined;
      disk.onOperation = ({ index }) => {
        if (index === from + cut) left = disk.crash();
      };
      const stored = fileOn(disk).store(bytes("new"));
      await Promise.race([stored, new Promise((resolve) => setImmediate(resolve))]);
      disk = left ?? disk.crash();
      const content = text(await fileOn(disk).load());
      expect(["old", "new"], `cut ${cut}, seed ${seed}`).toContain(content);
      if (left === undefined) expect(content).toBe("new"); // it had been told to be durable
      seen.add(content);
    }
  }
  expect(seen).toEqual(new Set(["old", "new"]));
});

test("every flipped bit is noticed", async () => {
  const disk = await newDisk();
  await fileOn(disk).store(bytes("content"));
  const bits = disk.contents(PATH).length * 8;
  for (let bit = 0; bit < bits; bit++) {
    disk.flipBit(PATH, bit);
    const code = await fileOn(disk)
      .load()
      .then(
        () => "loaded",
        (error: { code: string }) => error.code,
      );
    expect(code, `bit ${bit}`).toBe("corruption");
    disk.flipBit(PATH, bit);
  }
  expect(text(await fileOn(disk).load())).toBe("content");
});

test("a file that was cut short, or is another one, is refused", async () => {
  const disk = await newDisk();
  await fileOn(disk).store(bytes("content"));
  const other = new CheckedFile(disk, PATH, { kind: "other", formatVersion: 1 });
  await expect(other.load()).rejects.toMatchObject({ code: "corruption" });
  const short = await newDisk(2);
  const file = await short.create(PATH);
  await file.write(0, disk.contents(PATH).subarray(0, 34), { sync: true });
  await expect(fileOn(short).load()).rejects.toMatchObject({ code: "corruption" });
});

test("a newer format is refused, an older one is loaded", async () => {
  const disk = await newDisk();
  await fileOn(disk, 3).store(bytes("content"));
  await expect(fileOn(disk, 2).load()).rejects.toMatchObject({
    code: "format-too-new",
    details: { format: 3, supported: 2 },
  });
  expect(text(await fileOn(disk, 4).load())).toBe("content");
});

test("a store that fails leaves the old content, and the next one works", async () => {
  const disk = await newDisk();
  await fileOn(disk).store(bytes("old"));
  disk.fail({ kind: "write", error: "ENOSPC" });
  const file = fileOn(disk);
  await expect(file.store(bytes("new"))).rejects.toMatchObject({ code: "disk-full" });
  expect(text(await file.load())).toBe("old");
  await file.store(bytes("newer"));
  expect(text(await file.load())).toBe("newer");
});
