import { lsn, type PinionError } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { SimKv } from "../kv/sim-kv.ts";
import { flushPolicy } from "./flush-policy.ts";
import {
  A,
  appendFlushed,
  appendUntilStuck,
  B,
  input,
  LogMachine,
  lsns,
  payloadOf,
  readAll,
  slowlySynced,
  SYNC_MS,
  upTo,
} from "./log.test.fixture.ts";
import { PAYLOAD_BYTES_MAX } from "./record-format.ts";
import { encodeSegmentHeader } from "./segment-header.ts";
import type { SegmentedLog } from "./segmented-log.ts";

const DIR = "log";
const path = (sequence: number): string => `${DIR}/${String(sequence).padStart(16, "0")}.log`;

async function refusal(opening: Promise<unknown>): Promise<PinionError> {
  return opening.then(
    () => {
      throw new Error("the log opened");
    },
    (e: PinionError) => e,
  );
}

describe("opening a log", () => {
  it("begins one where there is none, and finds it again empty", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    expect(log.appended(A)).toBe(0);
    expect(await readAll(log)).toEqual([]);
    await log.close();
    machine.crash(0);
    expect(await readAll(await machine.open())).toEqual([]);
  });

  it("never writes to an old segment again", async () => {
    const machine = new LogMachine();
    await appendFlushed(await machine.open(), 10);
    machine.kill();
    const log = await machine.open();
    const before = machine.disk.contents(path(1));
    await appendFlushed(log, 10);
    const { end } = (await log.segment(1))!;
    expect(end).toBeGreaterThan(4096);
    expect(machine.disk.contents(path(1)).subarray(0, end)).toEqual(before.subarray(0, end));
    expect(log.position().segment).toBe(2);
  });

  it("copies the last batch, which nothing vouches for, and flushes it before it counts", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 3);
    await machine.clock.settle();
    await appendFlushed(log, 2);
    machine.kill();
    const again = await machine.open();
    expect(again.stats().opening).toMatchObject({ unvouchedRecords: 2 });
    expect(again.flushed(A)).toBe(5);
    // What the kernel still held in memory of the old file may vanish now.
    machine.crash(0);
    const third = await machine.open();
    expect(await lsns(third)).toEqual(upTo(5));
    expect((await readAll(third)).map(({ position }) => position.segment)).toEqual([1, 1, 1, 2, 2]);
    expect((await third.read(A, lsn(4)))?.payload).toEqual(payloadOf(4));
  });

  it("keeps the places of records that were vouched for", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 30);
    await machine.clock.advance(11);
    const before = await readAll(log);
    machine.kill();
    expect(await readAll(await machine.open())).toEqual(before);
  });

  it("makes sure of several segments at once where async left them unflushed", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush: flushPolicy.async });
    await appendFlushed(log, 2);
    // The first segment's own sync never comes back.
    machine.disk.onOperation = ({ kind, path: of }) => {
      if (kind === "sync" && of.includes("0000000000000001")) machine.kill();
    };
    for (let i = 0; log.stats().activeSegment === 1 && i < 1000; i++) {
      log.tryAppend(input(B), payloadOf(i));
      await machine.clock.advance(10);
      if (machine.disk.operationCount === 0) break;
    }
    const again = await machine.open({ flush: flushPolicy.async });
    const survived = again.appended(B);
    expect(survived).toBeGreaterThan(300);
    machine.crash(0);
    expect(await lsns(await machine.open(), B)).toEqual(upTo(survived));
  });

  it("does the same work for a long log as for a short one", async () => {
    const work = async (records: number): Promise<number> => {
      const machine = new LogMachine();
      const log = await machine.open();
      // Slowly enough that the next segment is always ready; both end with a little in their last one.
      const { activeSegment } = log.stats();
      for (
        let last = activeSegment;
        log.appended(A) < records || log.stats().activeSegment === last;
      ) {
        last = log.stats().activeSegment;
        await appendFlushed(log, 20);
        await machine.clock.settle();
      }
      await log.close();
      const kv = machine.kv.operationCount;
      const disk = machine.disk.operationCount;
      await machine.open();
      return machine.kv.operationCount - kv + machine.disk.operationCount - disk;
    };
    expect(await work(20_000)).toBe(await work(1000));
  });

  it("reads nothing behind the end of a log that was closed in good order", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ segmentBytes: 4 << 20 });
    await appendFlushed(log, 10);
    await log.close();
    let bytes = 0;
    machine.disk.onOperation = (operation) => {
      if (operation.kind === "read") bytes = Math.max(bytes, operation.bytes);
      if (operation.kind === "read" && operation.path.endsWith("1.log")) reads++;
    };
    let reads = 0;
    await machine.open({ segmentBytes: 4 << 20 });
    expect(bytes).toBeGreaterThan(0);
    expect(reads).toBeLessThanOrEqual(4);
  });
});

describe("opening and closing again and again", () => {
  it("does not let the log grow by a segment each time", async () => {
    const machine = new LogMachine();
    for (let i = 0; i < 20; i++) {
      const log = await machine.open();
      await appendFlushed(log, 3);
      await machine.clock.settle();
      await log.close();
    }
    const bytes = machine.disk
      .paths()
      .reduce((sum, at) => sum + machine.disk.contents(at).length, 0);
    expect(bytes).toBeLessThan(2 * 65_536 + 20 * 6000);
    expect(await lsns(await machine.open())).toEqual(upTo(60));
  });

  it("has no unused segments to search after a close in good order", async () => {
    const { machine, log } = await slowlySynced({ segmentBytes: 1 << 20, stagingBytes: 1 << 18 });
    await appendUntilStuck(machine, log);
    expect(machine.segmentPaths().length).toBeGreaterThan(log.stats().activeSegment);
    const closing = log.close();
    await machine.clock.advance(20 * SYNC_MS);
    await closing;
    expect(machine.segmentPaths().length).toBe(log.stats().activeSegment);
    machine.kill();
    const again = await machine.open({ segmentBytes: 1 << 20, stagingBytes: 1 << 18 });
    expect(await lsns(again)).toEqual(upTo(log.appended(A)));
  });

  it("opens a log that has filled its disk: spare files make room", async () => {
    const { machine, log } = await slowlySynced({}, 9 * 65_536 + 1000);
    await appendUntilStuck(machine, log);
    machine.kill();
    const again = await machine.open({ flush: flushPolicy.async });
    expect(again.appended(A)).toBeGreaterThan(1000);
    expect(await lsns(again)).toEqual(upTo(again.appended(A)));
  });

  it("uses a segment that was prepared and never begun", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 400);
    await machine.clock.settle();
    expect(machine.segmentPaths()).toEqual([path(1), path(2)]);
    await log.close();
    const again = await machine.open();
    expect(again.position().segment).toBe(2);
    await appendFlushed(again, 1);
    expect(await lsns(again)).toEqual(upTo(401));
  });
});

describe("the segment an opening begins with", () => {
  const MIB = 1 << 20;
  const big = { segmentBytes: 16 * MIB, stagingBytes: 64 * 1024 };
  const sizes = async (log: SegmentedLog): Promise<number[]> => {
    const { firstSegment, activeSegment } = log.stats();
    const entries = [];
    for (let at = firstSegment; at <= activeSegment; at++) entries.push(await log.segment(at));
    return entries.map((entry) => (entry?.fileBytes ?? 0) / MIB);
  };

  it("is a short one, and the next is ready long before that is full", async () => {
    const machine = new LogMachine();
    const log = await machine.open(big);
    await appendFlushed(log, 15, A, 65_536);
    await machine.clock.settle();
    expect(machine.disk.paths().filter((path) => path.endsWith(".log"))).toHaveLength(1);
    await appendFlushed(log, 15, A, 65_536);
    await machine.clock.settle();
    expect(machine.disk.paths().filter((path) => path.endsWith(".log"))).toHaveLength(2);
    await appendFlushed(log, 120, A, 65_536);
    expect(await sizes(log)).toEqual([8, 16]);
    expect(await lsns(log)).toEqual(upTo(150));
  });

  it("lets a record pass on that is longer than it is", async () => {
    const machine = new LogMachine();
    const log = await machine.open(big);
    await appendFlushed(log, 1, A, 12 * MIB);
    expect(await sizes(log)).toEqual([8, 16]);
    machine.kill();
    expect(await lsns(await machine.open(big))).toEqual([1]);
  });

  it("is followed by longer ones, of which the first takes the longest record there is", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ ...big, segmentBytes: 64 * MIB });
    for (let i = 0; i < 4; i++) await appendFlushed(log, 1, A, PAYLOAD_BYTES_MAX);
    expect(await sizes(log)).toEqual([8, 32, 64]);
  });

  it("is an ordinary one where a spare file lies ready", async () => {
    const machine = new LogMachine();
    const log = await machine.open(big);
    await appendFlushed(log, 30, A, 65_536);
    await machine.clock.settle();
    await log.close();
    const again = await machine.open(big);
    expect((await sizes(again)).at(-1)).toBe(16);
    expect(again.stats().spareFiles).toBe(0);
  });
});

describe("an index that is lost", () => {
  it("is rebuilt from the segments: every record is found again, by number and by time", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 3000);
    await appendFlushed(log, 20, B);
    await log.retain("checkpoint", (await readAll(log))[700]!.position);
    const kept = await readAll(log);
    const { firstSegment, activeSegment } = log.stats();
    await log.close();
    machine.kv = new SimKv({ rng: machine.rng });
    const again = await machine.open();
    expect(again.stats()).toMatchObject({
      firstSegment,
      opening: { rebuiltRows: activeSegment - firstSegment },
    });
    expect(await readAll(again)).toEqual(kept);
    for (const record of [kept[0]!, kept[1000]!, kept.at(-1)!]) {
      expect((await again.read(record.shard, record.lsn))?.position).toEqual(record.position);
      expect(await again.lsnAt(record.shard, record.timestamp)).toBe(record.lsn);
    }
  });

  it("that lacks only the newest segments is completed", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 1500);
    await machine.clock.settle();
    const early = machine.kv.crashImage({ survivalRate: 1 });
    await appendFlushed(log, 3000);
    await log.close();
    machine.kv = early;
    const again = await machine.open();
    expect(again.stats().opening.rebuiltRows).toBeGreaterThan(2);
    expect(again.stats().opening.rebuiltRows).toBeLessThan(again.stats().segments - 2);
    expect(await lsns(again)).toEqual(upTo(4500));
  });

  it("is rebuilt where its rows are damaged", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 3000);
    await log.close();
    const rows = await machine.kv.range("log-segments", {});
    await machine.kv.commit(
      rows.map(({ key, value }) => ({ table: "log-segments", key, value: value.fill(7, 20, 30) })),
    );
    const again = await machine.open();
    expect(await lsns(again)).toEqual(upTo(3000));
    expect((await again.read(A, lsn(5)))?.payload).toEqual(payloadOf(5));
  });
});

describe("a directory that is not as the log left it", () => {
  it("is refused when a segment is missing, naming the file, in the middle or at either end", async () => {
    for (const missing of [1, 2, 4]) {
      const machine = new LogMachine();
      const log = await machine.open();
      await appendFlushed(log, 1800);
      await log.close();
      await machine.disk.remove(path(missing));
      const error = await refusal(machine.open());
      expect(error).toMatchObject({ code: "corruption", details: { segment: missing } });
      expect(error.message).toContain(path(missing));
    }
  });

  it("is refused when a segment was put in another's place", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 1800);
    await log.close();
    await machine.disk.rename(path(1), path(4));
    await expect(machine.open()).rejects.toMatchObject({ code: "corruption" });
  });

  it("is refused when it belongs to another worker", async () => {
    const machine = new LogMachine();
    await (await machine.open({ worker: 1 })).close();
    const error = await refusal(machine.open({ worker: 0 }));
    expect(error).toMatchObject({ code: "config-invalid", details: { found: 1, expected: 0 } });
  });

  it("is refused with fewer shards than it holds, and opens with more", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 3, B);
    await log.close();
    await (await machine.open()).close();
    const error = await refusal(machine.open({ shardCount: 1 }));
    expect(error).toMatchObject({ code: "config-invalid", details: { key: "shardCount", min: 2 } });
    expect(await lsns(await machine.open({ shardCount: 64 }), B)).toEqual([1, 2, 3]);
  });

  it("is refused when a newer version wrote it", async () => {
    const machine = new LogMachine();
    await (await machine.open()).close();
    const file = await machine.disk.create(path(2));
    const header = encodeSegmentHeader({
      generation: 1,
      sequence: 2,
      worker: 0,
      byOpening: false,
      createdAtUs: 0,
      fileBytes: 4096,
      previousEnd: 0,
      previousGeneration: 0,
    });
    header[8] = 9;
    const { crc32c } = await import("@node-rs/crc32");
    header.fill(0, 12, 16);
    new DataView(header.buffer).setUint32(12, crc32c(header), true);
    await file.write(0, header, { sync: true });
    expect(await refusal(machine.open())).toMatchObject({ code: "format-too-new" });
  });

  it("is opened with what unfinished work left lying about, and tidied", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 5);
    await log.close();
    for (const name of ["0000000000000009.new", "spare-a.free", "spare-b.free", "notes.txt"]) {
      await (await machine.disk.create(`${DIR}/${name}`, { allocateBytes: 100 })).close();
    }
    const again = await machine.open({ sparesMax: 1 });
    expect(await lsns(again)).toEqual(upTo(5));
    expect(machine.disk.paths()).toEqual([path(1), path(2), `${DIR}/notes.txt`]);
  });
});

describe("a disk that refuses while the log is opened", () => {
  it("leaves everything as it was when it is full, and the log opens once there is room", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 50);
    machine.kill();
    machine.disk.capacityBytes = 65_536 + 10_000;
    expect(await refusal(machine.open())).toMatchObject({ code: "disk-full" });
    expect(machine.disk.paths()).toEqual([path(1)]);
    machine.disk.capacityBytes = Infinity;
    expect(await lsns(await machine.open())).toEqual(upTo(50));
  });

  it("says so when it is read-only", async () => {
    const machine = new LogMachine();
    await (await machine.open()).close();
    machine.disk.readOnly = true;
    expect(await refusal(machine.open())).toMatchObject({ code: "disk-read-only" });
  });
});
