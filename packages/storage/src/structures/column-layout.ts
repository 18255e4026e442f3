/**
 * Where things are in the extent of a column. Little endian; every offset is a multiple of 8.
 *
 * Header, 512 bytes at 0:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 8 | structure header (structure.ts), kind 1, version 1 |
 * | 8 | 1 | type: 1 f64, 2 f32, 3 i32, 4 i64, 5 string |
 * | 9 | 7 | reserved, 0 |
 * | 16 | 8 | sealed blocks |
 * | 24 | 8 | offset of the tail |
 * | 32 | 8 | offset of the dictionary (column-dictionary.ts), 0: none |
 * | 40 | 4 | bytes of the dictionary's room |
 * | 44 | 20 | reserved, 0 |
 * | 64 | 8 × 56 | offsets of the directory's leaves, ascending; 0: none yet. The first is at 512 |
 *
 * Behind it lie blocks, leaves, dictionaries and what of them is no longer used, in the order they were written, and last the
 * **tail**: plain values up to the end of the extent, always fewer than a block. Leaf i has room for 16 × 2^min(i, 12) blocks, so
 * that plain blocks lie side by side in runs of 1 MiB to 4 GiB, and a small column pays little; it lies in front of its blocks. 56 leaves are 2,949,104 blocks, 180 GiB of
 * plain values. An entry of a leaf, one for each sealed block, 32 bytes:
 *
 * | 0 | 8 | offset of the block |
 * | 8 | 4 | bytes of the block |
 * | 12 | 1 | encoding (column-encoding.ts) |
 * | 13 | 1 | flags: bit 0, it holds NaN |
 * | 14 | 2 | reserved, 0 |
 * | 16 | 8 | least value other than NaN, f64 or i64; +∞ when there is none. No value is smaller, yet it may have been overwritten |
 * | 24 | 8 | greatest, likewise, −∞ |
 *
 * C1 the number of rows is rows per block × sealed blocks + values between the tail's offset and the end: an append of a value
 *    writes that value and nothing else.
 * C2 whatever needs room gets it where the tail begins, and the tail moves behind it.
 * C3 cached fields are those of the extent's `generation`; after another's write they are read again.
 */
import { assert, PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { BLOCK_BYTES, PLAIN, type StoredType, type StoredValue } from "./column-types.ts";
import {
  checkStructureHeader,
  damagedStructure,
  dataViewOf,
  fetchBytes,
  getU64,
  putStructureHeader,
  putU64,
  settle,
  u64Bytes,
  type Steps,
} from "./structure.ts";

export const COLUMN_VERSION = 1;
const HEADER_BYTES = 512;
const LEAVES_AT = 64;
const LEAVES_MAX = 56;
const ENTRY_BYTES = 32;
const FIRST_LEAF_BLOCKS = 16;
const FIRST_TAIL_OFFSET = HEADER_BYTES + FIRST_LEAF_BLOCKS * ENTRY_BYTES;
const DOUBLINGS = 12;
const LAST_LEAF_BLOCKS = FIRST_LEAF_BLOCKS * 2 ** DOUBLINGS;
/** Blocks in the leaves before the first of the largest size. */
const DOUBLED_BLOCKS = FIRST_LEAF_BLOCKS * (2 ** DOUBLINGS - 1);
const HAS_NAN = 1;

export interface BlockEntry {
  readonly offset: number;
  readonly byteCount: number;
  readonly encoding: number;
  readonly hasNaN: boolean;
  readonly min: StoredValue;
  readonly max: StoredValue;
}

const leafBlocks = (leaf: number): number => FIRST_LEAF_BLOCKS * 2 ** Math.min(leaf, DOUBLINGS);

function leafOf(block: number): { readonly leaf: number; readonly slot: number } {
  if (block >= DOUBLED_BLOCKS) {
    const beyond = block - DOUBLED_BLOCKS;
    return {
      leaf: DOUBLINGS + Math.floor(beyond / LAST_LEAF_BLOCKS),
      slot: beyond % LAST_LEAF_BLOCKS,
    };
  }
  const leaf = 31 - Math.clz32(block / FIRST_LEAF_BLOCKS + 1);
  return { leaf, slot: block - FIRST_LEAF_BLOCKS * (2 ** leaf - 1) };
}

export class ColumnLayout {
  readonly extent: ExtentAccess;
  readonly stored: StoredType;
  #sealed = 0;
  #tailOffset = FIRST_TAIL_OFFSET;
  #dictionaryOffset = 0;
  #dictionaryBytes = 0;
  #leaves: number[] = [HEADER_BYTES];
  #generation = -1;

  constructor(extent: ExtentAccess, stored: StoredType) {
    this.extent = extent;
    this.stored = stored;
  }

  /** The next `load` reads them again. */
  forget(): void {
    this.#generation = -1;
  }

  /** The fields below are those of the extent (C3). */
  get current(): boolean {
    return this.#generation === this.extent.generation;
  }

  get sealedBlocks(): number {
    return this.#sealed;
  }

  get tailOffset(): number {
    return this.#tailOffset;
  }

  get tailRows(): number {
    const { lengthBytes } = this.extent;
    return lengthBytes === 0 ? 0 : (lengthBytes - this.#tailOffset) / this.stored.widthBytes;
  }

  get rows(): number {
    return this.#sealed * this.stored.rows + this.tailRows;
  }

  get dictionary(): { readonly offset: number; readonly byteCount: number } | undefined {
    if (this.#dictionaryOffset === 0) return undefined;
    return { offset: this.#dictionaryOffset, byteCount: this.#dictionaryBytes };
  }

  /** Reads the header where it may have changed. @throws `corruption`, `format-too-new`, `invalid-argument` for another type */
  *load(): Steps<void> {
    if (this.current) return;
    const { generation, lengthBytes } = this.extent;
    if (lengthBytes === 0) {
      this.#sealed = this.#dictionaryOffset = this.#dictionaryBytes = 0;
      this.#tailOffset = FIRST_TAIL_OFFSET;
      this.#leaves = [HEADER_BYTES];
    } else {
      const bytes = yield* fetchBytes(this.extent, 0, Math.min(lengthBytes, HEADER_BYTES));
      this.#decode(dataViewOf(bytes), lengthBytes);
    }
    this.#generation = generation;
  }

  #decode(header: DataView, lengthBytes: number): void {
    checkStructureHeader(header, "column", COLUMN_VERSION);
    if (header.byteLength < HEADER_BYTES) throw this.#damaged("it ends inside its header", 0);
    const code = header.getUint8(8);
    if (code !== this.stored.code) {
      if (code < 1 || code > 5) throw this.#damaged(`values of type ${code}`, 8);
      throw new PinionError(
        "invalid-argument",
        `the column was written with another type (${code}) than ${this.stored.type} (${this.stored.code})`,
        { details: { stored: code, declared: this.stored.code } },
      );
    }
    const { widthBytes, rows } = this.stored;
    this.#sealed = getU64(header, 16);
    this.#tailOffset = getU64(header, 24);
    this.#dictionaryOffset = getU64(header, 32);
    this.#dictionaryBytes = header.getUint32(40, true);
    const tailBytes = lengthBytes - this.#tailOffset;
    if (
      !(this.#tailOffset >= HEADER_BYTES && this.#tailOffset % 8 === 0) ||
      !(tailBytes >= 0 && tailBytes % widthBytes === 0 && tailBytes < rows * widthBytes)
    ) {
      throw this.#damaged(`a tail from ${this.#tailOffset} to ${lengthBytes}`, 24);
    }
    if (
      this.#dictionaryOffset !== 0 &&
      !(
        this.#dictionaryOffset >= HEADER_BYTES &&
        this.#dictionaryOffset + this.#dictionaryBytes <= this.#tailOffset
      )
    ) {
      throw this.#damaged(`a dictionary at ${this.#dictionaryOffset}`, 32);
    }
    this.#decodeLeaves(header);
  }

  /** Leaves follow each other and none overlaps the next, so the blocks they list are bounded by the length of the extent. */
  #decodeLeaves(header: DataView): void {
    let end = HEADER_BYTES;
    const { leaf } = leafOf(this.#sealed);
    this.#leaves = [];
    if (leaf >= LEAVES_MAX) throw this.#damaged(`${this.#sealed} blocks`, 16);
    for (let i = 0; i <= leaf; i++) {
      const offset = getU64(header, LEAVES_AT + i * 8);
      if (!(offset >= end && offset % 8 === 0))
        throw this.#damaged(`leaf ${i} at ${offset}`, LEAVES_AT + i * 8);
      end = offset + leafBlocks(i) * ENTRY_BYTES;
      if (!(end <= this.#tailOffset))
        throw this.#damaged(`leaf ${i} at ${offset}`, LEAVES_AT + i * 8);
      this.#leaves.push(offset);
    }
  }

  #damaged(what: string, offset: number): PinionError {
    return damagedStructure("column", what, offset);
  }

  #entryAt(block: number): number {
    assert(block < this.#sealed, `block ${block} of ${this.#sealed}`);
    const { leaf, slot } = leafOf(block);
    return this.#leaves[leaf]! + slot * ENTRY_BYTES;
  }

  /** @throws `corruption` */
  *entry(block: number): Steps<BlockEntry> {
    const at = this.#entryAt(block);
    const view = dataViewOf(yield* fetchBytes(this.extent, at, ENTRY_BYTES));
    const offset = getU64(view, 0);
    const byteCount = view.getUint32(8, true);
    if (!(offset >= HEADER_BYTES && offset % 8 === 0 && offset + byteCount <= this.#tailOffset))
      throw this.#damaged(`block ${block} from ${offset}, ${byteCount} bytes`, at);
    const big = this.stored.type === "i64";
    return {
      offset,
      byteCount,
      encoding: view.getUint8(12),
      hasNaN: (view.getUint8(13) & HAS_NAN) !== 0,
      min: big ? view.getBigInt64(16, true) : view.getFloat64(16, true),
      max: big ? view.getBigInt64(24, true) : view.getFloat64(24, true),
    };
  }

  /**
   * How many of the blocks from `block` on, `limit` at most, lie plain and side by side. Undefined: this one does not, or is not as it should
   * be, which `entry` says.
   */
  *plainRun(
    block: number,
    limit: number,
  ): Steps<{ readonly offset: number; readonly blocks: number } | undefined> {
    if (block >= this.#sealed) return undefined;
    const { leaf, slot } = leafOf(block);
    const most = Math.min(limit, this.#sealed - block, leafBlocks(leaf) - slot);
    const at = this.#entryAt(block);
    const view = dataViewOf(yield* fetchBytes(this.extent, at, most * ENTRY_BYTES));
    const offset = getU64(view, 0);
    if (!(offset >= HEADER_BYTES && offset % 8 === 0)) return undefined;
    let blocks = 0;
    for (; blocks < most; blocks++) {
      const entry = blocks * ENTRY_BYTES;
      const follows = getU64(view, entry) === offset + blocks * BLOCK_BYTES;
      const isPlain =
        view.getUint32(entry + 8, true) === BLOCK_BYTES && view.getUint8(entry + 12) === PLAIN;
      if (!follows || !isPlain) break;
    }
    const fits = offset + blocks * BLOCK_BYTES <= this.#tailOffset;
    return blocks > 0 && fits ? { offset, blocks } : undefined;
  }

  /** The first bytes of a column that had none. @throws `readonly-violation` */
  begin(): void {
    if (this.extent.lengthBytes > 0) return;
    const bytes = new Uint8Array(FIRST_TAIL_OFFSET);
    const view = dataViewOf(bytes);
    putStructureHeader(view, "column", COLUMN_VERSION);
    view.setUint8(8, this.stored.code);
    putU64(view, 24, FIRST_TAIL_OFFSET);
    putU64(view, LEAVES_AT, HEADER_BYTES);
    this.extent.append(bytes);
    this.wrote();
  }

  /** Called after every write: the fields are those of the new generation. */
  wrote(): void {
    this.#generation = this.extent.generation;
  }

  *putEntry(block: number, entry: BlockEntry): Steps<void> {
    const view = new DataView(new ArrayBuffer(ENTRY_BYTES));
    putU64(view, 0, entry.offset);
    view.setUint32(8, entry.byteCount, true);
    view.setUint8(12, entry.encoding);
    view.setUint8(13, entry.hasNaN ? HAS_NAN : 0);
    if (typeof entry.min === "bigint") view.setBigInt64(16, entry.min, true);
    else view.setFloat64(16, entry.min, true);
    if (typeof entry.max === "bigint") view.setBigInt64(24, entry.max, true);
    else view.setFloat64(24, entry.max, true);
    yield* settle(this.extent.write(this.#entryAt(block), new Uint8Array(view.buffer)));
    this.wrote();
  }

  /** The block whose bytes end at `tailOffset`, which is the end of the extent, is sealed. */
  *addBlock(entry: BlockEntry, tailOffset: number): Steps<void> {
    const block = this.#sealed;
    const { leaf } = leafOf(block + 1);
    if (leaf >= LEAVES_MAX) {
      throw new PinionError(
        "state-too-large",
        `a column holds at most ${block * this.stored.rows} rows`,
      );
    }
    let end = tailOffset;
    if (leaf === this.#leaves.length) {
      const offset = end;
      end += leafBlocks(leaf) * ENTRY_BYTES;
      yield* settle(this.extent.resize(end));
      yield* this.#putNumber(LEAVES_AT + leaf * 8, offset);
      this.#leaves.push(offset);
    }
    this.#sealed++;
    this.#tailOffset = end;
    yield* this.putEntry(block, entry);
    yield* this.#putNumber(16, this.#sealed);
    yield* this.#putNumber(24, end);
  }

  /** Moves the tail back by `byteCount` (C2). @returns where the room begins */
  *makeRoom(byteCount: number): Steps<number> {
    const offset = this.#tailOffset;
    const tailBytes = this.extent.lengthBytes - offset;
    const moved = offset + Math.ceil(byteCount / 8) * 8;
    if (tailBytes === 0) yield* settle(this.extent.resize(moved));
    else
      yield* settle(
        this.extent.write(moved, (yield* fetchBytes(this.extent, offset, tailBytes)).slice()),
      );
    this.#tailOffset = moved;
    yield* this.#putNumber(24, moved);
    return offset;
  }

  *putDictionary(offset: number, byteCount: number): Steps<void> {
    yield* this.#putNumber(32, offset);
    yield* this.#putNumber(40, byteCount);
    this.#dictionaryOffset = offset;
    this.#dictionaryBytes = byteCount;
  }

  *#putNumber(at: number, value: number): Steps<void> {
    yield* settle(this.extent.write(at, u64Bytes(value)));
    this.wrote();
  }
}
