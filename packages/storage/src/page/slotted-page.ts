/**
 * Nodes of a B+tree as slotted pages. 4,096 bytes, little endian:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 8 | page number: a node under the wrong number is as wrong as a flipped bit |
 * | 8 | 8 | LSN of the freeze it was written for |
 * | 16 | 4 | where the cells begin |
 * | 20 | 2 | number of slots |
 * | 22 | 2 | flags: 1 = inner node |
 * | 24 | 2 | length of the prefix that all keys share; it follows the slots' end in the page: see below |
 * | 26 | 6 | reserved, 0 |
 * | 32 | 4 × n | slots: u16 offset of the cell, u16 its length |
 *
 * The prefix lies in the last bytes of the page, the cells before it, in the order of their slots from the end downwards. A cell is {u16 length of
 * the rest of the key, the rest of the key, value}. The checksum is in the parent's entry (page-entry.ts).
 */
import { PinionError } from "@pinion/core";
import { PAGE_BYTES } from "../segment/page-entry.ts";

const HEADER_BYTES = 32;
const SLOT_BYTES = 4;
const KEY_LENGTH_BYTES = 2;
const FLAG_INNER = 1;
const TWO_32 = 4_294_967_296;

/** Room for slots, cells and the prefix. */
export const NODE_ROOM_BYTES = PAGE_BYTES - HEADER_BYTES;

export interface Cell {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** What a cell takes, before the prefix is taken off. */
export const cellBytes = ({ key, value }: Cell): number =>
  SLOT_BYTES + KEY_LENGTH_BYTES + key.length + value.length;

export interface TreeNode {
  readonly inner: boolean;
  /** In the order of their keys. */
  readonly cells: readonly Cell[];
}

/** Length of what both begin with. */
export function sharedPrefix(a: Uint8Array, b: Uint8Array): number {
  const end = Math.min(a.length, b.length);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}

/** @param cells whose keys are in order and fit (`NODE_ROOM_BYTES`) */
export function encodeNode(page: number, lsn: number, { inner, cells }: TreeNode): Uint8Array {
  const bytes = new Uint8Array(PAGE_BYTES);
  const view = new DataView(bytes.buffer);
  const first = cells[0]?.key;
  const last = cells.at(-1)?.key;
  const prefixBytes = first && last && cells.length > 1 ? sharedPrefix(first, last) : 0;
  let end = PAGE_BYTES - prefixBytes;
  if (first) bytes.set(first.subarray(0, prefixBytes), end);
  for (let i = 0; i < cells.length; i++) {
    const { key, value } = cells[i] as Cell;
    const keyBytes = key.length - prefixBytes;
    const length = KEY_LENGTH_BYTES + keyBytes + value.length;
    end -= length;
    view.setUint16(HEADER_BYTES + i * SLOT_BYTES, end, true);
    view.setUint16(HEADER_BYTES + i * SLOT_BYTES + 2, length, true);
    view.setUint16(end, keyBytes, true);
    bytes.set(key.subarray(prefixBytes), end + KEY_LENGTH_BYTES);
    bytes.set(value, end + KEY_LENGTH_BYTES + keyBytes);
  }
  view.setUint32(0, page % TWO_32, true);
  view.setUint32(4, page / TWO_32, true);
  view.setUint32(8, lsn % TWO_32, true);
  view.setUint32(12, lsn / TWO_32, true);
  view.setUint32(16, end, true);
  view.setUint16(20, cells.length, true);
  view.setUint16(22, inner ? FLAG_INNER : 0, true);
  view.setUint16(24, prefixBytes, true);
  return bytes;
}

function damaged(page: number, what: string): PinionError {
  return new PinionError("corruption", `tree node in page ${page}: ${what}`, { details: { page } });
}

/** Reads nodes where they lie: keys and values are views of the page, or copies where a prefix is put back. */
export class NodeView implements TreeNode {
  readonly page: number;
  readonly bytes: Uint8Array;
  readonly inner: boolean;
  readonly count: number;
  readonly #view: DataView;
  readonly #prefix: Uint8Array;

  /** @throws `corruption` for what is no node of this page */
  constructor(page: number, bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, PAGE_BYTES);
    const stated = view.getUint32(0, true) + view.getUint32(4, true) * TWO_32;
    if (stated !== page) throw damaged(page, `it says that it is page ${stated}`);
    const count = view.getUint16(20, true);
    const prefixBytes = view.getUint16(24, true);
    if (HEADER_BYTES + count * SLOT_BYTES + prefixBytes > PAGE_BYTES)
      throw damaged(page, `${count} slots and a prefix of ${prefixBytes} bytes`);
    this.page = page;
    this.bytes = bytes;
    this.count = count;
    this.inner = (view.getUint16(22, true) & FLAG_INNER) !== 0;
    this.#view = view;
    this.#prefix = bytes.subarray(PAGE_BYTES - prefixBytes);
    for (let i = 0; i < count; i++) {
      const at = view.getUint16(HEADER_BYTES + i * SLOT_BYTES, true);
      const length = view.getUint16(HEADER_BYTES + i * SLOT_BYTES + 2, true);
      const fits =
        length >= KEY_LENGTH_BYTES &&
        at >= HEADER_BYTES + count * SLOT_BYTES &&
        at + length <= PAGE_BYTES &&
        KEY_LENGTH_BYTES + view.getUint16(at, true) <= length;
      if (!fits) throw damaged(page, `cell ${i} lies outside`);
    }
  }

  get cells(): Cell[] {
    return Array.from({ length: this.count }, (_, i) => ({
      key: this.key(i),
      value: this.value(i),
    }));
  }

  key(slot: number): Uint8Array {
    const rest = this.#restOfKey(slot);
    const prefix = this.#prefix;
    if (prefix.length === 0) return rest;
    const key = new Uint8Array(prefix.length + rest.length);
    key.set(prefix);
    key.set(rest, prefix.length);
    return key;
  }

  value(slot: number): Uint8Array {
    const at = this.#view.getUint16(HEADER_BYTES + slot * SLOT_BYTES, true);
    const length = this.#view.getUint16(HEADER_BYTES + slot * SLOT_BYTES + 2, true);
    const start = at + KEY_LENGTH_BYTES + this.#view.getUint16(at, true);
    return this.bytes.subarray(start, at + length);
  }

  /** The first slot whose key is not below `key`; `count` when there is none. */
  lowerBound(key: Uint8Array): number {
    const prefix = this.#prefix;
    const shared = sharedPrefix(prefix, key);
    if (shared < prefix.length) {
      const isBelow = shared === key.length || (key[shared] as number) < (prefix[shared] as number);
      return isBelow ? 0 : this.count;
    }
    const rest = key.subarray(prefix.length);
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (Buffer.compare(this.#restOfKey(middle), rest) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The slot with exactly this key; −1 when there is none. */
  find(key: Uint8Array): number {
    const slot = this.lowerBound(key);
    return slot < this.count && Buffer.compare(this.key(slot), key) === 0 ? slot : -1;
  }

  #restOfKey(slot: number): Uint8Array {
    const at = this.#view.getUint16(HEADER_BYTES + slot * SLOT_BYTES, true);
    const length = this.#view.getUint16(at, true);
    return this.bytes.subarray(at + KEY_LENGTH_BYTES, at + KEY_LENGTH_BYTES + length);
  }
}
