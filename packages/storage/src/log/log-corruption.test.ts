/**
 * Every single-bit flip in a log file is detected, or lies in the last batch before a marker vouches for it, or changes
 * nothing that counts.
 */
import { isPinionError, lsn } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { flushPolicy } from "./flush-policy.ts";
import {
  A,
  appendFlushed,
  LogMachine,
  payloadOf,
  readAll,
  START_US,
  upTo,
} from "./log.test.fixture.ts";
import { RecordKind } from "./log.ts";
import { putHeader, recordBytes } from "./record-format.ts";

const SEGMENT = "log/0000000000000001.log";

/** What is left of the records after a flip: their count, or "detected". Anything else fails the test. */
async function afterFlip(
  from: LogMachine,
  path: string,
  bit: number,
): Promise<number | "detected"> {
  const machine = new LogMachine();
  machine.disk = from.disk.crashImage({ survivalRate: 1 });
  machine.kv = from.kv.crashImage({ survivalRate: 1 });
  machine.disk.flipBit(path, bit);
  try {
    const log = await machine.open();
    const records = await readAll(log);
    // One `expect` a flip: they are most of the time of thousands otherwise.
    const wrong = records.filter(
      ({ lsn: at, payload }, i) =>
        at !== lsn(i + 1) || Buffer.compare(payload, payloadOf(at, payload.length)) !== 0,
    );
    expect({ bit, wrong, appended: log.appended(A) }).toEqual({
      bit,
      wrong: [],
      appended: records.length,
    });
    return records.length;
  } catch (e) {
    // Damage to the header may look like damage, or like another worker's or a newer log: never like an emptier one.
    if (isPinionError(e) && e.code === "corruption") return "detected";
    throw e;
  }
}

/** The records of the small log below, their markers, and a good piece of what was never written. */
const FIRST_BIT = 4096 * 8;
const BITS = 880 * 8;

describe("every bit of a small log, flipped", () => {
  /** Three batches of records, the last of one record; what follows it differs. */
  async function smallLog(machine: LogMachine): Promise<void> {
    const log = await machine.open();
    for (const [count, bytes] of [
      [3, 20],
      [2, 60],
      [1, 200],
    ] as const) {
      await appendFlushed(log, count, A, bytes);
      await machine.clock.settle();
    }
  }

  it("is detected or changes nothing once a marker vouches for the last batch", async () => {
    const machine = new LogMachine();
    await smallLog(machine);
    await machine.clock.advance(11);
    const outcomes = new Map<number | "detected", number>();
    for (let bit = FIRST_BIT; bit < FIRST_BIT + BITS; bit++) {
      const outcome = await afterFlip(machine, SEGMENT, bit);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    // Nothing is ever missing; the bits that do not matter are the last marker's and those behind it.
    expect([...outcomes.keys()].toSorted()).toEqual([6, "detected"]);
    expect(outcomes.get("detected")).toBeGreaterThan(BITS / 2);
  });

  it("of the segment header is detected, whatever else is flipped or not", async () => {
    const machine = new LogMachine();
    await smallLog(machine);
    // segment-header.test.ts flips each of them; here a sample goes through an opening.
    for (let bit = 0; bit < FIRST_BIT; bit += 211)
      expect(await afterFlip(machine, SEGMENT, bit)).toBe("detected");
  });

  it("takes at most the last batch when no marker vouches for it yet", async () => {
    const machine = new LogMachine();
    await smallLog(machine);
    const fewest = new Set<number | "detected">();
    // What lies before the last two batches is vouched for as above.
    for (let bit = FIRST_BIT + BITS / 2; bit < FIRST_BIT + BITS; bit++) {
      fewest.add(await afterFlip(machine, SEGMENT, bit));
    }
    expect([...fewest].toSorted()).toEqual([5, 6, "detected"]);
  });
});

describe("a flip in a segment that is not the last", () => {
  it("is detected when its records are read, and nothing behind it is returned", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 1500);
    await log.close();
    const records = await readAll(await machine.open());
    const victim = records[200]!;
    machine.disk.flipBit(SEGMENT, (victim.position.offset + 40) * 8);
    machine.kill();
    const again = await machine.open();
    const seen: number[] = [];
    const reading = (async () => {
      for await (const record of again.reader()) seen.push(record.lsn);
    })();
    await expect(reading).rejects.toMatchObject({
      code: "corruption",
      details: { ...victim.position },
    });
    expect(seen).toEqual(upTo(200));
    await expect(again.read(A, lsn(201))).rejects.toMatchObject({ code: "corruption" });
    expect(again.appended(A)).toBe(1500);
  });

  it("of its header is detected before it is read", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 1500);
    await log.close();
    machine.disk.flipBit(SEGMENT, 20 * 8);
    await expect(readAll(await machine.open())).rejects.toMatchObject({ code: "corruption" });
  });
});

describe("damage that cannot be a torn tail", () => {
  it("names the damaged place and who says that it was flushed, and changes nothing", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 3);
    const { offset } = (await readAll(log))[1]!.position;
    await appendFlushed(log, 3);
    machine.disk.flipBit(SEGMENT, (offset + 33) * 8);
    machine.kill();
    const before = machine.disk.contents(SEGMENT);
    const opening = machine.open();
    await expect(opening).rejects.toThrow(
      /segment 1 offset \d+.*damaged.*says that everything before segment 1/,
    );
    await expect(opening).rejects.toMatchObject({
      code: "corruption",
      details: { segment: 1, offset },
    });
    expect(machine.disk.paths()).toEqual([SEGMENT]);
    expect(machine.disk.contents(SEGMENT)).toEqual(before);
  });

  it("is told from a torn tail by the index alone, when the log was closed and its last marker is gone", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 3);
    const { offset } = (await readAll(log))[1]!.position;
    await log.close();
    // Both the record and everything behind it.
    const file = await machine.disk.open(SEGMENT);
    await file.write(offset, new Uint8Array(4096), { sync: true });
    await expect(machine.open()).rejects.toThrow(/the index says that everything before/);
  });

  it("is detected in the heads of a segment", async () => {
    for (const flush of [flushPolicy.group, flushPolicy.async]) {
      const machine = new LogMachine();
      const log = await machine.open({ flush });
      await appendFlushed(log, 700);
      expect(log.stats().activeSegment).toBe(2);
      await machine.clock.advance(11);
      machine.disk.flipBit("log/0000000000000002.log", 4140 * 8);
      machine.kill();
      await expect(machine.open({ flush })).rejects.toMatchObject({ code: "corruption" });
    }
  });

  it("is a record that does not go on where its shard stopped, however valid it is by itself", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 3);
    const { offset } = log.position();
    const { generation } = (await log.segment(1))!;
    machine.kill();
    for (const [number, shard] of [
      [5, 0],
      [3, 0],
      [1, 63],
    ] as const) {
      const bytes = new Uint8Array(recordBytes(8));
      putHeader(new Uint32Array(bytes.buffer), 0, 8, number, START_US, RecordKind.commit, shard, 1);
      const file = await machine.disk.open(SEGMENT);
      await file.writeRecords(offset, bytes, { sync: true, generation });
      await expect(machine.open()).rejects.toMatchObject({
        code: "corruption",
        details: { segment: 1, offset },
      });
    }
  });
});
