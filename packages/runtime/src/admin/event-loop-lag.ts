/** How late this thread's event loop is, over the last minute or two. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Clock, Timer } from "@pinion/core";

const SAMPLE_MS = 50;
const WINDOW_MS = 60_000;

export interface LagReport {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export class EventLoopLag {
  readonly #clock: Clock;
  readonly #delay = monitorEventLoopDelay({ resolution: SAMPLE_MS });
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  start(): void {
    this.#delay.enable();
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#delay.disable();
  }

  /** The histogram holds the whole delay between samples: what exceeds the interval is lag. */
  report(): LagReport {
    const lagMs = (ns: number): number =>
      Math.max(0, Math.round((ns / 1e6 - SAMPLE_MS) * 1000) / 1000);
    const empty = this.#delay.count === 0;
    return {
      p50Ms: empty ? 0 : lagMs(this.#delay.percentile(50)),
      p99Ms: empty ? 0 : lagMs(this.#delay.percentile(99)),
      maxMs: empty ? 0 : lagMs(this.#delay.max),
    };
  }

  #arm(): void {
    this.#timer = this.#clock.setTimer(WINDOW_MS, () => {
      this.#delay.reset();
      this.#arm();
    });
  }
}
