/**
 * What a cache policy keeps of each key it knows, resident or ghost: a slot in a few typed arrays, 24 bytes with the index
 * (key 8, neighbours 8, list and mark 2, index 6). A slot is on exactly one list, newest first.
 *
 * S1 a key has at most one slot. S2 a slot that is in use is on one of the lists 0 … `LISTS` − 1; the others are on the free list, or at
 *    `#fresh` and above, where nothing has been written yet: what no key has needed costs neither memory nor time at the start of a host.
 */
import { assert } from "@pinion/core";
import { KeyIndex, NO_SLOT } from "./key-index.ts";

export const LISTS = 4;

export class SlotTable {
  readonly #keys: Float64Array;
  readonly #index: KeyIndex;
  /** Towards older entries; of a free slot: the next free one. */
  readonly #older: Int32Array;
  readonly #newer: Int32Array;
  readonly #list: Uint8Array;
  readonly #newest = new Int32Array(LISTS).fill(NO_SLOT);
  readonly #oldest = new Int32Array(LISTS).fill(NO_SLOT);
  readonly #sizes = new Int32Array(LISTS);
  #free = NO_SLOT;
  #fresh = 0;
  /** The owner's, per slot; 0 when a slot is taken. */
  readonly marks: Uint8Array;

  /** @param slots keys at most */
  constructor(slots: number) {
    this.#keys = new Float64Array(slots);
    this.#index = new KeyIndex(this.#keys);
    this.#older = new Int32Array(slots);
    this.#newer = new Int32Array(slots);
    this.#list = new Uint8Array(slots);
    this.marks = new Uint8Array(slots);
  }

  get byteCount(): number {
    return this.#keys.length * (8 + 4 + 4 + 1 + 1) + this.#index.byteCount;
  }

  find(key: number): number {
    return this.#index.find(key);
  }

  keyOf(slot: number): number {
    return this.#keys[slot]!;
  }

  listOf(slot: number): number {
    return this.#list[slot]!;
  }

  size(list: number): number {
    return this.#sizes[list]!;
  }

  /** `NO_SLOT` of an empty list. */
  oldest(list: number): number {
    return this.#oldest[list]!;
  }

  /** The next newer slot of the same list, or `NO_SLOT`. */
  newerThan(slot: number): number {
    return this.#newer[slot]!;
  }

  /** Gives a new key a slot, at the newest end. */
  add(list: number, key: number): number {
    const slot = this.#take();
    this.#keys[slot] = key;
    this.marks[slot] = 0;
    this.#index.add(slot);
    this.#link(list, slot);
    return slot;
  }

  #take(): number {
    const slot = this.#free;
    if (slot !== NO_SLOT) {
      this.#free = this.#older[slot]!;
      return slot;
    }
    assert(this.#fresh < this.#keys.length, "a cache policy knows more keys than it has slots");
    return this.#fresh++;
  }

  /** To the newest end of `list`, from wherever it is. */
  move(list: number, slot: number): void {
    this.#unlink(slot);
    this.#link(list, slot);
  }

  remove(slot: number): void {
    this.#unlink(slot);
    this.#index.remove(slot);
    this.#older[slot] = this.#free;
    this.#free = slot;
  }

  /** Takes over what another table knows, order and marks included. */
  copyFrom(other: SlotTable): void {
    for (let list = 0; list < LISTS; list++) {
      for (let slot = other.oldest(list); slot !== NO_SLOT; slot = other.newerThan(slot)) {
        this.marks[this.add(list, other.keyOf(slot))] = other.marks[slot]!;
      }
    }
  }

  #link(list: number, slot: number): void {
    const newest = this.#newest[list]!;
    this.#list[slot] = list;
    this.#newer[slot] = NO_SLOT;
    this.#older[slot] = newest;
    if (newest === NO_SLOT) this.#oldest[list] = slot;
    else this.#newer[newest] = slot;
    this.#newest[list] = slot;
    this.#sizes[list]!++;
  }

  #unlink(slot: number): void {
    const list = this.#list[slot]!;
    const older = this.#older[slot]!;
    const newer = this.#newer[slot]!;
    if (newer === NO_SLOT) this.#newest[list] = older;
    else this.#older[newer] = older;
    if (older === NO_SLOT) this.#oldest[list] = newer;
    else this.#newer[older] = newer;
    this.#sizes[list]!--;
  }
}
