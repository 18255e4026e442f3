/**
 * Lets the event loop have its turn: an update or a read that waits for nothing ends in a microtask, and whoever goes on with the next one there would
 * keep timers, sockets and the log's own writes waiting for as long as it goes on.
 *
 * T1 of a store's turns, no more than `TURNS_AT_ONCE` begin in a row without the event loop having had the chance to run, and none later than
 *    `ROW_MS` after the first.
 */
import type { Clock } from "@pinion/core";

/** Some 12 ms of the smallest. A round of the event loop, with the log's writes in it, costs half a millisecond: at 1,024 a sixth of the speed. */
export const TURNS_AT_ONCE = 4_096;
/** For turns that are not small. */
export const ROW_MS = 15;

export class TurnPace {
  readonly #clock: Clock;
  /** Since the event loop has run. */
  #begun = 0;
  #beganMs = 0;
  #isWatching = false;
  /** All turns wait for it, of whatever volume. */
  #breath: Promise<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A turn wants to begin. @returns what it has to wait for first */
  next(nowMs: number): Promise<void> | undefined {
    if (this.#breath !== undefined) return this.#breath;
    if (this.#begun === 0) this.#beginRow(nowMs);
    if (++this.#begun > TURNS_AT_ONCE || nowMs - this.#beganMs > ROW_MS) {
      this.#begun = 0;
      this.#breath = new Promise((resolve) =>
        this.#clock.defer(() => {
          this.#breath = undefined;
          resolve();
        }),
      );
    }
    return this.#breath;
  }

  /** Of a turn that has to wait. Resolves when it may begin, to the time. */
  async whenNext(breath: Promise<void>): Promise<number> {
    let wait: Promise<void> | undefined = breath;
    for (;;) {
      await wait;
      const nowMs = this.#clock.nowMs();
      // Others waited as well: they do not all begin in one row.
      wait = this.next(nowMs);
      if (wait === undefined) return nowMs;
    }
  }

  #beginRow(nowMs: number): void {
    this.#beganMs = nowMs;
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#clock.defer(() => {
      this.#isWatching = false;
      this.#begun = 0;
    });
  }
}
