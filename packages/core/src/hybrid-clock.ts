/**
 * Hybrid logical clock (Kulkarni et al., 2014), in microseconds: `t = max(wall µs, last + 1, received + 1)`.
 *
 * I1 `tick` never returns the same or a smaller value twice, whatever the wall clock does.
 * I2 a received time is adopted only within its sender's bound, so one bad clock cannot drag the cluster:
 *    a client may advance us by 500 ms, a host is refused beyond `maxClockSkewMs`.
 */
import type { Clock } from "./clock.ts";
import { PinionError } from "./errors.ts";
import { hlcTime, type HlcTime } from "./lsn.ts";

/** How far ahead of our wall clock a client's time may pull us (P14). */
export const CLIENT_ADVANCE_MS_MAX = 500;
export const MAX_CLOCK_SKEW_MS_DEFAULT = 10_000;

export class HybridClock {
  #last = 0;
  readonly #clock: Clock;
  readonly #maxClockSkewMs: number;

  constructor(clock: Clock, options: { maxClockSkewMs?: number; startAfter?: HlcTime } = {}) {
    this.#clock = clock;
    this.#maxClockSkewMs = options.maxClockSkewMs ?? MAX_CLOCK_SKEW_MS_DEFAULT;
    this.#last = options.startAfter ?? 0;
  }

  /** A new timestamp, greater than every earlier one. */
  tick(): HlcTime {
    const wallUs = this.#clock.wallMs() * 1000;
    this.#last = wallUs > this.#last ? Math.floor(wallUs) : this.#last + 1;
    return hlcTime(this.#last);
  }

  /** The newest timestamp given out or adopted; not a new event. */
  get last(): HlcTime {
    return hlcTime(this.#last);
  }

  /** How far this clock runs ahead of the wall, ms; grows when the wall clock was set back. */
  aheadMs(): number {
    return Math.max(0, this.#last / 1000 - this.#clock.wallMs());
  }

  /** Adopts a client's time, bounded: what lies beyond the bound is ignored, not an error. */
  adoptFromClient(received: number): void {
    const limit = (this.#clock.wallMs() + CLIENT_ADVANCE_MS_MAX) * 1000;
    const t = Math.floor(Math.min(received, limit));
    if (t > this.#last) this.#last = t;
  }

  /**
   * Adopts a peer host's time, or one read back from the log.
   * @throws `clock-skew` when it is more than `maxClockSkewMs` ahead of the wall clock.
   */
  adoptFromHost(received: number): void {
    const aheadMs = received / 1000 - this.#clock.wallMs();
    if (aheadMs > this.#maxClockSkewMs) {
      throw new PinionError(
        "clock-skew",
        `a peer's clock is ${Math.round(aheadMs)} ms ahead of ours; at most ${this.#maxClockSkewMs} ms is accepted`,
        { details: { aheadMs: Math.round(aheadMs), maxClockSkewMs: this.#maxClockSkewMs } },
      );
    }
    if (received > this.#last) this.#last = Math.floor(received);
  }

  /** After recovery: never hand out a time the log has already seen, however far the wall clock went back. */
  startAfter(recovered: HlcTime): void {
    if (recovered > this.#last) this.#last = recovered;
  }
}
