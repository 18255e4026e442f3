/**
 * Finds the slot of a key: open addressing over slot numbers, for tables with millions of entries. The keys themselves lie in an array
 * by slot that the owner shares with the index, so an entry costs 6 bytes here (4 bytes, two thirds full) and 8 there.
 *
 * State: the table. Keys are safe integers ≥ 0.
 *
 * K1 a cell holds one more than a slot whose key is in the index, or `EMPTY`; no cell between a key's home and its place is empty (linear probing with
 *    backward shifts, Knuth volume 3, 6.4, algorithm R), so nothing is left behind by removals.
 */
import { assert } from "@pinion/core";

export const NO_SLOT = -1;
/** What fresh memory holds: a table costs nothing before its first key, neither time at the start of a host nor memory. */
const EMPTY = 0;
const TWO_32 = 4_294_967_296;
const CELLS_PER_SLOT = 1.5;

/** A 32-bit hash of a safe integer: both halves through murmur3's finaliser. @param salt for hashes that must not depend on each other */
export function hashKey(key: number, salt = 0): number {
  let h = Math.imul((key / TWO_32) | 0, 0x9e3779b1) ^ (key >>> 0) ^ salt;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

export class KeyIndex {
  readonly #keys: Float64Array;
  readonly #cells: Int32Array;
  /** Cells a hash is worth: maps [0, 2^32) onto the table without a power of two. */
  readonly #scale: number;

  /** @param keys the key of each slot; the owner writes it before `add` and leaves it until `remove` */
  constructor(keys: Float64Array) {
    this.#keys = keys;
    const cells = Math.ceil(keys.length * CELLS_PER_SLOT) + 1;
    this.#cells = new Int32Array(cells);
    this.#scale = cells / TWO_32;
  }

  get byteCount(): number {
    return this.#cells.byteLength;
  }

  #home(key: number): number {
    return (hashKey(key) * this.#scale) | 0;
  }

  /** `NO_SLOT` if the key is not there. */
  find(key: number): number {
    const cells = this.#cells;
    const keys = this.#keys;
    for (let i = this.#home(key); ;) {
      const cell = cells[i]!;
      if (cell === EMPTY) return NO_SLOT;
      if (keys[cell - 1] === key) return cell - 1;
      if (++i === cells.length) i = 0;
    }
  }

  /** For a key that is not in the index. */
  add(slot: number): void {
    const cells = this.#cells;
    let i = this.#home(this.#keys[slot]!);
    while (cells[i] !== EMPTY) if (++i === cells.length) i = 0;
    cells[i] = slot + 1;
  }

  remove(slot: number): void {
    const cells = this.#cells;
    let hole = this.#home(this.#keys[slot]!);
    while (cells[hole] !== slot + 1) {
      assert(cells[hole] !== EMPTY, "a key that is not in the index is removed from it");
      if (++hole === cells.length) hole = 0;
    }
    for (let i = hole; ;) {
      if (++i === cells.length) i = 0;
      const next = cells[i]!;
      if (next === EMPTY) break;
      const home = this.#home(this.#keys[next - 1]!);
      // It may move up unless its home lies cyclically in (hole, i] (K1).
      const stays = hole <= i ? hole < home && home <= i : hole < home || home <= i;
      if (stays) continue;
      cells[hole] = next;
      hole = i;
    }
    cells[hole] = EMPTY;
  }
}
