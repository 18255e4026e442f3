import { hlcTime, lsn, shardId } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { flushPolicy } from "./flush-policy.ts";
import {
  A,
  appendFlushed,
  B,
  input,
  LogMachine,
  lsns,
  payloadOf,
  readAll,
  START_US,
  upTo,
} from "./log.test.fixture.ts";
import type { LogRecord } from "./log.ts";
import type { SegmentedLog } from "./segmented-log.ts";

/** A log of several segments in which shard A has 1 … 1,000 and B every tenth as many. */
async function longLog(machine: LogMachine): Promise<SegmentedLog> {
  const log = await machine.open({ segmentBytes: 256 * 1024 });
  for (let i = 1; i <= 1000; i++) {
    await log.append(input(A, START_US + i * 10), payloadOf(i, 900));
    if (i % 10 === 0) await log.append(input(B, START_US + i * 10 + 5), payloadOf(i / 10, 40));
  }
  log.requestFlush();
  await log.whenFlushed(B, log.appended(B));
  return log;
}

describe("reading one record", () => {
  it("finds any of them, in full segments and in the active one, also after reopening", async () => {
    const machine = new LogMachine();
    let log = await longLog(machine);
    expect(log.stats().segments).toBeGreaterThan(3);
    for (let life = 0; life < 2; life++) {
      for (const n of [1, 2, 499, 500, 999, 1000]) {
        const record = await log.read(A, lsn(n));
        expect(record).toMatchObject({
          shard: A,
          lsn: n,
          term: 1,
          kind: 1,
          timestamp: START_US + n * 10,
        });
        expect(record?.payload).toEqual(payloadOf(n, 900));
      }
      for (const n of [1, 50, 100])
        expect((await log.read(B, lsn(n)))?.payload).toEqual(payloadOf(n, 40));
      await log.close();
      log = await machine.open({ segmentBytes: 256 * 1024 });
    }
  });

  it("answers undefined for what was never appended, is not flushed yet, or was let go", async () => {
    const machine = new LogMachine();
    const log = await longLog(machine);
    for (const n of [0, -1, 1001, Number.NaN]) expect(await log.read(A, lsn(n))).toBeUndefined();
    expect(await log.read(shardId(99), lsn(1))).toBeUndefined();
    log.tryAppend(input(), payloadOf(1001));
    expect(await log.read(A, lsn(1001))).toBeUndefined();
    await log.whenFlushed(A, lsn(1001));
    expect(await log.read(A, lsn(1001))).toBeDefined();
    await log.retain("checkpoint", log.position());
    expect(await log.read(A, lsn(1))).toBeUndefined();
    expect(await log.read(A, lsn(1001))).toBeDefined();
  });

  it("reads a few blocks however long the log is", async () => {
    const machine = new LogMachine();
    const log = await longLog(machine);
    await log.close();
    const again = await machine.open({ segmentBytes: 256 * 1024 });
    await again.read(A, lsn(400));
    const before = machine.disk.operationCount;
    await again.read(A, lsn(401));
    expect(machine.disk.operationCount - before).toBeLessThanOrEqual(4);
  });

  it("shows written records that are not flushed where replies do not wait for the flush", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush: flushPolicy.async });
    log.tryAppend(input(), payloadOf(1));
    expect(await log.read(A, lsn(1))).toBeUndefined();
    await machine.clock.advance(10);
    expect(log.flushed(A)).toBe(0);
    expect((await log.read(A, lsn(1)))?.payload).toEqual(payloadOf(1));
    expect(await lsns(log)).toEqual([1]);
  });
});

describe("a reader", () => {
  it("gives every record in the order of the appends, none of the log's own", async () => {
    const log = await longLog(new LogMachine());
    const records = await readAll(log);
    expect(records).toHaveLength(1100);
    expect(records.map(({ timestamp }) => timestamp)).toEqual(
      records.map(({ timestamp }) => timestamp).toSorted((a, b) => a - b),
    );
  });

  it("begins where it is told to, be it the place of a record or of the next append", async () => {
    const log = await longLog(new LogMachine());
    const records = await readAll(log);
    for (const i of [0, 1, 550, 1099]) {
      const rest = await readAll(log, { from: records[i]!.position });
      expect(rest).toEqual(records.slice(i));
    }
    const end = log.position();
    expect(await readAll(log, { from: end })).toEqual([]);
    await appendFlushed(log, 2);
    expect((await readAll(log, { from: end })).map((record) => record.lsn)).toEqual([1001, 1002]);
  });

  it("gives only the shards it is asked for", async () => {
    const log = await longLog(new LogMachine());
    const records = await readAll(log, { shards: new Set([B]) });
    expect(records.map((record) => record.lsn)).toEqual(upTo(100));
  });

  it("that follows gets what comes later, across segments, until it is aborted", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    const abort = new AbortController();
    const seen: number[] = [];
    const following = (async () => {
      for await (const record of log.reader({ follow: true, signal: abort.signal }))
        seen.push(record.lsn);
    })();
    for (let i = 0; i < 8; i++) {
      await appendFlushed(log, 100);
      await machine.clock.settle();
      expect(seen).toEqual(upTo((i + 1) * 100));
    }
    expect(log.stats().activeSegment).toBeGreaterThan(1);
    abort.abort(new Error("enough"));
    await expect(following).rejects.toThrow("enough");
    expect(log.stats().readers).toBe(0);
  });

  it("that follows from a place nothing was written to yet waits for it", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush: flushPolicy.batched(1000), stagingBytes: 65_536 });
    while (log.position().segment === 1) {
      if (log.tryAppend(input(), payloadOf(1, 4000)) === undefined) await machine.clock.settle();
    }
    const iterator = log.reader({ from: log.position(), follow: true })[Symbol.asyncIterator]();
    const first = iterator.next();
    await machine.clock.settle();
    log.tryAppend(input(), payloadOf(99));
    const expected = log.appended(A);
    log.requestFlush();
    expect(((await first).value as LogRecord).lsn).toBe(expected);
    await iterator.return?.();
  });

  it("does not see what is not flushed", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush: flushPolicy.batched(1000) });
    await appendFlushed(log, 2);
    log.tryAppend(input(), payloadOf(3));
    expect(await lsns(log)).toEqual([1, 2]);
  });

  it("is refused beyond the bound, and makes room when it ends", async () => {
    const log = await new LogMachine().open({ readersMax: 2 });
    await appendFlushed(log, 2);
    const open = [0, 1].map(() => log.reader()[Symbol.asyncIterator]());
    for (const reader of open) await reader.next();
    await expect(readAll(log)).rejects.toMatchObject({ code: "overloaded", details: { max: 2 } });
    await open[0]?.return?.();
    expect(await lsns(log)).toEqual([1, 2]);
  });

  it("is told when its place is gone, or is none", async () => {
    const log = await longLog(new LogMachine());
    await log.retain("checkpoint", log.position());
    await expect(readAll(log, { from: { segment: 1, offset: 4096 } })).rejects.toMatchObject({
      code: "not-found",
    });
    const { segment, offset } = log.position();
    for (const from of [
      { segment: segment + 1, offset: 4096 },
      { segment, offset: offset + 8 },
      { segment, offset: 4099 },
      { segment, offset: -8 },
    ]) {
      await expect(readAll(log, { from })).rejects.toMatchObject({ code: "invalid-argument" });
    }
    await expect(readAll(log, { signal: AbortSignal.abort(new Error("no")) })).rejects.toThrow(
      "no",
    );
  });

  it("keeps its segment from being removed while it stands in it, and no longer", async () => {
    const machine = new LogMachine();
    const log = await longLog(machine);
    const reader = log.reader()[Symbol.asyncIterator]();
    await reader.next();
    await log.retain("checkpoint", log.position());
    expect(log.stats().firstSegment).toBe(1);
    let read = 1;
    while (!(await reader.next()).done) read++;
    expect(read).toBe(1100);
    await machine.clock.settle();
    expect(log.stats().firstSegment).toBe(log.stats().activeSegment);
  });

  it("keeps only a bounded number of files open", async () => {
    const log = await longLog(new LogMachine());
    for (let n = 1; n <= 1000; n += 50) await log.read(A, lsn(n));
    expect(log.stats().segments).toBeGreaterThan(3);
    const before = log.stats().openFiles;
    const few = await new LogMachine().open({ segmentBytes: 65_536, idleFilesMax: 1 });
    await appendFlushed(few, 2000);
    for (let n = 1; n <= 2000; n += 100) await few.read(A, lsn(n));
    expect(few.stats().openFiles).toBeLessThanOrEqual(before + 2);
  });
});

describe("the newest record before a time", () => {
  it("is found for any time, in any segment", async () => {
    const log = await longLog(new LogMachine());
    const at = (us: number): Promise<number> => log.lsnAt(A, hlcTime(START_US + us));
    expect(await at(9)).toBe(0);
    expect(await at(10)).toBe(1);
    expect(await at(19)).toBe(1);
    for (const n of [2, 137, 500, 999, 1000]) {
      expect(await at(n * 10)).toBe(n);
      expect(await at(n * 10 - 1)).toBe(n - 1);
    }
    expect(await at(10 ** 9)).toBe(1000);
    expect(await log.lsnAt(B, hlcTime(START_US + 5004))).toBe(49);
    expect(await log.lsnAt(shardId(3), hlcTime(START_US + 5004))).toBe(0);
  });

  it("is none when the log no longer holds it", async () => {
    const log = await longLog(new LogMachine());
    await log.retain("checkpoint", log.position());
    const [first] = await readAll(log, { shards: new Set([A]) });
    expect(await log.lsnAt(A, hlcTime(START_US + 100))).toBe(0);
    expect(await log.lsnAt(A, first!.timestamp)).toBe(first!.lsn);
  });

  it("is not one that is not flushed yet", async () => {
    const log = await new LogMachine().open({ flush: flushPolicy.batched(1000) });
    await appendFlushed(log, 2);
    log.tryAppend(input(A, START_US + 3), payloadOf(3));
    expect(await log.lsnAt(A, hlcTime(START_US + 100))).toBe(2);
  });
});
