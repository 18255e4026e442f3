/**
 * The lists of the policy that ships: ARC's T1, T2 and B1 with two changes, each of which wins on the reference traces (docs/buffer-pool.md).
 * T2 is a clock that counts up to three hits instead of a list in order of use, as in S3-FIFO; and B2 is gone, because what comes back after
 * it left T2 is better treated as new. How large T1 and B1 are is for somebody else to say (steered-policy.ts): they are two numbers here.
 *
 * - T1, probation: pages seen once, first in, first out. At its end a page that was hit goes to T2, another one to B1.
 * - T2: pages seen more often. At its end a page with hits goes round again with one less.
 * - B1: keys only. Who comes back from here goes to T2.
 *
 * P1 |T1| + |T2| ≤ capacity, |B1| ≤ the largest ghost share × capacity.
 * P2 a page that was read for `batch` only never leaves T1 but by eviction, and does not get into B1.
 */
import { NO_SLOT } from "./key-index.ts";
import { SlotTable } from "./slot-table.ts";
import type { AdmissionHint, OnEvict } from "./cache-policy.ts";

const T1 = 0;
const T2 = 1;
const B1 = 2;
const HITS_MAX = 3;
/** Mark of a page that only `batch` reads have asked for. */
const BATCH_ONLY = 4;

export class ProbationCache {
  readonly #onEvict: OnEvict;
  readonly #table: SlotTable;
  readonly capacity: number;
  /** Pages T1 gives way from; a real number ≥ 1, so that it can move slowly. */
  t1Target: number;
  /** Keys B1 remembers, ≤ `ghostShareMax` × capacity. */
  ghosts: number;

  /** @param ghostShareMax what `ghosts` may become, as a share of the capacity */
  constructor(
    capacity: number,
    options: { t1Share: number; ghostShare: number; ghostShareMax: number },
    onEvict: OnEvict,
  ) {
    this.capacity = capacity;
    this.#onEvict = onEvict;
    this.t1Target = Math.max(1, capacity * options.t1Share);
    this.ghosts = Math.floor(capacity * options.ghostShare);
    this.#table = new SlotTable(capacity + Math.floor(capacity * options.ghostShareMax) + 1);
  }

  get size(): number {
    return this.#table.size(T1) + this.#table.size(T2);
  }

  get byteCount(): number {
    return this.#table.byteCount;
  }

  sizes(): { t1: number; t2: number; b1: number } {
    return { t1: this.#table.size(T1), t2: this.#table.size(T2), b1: this.#table.size(B1) };
  }

  has(key: number): boolean {
    const slot = this.#table.find(key);
    return slot !== NO_SLOT && this.#table.listOf(slot) !== B1;
  }

  access(key: number, hint: AdmissionHint): boolean {
    const table = this.#table;
    const slot = table.find(key);
    if (slot !== NO_SLOT && table.listOf(slot) !== B1) {
      this.#hit(slot, hint);
      return true;
    }
    while (this.size >= this.capacity) this.evict();
    // Making room may have pushed the key out of B1.
    const ghost = slot === NO_SLOT ? NO_SLOT : table.find(key);
    if (hint === "batch") {
      if (ghost !== NO_SLOT) table.remove(ghost);
      table.marks[table.add(T1, key)] = BATCH_ONLY;
    } else if (ghost !== NO_SLOT) table.move(T2, ghost);
    else table.add(hint === "realtime" ? T2 : T1, key);
    return false;
  }

  #hit(slot: number, hint: AdmissionHint): void {
    const marks = this.#table.marks;
    if (hint === "batch") return;
    if (marks[slot] === BATCH_ONLY) marks[slot] = 0;
    else if (marks[slot]! < HITS_MAX) marks[slot]!++;
    if (hint === "realtime" && this.#table.listOf(slot) === T1) this.#table.move(T2, slot);
  }

  /** @returns whether there was anything to evict */
  evict(): boolean {
    if (this.size === 0) return false;
    const fromT1 = this.#table.size(T1) >= this.t1Target || this.#table.size(T2) === 0;
    if (!fromT1 || !this.#evictFromT1()) this.#evictFromT2();
    return true;
  }

  /** @returns false when all it could do was to move pages to T2, which now has too many */
  #evictFromT1(): boolean {
    const table = this.#table;
    const t2Max = this.capacity - this.t1Target;
    while (table.size(T1) > 0) {
      const slot = table.oldest(T1);
      const mark = table.marks[slot]!;
      if (mark > 0 && mark !== BATCH_ONLY) {
        table.marks[slot] = mark - 1;
        table.move(T2, slot);
        if (table.size(T2) > t2Max) return false;
        continue;
      }
      const key = table.keyOf(slot);
      if (mark === BATCH_ONLY) table.remove(slot);
      else table.move(B1, slot);
      while (table.size(B1) > this.ghosts) table.remove(table.oldest(B1));
      this.#onEvict(key);
      return true;
    }
    return false;
  }

  #evictFromT2(): void {
    const table = this.#table;
    for (;;) {
      const slot = table.oldest(T2);
      if (table.marks[slot]! > 0) {
        table.marks[slot]!--;
        table.move(T2, slot);
        continue;
      }
      const key = table.keyOf(slot);
      table.remove(slot);
      this.#onEvict(key);
      return;
    }
  }

  remove(key: number): void {
    const slot = this.#table.find(key);
    if (slot !== NO_SLOT) this.#table.remove(slot);
  }

  /** Takes over the pages and the memory of another one, evicting from it what does not fit. */
  inherit(from: ProbationCache): void {
    while (from.size > this.capacity) from.evict();
    while (from.#table.size(B1) > this.ghosts) from.#table.remove(from.#table.oldest(B1));
    this.#table.copyFrom(from.#table);
  }
}
