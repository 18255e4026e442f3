/** What the pool counts and measures. The histogram is HDR (Gil Tene), within 0.1 % of the value. */
import type { Telemetry } from "@pinion/core";
import { hdrHistogram } from "../metrics/hdr-histogram.ts";

export interface LatencySummary {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface BufferPoolStats {
  readonly totalFrames: number;
  readonly usedFrames: number;
  /** In use by somebody, or being filled: not to be evicted. */
  readonly inUseFrames: number;
  readonly hits: number;
  readonly misses: number;
  /** hits / (hits + misses); 0 before the first read. */
  readonly hitRate: number;
  /** Misses that found the page on its way already. */
  readonly coalesced: number;
  readonly evictions: number;
  /** Pages that did not verify. */
  readonly damaged: number;
  /** Reads refused because every frame was in use. */
  readonly refused: number;
  readonly prefetchesIssued: number;
  readonly prefetchesUsed: number;
  readonly prefetchesWasted: number;
  readonly prefetchDepthMax: number;
  readonly scansSeen: number;
  /** Pages on the policy's lists (cache-policy.ts). */
  readonly t1: number;
  readonly t2: number;
  readonly b1: number;
  readonly b2: number;
  /** Share of the pool that pages seen once are meant to have. */
  readonly t1Target: number;
  /** From the request of a page that was not there, or of a run of them, to verified bytes, µs. */
  readonly readLatencyUs: LatencySummary;
}

const LATENCY_US_MAX = 600_000_000;

export class PoolMetrics {
  hits = 0;
  misses = 0;
  coalesced = 0;
  evictions = 0;
  damaged = 0;
  refused = 0;
  prefetchesIssued = 0;
  prefetchesUsed = 0;
  prefetchesWasted = 0;
  readonly #latencyUs = hdrHistogram(LATENCY_US_MAX);

  constructor(telemetry: Telemetry) {
    const observe = (name: string, help: string, read: () => number): void =>
      telemetry.observe(`pinion_pool_${name}`, help, read);
    observe("hits_total", "Page reads answered from the buffer pool", () => this.hits);
    observe("misses_total", "Page reads that went to the disk", () => this.misses);
    observe("evictions_total", "Pages evicted from the buffer pool", () => this.evictions);
    observe("damaged_total", "Pages that did not verify", () => this.damaged);
    observe("prefetches_used_total", "Pages read ahead and used", () => this.prefetchesUsed);
    observe("prefetches_wasted_total", "Pages read ahead in vain", () => this.prefetchesWasted);
  }

  get hitRate(): number {
    const reads = this.hits + this.misses;
    return reads === 0 ? 0 : this.hits / reads;
  }

  noteRead(latencyMs: number): void {
    this.#latencyUs.recordValue(Math.min(LATENCY_US_MAX, Math.round(latencyMs * 1000)));
  }

  get readLatencyUs(): LatencySummary {
    const h = this.#latencyUs;
    const empty = h.totalCount === 0;
    return {
      count: h.totalCount,
      mean: empty ? 0 : h.mean,
      p50: h.getValueAtPercentile(50),
      p99: h.getValueAtPercentile(99),
      max: h.maxValue,
    };
  }
}
