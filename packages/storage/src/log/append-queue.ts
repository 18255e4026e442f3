/**
 * Appends that wait for room, first come, first served.
 *
 * I1 bounded: beyond `max` an append is refused with `overloaded` instead of waiting.
 */
import { PinionError, type Lsn } from "@pinion/core";
import type { AppendInput } from "./log.ts";

interface WaitingAppend {
  readonly input: AppendInput;
  readonly payload: Uint8Array;
  readonly resolve: (lsn: Lsn) => void;
  readonly reject: (e: unknown) => void;
}

export class AppendQueue {
  readonly #max: number;
  readonly #waiting = new Set<WaitingAppend>();
  #bytes = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get length(): number {
    return this.#waiting.size;
  }

  /** Of the payloads that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Resolves when `drain` has appended it; rejects with the signal's reason when that comes first. */
  wait(input: AppendInput, payload: Uint8Array, signal: AbortSignal | undefined): Promise<Lsn> {
    if (this.#waiting.size >= this.#max) {
      throw new PinionError("overloaded", `${this.#max} appends wait for room in the log already`, {
        details: { waiting: this.#max },
      });
    }
    return new Promise((resolve, reject) => {
      const stopListening = (): void => signal?.removeEventListener("abort", onAbort);
      const append: WaitingAppend = {
        input,
        payload,
        resolve: (lsn) => {
          stopListening();
          resolve(lsn);
        },
        reject: (e) => {
          stopListening();
          reject(e as Error);
        },
      };
      const onAbort = (): void => {
        this.#remove(append);
        reject(signal?.reason as Error);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.add(append);
      this.#bytes += payload.byteLength;
    });
  }

  /** Gives waiting appends to `tryAppend` in order until it refuses. */
  drain(tryAppend: (input: AppendInput, payload: Uint8Array) => Lsn | undefined): void {
    for (const append of this.#waiting) {
      try {
        const lsn = tryAppend(append.input, append.payload);
        if (lsn === undefined) return;
        append.resolve(lsn);
      } catch (e) {
        append.reject(e);
      }
      this.#remove(append);
    }
  }

  rejectAll(error: PinionError): void {
    for (const append of this.#waiting) append.reject(error);
    this.#waiting.clear();
    this.#bytes = 0;
  }

  #remove(append: WaitingAppend): void {
    if (this.#waiting.delete(append)) this.#bytes -= append.payload.byteLength;
  }
}
