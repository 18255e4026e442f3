/**
 * Plain ARC: Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003, figure 4. The yardstick for the policy
 * that ships (steered-policy.ts), in `pnpm bench cache` and in its tests; it takes no hints.
 *
 * A1 |T1| + |T2| ≤ c, |T1| + |B1| ≤ c, all four together ≤ 2c.
 */
import { NO_SLOT } from "./key-index.ts";
import { SlotTable } from "./slot-table.ts";
import type { CachePolicy, OnEvict, PolicySizes } from "./cache-policy.ts";

const T1 = 0;
const T2 = 1;
const B1 = 2;
const B2 = 3;

export class ArcPolicy implements CachePolicy {
  readonly #onEvict: OnEvict;
  #capacity: number;
  #table: SlotTable;
  /** Target for |T1|: a real number, as in the paper; rounding its steps costs up to half a point of hit rate. */
  #target = 0;

  constructor(capacity: number, onEvict: OnEvict) {
    this.#capacity = capacity;
    this.#onEvict = onEvict;
    this.#table = new SlotTable(2 * capacity);
  }

  get capacity(): number {
    return this.#capacity;
  }

  get size(): number {
    return this.#table.size(T1) + this.#table.size(T2);
  }

  has(key: number): boolean {
    const slot = this.#table.find(key);
    return slot !== NO_SLOT && this.#table.listOf(slot) <= T2;
  }

  access(key: number): boolean {
    const table = this.#table;
    const c = this.#capacity;
    const slot = table.find(key);
    if (slot === NO_SLOT) {
      this.#admit(key);
      return false;
    }
    const list = table.listOf(slot);
    if (list === B1 || list === B2) {
      const [b1, b2] = [table.size(B1), table.size(B2)];
      this.#target =
        list === B1
          ? Math.min(c, this.#target + Math.max(1, b2 / b1))
          : Math.max(0, this.#target - Math.max(1, b1 / b2));
      // After a removal or a growth there may be room.
      if (this.size >= c) this.#replace(list === B2);
    }
    table.move(T2, slot);
    return list <= T2;
  }

  /** Case IV: a key nobody knows. */
  #admit(key: number): void {
    const table = this.#table;
    const c = this.#capacity;
    const recent = table.size(T1) + table.size(B1);
    if (recent >= c) {
      if (table.size(B1) > 0) {
        table.remove(table.oldest(B1));
        if (this.size >= c) this.#replace(false);
      } else this.#drop(T1);
    } else {
      if (recent + table.size(T2) + table.size(B2) >= 2 * c) table.remove(table.oldest(B2));
      if (this.size >= c) this.#replace(false);
    }
    table.add(T1, key);
  }

  #replace(hitInB2: boolean): void {
    const t1 = this.#table.size(T1);
    const fromT1 = t1 > 0 && (t1 > this.#target || (hitInB2 && t1 === this.#target));
    const from = fromT1 || this.#table.size(T2) === 0 ? T1 : T2;
    const slot = this.#table.oldest(from);
    this.#table.move(from === T1 ? B1 : B2, slot);
    this.#onEvict(this.#table.keyOf(slot));
  }

  /** Evicts without remembering. */
  #drop(list: number): void {
    const slot = this.#table.oldest(list);
    const key = this.#table.keyOf(slot);
    this.#table.remove(slot);
    this.#onEvict(key);
  }

  remove(key: number): void {
    const slot = this.#table.find(key);
    if (slot !== NO_SLOT) this.#table.remove(slot);
  }

  evict(): boolean {
    if (this.size === 0) return false;
    this.#replace(false);
    return true;
  }

  resize(capacity: number): void {
    while (this.size > capacity) this.#replace(false);
    const table = this.#table;
    while (table.size(B1) > 0 && table.size(T1) + table.size(B1) > capacity)
      table.remove(table.oldest(B1));
    while (table.size(B2) > 0 && this.size + table.size(B1) + table.size(B2) > 2 * capacity)
      table.remove(table.oldest(B2));
    this.#table = new SlotTable(2 * capacity);
    this.#table.copyFrom(table);
    this.#target = Math.min(capacity, this.#target);
    this.#capacity = capacity;
  }

  sizes(): PolicySizes {
    const size = (list: number): number => this.#table.size(list);
    const t1Target = this.#target / this.#capacity;
    return { t1: size(T1), t2: size(T2), b1: size(B1), b2: size(B2), t1Target };
  }
}
