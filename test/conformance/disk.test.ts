/** What every `Disk` does, real or simulated. What only the simulation can show (crashes, faults) is in sim-disk.test.ts. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isPinionError, seededRng } from "@pinion/core";
import { PortableDoor, RealDisk, sealRecords, SimDisk, type Disk } from "@pinion/storage";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

interface DiskUnderTest {
  readonly disk: Disk;
  readonly root: string;
  stop(): Promise<void>;
}

async function realDisk(): Promise<DiskUnderTest> {
  const root = await mkdtemp(join(tmpdir(), "pinion-disk-"));
  return {
    disk: new RealDisk(new PortableDoor()),
    root,
    stop: () => rm(root, { recursive: true, force: true }),
  };
}

async function simDisk(): Promise<DiskUnderTest> {
  const disk = new SimDisk({ rng: seededRng(7), inMemoryRate: 0.5 });
  await disk.mkdir("/data");
  return { disk, root: "/data", stop: async () => {} };
}

/** Two records of 5 and 16 bytes of payload, unsealed. */
function records(): Uint8Array {
  const bytes = new Uint8Array(40 + 48);
  const view = new DataView(bytes.buffer);
  view.setUint32(4, 5, true);
  bytes.fill(0xaa, 32, 37);
  view.setUint32(40 + 4, 16, true);
  bytes.fill(0xbb, 72, 88);
  return bytes;
}

const code = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
  } catch (e) {
    return isPinionError(e) ? e.code : `not a PinionError: ${String(e)}`;
  }
  return "no error";
};

describe.each([
  ["RealDisk", realDisk],
  ["SimDisk", simDisk],
])("%s", (kind, make) => {
  const isSimulated = kind === "SimDisk";
  let under: DiskUnderTest;
  let disk: Disk;
  const at = (name: string): string => join(under.root, name);

  beforeEach(async () => {
    under = await make();
    disk = under.disk;
  });
  afterEach(() => under.stop());

  it("reads back what was written, also across gaps and overwrites", async () => {
    const file = await disk.create(at("a"));
    await file.write(0, Buffer.from("hello"), { sync: false });
    await file.write(10_000, Buffer.from("world"), { sync: true });
    await file.write(1, Buffer.from("E"), { sync: false });
    const into = new Uint8Array(10_005).fill(0xff);
    expect(await file.read(0, into)).toBe(10_005);
    expect(Buffer.from(into.subarray(0, 5)).toString()).toBe("hEllo");
    expect(Buffer.from(into.subarray(10_000)).toString()).toBe("world");
    expect(into.subarray(5, 10_000).every((byte) => byte === 0)).toBe(true);
    expect(await file.size()).toBe(10_005);
    await file.close();
  });

  it("reads without a wait what it has in memory, or says that it has not", async () => {
    const file = await disk.create(at("a"));
    await file.write(0, new Uint8Array(10_000).fill(7), { sync: true });
    const into = new Uint8Array(4_096);
    let hits = 0;
    for (let i = 0; i < 100; i++) {
      into.fill(0);
      if (file.readNow?.(i * 50, into) !== true) continue;
      hits++;
      expect(into.every((byte) => byte === 7)).toBe(true);
    }
    if (isSimulated) expect(hits).toBeGreaterThan(20);
    // Not all of it is there.
    expect(file.readNow?.(8_000, into) ?? false).toBe(false);
    expect(file.readNow?.(20_000, into) ?? false).toBe(false);
    await file.close();
    expect(file.readNow?.(0, into) ?? false).toBe(false);
  });

  it("reads short only at the end of the file", async () => {
    const file = await disk.create(at("a"));
    await file.write(0, new Uint8Array(100).fill(1), { sync: false });
    expect(await file.read(90, new Uint8Array(20))).toBe(10);
    expect(await file.read(100, new Uint8Array(20))).toBe(0);
    expect(await file.read(500, new Uint8Array(20))).toBe(0);
    expect(await file.read(0, new Uint8Array(0))).toBe(0);
    await file.close();
  });

  it("gives a new file its allocated size, full of zeros", async () => {
    const file = await disk.create(at("a"), { allocateBytes: 3 << 20 });
    expect(await file.size()).toBe(3 << 20);
    const into = new Uint8Array(64).fill(0xff);
    expect(await file.read((3 << 20) - 64, into)).toBe(64);
    expect(into.every((byte) => byte === 0)).toBe(true);
    await file.write(4096, new Uint8Array(10).fill(9), { sync: true });
    expect(await file.size()).toBe(3 << 20);
    await file.close();
  });

  it("keeps what was written when the file is closed and opened again", async () => {
    const file = await disk.create(at("a"));
    await file.write(3, Buffer.from("abc"), { sync: true });
    await file.close();
    await file.close();
    const again = await disk.open(at("a"));
    const into = new Uint8Array(6);
    expect(await again.read(0, into)).toBe(6);
    expect([...into]).toEqual([0, 0, 0, 97, 98, 99]);
    await again.close();
  });

  it("seals the records of a batch on their way to the file", async () => {
    const file = await disk.create(at("log"));
    const reference = records();
    sealRecords(reference, reference.length, 42, 4096);
    await file.writeRecords(4096, records(), { sync: true, generation: 42 });
    const into = new Uint8Array(88);
    await file.read(4096, into);
    expect(into).toEqual(reference);
    await file.close();
  });

  it("refuses a batch that is not a run of whole records, and writes none of it", async () => {
    const file = await disk.create(at("log"));
    const broken = records().subarray(0, 80);
    expect(await code(file.writeRecords(0, broken, { sync: false, generation: 1 }))).toBe(
      "internal",
    );
    expect(await file.size()).toBe(0);
    await file.close();
  });

  it("writes large buffers whole", async () => {
    const file = await disk.create(at("big"));
    const bytes = new Uint8Array(5_000_003).map((_, i) => i * 31);
    await file.write(7, bytes, { sync: true });
    const into = new Uint8Array(bytes.length);
    expect(await file.read(7, into)).toBe(bytes.length);
    expect(Buffer.compare(into, bytes)).toBe(0);
    await file.close();
  });

  it("refuses to create what exists and to open what does not", async () => {
    await (await disk.create(at("a"))).close();
    expect(await code(disk.create(at("a")))).toBe("io-error");
    expect(await code(disk.open(at("b")))).toBe("not-found");
    expect(await code(disk.create(at("nowhere/a")))).toBe("not-found");
    expect(await code(disk.rename(at("b"), at("c")))).toBe("not-found");
    expect(await code(disk.syncDir(at("nowhere")))).toBe("not-found");
  });

  it("refuses writes through a file opened to be read", async () => {
    await (await disk.create(at("a"))).close();
    const file = await disk.open(at("a"), { readOnly: true });
    expect(await code(file.write(0, new Uint8Array(1), { sync: false }))).toBe("io-error");
    expect(await file.size()).toBe(0);
    await file.close();
  });

  it("lists names in order, and nothing for a folder that does not exist", async () => {
    await disk.mkdir(at("dir/inner"));
    await disk.mkdir(at("dir/inner"));
    for (const name of ["b", "a", "B"]) await (await disk.create(at(`dir/${name}`))).close();
    expect(await disk.list(at("dir"))).toEqual(["B", "a", "b", "inner"]);
    expect(await disk.list(at("dir/inner"))).toEqual([]);
    expect(await disk.list(at("none"))).toEqual([]);
  });

  it("replaces the target of a rename", async () => {
    const a = await disk.create(at("a"));
    await a.write(0, Buffer.from("new"), { sync: true });
    await a.close();
    const b = await disk.create(at("b"));
    await b.write(0, Buffer.from("older"), { sync: true });
    await b.close();
    await disk.rename(at("a"), at("b"));
    await disk.syncDir(under.root);
    expect(await disk.list(under.root)).toEqual(["b"]);
    const file = await disk.open(at("b"));
    expect(await file.size()).toBe(3);
    await file.close();
  });

  it("removes a file, and one that is not there", async () => {
    await (await disk.create(at("a"))).close();
    await disk.remove(at("a"));
    await disk.remove(at("a"));
    expect(await disk.list(under.root)).toEqual([]);
  });

  it("finishes what was started before it closes a file", async () => {
    const file = await disk.create(at("a"));
    const writing = file.write(0, new Uint8Array(1 << 20).fill(5), { sync: true });
    await file.close();
    await writing;
    const again = await disk.open(at("a"));
    expect(await again.size()).toBe(1 << 20);
    await again.close();
  });

  it("starts nothing on a closed file", async () => {
    const file = await disk.create(at("a"));
    await file.close();
    expect(await code(file.write(0, new Uint8Array(1), { sync: false }))).toBe("internal");
    expect(await code(file.read(0, new Uint8Array(1)))).toBe("internal");
  });

  it("knows how much room is left", async () => {
    expect(await disk.freeBytes(under.root)).toBeGreaterThan(1 << 20);
  });
});
