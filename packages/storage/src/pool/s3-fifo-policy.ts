/**
 * S3-FIFO: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023. A second yardstick: plain, static,
 * modern. A tenth of the cache is a FIFO for newcomers, the rest a FIFO whose entries come round again as often as they were hit.
 */
import { NO_SLOT } from "./key-index.ts";
import { SlotTable } from "./slot-table.ts";
import type { CachePolicy, OnEvict, PolicySizes } from "./cache-policy.ts";

const SMALL = 0;
const MAIN = 1;
const GHOST = 2;
const SMALL_SHARE = 0.1;
const HITS_MAX = 3;
/** Hits a newcomer needs to move to the main queue. */
const HITS_TO_STAY = 2;

export class S3FifoPolicy implements CachePolicy {
  readonly #onEvict: OnEvict;
  #capacity: number;
  #small: number;
  #table: SlotTable;

  constructor(capacity: number, onEvict: OnEvict) {
    this.#capacity = capacity;
    this.#onEvict = onEvict;
    this.#small = Math.max(1, Math.floor(capacity * SMALL_SHARE));
    this.#table = new SlotTable(2 * capacity + 1);
  }

  get capacity(): number {
    return this.#capacity;
  }

  get size(): number {
    return this.#table.size(SMALL) + this.#table.size(MAIN);
  }

  has(key: number): boolean {
    const slot = this.#table.find(key);
    return slot !== NO_SLOT && this.#table.listOf(slot) !== GHOST;
  }

  access(key: number): boolean {
    const table = this.#table;
    let slot = table.find(key);
    if (slot !== NO_SLOT && table.listOf(slot) !== GHOST) {
      if (table.marks[slot]! < HITS_MAX) table.marks[slot]!++;
      return true;
    }
    while (this.size >= this.#capacity) this.evict();
    slot = table.find(key);
    if (slot === NO_SLOT) table.add(SMALL, key);
    else table.move(MAIN, slot);
    return false;
  }

  evict(): boolean {
    if (this.size === 0) return false;
    if (this.#table.size(SMALL) >= this.#small || this.#table.size(MAIN) === 0) this.#evictSmall();
    else this.#evictMain();
    return true;
  }

  #evictSmall(): void {
    const table = this.#table;
    while (table.size(SMALL) > 0) {
      const slot = table.oldest(SMALL);
      const stays = table.marks[slot]! >= HITS_TO_STAY;
      table.marks[slot] = 0;
      table.move(stays ? MAIN : GHOST, slot);
      if (!stays) {
        if (table.size(GHOST) > this.#capacity - this.#small) table.remove(table.oldest(GHOST));
        return this.#onEvict(table.keyOf(slot));
      }
      if (table.size(MAIN) > this.#capacity - this.#small) break;
    }
    this.#evictMain();
  }

  #evictMain(): void {
    const table = this.#table;
    for (;;) {
      const slot = table.oldest(MAIN);
      if (table.marks[slot]! > 0) {
        table.marks[slot]!--;
        table.move(MAIN, slot);
        continue;
      }
      const key = table.keyOf(slot);
      table.remove(slot);
      return this.#onEvict(key);
    }
  }

  remove(key: number): void {
    const slot = this.#table.find(key);
    if (slot !== NO_SLOT) this.#table.remove(slot);
  }

  resize(capacity: number): void {
    while (this.size > capacity) this.evict();
    this.#capacity = capacity;
    this.#small = Math.max(1, Math.floor(capacity * SMALL_SHARE));
    while (this.#table.size(GHOST) > capacity) this.#table.remove(this.#table.oldest(GHOST));
    const before = this.#table;
    this.#table = new SlotTable(2 * capacity + 1);
    this.#table.copyFrom(before);
  }

  sizes(): PolicySizes {
    const size = (list: number): number => this.#table.size(list);
    return { t1: size(SMALL), t2: size(MAIN), b1: size(GHOST), b2: 0, t1Target: SMALL_SHARE };
  }
}
