import { isPinionError, shardId, term, hlcTime } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { flushPolicy } from "./flush-policy.ts";
import {
  A,
  appendFlushed,
  input,
  LogMachine,
  lsns,
  payloadOf,
  readAll,
  upTo,
} from "./log.test.fixture.ts";
import { RecordKind } from "./log.ts";
import type { SegmentedLog } from "./segmented-log.ts";

const MIB = 1024 * 1024;

/** Appends without giving the log a turn to flush. @returns how many it took */
function fill(log: SegmentedLog, bytes = 1000): number {
  let taken = 0;
  while (log.tryAppend(input(), payloadOf(log.appended(A) + 1, bytes)) !== undefined) taken++;
  return taken;
}

describe("a full staging buffer", () => {
  it("refuses appends instead of growing, and takes them again once it was written", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    expect(fill(log)).toBe(15);
    expect(log.stats().refused["buffer-full"]).toBe(1);
    expect(log.backpressure()).toBeUndefined();
    await machine.clock.settle();
    expect(log.flushed(A)).toBe(15);
    expect(fill(log)).toBe(15);
  });

  it("lets `append` wait its turn, and nobody overtakes", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    const taken = fill(log);
    const waiting = upTo(40).map((i) => log.append(input(), payloadOf(taken + i, 1000)));
    expect(log.queuedBytes).toBe(40_000);
    expect(log.tryAppend(input(), payloadOf(0))).toBeUndefined();
    expect(log.stats().refused["waiting-appends"]).toBe(1);
    expect(await Promise.all(waiting)).toEqual(upTo(40).map((i) => taken + i));
    expect(log.queuedBytes).toBe(0);
    expect(log.tryAppend(input(), payloadOf(taken + 41))).toBe(taken + 41);
    await appendFlushed(log, 1);
    const records = await readAll(log);
    expect(
      records
        .slice(0, taken + 40)
        .every(({ lsn, payload }) => Buffer.compare(payload, payloadOf(lsn, 1000)) === 0),
    ).toBe(true);
  });

  it("lets an `append` that waits be given up, and goes on with the others", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    const taken = fill(log);
    const abort = new AbortController();
    const given = log.append(input(), payloadOf(0, 1000), abort.signal);
    const kept = log.append(input(), payloadOf(taken + 1, 1000));
    abort.abort(new Error("no longer wanted"));
    await expect(given).rejects.toThrow("no longer wanted");
    expect(await kept).toBe(taken + 1);
    await expect(log.append(input(), payloadOf(1), abort.signal)).rejects.toThrow(
      "no longer wanted",
    );
  });

  it("lets only so many appends wait", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ appendQueueMax: 2 });
    fill(log);
    const waiting = [1, 2].map((i) => log.append(input(), payloadOf(i, 1000)));
    await expect(log.append(input(), payloadOf(3, 1000))).rejects.toMatchObject({
      code: "overloaded",
      retry: "backoff",
    });
    await Promise.all(waiting);
  });
});

describe("a record that is larger than", () => {
  it("the staging buffer gets memory for its own write, and the buffer is small again afterwards", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ segmentBytes: MIB });
    await appendFlushed(log, 1);
    expect(await log.append(input(), payloadOf(2, 500_000))).toBe(2);
    await appendFlushed(log, 1);
    expect(fill(log)).toBe(15);
    const records = await readAll(log);
    expect(records.slice(0, 3).map(({ payload }) => payload.length)).toEqual([100, 500_000, 100]);
  });

  it("what is left of a segment begins the next one, however small the staging buffer is", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    for (const bytes of [40_000, 50_000, 60_000]) {
      const n = log.appended(A) + 1;
      expect(await log.append(input(), payloadOf(n, bytes))).toBe(n);
      await machine.clock.settle();
    }
    expect(log.stats().activeSegment).toBe(3);
    expect((await readAll(log)).map(({ lsn, payload }) => payload[9] === lsn)).toEqual([
      true,
      true,
      true,
    ]);
  });

  it("a whole segment, or 16 MiB and 64 KiB, is refused with its size and the limit", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    const tooLarge = { code: "record-too-large", details: { bytes: 65_536 } };
    await expect(log.append(input(), new Uint8Array(65_536))).rejects.toMatchObject(tooLarge);
    expect(() => log.tryAppend(input(), new Uint8Array(65_536))).toThrow(/65536 bytes/);
    const large = await new LogMachine().open({ segmentBytes: 32 * MIB });
    const most = 16 * MIB + 65_536;
    expect(await large.append(input(), payloadOf(1, most))).toBe(1);
    expect(() => large.tryAppend(input(), new Uint8Array(most + 1))).toThrow(/record of \d+ bytes/);
    expect(large.appended(A)).toBe(1);
  });
});

describe("an append of something that is no record", () => {
  it.each([
    ["a shard the log does not have", { shard: shardId(4) }],
    ["a shard that is no whole number", { shard: shardId(0.5) }],
    ["a negative shard", { shard: shardId(-1) }],
    ["a kind of the log itself", { kind: RecordKind.marker }],
    ["an unknown kind", { kind: 29 as RecordKind }],
    ["a term that is too large", { term: term(2 ** 32) }],
    ["a time that is none", { timestamp: hlcTime(Number.NaN) }],
    ["a negative time", { timestamp: hlcTime(-1) }],
  ])("is refused: %s", async (_, wrong) => {
    const log = await new LogMachine().open();
    const attempt = { ...input(), ...wrong };
    expect(() => log.tryAppend(attempt, payloadOf(1))).toThrow(/^append: /);
    await expect(log.append(attempt, payloadOf(1))).rejects.toSatisfy((e) =>
      isPinionError(e, "invalid-argument"),
    );
    expect(await appendFlushed(log, 1)).toBe(1);
  });
});

describe("a disk that is full when the next segment is to be made", () => {
  it("refuses appends, says why, and takes them again when there is room; nothing is lost", async () => {
    const machine = new LogMachine(1, { capacityBytes: 2 * 65_536 + 20_000 });
    const log = await machine.open();
    while (fill(log) > 0) await machine.clock.settle();
    const taken = log.appended(A);
    expect(log.failure).toBeUndefined();
    expect(log.flushed(A)).toBe(taken);
    expect(log.backpressure()).toMatchObject({ code: "disk-full", retry: "backoff" });
    expect(log.stats().troubles).toEqual([expect.stringMatching(/^next segment: .*no space/)]);
    const waiting = log.append(input(), payloadOf(taken + 1, 1000));
    await machine.clock.advance(10_000);
    expect(log.appended(A)).toBe(taken);
    machine.disk.capacityBytes = 10 * 65_536;
    await machine.clock.advance(5000);
    expect(await waiting).toBe(taken + 1);
    expect(log.backpressure()).toBeUndefined();
    await appendFlushed(log, 100);
    expect(await lsns(log)).toEqual(upTo(taken + 101));
  });

  it("leaves no half-made files behind", async () => {
    const machine = new LogMachine(1, { capacityBytes: 65_536 + 20_000 });
    const log = await machine.open();
    fill(log);
    await machine.clock.settle();
    while (log.backpressure() === undefined) {
      fill(log);
      await machine.clock.settle();
    }
    await machine.clock.advance(60_000);
    expect(machine.disk.paths()).toEqual(["log/0000000000000001.log"]);
  });
});

describe("appends that outrun the making of segments", () => {
  it("have the next one made as soon as one is in use", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush: flushPolicy.batched(1000), stagingBytes: 65_536 });
    fill(log, 2000);
    expect(log.stats().refused["no-segment"]).toBe(1);
    await appendFlushed(log, 1, A, 2000);
    await machine.clock.settle();
    expect(log.stats().activeSegment).toBe(2);
    expect(machine.segmentPaths()).toContain("log/0000000000000003.log");
  });
});
