/**
 * Bounds for actor types within the budget of a host, counted over all its workers in memory they share.
 *
 * | word           | field                                                                   |
 * | -------------- | ----------------------------------------------------------------------- |
 * | 0              | workers                                                                 |
 * | 1 + s (1 + n)  | slot s of 256: checksum of the type's name with the lowest bit set, or 0 |
 * | … + 1 + w      | pages of 4 KiB that worker w has reserved for the type                  |
 *
 * T1 as the budget itself (budget-counter.ts, B1 and B2): cells are the only truth, and what was granted never adds up to more than the limit.
 * T2 a type for which no slot is left is counted by each worker alone.
 */
import { assert } from "@pinion/core";
import { crc32c } from "../memory/crc32c.ts";

const PAGE_BYTES = 4096;
const SLOTS = 256;

/** Both given: the smaller counts. */
export interface TypeBudget {
  /** Of all extents of the type on a host together. */
  readonly pinBytesMax: number | undefined;
  /** The same as a share of the host's pin budget, above 0, up to 1. */
  readonly pinShareMax: number | undefined;
}

/** One worker's side of the bound of one type. */
export interface TypeBudgetCells {
  /** By all workers. */
  readonly usedBytes: number;
  /** All or nothing. @returns false where that would be above the limit */
  reserve(pages: number, limitBytes: number): boolean;
  release(pages: number): void;
}

export class TypeBudgetTable {
  /** To hand to the other workers. */
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #workers: number;

  /** @param shared what `create` made, on whatever thread */
  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#words = new Int32Array(shared);
    this.#workers = this.#words[0] as number;
  }

  static create(workers: number): TypeBudgetTable {
    const shared = new SharedArrayBuffer((1 + SLOTS * (1 + workers)) * 4);
    new Int32Array(shared)[0] = workers;
    return new TypeBudgetTable(shared);
  }

  open(type: string, worker: number): TypeBudgetCells {
    assert(worker >= 0 && worker < this.#workers, `worker ${worker} of ${this.#workers}`);
    const at = this.#slotOf(type);
    if (at === undefined) return new Cells(new Int32Array(1), 0, 1, 0); // T2
    return new Cells(this.#words, at + 1, this.#workers, worker);
  }

  /** Gives back all that a worker had, once its thread has ended and its memory with it. */
  reclaim(worker: number): void {
    for (let slot = 0; slot < SLOTS; slot++)
      Atomics.store(this.#words, this.#at(slot) + 1 + worker, 0);
  }

  #at(slot: number): number {
    return 1 + slot * (1 + this.#workers);
  }

  #slotOf(type: string): number | undefined {
    const name = crc32c(Buffer.from(type)) | 1;
    for (let i = 0; i < SLOTS; i++) {
      const at = this.#at(((name >>> 1) + i) % SLOTS);
      const found = Atomics.compareExchange(this.#words, at, 0, name);
      if (found === 0 || found === name) return at;
    }
    return undefined;
  }
}

class Cells implements TypeBudgetCells {
  readonly #words: Int32Array;
  readonly #from: number;
  readonly #count: number;
  readonly #own: number;

  constructor(words: Int32Array, from: number, count: number, worker: number) {
    this.#words = words;
    this.#from = from;
    this.#count = count;
    this.#own = from + worker;
  }

  get usedBytes(): number {
    let pages = 0;
    for (let i = 0; i < this.#count; i++) pages += Atomics.load(this.#words, this.#from + i);
    return pages * PAGE_BYTES;
  }

  reserve(pages: number, limitBytes: number): boolean {
    if (this.usedBytes + pages * PAGE_BYTES > limitBytes) return false;
    Atomics.add(this.#words, this.#own, pages);
    if (this.usedBytes <= limitBytes) return true;
    Atomics.sub(this.#words, this.#own, pages);
    return false;
  }

  release(pages: number): void {
    const before = Atomics.sub(this.#words, this.#own, pages);
    assert(before >= pages, `${pages} pages of ${before} of a type given back`);
  }
}
