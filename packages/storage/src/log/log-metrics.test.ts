import type { Labels, Telemetry } from "@pinion/core";
import { noTelemetry } from "@pinion/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { flushPolicy } from "./flush-policy.ts";
import { A, appendFlushed, input, LogMachine, payloadOf } from "./log.test.fixture.ts";
import { LogMetrics } from "./log-metrics.ts";
import { recordBytes } from "./record-format.ts";

/** Remembers what is reported to it, by name and labels. */
class RecordingTelemetry implements Telemetry {
  readonly counters = new Map<string, number>();
  readonly histograms = new Map<string, number[]>();
  readonly observed = new Map<string, () => number>();
  readonly tracing = false;
  readonly span = noTelemetry.span;
  readonly gauge = noTelemetry.gauge;

  counter(name: string, _help: string, labels: Labels = {}): { add(n: number): void } {
    const key = [name, ...Object.values(labels)].join(" ");
    return { add: (n) => void this.counters.set(key, (this.counters.get(key) ?? 0) + n) };
  }

  histogram(name: string): { record(value: number): void } {
    const values: number[] = [];
    this.histograms.set(name, values);
    return { record: (value) => void values.push(value) };
  }

  observe(name: string, _help: string, collect: () => number): void {
    this.observed.set(name, collect);
  }
}

describe("the histograms", () => {
  it("are within 0.1 % of the exact percentiles, minimum, maximum and mean", () => {
    const flush = fc.record({
      us: fc.integer({ min: 1, max: 10_000_000 }),
      records: fc.integer({ min: 1, max: 100_000 }),
    });
    fc.assert(
      fc.property(fc.array(flush, { minLength: 1, maxLength: 300 }), (flushes) => {
        const metrics = new LogMetrics(noTelemetry);
        for (const { us, records } of flushes)
          metrics.flushed("group", records, records * 100, us / 1000);
        const { latencyUs, recordsPerFlush, bytesPerFlush } = metrics.stats();
        for (const [summary, exact] of [
          [latencyUs, flushes.map(({ us }) => us)],
          [recordsPerFlush, flushes.map(({ records }) => records)],
          [bytesPerFlush, flushes.map(({ records }) => records * 100)],
        ] as const) {
          const sorted = exact.toSorted((a, b) => a - b);
          const at = (p: number): number => sorted[Math.ceil((p / 100) * sorted.length) - 1]!;
          const near = (value: number, wanted: number): void =>
            expect(Math.abs(value - wanted)).toBeLessThanOrEqual(wanted / 1000 + 1);
          expect(summary.count).toBe(exact.length);
          near(summary.min, sorted[0]!);
          near(summary.max, sorted.at(-1)!);
          near(summary.mean, exact.reduce((sum, value) => sum + value, 0) / exact.length);
          near(summary.p50, at(50));
          near(summary.p95, at(95));
          near(summary.p99, at(99));
          near(summary.p999, at(99.9));
        }
      }),
      { numRuns: 50 },
    );
  });

  it("are zeros before the first flush, and take a flush of any length", () => {
    const metrics = new LogMetrics(noTelemetry);
    expect(metrics.stats().latencyUs).toEqual({
      count: 0,
      min: 0,
      max: 0,
      mean: 0,
      p50: 0,
      p95: 0,
      p99: 0,
      p999: 0,
    });
    metrics.flushed("group", 1, 1, 10_000_000);
    expect(metrics.stats().latencyUs.max).toBeGreaterThan(5e8);
  });
});

describe("the counters of a log", () => {
  it("say exactly how many records and bytes went to the disk, in how many flushes, for which reasons", async () => {
    const machine = new LogMachine();
    const telemetry = new RecordingTelemetry();
    const log = await machine.open({ flush: flushPolicy.batched(5), telemetry });
    const start = log.position();
    for (let i = 0; i < 5; i++) log.tryAppend(input(), payloadOf(i));
    await machine.clock.settle();
    for (let i = 0; i < 2; i++) log.tryAppend(input(), payloadOf(i));
    await machine.clock.advance(10);
    await appendFlushed(log, 1);
    await machine.clock.advance(11);
    const stats = log.stats();
    expect(stats.flushes).toEqual({
      forced: 1,
      batched: 1,
      periodic: 1,
      group: 0,
      idle: 1,
      "segment-end": 0,
      "buffer-full": 0,
    });
    expect(stats).toMatchObject({
      records: 8,
      bytes: log.position().offset - start.offset,
      writes: 0,
    });
    expect(stats.bytes).toBe(8 * recordBytes(100) + 4 * 48);
    expect(stats.recordsPerFlush).toMatchObject({ count: 4, max: 5 });
    expect(Object.fromEntries(telemetry.counters)).toEqual({
      "pinion_log_flushes_total forced": 1,
      "pinion_log_flushes_total batched": 1,
      "pinion_log_flushes_total periodic": 1,
      "pinion_log_flushes_total idle": 1,
      pinion_log_records_total: 8,
      pinion_log_written_bytes_total: stats.bytes,
    });
    expect(telemetry.histograms.get("pinion_log_flush_seconds")).toHaveLength(4);
  });

  it("name the flush that fills a segment, and the one that a full buffer asks for", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush: flushPolicy.batched(1_000_000) });
    for (let i = 0; i < 150; i++) await log.append(input(), payloadOf(i, 1000));
    const { flushes } = log.stats();
    expect(flushes["segment-end"]).toBeGreaterThan(0);
    expect(flushes["segment-end"]).toBeLessThan(log.stats().activeSegment);
    expect(flushes["buffer-full"]).toBeGreaterThan(5);
  });

  it("measure the time of a flush on the clock, write and sync together", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    const { clock } = machine;
    let now = 0;
    const real = clock.nowMs.bind(clock);
    clock.nowMs = () => real() + now;
    machine.disk.onOperation = ({ kind }) =>
      void (now += kind === "write" ? 3 : kind === "sync" ? 4 : 0);
    await appendFlushed(log, 1);
    expect(log.stats().latencyUs.count).toBe(1);
    expect(Math.abs(log.stats().latencyUs.max - 7000)).toBeLessThanOrEqual(7);
  });

  it("let a dashboard read the state of the log while somebody asks", async () => {
    const telemetry = new RecordingTelemetry();
    const log = await new LogMachine().open({ telemetry, flush: flushPolicy.batched(100) });
    log.tryAppend(input(), payloadOf(1));
    const read = (name: string): number | undefined => telemetry.observed.get(name)?.();
    expect(read("pinion_log_segments")).toBe(1);
    expect(read("pinion_log_waiting_bytes")).toBe(recordBytes(100));
    expect(read("pinion_log_archive_backlog_segments")).toBe(0);
    expect(read("pinion_log_archive_backlog_bytes")).toBe(0);
    expect(read("pinion_log_troubles")).toBe(0);
    expect(log.flushed(A)).toBe(0);
  });
});
