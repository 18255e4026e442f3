/** What a client has done so far: counters that only grow, and a histogram of answer times. */
import type { ErrorCode, Telemetry } from "@pinion/core";

export interface ClientStats {
  readonly sessionId: string;
  readonly clusterId: string;
  /** Calls made; refused ones included. */
  readonly calls: number;
  readonly succeeded: number;
  /** Calls that failed, by code. */
  readonly failed: Readonly<Partial<Record<ErrorCode, number>>>;
  /** Transmissions beyond the first. */
  readonly retries: number;
  /** Answers nobody waited for any more. */
  readonly lateReplies: number;
  /** Connections lost. */
  readonly disconnects: number;
  /** Calls without an outcome yet. */
  readonly pending: number;
  /** Transmission to answer, of calls that succeeded; ms, with an error of at most 1/16. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly connections: readonly {
    readonly address: string;
    readonly state: string;
    readonly waiting: number;
  }[];
}

/** 16 buckets per doubling, from 1 µs up to 2^32 µs (71 minutes): 33 × 16 counters. */
const STEPS = 16;
const US_MAX = 2 ** 32 - 1;

export class LatencyHistogram {
  readonly #counts = new Uint32Array(33 * STEPS);
  #count = 0;
  #maxMs = 0;

  record(ms: number): void {
    const us = Math.min(US_MAX, Math.max(1, Math.round(ms * 1000)));
    const exponent = 31 - Math.clz32(us);
    // The four bits below the leading one.
    const step = exponent >= 4 ? (us >>> (exponent - 4)) & 15 : (us << (4 - exponent)) & 15;
    this.#counts[exponent * STEPS + step]!++;
    this.#count++;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  /** Upper bound of the bucket that holds the quantile, ms; 0 when empty. */
  quantile(q: number): number {
    let left = Math.ceil(this.#count * q);
    if (left === 0) return 0;
    for (let i = 0; i < this.#counts.length; i++) {
      left -= this.#counts[i] as number;
      if (left <= 0)
        return Math.min(
          this.#maxMs,
          (2 ** Math.floor(i / STEPS) * (1 + ((i % STEPS) + 1) / STEPS)) / 1000,
        );
    }
    return this.#maxMs;
  }

  get maxMs(): number {
    return this.#maxMs;
  }
}

export class CallCounters {
  calls = 0;
  succeeded = 0;
  retries = 0;
  lateReplies = 0;
  disconnects = 0;
  readonly failed = new Map<ErrorCode, number>();
  readonly latency = new LatencyHistogram();

  countFailure(code: ErrorCode): void {
    this.failed.set(code, (this.failed.get(code) ?? 0) + 1);
  }

  /** Metrics are read when somebody asks: counting them costs the calls nothing more. */
  register(telemetry: Telemetry, pending: () => number): void {
    const all: readonly (readonly [string, string, () => number])[] = [
      ["pinion_client_calls_total", "Calls made", () => this.calls],
      ["pinion_client_calls_succeeded_total", "Calls that gave a value", () => this.succeeded],
      ["pinion_client_retries_total", "Transmissions beyond a call's first", () => this.retries],
      [
        "pinion_client_late_replies_total",
        "Answers nobody waited for any more",
        () => this.lateReplies,
      ],
      ["pinion_client_disconnects_total", "Connections lost", () => this.disconnects],
      ["pinion_client_pending_calls", "Calls without an outcome yet", pending],
      [
        "pinion_client_latency_p50_seconds",
        "Transmission to answer, median",
        () => this.latency.quantile(0.5) / 1000,
      ],
      [
        "pinion_client_latency_p99_seconds",
        "Transmission to answer, 99th percentile",
        () => this.latency.quantile(0.99) / 1000,
      ],
    ];
    for (const [name, help, read] of all) telemetry.observe(name, help, read);
  }
}
