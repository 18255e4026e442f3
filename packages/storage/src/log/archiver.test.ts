import { PinionError, seededRng } from "@pinion/core";
import { crc32c } from "@node-rs/crc32";
import { describe, expect, it } from "vitest";
import { SimDisk } from "../disk/sim-disk.ts";
import { FilesystemArchive, type ArchivedSegment, type SegmentArchive } from "./archive.ts";
import { A, appendFlushed, input, LogMachine, lsns, payloadOf, upTo } from "./log.test.fixture.ts";
import type { SegmentedLog } from "./segmented-log.ts";

/** An archive whose `put` waits for the test's word and may be told to fail. */
class HeldArchive implements SegmentArchive {
  readonly put_: ArchivedSegment[] = [];
  held = true;
  failure: Error | undefined;
  #waiting: (() => void)[] = [];

  async put(
    segment: ArchivedSegment,
    content: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    if (this.failure) throw this.failure;
    let checksum = 0;
    for await (const piece of content) checksum = crc32c(piece, checksum);
    expect(checksum).toBe(segment.checksum);
    if (this.held) {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push(resolve);
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      });
    }
    this.put_.push(segment);
  }

  release(): void {
    this.held = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  get(): AsyncIterable<Uint8Array> {
    throw new Error("not used here");
  }

  list(): Promise<ArchivedSegment[]> {
    return Promise.resolve(this.put_);
  }

  async remove(): Promise<void> {}
}

async function fillSegments(log: SegmentedLog, count: number): Promise<void> {
  const goal = log.stats().activeSegment + count;
  while (log.stats().activeSegment < goal) {
    if (log.tryAppend(input(), payloadOf(log.appended(A) + 1, 1000)) === undefined)
      await flush(log);
  }
  await flush(log);
}

async function flush(log: SegmentedLog): Promise<void> {
  log.requestFlush();
  await log.whenFlushed(A, log.appended(A));
}

describe("a log with an archive", () => {
  it("copies each segment there once it is full, byte for byte, and says so in the index", async () => {
    const machine = new LogMachine();
    const archive = new FilesystemArchive(new SimDisk({ rng: seededRng(9) }), "far");
    const log = await machine.open({ archive: { store: archive } });
    await fillSegments(log, 3);
    await machine.clock.settle();
    const kept = await archive.list(0);
    expect(kept.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    for (const segment of kept) {
      const parts: Uint8Array[] = [];
      for await (const piece of archive.get(segment)) parts.push(new Uint8Array(piece));
      const file = machine.disk.contents(machine.segmentPaths()[segment.sequence - 1]!);
      expect(Buffer.compare(Buffer.concat(parts), file.subarray(0, segment.bytes))).toBe(0);
      expect(await log.segment(segment.sequence)).toMatchObject({
        status: "archived",
        checksum: segment.checksum,
      });
    }
    expect(log.archiveHealth()).toMatchObject({
      state: "ok",
      backlogSegments: 0,
      backlogBytes: 0,
      archivedUpTo: 3,
    });
  });

  it("lets go of no segment that the archive lacks", async () => {
    const machine = new LogMachine();
    const store = new HeldArchive();
    const log = await machine.open({ archive: { store } });
    await fillSegments(log, 3);
    await log.retain("checkpoint", log.position());
    expect(log.stats().firstSegment).toBe(1);
    store.release();
    await machine.clock.settle();
    expect(log.stats()).toMatchObject({ firstSegment: 4, segments: 1 });
  });

  it("refuses appends above either bound of its backlog, and takes them again at half of both", async () => {
    // Three full segments are just above the bytes, one is below half of them.
    for (const [bound, expected] of [
      [{ backlogSegmentsMax: 4 }, ["4 behind waiting", "3 behind waiting", "2 ok taken"]],
      [{ backlogBytesMax: 3 * 65_000 }, ["2 behind waiting", "1 ok taken"]],
    ] as const) {
      const machine = new LogMachine();
      const store = new HeldArchive();
      const log = await machine.open({ archive: { store, ...bound } });
      for (let i = 0; i < 2000 && log.archiveHealth().state !== "behind"; i++) {
        if (log.tryAppend(input(), payloadOf(1, 1000)) === undefined) await machine.clock.settle();
      }
      expect(log.archiveHealth()).toMatchObject({ state: "behind" });
      expect(log.archiveHealth().backlogSegments).toBe(
        expected.length + ("backlogBytesMax" in bound ? 1 : 2),
      );
      expect(log.tryAppend(input(), payloadOf(1))).toBeUndefined();
      expect(log.stats().refused["archive-behind"]).toBeGreaterThan(0);
      expect(log.backpressure()).toMatchObject({ code: "overloaded", retry: "backoff" });
      const waiting = log.append(input(), payloadOf(1));
      let taken = false;
      void waiting.then(() => (taken = true));
      const states: string[] = [];
      while (!taken) {
        store.held = true;
        store.release();
        store.held = true;
        await machine.clock.settle();
        const { backlogSegments, state } = log.archiveHealth();
        states.push(`${backlogSegments} ${state} ${taken ? "taken" : "waiting"}`);
      }
      expect(states).toEqual(expected);
      expect(log.backpressure()).toBeUndefined();
      store.release();
    }
  });

  it("tries again for ever when the archive fails, says why, and recovers by itself", async () => {
    const machine = new LogMachine();
    const store = new HeldArchive();
    store.failure = new PinionError("unavailable", "the bucket is gone");
    const log = await machine.open({ archive: { store } });
    await fillSegments(log, 2);
    await machine.clock.advance(10_000);
    expect(log.archiveHealth()).toMatchObject({
      state: "failing",
      backlogSegments: 2,
      error: { code: "unavailable" },
      failingForMs: 10_000,
    });
    expect(log.stats().troubles).toEqual([expect.stringContaining("the bucket is gone")]);
    await machine.clock.advance(3_600_000);
    expect(log.archiveHealth().failingForMs).toBe(3_610_000);
    store.failure = undefined;
    store.release();
    await machine.clock.advance(60_000);
    expect(log.archiveHealth()).toMatchObject({
      state: "ok",
      backlogSegments: 0,
      error: undefined,
      failingForMs: 0,
    });
    expect(store.put_.map(({ sequence }) => sequence)).toEqual([1, 2]);
  });

  it("goes on after a restart with what was not archived, the closed segment included", async () => {
    const machine = new LogMachine();
    const store = new HeldArchive();
    const log = await machine.open({ archive: { store } });
    await fillSegments(log, 3);
    await log.close();
    expect(store.put_).toEqual([]);
    store.release();
    const again = await machine.open({ archive: { store } });
    await machine.clock.settle();
    expect(store.put_.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
    expect(await lsns(again)).toEqual(upTo(again.appended(A)));
    await again.close();
    const third = await machine.open({ archive: { store } });
    await machine.clock.settle();
    expect(third.archiveHealth().archivedUpTo).toBe(5);
    expect(store.put_).toHaveLength(5);
  });

  it("does not archive a segment whose file was damaged since it was summed", async () => {
    const machine = new LogMachine();
    const store = new HeldArchive();
    store.failure = new PinionError("unavailable", "not now");
    const log = await machine.open({ archive: { store } });
    await fillSegments(log, 1);
    await machine.clock.advance(10_000);
    expect((await log.segment(1))!.checksum).toBeDefined();
    machine.disk.flipBit("log/0000000000000001.log", 5000 * 8);
    store.failure = undefined;
    const real = new FilesystemArchive(machine.disk, "far");
    store.put = (segment, content, signal) => real.put(segment, content, signal);
    await machine.clock.advance(60_000);
    expect(log.archiveHealth()).toMatchObject({ state: "failing", error: { code: "corruption" } });
  });
});

describe("a log without an archive", () => {
  it("says that none is configured, and sums its full segments while it rests", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    expect(log.archiveHealth()).toMatchObject({ state: "off" });
    await appendFlushed(log, 1000);
    expect((await log.segment(1))!.checksum).toBeUndefined();
    await machine.clock.advance(1000);
    const { checksum, end } = (await log.segment(1))!;
    expect(checksum).toBe(
      crc32c(machine.disk.contents("log/0000000000000001.log").subarray(0, end)),
    );
    expect(await log.segment(99)).toBeUndefined();
  });
});
