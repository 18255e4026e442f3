import { isPinionError, seededRng, VirtualClock } from "@pinion/core";
import { describe, expect, it } from "vitest";
import type { DiskFile } from "./disk.ts";
import { SimDisk, type SimDiskOptions } from "./sim-disk.ts";

const SEEDS = Array.from({ length: 200 }, (_, seed) => seed);
const bytes = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

async function diskWithFile(
  options: Partial<SimDiskOptions> & { seed?: number } = {},
): Promise<{ disk: SimDisk; file: DiskFile }> {
  const disk = new SimDisk({ rng: seededRng(options.seed ?? 1), ...options });
  await disk.mkdir("/d");
  const file = await disk.create("/d/f");
  await disk.syncDir("/d");
  return { disk, file };
}

const code = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
  } catch (e) {
    return isPinionError(e) ? e.code : String(e);
  }
  return "no error";
};

describe("a crash", () => {
  it("keeps every byte that was synced and every name whose folder was", async () => {
    for (const seed of SEEDS) {
      const { disk, file } = await diskWithFile({ seed });
      await file.write(0, bytes(3_000, 1), { sync: false });
      await file.write(3_000, bytes(3_000, 2), { sync: true });
      const after = disk.crash();
      expect(after.contents("/d/f")).toEqual(
        new Uint8Array([...bytes(3_000, 1), ...bytes(3_000, 2)]),
      );
    }
  });

  it("leaves of an unsynced overwrite nothing, everything, any sectors of it, or torn ones", async () => {
    const seen = new Set<string>();
    for (const seed of SEEDS) {
      const { disk, file } = await diskWithFile({ seed });
      await file.write(0, bytes(8 * 512, 1), { sync: true });
      await file.write(0, bytes(8 * 512, 2), { sync: false });
      const after = disk.crash({ tornRate: 0.2 }).contents("/d/f");
      expect(after.length).toBe(8 * 512);
      expect(after.every((byte) => byte === 1 || byte === 2)).toBe(true);
      const sectors = Array.from(
        { length: 8 },
        (_, i) => new Set(after.subarray(i * 512, (i + 1) * 512)),
      );
      if (sectors.some((values) => values.size > 1)) seen.add("torn");
      else if (after.every((byte) => byte === 1)) seen.add("nothing");
      else if (after.every((byte) => byte === 2)) seen.add("everything");
      else seen.add("part");
    }
    expect([...seen].sort()).toEqual(["everything", "nothing", "part", "torn"]);
  });

  it("may leave an older unsynced version of a sector", async () => {
    const seen = new Set<number>();
    for (const seed of SEEDS) {
      const { disk, file } = await diskWithFile({ seed });
      for (const value of [1, 2, 3]) await file.write(0, bytes(512, value), { sync: false });
      const after = disk.crash({ tornRate: 0 });
      const content = after.contents("/d/f");
      if (content.length > 0) seen.add(content[0] as number);
    }
    expect([...seen].sort((a, b) => a - b)).toEqual([0, 1, 2, 3]);
  });

  it("may leave an unsynced extension out, or in part, with zeros for what is missing", async () => {
    const sizes = new Set<number>();
    for (const seed of SEEDS) {
      const { disk, file } = await diskWithFile({ seed });
      await file.write(0, bytes(512, 1), { sync: true });
      await file.write(512, bytes(1024, 2), { sync: false });
      const after = disk.crash({ tornRate: 0 }).contents("/d/f");
      sizes.add(after.length);
      expect([...after.subarray(0, 512)].every((byte) => byte === 1)).toBe(true);
      expect([...after.subarray(512)].every((byte) => byte === 0 || byte === 2)).toBe(true);
    }
    expect([...sizes].sort((a, b) => a - b)).toEqual([512, 1024, 1536]);
  });

  it("may lose a file, a rename or a removal whose folder was not synced, but a rename never halfway", async () => {
    const seen = new Set<string>();
    for (const seed of SEEDS) {
      const { disk, file } = await diskWithFile({ seed });
      await file.write(0, bytes(1, 1), { sync: true });
      const other = await disk.create("/d/new");
      await other.write(0, bytes(1, 2), { sync: true });
      await disk.rename("/d/new", "/d/f");
      const after = disk.crash();
      const left = after.paths().map((path) => `${path}=${after.contents(path)[0]}`);
      seen.add(left.join(" "));
    }
    expect([...seen].sort()).toEqual(["/d/f=1", "/d/f=1 /d/new=2", "/d/f=2"]);
  });

  it("keeps the order of unsynced changes to one name: a file moved twice has one name", async () => {
    const seen = new Set<string>();
    for (const seed of SEEDS) {
      const { disk } = await diskWithFile({ seed });
      await disk.rename("/d/f", "/d/g");
      await disk.rename("/d/g", "/d/h");
      seen.add(disk.crash({ survivalRate: 0.5 }).paths().join(" "));
    }
    expect([...seen].sort()).toEqual(["/d/f", "/d/g", "/d/h"]);
  });

  it("keeps creations, renames and removals once the folder was synced", async () => {
    for (const seed of SEEDS) {
      const { disk, file } = await diskWithFile({ seed });
      await file.close();
      await (await disk.create("/d/a")).close();
      await disk.rename("/d/a", "/d/b");
      await disk.remove("/d/f");
      await disk.syncDir("/d");
      expect(disk.crash({ survivalRate: 0 }).paths()).toEqual(["/d/b"]);
    }
  });

  it("needs both folders synced for a rename between them", async () => {
    const { disk } = await diskWithFile();
    await disk.mkdir("/e");
    await disk.rename("/d/f", "/e/f");
    await disk.syncDir("/e");
    expect(disk.crashImage({ survivalRate: 0 }).paths()).toEqual(["/d/f"]);
    await disk.syncDir("/d");
    expect(disk.crashImage({ survivalRate: 0 }).paths()).toEqual(["/e/f"]);
  });

  it("may have let a write under way through in part, though it was to be synced", async () => {
    const seen = new Set<string>();
    for (const seed of SEEDS) {
      const { disk, file } = await diskWithFile({ seed });
      await file.write(0, bytes(4 * 512, 1), { sync: true });
      const cut = Promise.withResolvers<SimDisk>();
      disk.onOperation = ({ kind }) => {
        if (kind === "write") cut.resolve(disk.crash({ tornRate: 0 }));
      };
      void file.write(0, bytes(4 * 512, 2), { sync: true });
      const content = (await cut.promise).contents("/d/f");
      seen.add(content.every((byte) => byte === content[0]) ? `all ${content[0]}` : "mixed");
    }
    expect([...seen].sort()).toEqual(["all 1", "all 2", "mixed"]);
  });

  it("is the same for the same seed", async () => {
    const run = async (): Promise<Uint8Array> => {
      const { disk, file } = await diskWithFile({ seed: 99 });
      for (let i = 0; i < 20; i++) await file.write(i * 300, bytes(700, i), { sync: i % 7 === 0 });
      return disk.crash({ survivalRate: 0.5, tornRate: 0.5 }).contents("/d/f");
    };
    expect(await run()).toEqual(await run());
  });

  it("leaves a disk that works, with everything in it durable, and does not disturb the image it was taken from", async () => {
    const { disk, file } = await diskWithFile();
    await file.write(0, bytes(5_000, 1), { sync: false });
    const image = disk.crashImage({ survivalRate: 1, tornRate: 0 });
    const again = await image.open("/d/f");
    await again.write(0, bytes(10, 9), { sync: false });
    expect(disk.contents("/d/f")).toEqual(bytes(5_000, 1));
    const second = image.crash({ survivalRate: 0 });
    expect(second.contents("/d/f")).toEqual(bytes(5_000, 1));
  });
});

describe("a killed process", () => {
  it("leaves what it wrote readable, and still to be lost by a later power cut", async () => {
    const { disk, file } = await diskWithFile();
    await file.write(0, bytes(512, 1), { sync: true });
    await file.write(0, bytes(512, 2), { sync: false });
    await (await disk.create("/d/g")).close();
    const next = disk.kill();
    expect(next.paths()).toEqual(["/d/f", "/d/g"]);
    expect(next.contents("/d/f")).toEqual(bytes(512, 2));
    const later = next.crash({ survivalRate: 0 });
    expect(later.paths()).toEqual(["/d/f"]);
    expect(later.contents("/d/f")).toEqual(bytes(512, 1));
  });

  it("hears nothing any more of what it had started", async () => {
    const { disk, file } = await diskWithFile();
    const settled: string[] = [];
    const write = file.write(0, bytes(1, 1), { sync: true });
    void write.then(() => settled.push("write"));
    const seen: string[] = [];
    const next = disk.kill();
    disk.onOperation = ({ kind }) => seen.push(kind);
    void file.sync().then(() => settled.push("sync"));
    await next.list("/d");
    await next.list("/d");
    expect(settled).toEqual([]);
    expect(seen).toEqual([]);
  });
});

describe("injected errors", () => {
  it("hit the operations a rule chooses, and no others", async () => {
    const { disk, file } = await diskWithFile();
    disk.fail({ kind: "write", path: "/d/f", nth: 2, times: 2, error: "EIO" });
    const outcomes: string[] = [];
    for (let i = 0; i < 4; i++)
      outcomes.push(await code(file.write(0, bytes(1, i), { sync: true })));
    expect(outcomes).toEqual(["no error", "io-error", "io-error", "no error"]);
    const removeRule = disk.fail({ kind: "read", times: Infinity, error: "EIO" });
    expect(await code(file.read(0, bytes(1, 0)))).toBe("io-error");
    removeRule();
    expect(await code(file.read(0, bytes(1, 0)))).toBe("no error");
  });

  it("come at the given rate, the same for the same seed", async () => {
    const run = async (): Promise<string[]> => {
      const { disk, file } = await diskWithFile({ seed: 5, errorRates: { sync: 0.3 } });
      const outcomes: string[] = [];
      for (let i = 0; i < 100; i++) outcomes.push(await code(file.sync()));
      disk.clearFaults();
      for (let i = 0; i < 20; i++) expect(await code(file.sync())).toBe("no error");
      return outcomes;
    };
    const outcomes = await run();
    const failed = outcomes.filter((outcome) => outcome === "io-error").length;
    expect(failed).toBeGreaterThan(15);
    expect(failed).toBeLessThan(45);
    expect(await run()).toEqual(outcomes);
  });

  it("drop the data of a failed sync for good, though later syncs succeed", async () => {
    let lost = 0;
    for (const seed of SEEDS) {
      const { disk, file } = await diskWithFile({ seed });
      await file.write(0, bytes(512, 1), { sync: true });
      disk.fail({ kind: "sync", error: "EIO" });
      expect(await code(file.write(0, bytes(512, 2), { sync: true }))).toBe("io-error");
      await file.sync();
      expect(disk.contents("/d/f")).toEqual(bytes(512, 2));
      if (disk.crash({ survivalRate: 1, tornRate: 0 }).contents("/d/f")[0] === 1) lost++;
    }
    expect(lost).toBeGreaterThan(50);
    expect(lost).toBeLessThan(150);
  });

  it("refuse what does not fit on the disk until there is room again", async () => {
    const { disk, file } = await diskWithFile({ capacityBytes: 10_000 });
    await file.write(0, bytes(4_000, 1), { sync: true });
    expect(await disk.freeBytes("/d")).toBe(6_000);
    expect(await code(disk.create("/d/g", { allocateBytes: 6_001 }))).toBe("disk-full");
    expect(await disk.list("/d")).toEqual(["f"]);
    expect(await code(file.write(4_000, bytes(6_001, 1), { sync: true }))).toBe("disk-full");
    expect(await code(file.write(0, bytes(4_000, 2), { sync: true }))).toBe("no error");
    await (await disk.create("/d/g", { allocateBytes: 6_000 })).close();
    expect(await code(file.write(4_000, bytes(1, 1), { sync: true }))).toBe("disk-full");
    await disk.remove("/d/g");
    expect(await code(file.write(4_000, bytes(1, 1), { sync: true }))).toBe("no error");
  });

  it("refuse every change of a read-only disk, and no read", async () => {
    const { disk, file } = await diskWithFile();
    await file.write(0, bytes(3, 1), { sync: true });
    disk.readOnly = true;
    expect(await code(file.write(0, bytes(3, 2), { sync: true }))).toBe("disk-read-only");
    expect(await code(disk.create("/d/g"))).toBe("disk-read-only");
    expect(await code(disk.rename("/d/f", "/d/g"))).toBe("disk-read-only");
    expect(await code(disk.remove("/d/f"))).toBe("disk-read-only");
    expect(await code(disk.mkdir("/x"))).toBe("disk-read-only");
    expect(await code(disk.open("/d/f"))).toBe("disk-read-only");
    const reader = await disk.open("/d/f", { readOnly: true });
    expect(await reader.read(0, bytes(3, 0))).toBe(3);
    expect(disk.contents("/d/f")).toEqual(bytes(3, 1));
  });
});

describe("a simulated disk", () => {
  it("shows every operation to the hook, numbered, before it takes effect", async () => {
    const { disk, file } = await diskWithFile();
    const before = disk.operationCount;
    const seen: string[] = [];
    disk.onOperation = ({ index, kind, path, bytes: count }) => {
      seen.push(`${index - before} ${kind} ${path} ${count} ${disk.contents("/d/f").length}`);
    };
    await file.write(0, bytes(7, 1), { sync: true });
    await file.read(0, bytes(3, 0));
    await disk.syncDir("/d/");
    expect(seen).toEqual([
      "1 write /d/f 7 0",
      "2 sync /d/f 0 7",
      "3 read /d/f 3 7",
      "4 syncDir /d 0 7",
    ]);
  });

  it("takes its latency from the clock, and keeps the order of a file's operations", async () => {
    const clock = new VirtualClock();
    const disk = new SimDisk({
      rng: seededRng(1),
      clock,
      latencyMs: ({ kind }) => (kind === "sync" ? 5 : kind === "write" ? 2 : 0),
    });
    const file = await disk.create("/f");
    const done: string[] = [];
    const all = Promise.all([
      file.write(0, bytes(1, 1), { sync: true }).then(() => done.push(`first ${clock.nowMs()}`)),
      file.write(0, bytes(1, 2), { sync: false }).then(() => done.push(`second ${clock.nowMs()}`)),
      file.read(0, bytes(1, 0)).then(() => done.push(`read ${clock.nowMs()}`)),
    ]);
    const start = clock.nowMs();
    await clock.advance(20);
    await all;
    expect(done).toEqual([`first ${start + 7}`, `second ${start + 9}`, `read ${start + 9}`]);
  });

  it("catches a caller that changes bytes which are being written", async () => {
    const { file } = await diskWithFile();
    const buffer = bytes(10, 1);
    const writing = file.write(0, buffer, { sync: true });
    buffer[3] = 2;
    expect(await code(writing)).toBe("internal");
  });

  it("flips the bit it is told to, or one of its own choice, for good", async () => {
    const { disk, file } = await diskWithFile();
    await file.write(0, bytes(1_000, 0), { sync: true });
    disk.flipBit("/d/f", 8 * 700 + 3);
    expect(disk.contents("/d/f")[700]).toBe(8);
    const flipped = disk.flipRandomBit("f");
    expect(flipped?.path).toBe("/d/f");
    const after = disk.crash({ survivalRate: 0 }).contents("/d/f");
    expect(after.reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0)).toBe(
      2,
    );
    expect(disk.flipRandomBit("nowhere")).toBeUndefined();
  });
});
