/**
 * The output gate of a shard: holds replies, sends and readonly answers until the LSN they depend on is committed.
 *
 * Why: a reply that leaves before its record is durable is a promise a crash can break. Why a queue is
 * enough: LSNs are handed out in order, so what was held first may leave first.
 *
 * I1 nothing is released before `committed ≥ lsn`.
 * I2 releases happen in the order of LSNs; equal LSNs in the order they were held.
 */
import type { Lsn } from "@pinion/core";

export interface Gated {
  release(): void;
  /** The shard is lost: it will never be released. */
  drop?(error: Error): void;
}

const START_SLOTS = 64; // a power of two: positions wrap with a mask

export class OutputGate {
  #lsns: Float64Array = new Float64Array(START_SLOTS);
  #held: (Gated | undefined)[] = new Array<Gated | undefined>(START_SLOTS).fill(undefined);
  #head = 0;
  #count = 0;
  #committed = 0;

  get size(): number {
    return this.#count;
  }

  get committed(): Lsn {
    return this.#committed as Lsn;
  }

  /** Releases `item` once `lsn` is committed: at once if it is. `lsn` is at least that of what was held before. */
  hold(lsn: Lsn, item: Gated): void {
    if (lsn <= this.#committed && this.#count === 0) {
      item.release();
      return;
    }
    if (this.#count === this.#held.length) this.#grow();
    let at = (this.#head + this.#count) & (this.#held.length - 1);
    this.#count++;
    // A readonly answer may depend on an older LSN than the last one held: it moves up to keep the order.
    for (let n = this.#count - 1; n > 0; n--) {
      const before = (at - 1) & (this.#held.length - 1);
      if ((this.#lsns[before] as number) <= lsn) break;
      this.#lsns[at] = this.#lsns[before] as number;
      this.#held[at] = this.#held[before];
      at = before;
    }
    this.#lsns[at] = lsn;
    this.#held[at] = item;
  }

  /** Moves the committed LSN forward and releases what it covers. */
  open(committed: Lsn): void {
    if (committed <= this.#committed) return;
    this.#committed = committed;
    while (this.#count > 0 && (this.#lsns[this.#head] as number) <= committed) {
      const item = this.#held[this.#head] as Gated;
      this.#held[this.#head] = undefined;
      this.#head = (this.#head + 1) & (this.#held.length - 1);
      this.#count--;
      item.release();
    }
  }

  /** The shard is lost: what was held never leaves. */
  discard(error: Error): void {
    const held = this.#held.filter((item) => item !== undefined);
    this.#held.fill(undefined);
    this.#count = 0;
    for (const item of held) item.drop?.(error);
  }

  #grow(): void {
    const size = this.#held.length;
    const lsns = new Float64Array(size * 2);
    const held = new Array<Gated | undefined>(size * 2).fill(undefined);
    for (let i = 0; i < this.#count; i++) {
      const from = (this.#head + i) & (size - 1);
      lsns[i] = this.#lsns[from] as number;
      held[i] = this.#held[from];
    }
    this.#lsns = lsns;
    this.#held = held;
    this.#head = 0;
  }
}
