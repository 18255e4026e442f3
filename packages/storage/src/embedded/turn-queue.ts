/**
 * Who may change a volume: one at a time, first come, first served.
 *
 * Q1 bounded: beyond `waitingMax` a caller is refused with `overloaded`.
 * Q2 a turn that waits for nothing is over when `run` returns. Those that had to queue behind one that did wait run one after the other once it
 *    is over, each in its caller's async context, without a promise in between: a queue that was handed on by promises would never get shorter.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { PinionError } from "@pinion/core";
import type { MaybePromise } from "../structures/structure.ts";

interface Waiting {
  /** Runs the turn and tells its caller. @returns a promise where it waits, which never rejects */
  begin(): Promise<void> | undefined;
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

  /** Runs a turn when it is its turn: now, if nobody has one. @throws what it throws, `overloaded`, the signal's reason */
  run<T>(turn: () => MaybePromise<T>, signal: AbortSignal | undefined): MaybePromise<T> {
    signal?.throwIfAborted();
    if (this.#taken) return this.#wait(turn, signal);
    this.#taken = true;
    let result: MaybePromise<T>;
    try {
      result = turn();
    } catch (e) {
      this.#pass();
      throw e;
    }
    if (result instanceof Promise) return result.finally(() => this.#pass());
    this.#pass();
    return result;
  }

  #wait<T>(turn: () => MaybePromise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (this.#waiting.size >= this.#waitingMax) {
      throw new PinionError(
        "overloaded",
        `${this.#waitingMax} updates of volume "${this.#volume}" wait already`,
        { details: { volume: this.#volume, waiting: this.#waitingMax } },
      );
    }
    const inContext = AsyncLocalStorage.snapshot();
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.delete(waiting);
        reject(signal?.reason as Error);
      };
      const waiting: Waiting = {
        begin: () => {
          signal?.removeEventListener("abort", abort);
          try {
            const result = inContext(turn);
            if (result instanceof Promise) return result.then(resolve, reject);
            resolve(result);
          } catch (e) {
            reject(e as Error);
          }
          return undefined;
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.add(waiting);
    });
  }

  /** A turn is over: whoever waits has the next ones. */
  #pass(): void {
    if (this.#waiting.size > 0) {
      for (const next of this.#waiting) {
        this.#waiting.delete(next);
        const waits = next.begin();
        if (waits === undefined) continue;
        void waits.then(() => this.#pass());
        return;
      }
    }
    this.#taken = false;
    if (this.#idle.length > 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves once nobody has a turn or waits for one. */
  whenIdle(): Promise<void> {
    return this.#taken ? new Promise((resolve) => this.#idle.push(resolve)) : Promise.resolve();
  }
}
