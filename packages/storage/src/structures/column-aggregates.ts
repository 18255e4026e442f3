/** A column of numbers: what can be said about all of them. Of i64 sums are bigints, means and variances numbers. */
import { Column, type RowQuery } from "./column-handle.ts";
import { quantilesOf } from "./column-quantiles.ts";
import { nextValues, valuesOf, type ColumnCursor } from "./column-reader.ts";
import type { ColumnType, ColumnValues, StoredArray, StoredValue } from "./column-types.ts";
import type { MaybePromise, Steps } from "./structure.ts";

export type NumberColumnType = Exclude<ColumnType, "string">;

interface Moments {
  readonly count: number;
  /** From the origin. */
  readonly mean: number;
  /** Sum of the squared distances from the mean. */
  readonly squares: number;
}

/**
 * Every operation can throw `invalid-argument` (rows beyond the end, a filter of another type), `corruption` and `view-expired`.
 * NaN makes sums, means and variances NaN; least, greatest and quantiles leave it out.
 */
export class NumberColumn<T extends NumberColumnType> extends Column<T> {
  /**
   * Of nothing 0. Exact for i64, and for i32 up to 2^53; floating point is added in a fixed order (column-kernels.ts, K1) within each
   * block, and block after block.
   */
  sum(query: RowQuery<T> = {}): MaybePromise<ColumnValues[T]> {
    return this.run(this.#sum(query));
  }

  *#sum(query: RowQuery<T>): Steps<ColumnValues[T]> {
    const cursor = yield* this.openCursor(query);
    const { kernels } = this;
    const { rows, zero } = this.stored;
    let sum = zero;
    for (;;) {
      const run = yield* cursor.nextRun();
      if (run !== undefined) {
        sum = kernels.sum(run, rows, sum);
        continue;
      }
      const piece = yield* cursor.next();
      if (piece === undefined) return sum as ColumnValues[T];
      const { block, count } = piece;
      const whole = count === block.rows;
      const part = whole ? block.sum(kernels) : kernels.sum(valuesOf(piece), rows, zero);
      sum = (sum as number) + (part as number); // or both are bigints
    }
  }

  /** Undefined when nothing matches. Does not look at blocks that cannot hold it. */
  min(query: RowQuery<T> = {}): MaybePromise<ColumnValues[T] | undefined> {
    return this.run(this.#extreme(query, true));
  }

  /** As `min`. */
  max(query: RowQuery<T> = {}): MaybePromise<ColumnValues[T] | undefined> {
    return this.run(this.#extreme(query, false));
  }

  *#extreme(query: RowQuery<T>, least: boolean): Steps<ColumnValues[T] | undefined> {
    const cursor = yield* this.openCursor(query);
    let best: StoredValue | undefined;
    const improves = (value: StoredValue): boolean =>
      best === undefined || (least ? value < best : value > best);
    cursor.skips = ({ min, max }) => !improves(least ? min : max);
    for (let values; (values = yield* nextValues(cursor)) !== undefined;) {
      const found = least ? this.kernels.min(values) : this.kernels.max(values);
      // Of NaN alone there is none, which looks like an infinity.
      const none = typeof found === "number" && !Number.isFinite(found) && allNaN(values);
      if (!none && improves(found)) best = found;
    }
    return best as ColumnValues[T] | undefined;
  }

  /** Undefined when nothing matches. */
  mean(query: RowQuery<T> = {}): MaybePromise<number | undefined> {
    return this.run(this.#mean(query));
  }

  *#mean(query: RowQuery<T>): Steps<number | undefined> {
    const cursor = yield* this.openCursor(query);
    const { kernels } = this;
    const { rows, zero, type } = this.stored;
    let count = 0;
    let sum = 0;
    for (;;) {
      // Sums of i64 are rounded block by block.
      const run = type === "i64" ? undefined : yield* cursor.nextRun();
      if (run !== undefined) {
        sum = kernels.sum(run, rows, sum) as number;
        count += run.length;
        continue;
      }
      const values = yield* nextValues(cursor);
      if (values === undefined) return count === 0 ? undefined : sum / count;
      sum += Number(kernels.sum(values, values.length, zero));
      count += values.length;
    }
  }

  /** Of the population: the mean squared distance from the mean. Undefined when nothing matches. */
  variance(query: RowQuery<T> = {}): MaybePromise<number | undefined> {
    return this.run(this.#variance(query));
  }

  *#variance(query: RowQuery<T>): Steps<number | undefined> {
    const { count, squares } = yield* this.#moments(query);
    return count === 0 ? undefined : squares / count;
  }

  /**
   * Block by block, joined as in Chan, Golub and LeVeque (1979): no cancellation as in a sum of squares. Everything is counted from the mean of
   * the first block, so that values that are far from 0 and close to each other lose nothing: a rounded mean of timestamps is off by more than
   * the ninth digit of their variance.
   */
  *#moments(query: RowQuery<T>): Steps<Moments> {
    const cursor = yield* this.openCursor(query);
    let all: Moments = { count: 0, mean: 0, squares: 0 };
    let origin: StoredValue | undefined;
    let distances = new Float64Array(0);
    for (let values; (values = yield* nextValues(cursor)) !== undefined;) {
      const count = values.length;
      origin ??= meanOf(this.kernels.sum(values, count, this.stored.zero), count);
      if (distances.length < count) distances = new Float64Array(count);
      const sum = putDistances(distances, values, origin);
      const mean = sum / count;
      let squares = -0; // as in column-kernels.ts, K1
      for (let i = 0; i < count; i++) {
        const distance = distances[i]! - mean;
        squares += distance * distance;
      }
      const together = all.count + count;
      const apart = mean - all.mean;
      all = {
        count: together,
        mean: all.mean + (apart * count) / together,
        squares: all.squares + squares + (apart * apart * all.count * count) / together,
      };
    }
    return all;
  }

  /**
   * For each p from 0 to 1 the least value of which at least that share of the matching ones is not greater (nearest rank; 0: the least),
   * exactly; undefined when nothing matches. Up to a million values are sorted in memory. Beyond, the rows are read four more times, with half a
   * megabyte for each p, so at most 32 of them. @throws `invalid-argument`
   */
  quantiles(
    shares: readonly number[],
    query: RowQuery<T> = {},
  ): MaybePromise<(ColumnValues[T] | undefined)[]> {
    const open = (): Steps<ColumnCursor> => this.openCursor(query);
    return this.run(quantilesOf(this.stored, shares, open)) as MaybePromise<
      (ColumnValues[T] | undefined)[]
    >;
  }
}

const meanOf = (sum: StoredValue, count: number): StoredValue =>
  typeof sum === "bigint" ? sum / BigInt(count) : sum / count;

/** @returns the sum of the distances */
function putDistances(into: Float64Array, values: StoredArray, origin: StoredValue): number {
  let sum = -0;
  for (let i = 0; i < values.length; i++) {
    // Of i64 the difference is exact, and rounded then.
    const distance = Number((values[i] as number) - (origin as number));
    into[i] = distance;
    sum += distance;
  }
  return sum;
}

function allNaN(values: StoredArray): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isNaN(values[i])) return false;
  return true;
}
