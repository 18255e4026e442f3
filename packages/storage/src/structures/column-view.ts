/**
 * The resident values of a column, read without waiting. It shows the column as the turn sees it, own writes included.
 *
 * V1 it is good until the end of the turn; then everything throws `view-expired`.
 * V2 it never hands out the memory itself, except by the methods called unsafe.
 */
import { PinionError } from "@pinion/core";
import type { ColumnDictionary } from "./column-dictionary.ts";
import type { ColumnLayout } from "./column-layout.ts";
import { ColumnReader } from "./column-reader.ts";
import {
  PLAIN,
  type ColumnArrays,
  type ColumnType,
  type ColumnValues,
  type StoredArray,
} from "./column-types.ts";
import { drive, fetchBytes, type Steps } from "./structure.ts";

export class ColumnView<T extends ColumnType> {
  readonly #layout: ColumnLayout;
  readonly #reader: ColumnReader;
  readonly #dictionary: ColumnDictionary | undefined;
  /** Values of rows `#first` to `#end`, as of `#generation`. */
  #values: StoredArray;
  #first = 0;
  #end = 0;
  #generation = -1;

  /** Use `Column.view`. */
  constructor(layout: ColumnLayout, dictionary: ColumnDictionary | undefined) {
    this.#layout = layout;
    this.#dictionary = dictionary;
    this.#reader = new ColumnReader(layout);
    this.#values = layout.stored.make(0);
    if (!layout.extent.resident) {
      throw new PinionError(
        "not-resident",
        "this column is not in memory: pin its extent (memory profile hot or warm), or use get, scan and the sums, which wait",
      );
    }
    this.#now(this.#ready());
  }

  /** Rows at this moment. */
  get length(): number {
    this.#now(this.#ready());
    return this.#layout.rows;
  }

  /** @throws `invalid-argument` beyond the end, `view-expired`, `not-resident`, `corruption` */
  get(row: number): ColumnValues[T] {
    const { extent } = this.#layout;
    // False for what is no number of a row, too.
    const here = row >= this.#first && row < this.#end;
    if (!here || extent.ended || extent.generation !== this.#generation) this.#enter(row);
    return this.#shown(this.#values[row - this.#first]);
  }

  *[Symbol.iterator](): Generator<ColumnValues[T]> {
    for (let row = 0; row < this.length; row++) yield this.get(row);
  }

  /** A copy of rows `from` (default 0) up to `to`, exclusive (default: the end). @throws as `get` */
  toTypedArray(from = 0, to = this.length): ColumnArrays[T] {
    this.#checkRange(from, to);
    const values = this.#now(this.#reader.gather(from, undefined, to - from));
    if (this.#dictionary === undefined) return values as ColumnArrays[T];
    const dictionary = this.#dictionary;
    return Array.from(values as Uint32Array, (code) =>
      dictionary.stringOf(code),
    ) as ColumnArrays[T];
  }

  /**
   * The memory of these rows itself, for the hottest loops: good until the next write to the column or the end of the turn; never write to
   * it. Later it shows something else, or reads as undefined; nothing is checked.
   * @throws `invalid-argument` unless they are numbers that lie plain and in one piece; see `unsafeRuns`
   */
  unsafeView(from = 0, to = this.length): ColumnArrays[T] {
    const runs = this.unsafeRuns(from, to);
    if (runs.length > 1) {
      throw new PinionError(
        "invalid-argument",
        `rows ${from} to ${to} lie in ${runs.length} pieces: go through unsafeRuns()`,
      );
    }
    return runs[0] ?? (this.#layout.stored.make(0) as ColumnArrays[T]);
  }

  /** As `unsafeView`, in as many pieces as there are: of 1 MiB at the beginning of a column, and of gigabytes further on. */
  unsafeRuns(from = 0, to = this.length): ColumnArrays[T][] {
    this.#checkRange(from, to);
    const { stored, sealedBlocks, tailOffset } = this.#layout;
    const { rows, widthBytes } = stored;
    const runs: { start: number; end: number }[] = [];
    for (let row = from; row < to;) {
      const number = Math.floor(row / rows);
      const sealed = number < sealedBlocks;
      const entry = sealed
        ? this.#now(this.#layout.entry(number))
        : { offset: tailOffset, byteCount: this.#layout.tailRows * widthBytes, encoding: PLAIN };
      if (this.#dictionary !== undefined || entry.encoding !== PLAIN) {
        throw new PinionError(
          "invalid-argument",
          `row ${row} is not stored as a plain number: declare the column with encoding "plain", or use get()`,
        );
      }
      const next = Math.min(to, (number + 1) * rows);
      const start = entry.offset + (row % rows) * widthBytes;
      const end = start + (next - row) * widthBytes;
      if (end > entry.offset + entry.byteCount) this.#now(this.#reader.block(number)); // says what is wrong
      const last = runs.at(-1);
      if (last?.end === start) last.end = end;
      else runs.push({ start, end });
      row = next;
    }
    return runs.map(({ start, end }) => {
      const bytes = this.#now(fetchBytes(this.#layout.extent, start, end - start));
      return stored.over(bytes) as ColumnArrays[T];
    });
  }

  #enter(row: number): void {
    this.#now(this.#ready());
    this.#reader.checkRow(row);
    const { rows } = this.#layout.stored;
    const number = Math.floor(row / rows);
    this.#values = this.#now(this.#reader.block(number)).values();
    this.#first = number * rows;
    this.#end = this.#first + this.#values.length;
    this.#generation = this.#layout.extent.generation;
  }

  #checkRange(from: number, to: number): void {
    const { length } = this;
    if (
      Number.isSafeInteger(from) &&
      Number.isSafeInteger(to) &&
      from >= 0 &&
      from <= to &&
      to <= length
    )
      return;
    throw new PinionError(
      "invalid-argument",
      `rows ${from} to ${to} of a column of ${length} rows`,
    );
  }

  #shown(value: unknown): ColumnValues[T] {
    const shown =
      this.#dictionary === undefined ? value : this.#dictionary.stringOf(value as number);
    return shown as ColumnValues[T];
  }

  *#ready(): Steps<void> {
    yield* this.#layout.load();
    if (this.#dictionary !== undefined) yield* this.#dictionary.load();
  }

  /** Over a resident extent steps never wait. */
  #now<R>(steps: Steps<R>): R {
    if (!this.#layout.extent.ended) {
      if (!this.#layout.extent.resident)
        throw new PinionError("not-resident", "this column is not in memory");
      return drive(steps) as R;
    }
    throw new PinionError(
      "view-expired",
      "this view was made in a turn that is over: make one in each turn",
    );
  }
}
