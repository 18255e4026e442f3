/**
 * A column as a turn sees it. Rows are numbered from 0 and never removed.
 *
 * State: the layout as of the last own write, the dictionary, one block.
 *
 * H1 one handle for an extent and turn. Over a resident extent every operation is done when it returns; else await each write
 *    before the next operation.
 * H2 a sealed block that does not lie plain becomes plain when a row of it is set: it is written again, where the tail begins (up to 128
 *    KiB). Its old place is not used again, and from then on its rows are set in place.
 */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { scanKernels } from "./addon-scan-kernels.ts";
import { ColumnDictionary } from "./column-dictionary.ts";
import { encodeBlock } from "./column-encoding.ts";
import type { ScanKernels } from "./column-kernels.ts";
import { ColumnLayout, type BlockEntry } from "./column-layout.ts";
import { Predicate, type ColumnFilter } from "./column-predicate.ts";
import { ColumnCursor, ColumnReader } from "./column-reader.ts";
import { scanColumn, type ColumnBatch, type ScanQuery } from "./column-scan.ts";
import {
  bytesOf,
  PLAIN,
  type ColumnArrays,
  type ColumnType,
  type ColumnValues,
  type StoredArray,
  type StoredType,
  type StoredValue,
} from "./column-types.ts";
import { ColumnView } from "./column-view.ts";
import { drive, settle, Writes, type MaybePromise, type Steps } from "./structure.ts";

/** Which rows: from `from` (default 0) up to `to`, exclusive (default: the end), and of those the ones that match. */
export interface RowQuery<T extends ColumnType> {
  readonly from?: number;
  readonly to?: number;
  readonly filter?: ColumnFilter<ColumnValues[T]>;
}

export interface ColumnSettings {
  readonly stored: StoredType;
  /** Sealed blocks may be stored smaller. */
  readonly encode: boolean;
  readonly kernels?: ScanKernels;
}

export class Column<T extends ColumnType> {
  readonly #extent: ExtentAccess;
  readonly #encode: boolean;
  readonly #layout: ColumnLayout;
  readonly #reader: ColumnReader;
  readonly #dictionary: ColumnDictionary | undefined;
  readonly #one: StoredArray;
  readonly #oneBytes: Uint8Array;
  readonly #writes: Writes;
  protected readonly stored: StoredType;
  protected readonly kernels: ScanKernels;

  constructor(extent: ExtentAccess, { stored, encode, kernels = scanKernels() }: ColumnSettings) {
    this.#extent = extent;
    this.stored = stored;
    this.#encode = encode;
    this.kernels = kernels;
    const layout = new ColumnLayout(extent, stored);
    this.#layout = layout;
    this.#writes = new Writes("column", () => layout.forget());
    this.#reader = new ColumnReader(layout);
    this.#dictionary = stored.type === "string" ? new ColumnDictionary(this.#layout) : undefined;
    this.#one = stored.make(1);
    this.#oneBytes = bytesOf(this.#one);
  }

  /** Number of rows. @throws `corruption`, `format-too-new`, `invalid-argument` if the extent holds a column of another type */
  get length(): MaybePromise<number> {
    return this.run(this.#length());
  }

  /** A read of this column: writes wait for it. @internal */
  run<R>(steps: Steps<R>): MaybePromise<R> {
    return this.reads(() => drive(steps));
  }

  /** As `run`, of this column and others. @internal */
  reads<R>(look: () => MaybePromise<R>): MaybePromise<R> {
    return this.#writes.read(look);
  }

  *#length(): Steps<number> {
    yield* this.#readable();
    return this.#layout.rows;
  }

  *#readable(): Steps<void> {
    this.#writes.check();
    yield* this.#ready();
  }

  *#ready(): Steps<void> {
    yield* this.#layout.load();
    if (this.#dictionary !== undefined) yield* this.#dictionary.load();
  }

  /** @throws `invalid-argument` beyond the end, `corruption` */
  get(row: number): MaybePromise<ColumnValues[T]> {
    return this.run(this.#get(row));
  }

  *#get(row: number): Steps<ColumnValues[T]> {
    yield* this.#readable();
    this.#reader.checkRow(row);
    return this.#valueOf(yield* this.#reader.valueAt(row));
  }

  #valueOf(value: StoredValue): ColumnValues[T] {
    const shown =
      this.#dictionary === undefined ? value : this.#dictionary.stringOf(value as number);
    return shown as ColumnValues[T];
  }

  #arrayOf(values: StoredArray): ColumnArrays[T] {
    if (this.#dictionary === undefined) return values as ColumnArrays[T];
    const dictionary = this.#dictionary;
    return Array.from(values as Uint32Array, (code) =>
      dictionary.stringOf(code),
    ) as ColumnArrays[T];
  }

  /**
   * Adds a row. f32 columns round to their precision.
   * @throws `invalid-argument` for what the type cannot hold, `state-too-large` beyond what a column or its dictionary holds,
   *   `readonly-violation`, `write-set-too-large`
   */
  append(value: ColumnValues[T]): MaybePromise<void> {
    const layout = this.#layout;
    this.#writes.check();
    // All but one row of a block's: 4 or 8 bytes at the end of the extent.
    if (
      this.#dictionary === undefined &&
      layout.current &&
      this.#extent.lengthBytes > 0 &&
      layout.tailRows + 1 < this.stored.rows
    ) {
      this.#one[0] = this.stored.check(value);
      this.#extent.append(this.#oneBytes);
      return layout.wrote();
    }
    return this.#writes.run(this.#appendAll([value]));
  }

  /** Adds rows in order. A turn can write 16 MiB, which is 2 million f64. @throws as `append`, before anything is written */
  appendMany(values: ColumnArrays[T] | readonly ColumnValues[T][]): MaybePromise<void> {
    return this.#writes.run(this.#appendAll(values));
  }

  /**
   * Replaces the value of a row (H2).
   * @throws as `append`, `invalid-argument` for a row beyond the end
   */
  set(row: number, value: ColumnValues[T]): MaybePromise<void> {
    return this.#writes.run(this.#set(row, value));
  }

  /** What is in memory, without waiting: for loops in actor code. Shows this turn's writes, too. @throws `not-resident` */
  view(): ColumnView<T> {
    return new ColumnView<T>(this.#layout, this.#dictionary);
  }

  /**
   * Goes through the matching rows block by block, and brings along the values that other columns have in these rows: only blocks
   * in which something matched are looked at there. Rows appended meanwhile are left out.
   * @throws `invalid-argument`, also if one of `columns` is shorter; `corruption`
   */
  scan<C extends Readonly<Record<string, Column<ColumnType>>> = Record<never, never>>(
    query: ScanQuery<T, C> = {},
  ): AsyncGenerator<ColumnBatch<T, C>> {
    return scanColumn(this, query);
  }

  /** How many rows match. */
  count(query: RowQuery<T> = {}): MaybePromise<number> {
    return this.run(this.#count(query));
  }

  *#count(query: RowQuery<T>): Steps<number> {
    return yield* (yield* this.openCursor(query)).count();
  }

  /** For scans and sums. @internal */
  *openCursor({ from = 0, to, filter }: RowQuery<T>): Steps<ColumnCursor> {
    yield* this.#readable();
    const { rows } = this.#layout;
    const end = to ?? rows;
    if (!(Number.isSafeInteger(from) && Number.isSafeInteger(end) && from >= 0 && end <= rows)) {
      throw new PinionError(
        "invalid-argument",
        `rows ${from} to ${end} of a column of ${rows} rows`,
      );
    }
    const predicate = filter === undefined ? undefined : this.#predicateOf(filter);
    return new ColumnCursor(this.#reader, this.kernels, from, end, predicate);
  }

  #predicateOf(filter: ColumnFilter<ColumnValues[T]>): Predicate {
    return this.#dictionary === undefined
      ? Predicate.of(filter as ColumnFilter<StoredValue>, this.stored)
      : this.#dictionary.predicateOf(filter as ColumnFilter<string>);
  }

  /** For scans: a copy of some rows' values. @internal */
  *gather(
    firstRow: number,
    picked: Uint32Array | undefined,
    count: number,
  ): Steps<ColumnArrays[T]> {
    yield* this.#readable();
    return this.#arrayOf(yield* this.#reader.gather(firstRow, picked, count));
  }

  #numbersOf(values: ColumnArrays[T] | readonly ColumnValues[T][]): StoredArray {
    // Values of the very type need no check. A copy: they are the caller's to change while this waits for a disk.
    if (this.stored.isArray(values)) return values.slice();
    const out = this.stored.make(values.length);
    for (let i = 0; i < values.length; i++) out[i] = this.stored.check(values[i]);
    return out;
  }

  *#codesOf(values: ColumnArrays[T] | readonly ColumnValues[T][]): Steps<StoredArray> {
    const out = this.stored.make(values.length);
    for (let i = 0; i < values.length; i++) out[i] = yield* this.#storedValueOf(values[i]);
    return out;
  }

  *#storedValueOf(value: unknown): Steps<StoredValue> {
    if (this.#dictionary === undefined) return this.stored.check(value);
    if (typeof value !== "string")
      throw new PinionError(
        "invalid-argument",
        `a ${typeof value} does not fit a column of strings`,
      );
    return yield* this.#dictionary.add(value);
  }

  *#appendAll(given: ColumnArrays[T] | readonly ColumnValues[T][]): Steps<void> {
    yield* this.#ready();
    // Numbers are checked before the first byte is written. Strings of a dictionary need a place first.
    const numbers = this.#dictionary === undefined ? this.#numbersOf(given) : undefined;
    this.#layout.begin();
    const values = numbers ?? (yield* this.#codesOf(given));
    const { rows } = this.stored;
    for (let at = 0; at < values.length;) {
      const { tailRows } = this.#layout;
      const part = values.subarray(at, at + rows - tailRows);
      at += part.length;
      if (tailRows + part.length < rows) {
        this.#extent.append(bytesOf(part));
        this.#layout.wrote();
      } else if (tailRows === 0) {
        yield* this.#seal(part);
      } else {
        const whole = this.stored.make(rows);
        const tail = yield* this.#reader.block(this.#layout.sealedBlocks);
        bytesOf(whole).set(bytesOf(tail.values()));
        bytesOf(whole).set(bytesOf(part), tailRows * this.stored.widthBytes);
        yield* this.#seal(whole);
      }
    }
  }

  /** Makes a block of the tail and what comes behind it. */
  *#seal(values: StoredArray): Steps<void> {
    const extent = this.#extent;
    const { tailOffset: offset, tailRows } = this.#layout;
    const bounds = this.#boundsOf(values);
    const { encoding, bytes } = this.#encode
      ? encodeBlock(values, this.stored, bounds.min, bounds.max)
      : { encoding: PLAIN, bytes: bytesOf(values) };
    if (encoding === PLAIN) {
      extent.append(bytes.subarray(tailRows * this.stored.widthBytes)); // the tail stays where it is
    } else {
      yield* settle(extent.write(offset, bytes));
      yield* settle(extent.resize(offset + bytes.length));
    }
    this.#layout.wrote();
    const entry = { offset, byteCount: bytes.length, encoding, ...bounds };
    yield* this.#layout.addBlock(entry, offset + bytes.length);
  }

  #boundsOf(values: StoredArray): Pick<BlockEntry, "min" | "max" | "hasNaN"> {
    return {
      min: this.kernels.min(values),
      max: this.kernels.max(values),
      hasNaN: !this.stored.integer && containsNaN(values),
    };
  }

  *#set(row: number, given: ColumnValues[T]): Steps<void> {
    yield* this.#ready();
    this.#reader.checkRow(row);
    this.#one[0] = yield* this.#storedValueOf(given);
    const value = this.#one[0]!; // as it is stored: rounded
    const { rows, widthBytes } = this.stored;
    const number = Math.floor(row / rows);
    const at = (row % rows) * widthBytes;
    const layout = this.#layout;
    if (number === layout.sealedBlocks) {
      yield* settle(this.#extent.write(layout.tailOffset + at, this.#oneBytes));
      return layout.wrote();
    }
    const entry = yield* layout.entry(number);
    if (entry.encoding !== PLAIN) return yield* this.#setEncoded(number, entry, row % rows, value);
    if (at + widthBytes > entry.byteCount) yield* this.#reader.block(number, entry); // says what is wrong
    yield* settle(this.#extent.write(entry.offset + at, this.#oneBytes));
    layout.wrote();
    const isNaN = Number.isNaN(value);
    if (isNaN ? !entry.hasNaN : value < entry.min || value > entry.max) {
      const min = value < entry.min ? value : entry.min;
      const max = value > entry.max ? value : entry.max;
      yield* layout.putEntry(number, { ...entry, min, max, hasNaN: entry.hasNaN || isNaN });
    }
  }

  *#setEncoded(number: number, entry: BlockEntry, index: number, value: StoredValue): Steps<void> {
    const block = yield* this.#reader.block(number, entry);
    const values = block.values().slice();
    values[index] = value;
    const bytes = bytesOf(values);
    const offset = yield* this.#layout.makeRoom(bytes.length);
    yield* settle(this.#extent.write(offset, bytes));
    this.#layout.wrote();
    const place = { offset, byteCount: bytes.length, encoding: PLAIN };
    yield* this.#layout.putEntry(number, { ...place, ...this.#boundsOf(values) });
  }
}

/** A loop of its own: `some` calls a function for each value, which was most of the time that filling a column took. */
function containsNaN(values: StoredArray): boolean {
  // eslint-disable-next-line no-self-compare -- the fastest question there is
  for (let i = 0; i < values.length; i++) if (values[i] !== values[i]) return true;
  return false;
}
