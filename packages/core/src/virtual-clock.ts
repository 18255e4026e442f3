/**
 * Time that moves when a test says so. `advance` fires due timers in order and lets everything each of them started
 * settle before the next one, so a run depends on the order of events and never on the machine's speed.
 *
 * I1 time never goes back (`wallMs` may: `jumpWall`), and a timer never sees a time before its due time.
 * I2 timers with the same due time fire in the order they were set.
 */
import type { Clock, Timer } from "./clock.ts";

interface VirtualTimer extends Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly fn: () => void;
}

/** 2001-01-01, so that timestamps look like timestamps. */
const START_WALL_MS = 978_307_200_000;

/**
 * Time moves in steps of 1/1024 ms: binary fractions of this size add up exactly, also on top of a date (40 bits + 10 bits of
 * 53). Otherwise "due in 10 ms" could be 9.999999 ms later, and whoever waits for the rest would wait for no time at all, for ever.
 */
const STEPS_PER_MS = 1024;
const wholeSteps = (ms: number): number => Math.ceil(ms * STEPS_PER_MS) / STEPS_PER_MS;

/** Rounds of the event loop after which a chain of promises and deferred calls counts as settled. */
const SETTLE_ROUNDS = 8;

const eventLoopRound = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class VirtualClock implements Clock {
  #nowMs = 0;
  #wallOffsetMs: number;
  #order = 0;
  readonly #timers = new Set<VirtualTimer>();

  constructor(startWallMs: number = START_WALL_MS) {
    this.#wallOffsetMs = wholeSteps(startWallMs);
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallOffsetMs + this.#nowMs;
  }

  setTimer(delayMs: number, fn: () => void): Timer {
    const timer: VirtualTimer = {
      dueMs: this.#nowMs + wholeSteps(Math.max(0, delayMs)),
      order: this.#order++,
      fn,
      cancel: () => void this.#timers.delete(timer),
    };
    this.#timers.add(timer);
    return timer;
  }

  /** Real: the turn of the event loop is what it means, and its order is deterministic. */
  defer(fn: () => void): void {
    setImmediate(fn);
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves the calendar by `ms` (negative: back) without touching monotonic time. */
  jumpWall(ms: number): void {
    this.#wallOffsetMs += wholeSteps(ms);
  }

  /** Lets `ms` pass. Resolves when the timers due in it have fired and what they started has settled. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + wholeSteps(ms);
    await this.settle();
    for (;;) {
      const next = this.#earliest(endMs);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.fn();
      await this.settle();
    }
    this.#nowMs = Math.max(this.#nowMs, endMs);
  }

  /** Lets deferred calls and promise chains run without moving time. */
  async settle(): Promise<void> {
    for (let round = 0; round < SETTLE_ROUNDS; round++) await eventLoopRound();
  }

  #earliest(endMs: number): VirtualTimer | undefined {
    let first: VirtualTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs > endMs) continue;
      if (
        first &&
        (timer.dueMs > first.dueMs || (timer.dueMs === first.dueMs && timer.order > first.order))
      )
        continue;
      first = timer;
    }
    return first;
  }
}
