/**
 * Blocks of a column by number, and rows by block: what handle, view and scan have in common. The last block is the tail.
 *
 * State: the block that was read last, good until the next write.
 */
import { PinionError } from "@pinion/core";
import { BlockReader } from "./column-encoding.ts";
import type { ScanKernels } from "./column-kernels.ts";
import type { BlockEntry, ColumnLayout } from "./column-layout.ts";
import type { Predicate } from "./column-predicate.ts";
import { BLOCK_BYTES, bytesOf, PLAIN, type StoredArray, type StoredValue } from "./column-types.ts";
import { fetchBytes, type Steps } from "./structure.ts";

/** 1 MiB: what a turn has written may have to be put together with what was there. */
const RUN_BLOCKS_MAX = 16;

export class ColumnReader {
  readonly layout: ColumnLayout;
  #last: BlockReader | undefined;
  #lastBlock = -1;
  #lastGeneration = -1;

  constructor(layout: ColumnLayout) {
    this.layout = layout;
  }

  /** @param block up to and with the number of sealed blocks: that one is the tail. @throws `corruption` */
  *block(block: number, entry?: BlockEntry): Steps<BlockReader> {
    const { layout } = this;
    const { extent, stored } = layout;
    if (
      this.#last !== undefined &&
      block === this.#lastBlock &&
      this.#lastGeneration === extent.generation
    )
      return this.#last;
    const { generation } = extent;
    let read: BlockReader;
    if (block === layout.sealedBlocks) {
      const rows = layout.tailRows;
      const bytes = yield* fetchBytes(extent, layout.tailOffset, rows * stored.widthBytes);
      read = new BlockReader(bytes, PLAIN, rows, stored);
    } else {
      const { offset, byteCount, encoding } = entry ?? (yield* layout.entry(block));
      const bytes = yield* fetchBytes(extent, offset, byteCount);
      read = new BlockReader(bytes, encoding, stored.rows, stored);
    }
    this.#last = read;
    this.#lastBlock = block;
    this.#lastGeneration = generation;
    return read;
  }

  *valueAt(row: number): Steps<StoredValue> {
    const { rows } = this.layout.stored;
    const block = yield* this.block(Math.floor(row / rows));
    return block.values()[row % rows]!;
  }

  /** @throws `invalid-argument` */
  checkRow(row: number): void {
    const { rows } = this.layout;
    if (Number.isSafeInteger(row) && row >= 0 && row < rows) return;
    throw new PinionError("invalid-argument", `row ${row} of a column of ${rows} rows`);
  }

  /** A copy of the values of rows `firstRow + picked[i]`, or of `count` rows from `firstRow` on. */
  *gather(firstRow: number, picked: Uint32Array | undefined, count: number): Steps<StoredArray> {
    const { stored } = this.layout;
    const { rows: perBlock } = stored;
    const out = stored.make(count);
    if (count > 0)
      this.checkRow(firstRow + (picked === undefined ? count : picked[count - 1]! + 1) - 1);
    for (let i = 0; i < count;) {
      const row = firstRow + (picked === undefined ? i : picked[i]!);
      const block = Math.floor(row / perBlock);
      const from = block * perBlock - firstRow; // of the block's first row, as `picked` counts
      const values = (yield* this.block(block)).values();
      if (picked === undefined) {
        const part = values.subarray(i - from, Math.min(perBlock, count - from));
        bytesOf(out).set(bytesOf(part), i * stored.widthBytes);
        i += part.length;
      } else {
        for (; i < count && picked[i]! - from < perBlock; i++) out[i] = values[picked[i]! - from]!;
      }
    }
    return out;
  }
}

/** Rows of one block that are wanted. */
export interface Piece {
  readonly block: BlockReader;
  /** Of the block's first row. */
  readonly firstRow: number;
  /** Rows `from` to `to` of the block, unless `picked` says which of them. */
  readonly from: number;
  readonly to: number;
  /** Good until the next piece. */
  readonly picked: Uint32Array | undefined;
  readonly count: number;
}

/** Goes through the wanted rows block by block; skips blocks in which there can be none. */
export class ColumnCursor {
  /** A block with these bounds need not be looked at. */
  skips: (entry: BlockEntry) => boolean = () => false;
  readonly #reader: ColumnReader;
  readonly #kernels: ScanKernels;
  readonly #predicate: Predicate | undefined;
  readonly #picked: Uint32Array;
  readonly #to: number;
  #row: number;
  #counts = false;

  /** Rows `from` to `to`, which there are. */
  constructor(
    reader: ColumnReader,
    kernels: ScanKernels,
    from: number,
    to: number,
    predicate: Predicate | undefined,
  ) {
    this.#reader = reader;
    this.#kernels = kernels;
    this.#row = from;
    this.#to = to;
    this.#predicate = predicate;
    this.#picked = new Uint32Array(predicate === undefined ? 0 : reader.layout.stored.rows);
  }

  *next(): Steps<Piece | undefined> {
    const { layout } = this.#reader;
    const { rows: perBlock } = layout.stored;
    yield* layout.load(); // somebody may have written since
    while (this.#row < this.#to) {
      const number = Math.floor(this.#row / perBlock);
      const firstRow = number * perBlock;
      const from = this.#row - firstRow;
      const to = Math.min(this.#to - firstRow, perBlock);
      this.#row = firstRow + to;
      const sealed = number < layout.sealedBlocks;
      const entry = sealed ? yield* layout.entry(number) : undefined;
      if (entry !== undefined) {
        if (this.#skips(entry)) continue;
        // The block behind this one, and if it is as long as this one no more.
        const next = entry.offset + entry.byteCount;
        if (this.#row < this.#to)
          layout.extent.prefetch(next, Math.min(entry.byteCount, layout.extent.lengthBytes - next));
      }
      const block = yield* this.#reader.block(number, entry);
      const piece = { block, firstRow, from, to };
      if (this.#predicate === undefined || (entry && this.#predicate.matchesAll(entry)))
        return { ...piece, picked: undefined, count: to - from };
      if (this.#counts && to - from === block.rows)
        return { ...piece, picked: undefined, count: block.count(this.#predicate, this.#kernels) };
      const picked = this.#pick(block, this.#predicate, from, to);
      if (picked.length > 0) return { ...piece, picked, count: picked.length };
    }
    return undefined;
  }

  /**
   * The values of the next blocks, where all of them are wanted, lie plain and side by side, and are in memory: one look at them instead of
   * one for each block. Undefined: see `next`, which comes to the same.
   */
  *nextRun(): Steps<StoredArray | undefined> {
    const { layout } = this.#reader;
    const { extent, stored } = layout;
    if (this.#predicate !== undefined || !extent.resident || this.#row % stored.rows !== 0)
      return undefined;
    yield* layout.load();
    const first = this.#row / stored.rows;
    const blocks = Math.min(Math.floor(this.#to / stored.rows) - first, RUN_BLOCKS_MAX);
    const run = blocks > 0 ? yield* layout.plainRun(first, blocks) : undefined;
    if (run === undefined) return undefined;
    this.#row += run.blocks * stored.rows;
    return stored.over(yield* fetchBytes(extent, run.offset, run.blocks * BLOCK_BYTES));
  }

  /** How many rows are left. */
  *count(): Steps<number> {
    this.#counts = true;
    let count = 0;
    for (let piece; (piece = yield* this.next()) !== undefined;) count += piece.count;
    return count;
  }

  #skips(entry: BlockEntry): boolean {
    return this.skips(entry) || this.#predicate?.mayMatch(entry) === false;
  }

  #pick(block: BlockReader, predicate: Predicate, from: number, to: number): Uint32Array {
    let end = block.select(predicate, this.#kernels, this.#picked);
    let start = 0;
    while (start < end && this.#picked[start]! < from) start++;
    while (end > start && this.#picked[end - 1]! >= to) end--;
    return this.#picked.subarray(start, end);
  }
}

/** The stored values of a piece: where they lie if all of a range is wanted, a copy if some are. */
export function valuesOf({ block, from, to, picked }: Piece): StoredArray {
  const values = block.values();
  if (picked === undefined)
    return from === 0 && to === values.length ? values : values.subarray(from, to);
  const out = values.slice(0, picked.length);
  for (let i = 0; i < picked.length; i++) out[i] = values[picked[i]!]!;
  return out;
}

/** The stored values of the next piece. */
export function* nextValues(cursor: ColumnCursor): Steps<StoredArray | undefined> {
  const piece = yield* cursor.next();
  return piece && valuesOf(piece);
}
