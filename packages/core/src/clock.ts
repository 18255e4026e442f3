/**
 * Time as a dependency. Everything that waits or stamps takes a `Clock`, so that a test runs on virtual
 * time and one seed replays a failure. This is the only file that reads the machine's clocks.
 *
 * Two times are kept apart: `nowMs` is monotonic (durations, deadlines, timers), `wallMs` is the
 * calendar and may jump either way (timestamps, reminders).
 */

export interface Timer {
  /** Stops the timer; harmless after it fired. */
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds with a fraction, from an arbitrary origin. */
  nowMs(): number;
  /** Milliseconds since the epoch; may jump. */
  wallMs(): number;
  /**
   * Runs `fn` once, no earlier than `delayMs` (≥ 0) from now.
   * @param keepsProcess the process must not end before: somebody's data waits for it. Default: it may.
   */
  setTimer(delayMs: number, fn: () => void, keepsProcess?: boolean): Timer;
  /** Runs `fn` after the input and microtasks of this event-loop turn. What is batched per turn hangs here. */
  defer(fn: () => void): void;
}

/** setTimeout's own limit: 2^31 − 1 ms, about 24.8 days. Longer delays are re-armed. */
const TIMEOUT_MS_MAX = 2_147_483_647;

class RealTimer implements Timer {
  #handle: NodeJS.Timeout | undefined;
  readonly #dueMs: number;
  readonly #fn: () => void;
  readonly #keepsProcess: boolean;

  constructor(delayMs: number, fn: () => void, keepsProcess: boolean) {
    this.#keepsProcess = keepsProcess;
    this.#dueMs = performance.now() + delayMs;
    this.#fn = fn;
    this.#arm(delayMs);
  }

  #arm(delayMs: number): void {
    const wait = Math.min(Math.max(0, delayMs), TIMEOUT_MS_MAX);
    this.#handle = setTimeout(() => {
      const left = this.#dueMs - performance.now();
      // setTimeout may fire up to a millisecond early; a due time is a promise not to.
      if (left > 0) this.#arm(Math.ceil(left));
      else this.#fn();
    }, wait);
    if (!this.#keepsProcess) this.#handle.unref();
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }
}

/** The machine's clocks. */
export const systemClock: Clock = Object.freeze({
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer: (delayMs: number, fn: () => void, keepsProcess = false) =>
    new RealTimer(delayMs, fn, keepsProcess),
  defer: (fn: () => void) => void setImmediate(fn),
});

/** Resolves after `delayMs` on `clock`; rejects with the signal's reason if it aborts first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason as Error);
    };
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
