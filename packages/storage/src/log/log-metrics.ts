/**
 * What the log counts and measures. Histograms are HDR (Gil Tene): within 0.1 % of the value over their whole range.
 * They are read through `stats()` and reported to the `Telemetry` the log was given.
 *
 * I1 every flush is counted once, under the reason that started it, when it has succeeded.
 * I2 records and bytes count what callers appended and what went to the disk: markers are bytes but not records.
 */
import type { Counter, Histogram, Telemetry } from "@pinion/core";
import { hdrHistogram, type HdrHistogram } from "../metrics/hdr-histogram.ts";

/** Why a flush started. */
export const FLUSH_KINDS = [
  /** `requestFlush`, or a stop. */
  "forced",
  /** The policy's number of records. */
  "batched",
  /** The policy's time. */
  "periodic",
  /** Somebody waits (`group`, `sync`). */
  "group",
  /** A marker alone, 10 ms after the last flush. */
  "idle",
  /** A segment was full. */
  "segment-end",
  /** The staging buffer was full. */
  "buffer-full",
] as const;
export type FlushKind = (typeof FLUSH_KINDS)[number];

export interface HistogramSummary {
  readonly count: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
}

export interface FlushStats {
  readonly flushes: Readonly<Record<FlushKind, number>>;
  /** Writes without a flush: `async` only. */
  readonly writes: number;
  readonly records: number;
  readonly bytes: number;
  /** `tryAppend` said no, by reason. */
  readonly refused: Readonly<Record<RefusalReason, number>>;
  /** From the write's start to its end, flush included, µs. */
  readonly latencyUs: HistogramSummary;
  readonly recordsPerFlush: HistogramSummary;
  readonly bytesPerFlush: HistogramSummary;
}

export type RefusalReason = "buffer-full" | "no-segment" | "archive-behind" | "waiting-appends";

const LATENCY_US_MAX = 600_000_000;
const COUNT_MAX = 2 ** 40;

function summary(h: HdrHistogram): HistogramSummary {
  const empty = h.totalCount === 0;
  return {
    count: h.totalCount,
    min: empty ? 0 : h.minNonZeroValue,
    max: h.maxValue,
    mean: empty ? 0 : h.mean,
    p50: h.getValueAtPercentile(50),
    p95: h.getValueAtPercentile(95),
    p99: h.getValueAtPercentile(99),
    p999: h.getValueAtPercentile(99.9),
  };
}

export class LogMetrics {
  readonly #flushes: Record<FlushKind, number> = {
    forced: 0,
    batched: 0,
    periodic: 0,
    group: 0,
    idle: 0,
    "segment-end": 0,
    "buffer-full": 0,
  };
  readonly #refused: Record<RefusalReason, number> = {
    "buffer-full": 0,
    "no-segment": 0,
    "archive-behind": 0,
    "waiting-appends": 0,
  };
  #writes = 0;
  #records = 0;
  #bytes = 0;
  readonly #latencyUs = hdrHistogram(LATENCY_US_MAX);
  readonly #recordsPerFlush = hdrHistogram(COUNT_MAX);
  readonly #bytesPerFlush = hdrHistogram(COUNT_MAX);
  readonly #flushCounters: Readonly<Record<FlushKind, Counter>>;
  readonly #recordCounter: Counter;
  readonly #byteCounter: Counter;
  readonly #secondsHistogram: Histogram;

  constructor(telemetry: Telemetry) {
    this.#flushCounters = Object.fromEntries(
      FLUSH_KINDS.map((kind) => [
        kind,
        telemetry.counter("pinion_log_flushes_total", "flushes of the log by what started them", {
          kind,
        }),
      ]),
    ) as Record<FlushKind, Counter>;
    this.#recordCounter = telemetry.counter(
      "pinion_log_records_total",
      "records written to the log",
    );
    this.#byteCounter = telemetry.counter(
      "pinion_log_written_bytes_total",
      "bytes written to the log",
    );
    this.#secondsHistogram = telemetry.histogram(
      "pinion_log_flush_seconds",
      "one write and flush of the log",
    );
    for (const reason of Object.keys(this.#refused) as RefusalReason[]) {
      telemetry.observe(
        "pinion_log_refused",
        "appends refused so far, by reason",
        () => this.#refused[reason],
        { reason },
      );
    }
  }

  /** A write and its flush have succeeded. */
  flushed(kind: FlushKind, records: number, bytes: number, latencyMs: number): void {
    this.#flushes[kind]++;
    this.#latencyUs.recordValue(Math.min(LATENCY_US_MAX, Math.round(latencyMs * 1000)));
    this.#recordsPerFlush.recordValue(records);
    this.#bytesPerFlush.recordValue(bytes);
    this.#flushCounters[kind].add(1);
    this.#secondsHistogram.record(latencyMs / 1000);
    this.#wrote(records, bytes);
  }

  /** A write without a flush has succeeded. */
  written(records: number, bytes: number): void {
    this.#writes++;
    this.#wrote(records, bytes);
  }

  /** A flush of what had been written before, nothing new: the end of a segment under `async`. */
  flushedEarlierWrites(kind: FlushKind, latencyMs: number): void {
    this.#flushes[kind]++;
    this.#latencyUs.recordValue(Math.min(LATENCY_US_MAX, Math.round(latencyMs * 1000)));
    this.#flushCounters[kind].add(1);
    this.#secondsHistogram.record(latencyMs / 1000);
  }

  refused(reason: RefusalReason): void {
    this.#refused[reason]++;
  }

  stats(): FlushStats {
    return {
      flushes: { ...this.#flushes },
      writes: this.#writes,
      records: this.#records,
      bytes: this.#bytes,
      refused: { ...this.#refused },
      latencyUs: summary(this.#latencyUs),
      recordsPerFlush: summary(this.#recordsPerFlush),
      bytesPerFlush: summary(this.#bytesPerFlush),
    };
  }

  #wrote(records: number, bytes: number): void {
    this.#records += records;
    this.#bytes += bytes;
    if (records > 0) this.#recordCounter.add(records);
    this.#byteCounter.add(bytes);
  }
}
