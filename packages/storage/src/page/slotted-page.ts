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
import { getU48, PAGE_BYTES } from "../segment/page-entry.ts";

const HEADER_BYTES = 32;
const SLOT_BYTES = 4;
const KEY_LENGTH_BYTES = 2;
const CHILD_BYTES = 6;
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

/** What the keys of a node share whose cells these are. */
export function prefixBytesOf(cells: readonly Cell[]): number {
  const first = cells[0];
  const last = cells.at(-1);
  return first && last && cells.length > 1 ? sharedPrefix(first.key, last.key) : 0;
}

/** What cells take of a node's room. */
export function nodeBytes(cells: readonly Cell[]): number {
  const prefixBytes = prefixBytesOf(cells);
  return cells.reduce((sum, cell) => sum + cellBytes(cell) - prefixBytes, prefixBytes);
}

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

/**
 * @param cells whose keys are in order and fit (`NODE_ROOM_BYTES`)
 * @param bytes zeros
 * @returns `bytes`
 */
export function encodeNode(
  page: number,
  lsn: number,
  { inner, cells }: TreeNode,
  bytes: Uint8Array = new Uint8Array(PAGE_BYTES),
): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, PAGE_BYTES);
  const first = cells[0]?.key;
  const prefixBytes = prefixBytesOf(cells);
  let end = PAGE_BYTES - prefixBytes;
  if (first) bytes.set(first.subarray(0, prefixBytes), end);
  for (let i = 0; i < cells.length; i++)
    end = putCell(view, bytes, prefixBytes, i, cells[i] as Cell, end);
  putHeader(view, page, lsn, { end, count: cells.length, inner, prefixBytes });
  return bytes;
}

/** @param end where the cell before it begins @returns where this one begins */
function putCell(
  view: DataView,
  bytes: Uint8Array,
  prefixBytes: number,
  slot: number,
  { key, value }: Cell,
  end: number,
): number {
  const keyBytes = key.length - prefixBytes;
  const length = KEY_LENGTH_BYTES + keyBytes + value.length;
  const at = end - length;
  view.setUint16(HEADER_BYTES + slot * SLOT_BYTES, at, true);
  view.setUint16(HEADER_BYTES + slot * SLOT_BYTES + 2, length, true);
  view.setUint16(at, keyBytes, true);
  for (let i = prefixBytes; i < key.length; i++)
    bytes[at + KEY_LENGTH_BYTES + i - prefixBytes] = key[i] as number;
  bytes.set(value, at + KEY_LENGTH_BYTES + keyBytes);
  return at;
}

interface Header {
  readonly end: number;
  readonly count: number;
  readonly inner: boolean;
  readonly prefixBytes: number;
}

function putHeader(view: DataView, page: number, lsn: number, header: Header): void {
  view.setUint32(0, page % TWO_32, true);
  view.setUint32(4, page / TWO_32, true);
  view.setUint32(8, lsn % TWO_32, true);
  view.setUint32(12, lsn / TWO_32, true);
  view.setUint32(16, header.end, true);
  view.setUint16(20, header.count, true);
  view.setUint16(22, header.inner ? FLAG_INNER : 0, true);
  view.setUint16(24, header.prefixBytes, true);
}

/** A cell that takes the place of one with its key, or comes in; without a value the one with its key goes. */
export interface CellChange {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/**
 * A node with some cells changed: what stays is moved in blocks and not looked at, since a checkpoint of many small changes did little else.
 * @param changes in order of key, each once
 * @param memory asked for 4,096 zeros if it can be patched
 * @returns undefined where the node has to be made from its cells: they do not fit, none is left, or a key does not share the prefix
 */
export function patchNode(
  node: NodeView,
  lsn: number,
  changes: readonly CellChange[],
  memory: () => Uint8Array = () => new Uint8Array(PAGE_BYTES),
): Uint8Array | undefined {
  const { prefixBytes, count } = node;
  const slots: number[] = [];
  let used = node.usedBytes;
  let left = count;
  let isInPlace = true;
  for (const { key, value } of changes) {
    if (!node.sharesPrefix(key)) return undefined;
    const slot = node.lowerBound(key);
    const isThere = slot < count && node.isKey(slot, key);
    const before = isThere ? SLOT_BYTES + node.cellLength(slot) : 0;
    const after = value === undefined ? 0 : cellBytes({ key, value }) - prefixBytes;
    isInPlace &&= isThere && before === after;
    used += after - before;
    left += (value === undefined ? 0 : 1) - (isThere ? 1 : 0);
    slots.push(isThere ? slot : -1 - slot);
  }
  if (isInPlace) return patchInPlace(node, lsn, changes, slots, memory());
  if (used > NODE_ROOM_BYTES || left === 0 || node.block(0, count) === undefined) return undefined;
  const bytes = memory();
  const view = new DataView(bytes.buffer, bytes.byteOffset, PAGE_BYTES);
  let end = PAGE_BYTES - prefixBytes;
  bytes.set(node.bytes.subarray(end), end);
  let written = 0;
  let from = 0;
  const keepTo = (to: number): void => {
    if (to <= from) return;
    const block = node.block(from, to) as Block;
    const shift = end - block.end;
    end -= block.end - block.start;
    bytes.set(node.bytes.subarray(block.start, block.end), end);
    for (; from < to; from++, written++) {
      const at = HEADER_BYTES + written * SLOT_BYTES;
      view.setUint16(at, node.cellStart(from) + shift, true);
      view.setUint16(at + 2, node.cellLength(from), true);
    }
  };
  for (let i = 0; i < changes.length; i++) {
    const { key, value } = changes[i] as CellChange;
    const found = slots[i] as number;
    keepTo(found < 0 ? -1 - found : found);
    if (found >= 0) from = found + 1;
    if (value !== undefined)
      end = putCell(view, bytes, prefixBytes, written++, { key, value }, end);
  }
  keepTo(count);
  putHeader(view, node.page, lsn, { end, count: left, inner: node.inner, prefixBytes });
  return bytes;
}

/** Values of the lengths that were there before, as nearly all are: nothing moves. */
function patchInPlace(
  node: NodeView,
  lsn: number,
  changes: readonly CellChange[],
  slots: readonly number[],
  bytes: Uint8Array,
): Uint8Array {
  bytes.set(node.bytes);
  for (let i = 0; i < changes.length; i++) {
    const slot = slots[i] as number;
    const { value } = changes[i] as CellChange;
    const end = node.cellStart(slot) + node.cellLength(slot);
    if (value !== undefined) bytes.set(value, end - value.length);
  }
  putU32(bytes, 8, lsn % TWO_32);
  putU32(bytes, 12, lsn / TWO_32);
  return bytes;
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = value >>> (8 * i);
}

function damaged(page: number, what: string): PinionError {
  return new PinionError("corruption", `tree node in page ${page}: ${what}`, { details: { page } });
}

/** Of a node's room, without a look at its cells: for one that was made here. */
export function usedBytesOf(node: Uint8Array): number {
  const u16 = (at: number): number => (node[at] as number) | ((node[at + 1] as number) << 8);
  return u16(20) * SLOT_BYTES + PAGE_BYTES - u16(16);
}

/** Bytes of a page, `end` not among them. */
interface Block {
  readonly start: number;
  readonly end: number;
}

/** Reads nodes where they lie: keys and values are views of the page, or copies where a prefix is put back. */
export class NodeView implements TreeNode {
  readonly page: number;
  readonly bytes: Uint8Array;
  readonly inner: boolean;
  readonly count: number;
  readonly #view: DataView;
  readonly prefixBytes: number;

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
    this.prefixBytes = prefixBytes;
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

  /** Of `NODE_ROOM_BYTES`. */
  get usedBytes(): number {
    let used = this.prefixBytes;
    for (let i = 0; i < this.count; i++) used += SLOT_BYTES + this.cellLength(i);
    return used;
  }

  /** Where a cell lies in the page. */
  cellStart(slot: number): number {
    return this.#view.getUint16(HEADER_BYTES + slot * SLOT_BYTES, true);
  }

  cellLength(slot: number): number {
    return this.#view.getUint16(HEADER_BYTES + slot * SLOT_BYTES + 2, true);
  }

  /** Where the cells `from` … `to − 1` lie, if that is one block. */
  block(from: number, to: number): Block | undefined {
    const end = this.cellStart(from) + this.cellLength(from);
    let start = end;
    for (let i = from; i < to; i++) {
      if (this.cellStart(i) + this.cellLength(i) !== start) return undefined;
      start = this.cellStart(i);
    }
    return { start, end };
  }

  get cells(): Cell[] {
    return Array.from({ length: this.count }, (_, i) => ({
      key: this.key(i),
      value: this.value(i),
    }));
  }

  key(slot: number): Uint8Array {
    const rest = this.#restOfKey(slot);
    const { bytes, prefixBytes } = this;
    if (prefixBytes === 0) return rest;
    const key = new Uint8Array(prefixBytes + rest.length);
    key.set(bytes.subarray(PAGE_BYTES - prefixBytes));
    key.set(rest, prefixBytes);
    return key;
  }

  value(slot: number): Uint8Array {
    const at = this.cellStart(slot);
    const start = at + KEY_LENGTH_BYTES + this.#view.getUint16(at, true);
    return this.bytes.subarray(start, at + this.cellLength(slot));
  }

  /** Of an inner node: the page of a child (tree-cells.ts), without a view of the cell. @throws `corruption` for a cell that is too short */
  child(slot: number): number {
    const at = this.cellStart(slot);
    const start = at + KEY_LENGTH_BYTES + this.#view.getUint16(at, true);
    if (start + CHILD_BYTES > at + this.cellLength(slot))
      throw damaged(this.page, `cell ${slot} names no child`);
    return getU48(this.#view, start);
  }

  sharesPrefix(key: Uint8Array): boolean {
    return this.#sharedBytes(key) === this.prefixBytes;
  }

  /** How much of the prefix a key begins with. */
  #sharedBytes(key: Uint8Array): number {
    const { bytes, prefixBytes } = this;
    const start = PAGE_BYTES - prefixBytes;
    const end = Math.min(prefixBytes, key.length);
    let i = 0;
    while (i < end && bytes[start + i] === key[i]) i++;
    return i;
  }

  /** Whether this is the slot's key. */
  isKey(slot: number, key: Uint8Array): boolean {
    return this.sharesPrefix(key) && this.#compareRest(slot, key) === 0;
  }

  /** The first slot whose key is not below `key`; `count` when there is none. */
  lowerBound(key: Uint8Array): number {
    const { bytes, prefixBytes } = this;
    const shared = this.#sharedBytes(key);
    if (shared < prefixBytes) {
      const prefixByte = bytes[PAGE_BYTES - prefixBytes + shared] as number;
      const isBelow = shared === key.length || (key[shared] as number) < prefixByte;
      return isBelow ? 0 : this.count;
    }
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compareRest(middle, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The slot with exactly this key; −1 when there is none. */
  find(key: Uint8Array): number {
    const slot = this.lowerBound(key);
    return slot < this.count && this.isKey(slot, key) ? slot : -1;
  }

  /** Of an inner node: the child under which `key` is, or would be. */
  slotBelow(key: Uint8Array): number {
    const slot = this.lowerBound(key);
    return slot < this.count && this.isKey(slot, key) ? slot : Math.max(0, slot - 1);
  }

  /** Compares with a key that shares the prefix. By hand: a view for each comparison cost more than the comparison. */
  #compareRest(slot: number, key: Uint8Array): number {
    const at = this.cellStart(slot);
    const length = this.#view.getUint16(at, true);
    const start = at + KEY_LENGTH_BYTES;
    const from = this.prefixBytes;
    const shared = Math.min(length, key.length - from);
    for (let i = 0; i < shared; i++) {
      const difference = (this.bytes[start + i] as number) - (key[from + i] as number);
      if (difference !== 0) return difference;
    }
    return length - (key.length - from);
  }

  #restOfKey(slot: number): Uint8Array {
    const at = this.cellStart(slot);
    const length = this.#view.getUint16(at, true);
    return this.bytes.subarray(at + KEY_LENGTH_BYTES, at + KEY_LENGTH_BYTES + length);
  }
}
