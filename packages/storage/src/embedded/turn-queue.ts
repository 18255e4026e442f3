/**
 * Who may change a volume: one at a time, first come, first served.
 *
 * Q1 bounded: beyond `waitingMax` a caller is refused with `overloaded`.
 */
import { PinionError } from "@pinion/core";

interface Waiting {
  begin(): void;
}

export class TurnQueue {
  readonly #volume: string;
  readonly #waitingMax: number;
  readonly #waiting = new Set<Waiting>();
  #taken = false;
  readonly #idle: (() => void)[] = [];

  constructor(volume: string, waitingMax: number) {
    this.#volume = volume;
    this.#waitingMax = waitingMax;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether it is the caller's turn at once; ends with `pass`. */
  tryTake(): boolean {
    if (this.#taken) return false;
    return (this.#taken = true);
  }

  /** Resolves when it is the caller's turn; ends with `pass`. @throws `overloaded`, the signal's reason */
  async take(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.tryTake()) return;
    if (this.#waiting.size >= this.#waitingMax) {
      throw new PinionError(
        "overloaded",
        `${this.#waitingMax} updates of volume "${this.#volume}" wait already`,
        { details: { volume: this.#volume, waiting: this.#waitingMax } },
      );
    }
    if (signal === undefined)
      return new Promise((resolve) => void this.#waiting.add({ begin: resolve }));
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.delete(waiting);
        reject(signal.reason as Error);
      };
      const waiting: Waiting = {
        begin: () => {
          signal.removeEventListener("abort", abort);
          resolve();
        },
      };
      signal.addEventListener("abort", abort, { once: true });
      this.#waiting.add(waiting);
    });
  }

  /** The turn is over: the next may begin. */
  pass(): void {
    for (const next of this.#waiting) {
      this.#waiting.delete(next);
      next.begin();
      return;
    }
    this.#taken = false;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves once nobody has a turn or waits for one. */
  whenIdle(): Promise<void> {
    return this.#taken ? new Promise((resolve) => this.#idle.push(resolve)) : Promise.resolve();
  }
}
