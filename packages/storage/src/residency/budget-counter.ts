/**
 * One budget for all workers of a host, in memory they share.
 *
 * | word         | field                                                         |
 * | ------------ | ------------------------------------------------------------- |
 * | 0            | the limit, in pages                                           |
 * | 1 + 3 w      | 1 while worker w has the budget open                          |
 * | 2 + 3 w      | pages reserved by worker w                                    |
 * | 3 + 3 w      | pages worker w lacks within its fair part                     |
 *
 * Words are 32 bits and count pages of 4 KiB: up to 8 TiB. Reservations are rounded up to pages.
 *
 * B1 the cells are the only truth: there is no sum that could disagree with them. When a worker has died, clearing its cell gives
 *    everything back, at whatever instruction it died.
 * B2 the cells that were granted never add up to more than the limit, unless that is lowered. A worker adds to its own cell first and then reads
 *    all of them; of two that do so at once, at least one sees both, and takes back what is too much.
 * B3 for a moment a cell may hold more than was granted. So a reservation may get less than there is; never more.
 */
import { assert } from "@pinion/core";
import type { PinBudget } from "./pin-types.ts";

const PAGE_BYTES = 4096;
const PAGES_MAX = 2 ** 31 - 1;
export const BUDGET_WORKERS_MAX = 256;

const OPEN = 1;
const RESERVED = 2;
const WANTED = 3;
const WORDS_PER_WORKER = 3;

const pagesOf = (byteCount: number): number => Math.ceil(byteCount / PAGE_BYTES);

export class BudgetCounter {
  /** To hand to the other workers. */
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #workers: number;

  /** @param shared what `create` made, on whatever thread */
  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#words = new Int32Array(shared);
    this.#workers = (this.#words.length - 1) / WORDS_PER_WORKER;
  }

  /** @param workers 1 … 256 */
  static create(limitBytes: number, workers: number): BudgetCounter {
    assert(workers >= 1 && workers <= BUDGET_WORKERS_MAX, `a budget for ${workers} workers`);
    const words = 1 + WORDS_PER_WORKER * workers;
    const counter = new BudgetCounter(new SharedArrayBuffer(words * 4));
    counter.setLimit(limitBytes);
    return counter;
  }

  /** Takes effect for the next reservation; who has more gives it back (`PinManager.enforceLimit`). Rounded down to pages. */
  setLimit(limitBytes: number): void {
    const pages = Math.floor(limitBytes / PAGE_BYTES);
    Atomics.store(this.#words, 0, Math.max(0, Math.min(pages, PAGES_MAX)));
  }

  get limitBytes(): number {
    return Atomics.load(this.#words, 0) * PAGE_BYTES;
  }

  get usedBytes(): number {
    return this.#usedPages() * PAGE_BYTES;
  }

  /** The budget as worker `worker` sees it. One at a time per worker. */
  open(worker: number): WorkerBudget {
    assert(worker >= 0 && worker < this.#workers, `worker ${worker} of ${this.#workers}`);
    Atomics.store(this.#words, this.#at(worker, OPEN), 1);
    return new WorkerBudget(this, worker);
  }

  /** Gives back all that a worker had, once its thread has ended and its memory with it. @returns how much */
  reclaim(worker: number): number {
    Atomics.store(this.#words, this.#at(worker, OPEN), 0);
    Atomics.store(this.#words, this.#at(worker, WANTED), 0);
    return Atomics.exchange(this.#words, this.#at(worker, RESERVED), 0) * PAGE_BYTES;
  }

  reservedBytes(worker: number): number {
    return Atomics.load(this.#words, this.#at(worker, RESERVED)) * PAGE_BYTES;
  }

  /** @returns what was taken: whole pages, except that it is never more than `byteCount` */
  reserveUpTo(worker: number, byteCount: number): number {
    const words = this.#words;
    const cell = this.#at(worker, RESERVED);
    const limit = Atomics.load(words, 0);
    const asked = Math.min(pagesOf(byteCount), limit - this.#usedPages());
    if (asked <= 0) return 0;
    Atomics.add(words, cell, asked);
    // Never more than asked: what is over may be the doing of others.
    const tooMuch = Math.min(asked, Math.max(0, this.#usedPages() - limit));
    if (tooMuch > 0) Atomics.sub(words, cell, tooMuch);
    return Math.min(byteCount, (asked - tooMuch) * PAGE_BYTES);
  }

  release(worker: number, pages: number): void {
    const before = Atomics.sub(this.#words, this.#at(worker, RESERVED), pages);
    assert(before >= pages, `worker ${worker} gave back ${pages} pages of ${before}`);
  }

  want(worker: number, byteCount: number): void {
    const pages = Math.min(pagesOf(byteCount), PAGES_MAX);
    Atomics.store(this.#words, this.#at(worker, WANTED), pages);
  }

  wantedByOthersBytes(worker: number): number {
    let pages = 0;
    for (let other = 0; other < this.#workers; other++) {
      if (other !== worker) pages += Atomics.load(this.#words, this.#at(other, WANTED));
    }
    return pages * PAGE_BYTES;
  }

  /** The limit divided by the workers that have the budget open. */
  get fairBytes(): number {
    let open = 0;
    for (let worker = 0; worker < this.#workers; worker++) {
      open += Atomics.load(this.#words, this.#at(worker, OPEN));
    }
    return this.limitBytes / Math.max(1, open);
  }

  #usedPages(): number {
    let pages = 0;
    for (let worker = 0; worker < this.#workers; worker++) {
      pages += Atomics.load(this.#words, this.#at(worker, RESERVED));
    }
    return pages;
  }

  #at(worker: number, field: number): number {
    return worker * WORDS_PER_WORKER + field;
  }
}

/** One worker's side. Amounts that are no whole pages are kept apart here, so that they can come and go in any parts. */
export class WorkerBudget implements PinBudget {
  readonly #counter: BudgetCounter;
  readonly #worker: number;
  /** Exactly what is reserved; the cell holds as many pages as that takes. */
  #bytes = 0;

  constructor(counter: BudgetCounter, worker: number) {
    this.#counter = counter;
    this.#worker = worker;
  }

  get limitBytes(): number {
    return this.#counter.limitBytes;
  }

  get usedBytes(): number {
    return this.#counter.usedBytes;
  }

  get fairBytes(): number {
    return this.#counter.fairBytes;
  }

  get overBytes(): number {
    return Math.max(0, this.usedBytes - this.limitBytes);
  }

  get owedBytes(): number {
    const beyond = this.#counter.reservedBytes(this.#worker) - this.fairBytes;
    if (beyond <= 0) return 0;
    const freeBytes = this.limitBytes - this.usedBytes;
    const wanted = this.#counter.wantedByOthersBytes(this.#worker) - Math.max(0, freeBytes);
    return Math.max(0, Math.min(beyond, wanted));
  }

  reserveUpTo(byteCount: number): number {
    const slack = pagesOf(this.#bytes) * PAGE_BYTES - this.#bytes;
    let taken = Math.min(slack, byteCount);
    if (taken < byteCount) taken += this.#counter.reserveUpTo(this.#worker, byteCount - taken);
    this.#bytes += taken;
    return taken;
  }

  release(byteCount: number): void {
    assert(byteCount >= 0 && byteCount <= this.#bytes, `${byteCount} of ${this.#bytes} given back`);
    const pagesBefore = pagesOf(this.#bytes);
    this.#bytes -= byteCount;
    const pages = pagesBefore - pagesOf(this.#bytes);
    if (pages > 0) this.#counter.release(this.#worker, pages);
  }

  want(byteCount: number): void {
    this.#counter.want(this.#worker, byteCount);
  }
}
