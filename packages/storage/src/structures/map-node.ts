/**
 * Nodes of the tree below `map` and `graph`: slotted pages that are searched where they lie and changed in place, so that a
 * small change is a few short writes. 4,096 bytes, little endian:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | page number: a node under the wrong number is as wrong as a flipped bit |
 * | 4 | 1 | kind: 1 leaf, 2 inner node |
 * | 5 | 1 | level: 0 for a leaf, above it one more than the children's |
 * | 6 | 2 | number of slots, n |
 * | 8 | 2 | where the cells begin |
 * | 10 | 2 | dead bytes among the cells |
 * | 12 | 2 | p: length of the prefix that all keys share; it fills the last p bytes of the page |
 * | 14 | 2 | reserved, 0 |
 * | 16 | 4 | inner node: the child below its first key; leaf: 0 |
 * | 20 | 2 × n | slots, in the order of their keys: offset of the cell |
 *
 * Cells lie anywhere between the slots and the prefix:
 *
 * | node | cell |
 * |---|---|
 * | leaf | u16 length of the rest of the key, the rest, u16 length of the value, the value |
 * | leaf, value in a run of pages | u16, the rest of the key, u16 0x8000, u32 length of the value, u32 first page of the run |
 * | inner | u16, the rest of the key, u32 page of the child that holds what is not below the key |
 *
 * N1 every cell fits three times into a node (`CELL_BYTES_MAX`), so that a node that is too full always falls into nodes that are not.
 * N2 what is read is checked against the page before it is used: damaged bytes end in `corruption`.
 *
 * Source: slotted pages and prefix truncation, Graefe, "Modern B-Tree Techniques", 2011, §3.2 and §3.5.
 */
import { PinionError } from "@pinion/core";
import { copyOf } from "../extent/copies.ts";

export const PAGE_BYTES = 4096;
export const KEY_BYTES_MAX = 1024;
/** Of slots, cells and the prefix. */
export const NODE_ROOM_BYTES = PAGE_BYTES - 20;
/** With its slot: floor(4,076 / 3). */
export const CELL_BYTES_MAX = 1358;
export const SLOT_BYTES = 2;
export const IN_RUN = 0x8000;
export const RUN_POINTER_BYTES = 8;

const HEADER_BYTES = 20;
const LEAF = 1;
const INNER = 2;

export type Bytes = Uint8Array;

export const u16 = (b: Bytes, at: number): number =>
  (b[at] as number) | ((b[at + 1] as number) << 8);
export const u32 = (b: Bytes, at: number): number => (u16(b, at) | (u16(b, at + 2) << 16)) >>> 0;

export function putU16(b: Bytes, at: number, value: number): void {
  b[at] = value;
  b[at + 1] = value >>> 8;
}

export function putU32(b: Bytes, at: number, value: number): void {
  putU16(b, at, value);
  putU16(b, at + 2, value >>> 16);
}

export function damagedNode(page: number, what: string): PinionError {
  return new PinionError("corruption", `tree node in page ${page}: ${what}`, {
    details: { page, offset: page * PAGE_BYTES },
  });
}

export const slotCount = (b: Bytes): number => u16(b, 6);
export const prefixBytesOf = (b: Bytes): number => u16(b, 12);
const slotsEnd = (b: Bytes): number => HEADER_BYTES + slotCount(b) * SLOT_BYTES;
/** Bytes in use, of `NODE_ROOM_BYTES`. */
export const usedBytes = (b: Bytes): number =>
  slotsEnd(b) - HEADER_BYTES + (PAGE_BYTES - u16(b, 8)) - u16(b, 10);

/** @throws `corruption` for what is no node of this page and level */
export function checkNode(b: Bytes, page: number, level: number): void {
  const cells = u16(b, 8);
  const prefix = u16(b, 12);
  const sound =
    u32(b, 0) === page &&
    b[4] === (level === 0 ? LEAF : INNER) &&
    b[5] === level &&
    slotsEnd(b) <= cells &&
    prefix <= KEY_BYTES_MAX &&
    cells <= PAGE_BYTES - prefix &&
    u16(b, 10) <= PAGE_BYTES - prefix - cells;
  if (!sound) throw damagedNode(page, `it is no node of level ${level}`);
}

/** Where the cell of a slot begins; its key lies inside the page. */
export function cellAt(b: Bytes, slot: number): number {
  const at = u16(b, HEADER_BYTES + slot * SLOT_BYTES);
  if (at < slotsEnd(b) || at + 2 > PAGE_BYTES || at + 2 + u16(b, at) > PAGE_BYTES)
    throw damagedNode(u32(b, 0), `cell ${slot} lies outside`);
  return at;
}

/** The length field of a leaf's value. */
function valueFieldAt(b: Bytes, cell: number): number {
  const at = cell + 2 + u16(b, cell);
  const field = at + 2 <= PAGE_BYTES ? u16(b, at) : PAGE_BYTES;
  const length = field === IN_RUN ? RUN_POINTER_BYTES : field;
  if (at + 2 + length > PAGE_BYTES) throw damagedNode(u32(b, 0), `a value at ${at} lies outside`);
  return at;
}

/** Where the value in a leaf's cell begins, or its pointer to a run. */
export const valueAt = (b: Bytes, cell: number): number => valueFieldAt(b, cell) + 2;
/** What lies there: see the table. */
export const valueLength = (b: Bytes, at: number): number => {
  const field = u16(b, at - 2);
  return field === IN_RUN ? RUN_POINTER_BYTES : field;
};
export const isInRun = (b: Bytes, valueStart: number): boolean => u16(b, valueStart - 2) === IN_RUN;

const isLeaf = (b: Bytes): boolean => b[4] === LEAF;

function cellBytes(b: Bytes, cell: number): number {
  if (isLeaf(b)) {
    const at = valueAt(b, cell);
    return at + valueLength(b, at) - cell;
  }
  const end = cell + 2 + u16(b, cell) + 4;
  if (end > PAGE_BYTES) throw damagedNode(u32(b, 0), `a cell at ${cell} lies outside`);
  return end - cell;
}

/** Child behind a slot of an inner node; −1 is the one below its first key. */
export function childAt(b: Bytes, slot: number): number {
  if (slot < 0) return u32(b, 16);
  const cell = cellAt(b, slot);
  return u32(b, cell + cellBytes(b, cell) - 4);
}

/** @returns memory of the caller's own */
export function keyAt(b: Bytes, slot: number): Bytes {
  const cell = cellAt(b, slot);
  const prefix = prefixBytesOf(b);
  const length = u16(b, cell);
  const key = new Uint8Array(prefix + length);
  for (let i = 0; i < prefix; i++) key[i] = b[PAGE_BYTES - prefix + i] as number;
  for (let i = 0; i < length; i++) key[prefix + i] = b[cell + 2 + i] as number;
  return key;
}

/** Below 0 when `key[0 … length)` is lower than the prefix of the node, above 0 when it is higher, 0 when it begins with it. */
function comparePrefix(b: Bytes, key: Bytes, length: number): number {
  const prefix = prefixBytesOf(b);
  const start = PAGE_BYTES - prefix;
  const shared = length < prefix ? length : prefix;
  for (let i = 0; i < shared; i++) {
    const order = (key[i] as number) - (b[start + i] as number);
    if (order !== 0) return order;
  }
  return length < prefix ? -1 : 0;
}

/**
 * Binary search on the page itself.
 * @returns the slot with exactly this key, or −1 − (the slot it would have)
 */
export function findSlot(b: Bytes, key: Bytes, length: number): number {
  const count = slotCount(b);
  const prefix = prefixBytesOf(b);
  if (prefix > 0) {
    const order = comparePrefix(b, key, length);
    if (order !== 0) return order < 0 ? -1 : -1 - count;
  }
  const end = slotsEnd(b);
  const rest = length - prefix;
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const slot = HEADER_BYTES + middle * SLOT_BYTES;
    const at = (b[slot] as number) | ((b[slot + 1] as number) << 8);
    if (at < end || at + 2 > PAGE_BYTES) cellAt(b, middle); // N2: throws
    const stored = (b[at] as number) | ((b[at + 1] as number) << 8);
    const cell = at + 2;
    if (cell + stored > PAGE_BYTES) cellAt(b, middle);
    const shared = stored < rest ? stored : rest;
    let i = 0;
    while (i < shared && b[cell + i] === key[prefix + i]) i++;
    const order =
      i < shared ? (b[cell + i] as number) - (key[prefix + i] as number) : stored - rest;
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return -1 - low;
}

/** Slot of the child under which `key` is, or would be; −1: below the first key. */
export function childSlot(b: Bytes, key: Bytes, length: number): number {
  const slot = findSlot(b, key, length);
  return slot >= 0 ? slot : -2 - slot;
}

/** Length of what both begin with. */
export function sharedPrefix(a: Bytes, b: Bytes): number {
  const end = Math.min(a.length, b.length);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}

/** A cell taken apart. `payload` is all that follows the key: the value with its length field, or the child. */
export interface Cell {
  readonly key: Bytes;
  readonly payload: Bytes;
}

/** What a cell takes of a node without a prefix. */
export const fullCellBytes = ({ key, payload }: Cell): number =>
  SLOT_BYTES + 2 + key.length + payload.length;

/** @returns memory of the caller's own, a page in one piece: an allocation for each cell would cost more than all else */
export function cellsOf(node: Bytes): Cell[] {
  const b = copyOf(node);
  const cells: Cell[] = [];
  for (let slot = 0; slot < slotCount(b); slot++) {
    const at = cellAt(b, slot);
    cells.push({
      key: keyAt(b, slot),
      payload: b.subarray(at + 2 + u16(b, at), at + cellBytes(b, at)),
    });
  }
  return cells;
}

const prefixOf = (cells: readonly Cell[], from: number, to: number): number =>
  to - from < 2 ? 0 : sharedPrefix((cells[from] as Cell).key, (cells[to - 1] as Cell).key);

/** What cells `from … to` take as a node of their own. */
export function nodeBytes(cells: readonly Cell[], from = 0, to = cells.length): number {
  const prefix = prefixOf(cells, from, to);
  let bytes = prefix;
  for (let i = from; i < to; i++) bytes += fullCellBytes(cells[i] as Cell) - prefix;
  return bytes;
}

/** Fills a page with cells that fit (`nodeBytes`). @param first the child below the first key */
export function putNode(
  b: Bytes,
  page: number,
  level: number,
  cells: readonly Cell[],
  first = 0,
): void {
  const prefix = prefixOf(cells, 0, cells.length);
  b.fill(0);
  putU32(b, 0, page);
  b[4] = level === 0 ? LEAF : INNER;
  b[5] = level;
  putU16(b, 6, cells.length);
  putU16(b, 12, prefix);
  putU32(b, 16, first);
  let at = PAGE_BYTES - prefix;
  if (prefix > 0) b.set((cells[0] as Cell).key.subarray(0, prefix), at);
  for (let i = 0; i < cells.length; i++) {
    const { key, payload } = cells[i] as Cell;
    const rest = key.length - prefix;
    at -= 2 + rest + payload.length;
    putU16(b, HEADER_BYTES + i * SLOT_BYTES, at);
    putU16(b, at, rest);
    b.set(prefix === 0 ? key : key.subarray(prefix), at + 2);
    b.set(payload, at + 2 + rest);
  }
  putU16(b, 8, at);
}

/** A copy of a page that is being changed; it is told which bytes were. */
export interface Changing {
  readonly bytes: Bytes;
  touch(from: number, to: number): void;
}

/** Takes a slot out; its cell becomes dead bytes. */
export function removeSlot(node: Changing, slot: number): void {
  const b = node.bytes;
  const cell = cellAt(b, slot);
  const bytes = cellBytes(b, cell);
  const end = slotsEnd(b);
  const at = HEADER_BYTES + slot * SLOT_BYTES;
  b.copyWithin(at, at + SLOT_BYTES, end);
  putU16(b, 6, slotCount(b) - 1);
  if (cell === u16(b, 8)) putU16(b, 8, cell + bytes);
  else putU16(b, 10, u16(b, 10) + bytes);
  node.touch(6, 12);
  node.touch(at, end);
}

/**
 * Puts a cell in before `slot` without moving others.
 * @returns where the payload goes; 0 when there is no room in one piece, or the key does not begin with the node's prefix
 */
export function insertSlot(
  node: Changing,
  slot: number,
  key: Bytes,
  length: number,
  payloadBytes: number,
): number {
  const b = node.bytes;
  const prefix = prefixBytesOf(b);
  const end = slotsEnd(b);
  const bytes = 2 + (length - prefix) + payloadBytes;
  const cell = u16(b, 8) - bytes;
  if (cell < end + SLOT_BYTES || (prefix > 0 && comparePrefix(b, key, length) !== 0)) return 0;
  const at = HEADER_BYTES + slot * SLOT_BYTES;
  b.copyWithin(at + SLOT_BYTES, at, end);
  putU16(b, at, cell);
  putU16(b, 6, slotCount(b) + 1);
  putU16(b, 8, cell);
  putU16(b, cell, length - prefix);
  for (let i = prefix; i < length; i++) b[cell + 2 + i - prefix] = key[i] as number;
  node.touch(6, 10);
  node.touch(at, end + SLOT_BYTES);
  node.touch(cell, cell + bytes);
  return cell + 2 + length - prefix;
}
