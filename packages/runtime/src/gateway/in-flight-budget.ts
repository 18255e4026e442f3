/**
 * Admission by number and bytes of unanswered calls, for one worker: everything a call keeps alive before its turn is the
 * frame it came in, so bounding the bytes of the arguments bounds the memory.
 */
import { encodeError, PinionError } from "@pinion/core";
import type { Outcome } from "./dispatcher.ts";

/** What one call weighs besides its arguments: its objects here and in the mailbox. */
const CALL_BYTES = 512;
/** Long enough for thousands of turns, short enough not to be felt. */
const RETRY_AFTER_MS = 20;

export class InFlightBudget {
  readonly #callsMax: number;
  readonly #bytesMax: number;
  #calls = 0;
  #bytes = 0;
  #refused = 0;

  constructor(callsMax: number, bytesMax: number) {
    this.#callsMax = callsMax;
    this.#bytesMax = bytesMax;
  }

  get calls(): number {
    return this.#calls;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get refused(): number {
    return this.#refused;
  }

  take(argsBytes: number): boolean {
    if (this.#calls >= this.#callsMax || this.#bytes + argsBytes > this.#bytesMax) {
      this.#refused++;
      return false;
    }
    this.#calls++;
    this.#bytes += argsBytes + CALL_BYTES;
    return true;
  }

  /** @param argsBytes of all `calls` together. */
  release(calls: number, argsBytes: number): void {
    this.#calls -= calls;
    this.#bytes -= argsBytes + calls * CALL_BYTES;
  }
}

function refused(error: PinionError): Outcome {
  return Object.freeze({
    ok: false,
    bytes: encodeError(error, { omitStack: true }),
    refused: "transient",
  });
}

/** Encoded once: refusing must be cheaper than serving. */
export const OVERLOADED: Outcome = refused(
  new PinionError("overloaded", "too many calls are in flight on this worker", {
    retryAfterMs: RETRY_AFTER_MS,
  }),
);
export const STREAM_OVERLOADED: Outcome = refused(
  new PinionError("overloaded", "too many calls are in flight on this stream", {
    retryAfterMs: RETRY_AFTER_MS,
  }),
);
export const DRAINING: Outcome = refused(
  new PinionError("draining", "the host is going away", { retryAfterMs: RETRY_AFTER_MS }),
);
