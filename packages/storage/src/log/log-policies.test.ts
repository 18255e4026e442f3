import { lsn } from "@pinion/core";
import { describe, expect, it } from "vitest";
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
import type { FlushPolicy } from "./log.ts";
import type { SegmentedLog } from "./segmented-log.ts";

async function freshLog(flush: FlushPolicy): Promise<{ machine: LogMachine; log: SegmentedLog }> {
  const machine = new LogMachine();
  const log = await machine.open({ flush });
  return { machine, log };
}

function append(log: SegmentedLog, count: number): void {
  for (let i = 0; i < count; i++) expect(log.tryAppend(input(), payloadOf(i))).toBeDefined();
}

const totalFlushes = (log: SegmentedLog): number =>
  Object.values(log.stats().flushes).reduce((sum, count) => sum + count, 0);

describe("group", () => {
  it("puts everything appended in one turn into one flush", async () => {
    const { machine, log } = await freshLog(flushPolicy.group);
    append(log, 5);
    expect(log.flushed(A)).toBe(0);
    await machine.clock.settle();
    expect(log.flushed(A)).toBe(5);
    expect(log.stats().flushes.group).toBe(1);
    expect(log.stats().recordsPerFlush).toMatchObject({ count: 1, max: 5 });
  });

  it("lets what comes during a flush share the next one", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush: flushPolicy.group });
    const seen: number[] = [];
    log.onFlushed(() => {
      seen.push(log.flushed(A));
      if (seen.length === 1) append(log, 3);
    });
    append(log, 1);
    await machine.clock.settle();
    expect(seen).toEqual([1, 4]);
    expect(log.stats().flushes.group).toBe(2);
  });
});

describe("sync", () => {
  it("flushes every record by itself, in order", async () => {
    const { machine, log } = await freshLog(flushPolicy.sync);
    const seen: number[] = [];
    log.onFlushed(() => seen.push(log.flushed(A)));
    append(log, 4);
    await machine.clock.settle();
    expect(seen).toEqual([1, 2, 3, 4]);
    expect(log.stats().recordsPerFlush).toMatchObject({ count: 4, max: 1 });
  });
});

describe("batched", () => {
  it("waits for its number of records", async () => {
    const { machine, log } = await freshLog(flushPolicy.batched(3));
    append(log, 2);
    await machine.clock.advance(9.9);
    expect(log.flushed(A)).toBe(0);
    append(log, 1);
    await machine.clock.settle();
    expect(log.flushed(A)).toBe(3);
    expect(log.stats().flushes).toMatchObject({ batched: 1, periodic: 0 });
  });

  it("does not let the first of them wait longer than 10 ms", async () => {
    const { machine, log } = await freshLog(flushPolicy.batched(3));
    append(log, 1);
    await machine.clock.advance(6);
    append(log, 1);
    await machine.clock.advance(3.9);
    expect(log.flushed(A)).toBe(0);
    await machine.clock.advance(0.1);
    expect(log.flushed(A)).toBe(2);
    expect(log.stats().flushes).toMatchObject({ batched: 0, periodic: 1 });
  });

  it("counts the wait of a later batch from its own first record", async () => {
    const { machine, log } = await freshLog(flushPolicy.batched(3));
    append(log, 1);
    await machine.clock.advance(5);
    append(log, 2);
    await machine.clock.settle();
    expect(log.flushed(A)).toBe(3);
    append(log, 1);
    await machine.clock.advance(9.9);
    expect(log.flushed(A)).toBe(3);
    await machine.clock.advance(0.1);
    expect(log.flushed(A)).toBe(4);
  });

  it("flushes at once when asked to", async () => {
    const { machine, log } = await freshLog(flushPolicy.batched(1000));
    append(log, 2);
    log.requestFlush();
    await machine.clock.settle();
    expect(log.flushed(A)).toBe(2);
    expect(log.stats().flushes).toMatchObject({ forced: 1 });
  });
});

describe("batchedOrPeriodic", () => {
  it("flushes at its number or its time, whichever comes first", async () => {
    const { machine, log } = await freshLog(flushPolicy.batchedOrPeriodic(3, 4));
    append(log, 3);
    await machine.clock.settle();
    expect(log.flushed(A)).toBe(3);
    append(log, 1);
    await machine.clock.advance(3.9);
    expect(log.flushed(A)).toBe(3);
    await machine.clock.advance(0.1);
    expect(log.flushed(A)).toBe(4);
    expect(log.stats().flushes).toMatchObject({ batched: 1, periodic: 1 });
  });
});

describe("periodic", () => {
  it("flushes when its time has passed, however many records there are", async () => {
    const { machine, log } = await freshLog(flushPolicy.periodic(5));
    append(log, 50);
    await machine.clock.advance(4.9);
    expect(log.flushed(A)).toBe(0);
    await machine.clock.advance(0.1);
    expect(log.flushed(A)).toBe(50);
  });

  it("loses no more than what came within its time", async () => {
    const { machine, log } = await freshLog(flushPolicy.periodic(5));
    append(log, 7);
    await machine.clock.advance(5);
    append(log, 3);
    await machine.clock.advance(4.9);
    machine.crash();
    expect(await lsns(await machine.open())).toEqual(upTo(7));
  });
});

describe("async", () => {
  it("hands records to the kernel within 10 ms but flushes none", async () => {
    const { machine, log } = await freshLog(flushPolicy.async);
    append(log, 3);
    await machine.clock.advance(10);
    expect(log.stats()).toMatchObject({ writes: 1, records: 3 });
    expect(totalFlushes(log)).toBe(0);
    expect(log.flushed(A)).toBe(0);
    machine.kill();
    expect(await lsns(await machine.open())).toEqual(upTo(3));
  });

  it("flushes for whoever waits for it", async () => {
    const { machine, log } = await freshLog(flushPolicy.async);
    append(log, 3);
    await machine.clock.advance(10);
    await log.whenFlushed(A, lsn(3));
    expect(log.flushed(A)).toBe(3);
    machine.crash();
    expect(await lsns(await machine.open())).toEqual(upTo(3));
  });

  it("flushes what was only written when asked to, with nothing new to write", async () => {
    const { machine, log } = await freshLog(flushPolicy.async);
    append(log, 3);
    await machine.clock.advance(10);
    log.requestFlush();
    await machine.clock.settle();
    expect(log.flushed(A)).toBe(3);
    expect(log.stats()).toMatchObject({ writes: 1, flushes: { forced: 1 } });
  });

  it("flushes a segment once it is full", async () => {
    const { machine, log } = await freshLog(flushPolicy.async);
    while (log.stats().activeSegment < 2) {
      append(log, 10);
      await machine.clock.advance(10);
    }
    await machine.clock.settle();
    expect(log.stats().flushes["segment-end"]).toBe(1);
    expect(log.flushed(A)).toBeGreaterThan(0);
    expect(log.flushed(A)).toBeLessThan(log.appended(A));
  });

  it("goes on while a few full segments wait for a slow disk, then waits for the oldest", async () => {
    const { machine, log } = await slowlySynced();
    await appendUntilStuck(machine, log);
    // Five are written to their ends, what follows is in memory.
    expect(log.stats().activeSegment).toBe(5);
    expect(log.flushed(A)).toBe(0);
    await machine.clock.advance(SYNC_MS);
    await appendUntilStuck(machine, log);
    expect(log.stats().activeSegment).toBe(6);
    expect(log.flushed(A)).toBeGreaterThan(300);
    expect(log.flushed(A)).toBeLessThan(1000);
    machine.crash(0);
    const kept = await lsns(await machine.open());
    expect(kept).toEqual(upTo(kept.length));
    expect(kept.length).toBeGreaterThanOrEqual(log.flushed(A));
  });

  it("never calls a segment flushed behind one whose flush failed", async () => {
    const { machine, log } = await slowlySynced();
    await appendUntilStuck(machine, log);
    machine.disk.fail({ kind: "sync", nth: 2, error: "EIO" });
    await machine.clock.advance(10 * SYNC_MS);
    expect(log.failure).toMatchObject({ code: "io-error" });
    expect(log.stats().flushes["segment-end"]).toBe(1);
    machine.crash(0);
    const kept = await lsns(await machine.open());
    expect(kept).toEqual(upTo(kept.length));
    expect(kept.length).toBeGreaterThanOrEqual(log.flushed(A));
  });

  it("flushes nothing on request once the flush of a full segment has failed", async () => {
    const { machine, log } = await slowlySynced();
    for (let i = 0; log.position().segment < 2; i++) {
      if (log.tryAppend(input(), payloadOf(i)) === undefined) await machine.clock.settle();
    }
    append(log, 20);
    await machine.clock.advance(50);
    expect(log.stats().waitingRecords).toBe(0);
    machine.disk.fail({ kind: "sync", error: "EIO" });
    const flushed = log.whenFlushed(A, log.appended(A));
    flushed.catch(() => {});
    log.requestFlush();
    await machine.clock.advance(5 * SYNC_MS);
    await expect(flushed).rejects.toMatchObject({ code: "log-closed" });
    expect(log.failure).toMatchObject({ code: "io-error" });
    expect(log.flushed(A)).toBe(0);
  });

  it("waits for all full segments before it calls a later record flushed", async () => {
    const { machine, log } = await slowlySynced();
    for (let i = 0; log.position().segment < 4; i++) {
      if (log.tryAppend(input(), payloadOf(i)) === undefined) await machine.clock.settle();
    }
    const last = log.appended(A);
    const flushed = log.whenFlushed(A, last);
    log.requestFlush();
    // Three full segments, then its own.
    await machine.clock.advance(3.5 * SYNC_MS);
    expect(log.flushed(A)).toBeLessThan(last);
    await machine.clock.advance(SYNC_MS);
    await flushed;
    machine.crash(0);
    expect(await lsns(await machine.open())).toEqual(upTo(last));
  });

  it("flushes everything when it is closed", async () => {
    const { machine, log } = await freshLog(flushPolicy.async);
    append(log, 3);
    await log.close();
    expect(log.flushed(A)).toBe(3);
    machine.crash(0);
    expect(await lsns(await machine.open())).toEqual(upTo(3));
  });
});

describe.each([
  flushPolicy.group,
  flushPolicy.sync,
  flushPolicy.batched(5),
  flushPolicy.batchedOrPeriodic(5, 5),
  flushPolicy.periodic(5),
  flushPolicy.async,
])("under $name", (flush) => {
  it("a record at or below the flushed LSN survives power loss, in every shard", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush });
    for (let i = 0; i < 200; i++) await log.append(input(i % 3 === 0 ? B : A), payloadOf(i));
    await machine.clock.advance(10);
    const flushed = [log.flushed(A), log.flushed(B)] as const;
    machine.crash(0);
    const again = await machine.open({ flush });
    expect(again.appended(A)).toBeGreaterThanOrEqual(flushed[0]);
    expect(again.appended(B)).toBeGreaterThanOrEqual(flushed[1]);
    expect(await lsns(again, A)).toEqual(upTo(again.appended(A)));
    expect(await lsns(again, B)).toEqual(upTo(again.appended(B)));
  });

  it("a segment is full, the next one goes on, and nothing is lost in between", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush });
    await appendFlushed(log, 2000);
    expect(log.stats().segments).toBeGreaterThan(3);
    const records = await readAll(log);
    expect(records.map((record) => record.lsn)).toEqual(upTo(2000));
    expect(
      records.every(({ lsn: n, payload }) => Buffer.compare(payload, payloadOf(n)) === 0),
    ).toBe(true);
    await log.close();
    expect(await lsns(await machine.open({ flush }))).toEqual(upTo(2000));
  });
});

describe("the marker that vouches", () => {
  it("is written 10 ms after the last flush, once, and again only after new records", async () => {
    const { machine, log } = await freshLog(flushPolicy.group);
    await appendFlushed(log, 3);
    await machine.clock.advance(9.9);
    expect(log.stats().flushes.idle).toBe(0);
    await machine.clock.advance(0.2);
    expect(log.stats().flushes.idle).toBe(1);
    await machine.clock.advance(1000);
    expect(log.stats().flushes.idle).toBe(1);
    await appendFlushed(log, 1);
    await machine.clock.advance(1000);
    expect(log.stats().flushes.idle).toBe(2);
  });

  it("waits until the log has rested 10 ms", async () => {
    const { machine, log } = await freshLog(flushPolicy.group);
    for (let i = 0; i < 5; i++) {
      await appendFlushed(log, 1);
      await machine.clock.advance(7);
    }
    expect(log.stats().flushes.idle).toBe(0);
    await machine.clock.advance(3.1);
    expect(log.stats().flushes.idle).toBe(1);
  });

  it("leaves nothing to be copied at the next opening", async () => {
    const { machine, log } = await freshLog(flushPolicy.group);
    await appendFlushed(log, 3);
    machine.kill();
    const unvouched = await machine.open();
    expect(unvouched.stats().opening.unvouchedRecords).toBe(3);
    await appendFlushed(unvouched, 3);
    await machine.clock.advance(11);
    machine.kill();
    const vouched = await machine.open();
    expect(vouched.stats().opening.unvouchedRecords).toBe(0);
    expect(await lsns(vouched)).toEqual(upTo(6));
  });
});

describe("onFlushed", () => {
  it("is called after the LSN has moved, in the order of subscription, until it is taken back", async () => {
    const { log } = await freshLog(flushPolicy.group);
    const seen: string[] = [];
    const stop = log.onFlushed(() => seen.push(`first ${log.flushed(A)}`));
    log.onFlushed(() => seen.push(`second ${log.flushed(A)}`));
    await appendFlushed(log, 1);
    stop();
    await appendFlushed(log, 1);
    expect(seen).toEqual(["first 1", "second 1", "second 2"]);
  });
});

describe("whenFlushed", () => {
  it("resolves at once for what is flushed, and for each waiter as its record is", async () => {
    const { log } = await freshLog(flushPolicy.sync);
    await appendFlushed(log, 2);
    await log.whenFlushed(A, lsn(1));
    const order: number[] = [];
    append(log, 3);
    await Promise.all(
      [5, 3, 4, 3].map((n) => log.whenFlushed(A, lsn(n)).then(() => order.push(n))),
    );
    expect(order).toEqual([3, 3, 4, 5]);
  });

  it("refuses to wait for a record that nobody appended", async () => {
    const { log } = await freshLog(flushPolicy.group);
    await expect(log.whenFlushed(A, lsn(1))).rejects.toMatchObject({ code: "invalid-argument" });
  });
});
