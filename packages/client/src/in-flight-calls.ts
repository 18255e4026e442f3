/**
 * All unsettled calls of a session, by sequence number.
 *
 * Sequence numbers are dense, so a ring indexed by `seq & mask` finds a call faster than a hash map would. A call whose
 * slot is needed by a much younger one (it is slow, or very many are pending) moves to a map.
 *
 * I1 a call is in the ring or among the strays, never in both.
 * I2 `lowest` is the smallest unsettled seq, or the next one to be given out: the host may forget replies below it.
 */
import { assert } from "@pinion/core";
import type { PendingCall } from "./pending-call.ts";

const RING_LENGTH = 4096;

export class InFlightCalls {
  readonly #ring: (PendingCall | undefined)[] = Array.from({ length: RING_LENGTH });
  readonly #strays = new Map<number, PendingCall>();
  #next = 1;
  #lowest = 1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The number of the next call. */
  get next(): number {
    return this.#next;
  }

  /** Takes the next number. */
  add(call: PendingCall): void {
    assert(call.seq === this.#next, "calls are numbered in order");
    const slot = call.seq & (RING_LENGTH - 1);
    const older = this.#ring[slot];
    if (older !== undefined) this.#strays.set(older.seq, older);
    this.#ring[slot] = call;
    this.#next++;
    this.#size++;
  }

  get(seq: number): PendingCall | undefined {
    const call = this.#ring[seq & (RING_LENGTH - 1)];
    return call !== undefined && call.seq === seq ? call : this.#strays.get(seq);
  }

  delete(seq: number): void {
    const slot = seq & (RING_LENGTH - 1);
    if (this.#ring[slot]?.seq === seq) {
      this.#ring[slot] = undefined;
      this.#size--;
    } else if (this.#strays.delete(seq)) this.#size--;
  }

  /** Smallest unsettled sequence number (I2). Amortised constant: it only moves forward. */
  get lowest(): number {
    while (this.#lowest < this.#next && this.get(this.#lowest) === undefined) this.#lowest++;
    return this.#lowest;
  }

  /** In the order of their numbers. */
  all(): PendingCall[] {
    const calls = [...this.#strays.values()];
    for (const call of this.#ring) if (call !== undefined) calls.push(call);
    return calls.sort((a, b) => a.seq - b.seq);
  }
}
