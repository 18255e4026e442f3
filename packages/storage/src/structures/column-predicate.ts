/**
 * What a scan looks for, in terms of stored values: a closed range, or a set of values with the range it spans. Conditions on
 * strings become sets of codes (column-dictionary.ts).
 */
import { PinionError } from "@pinion/core";
import type { BlockEntry } from "./column-layout.ts";
import type { ScanKernels } from "./column-kernels.ts";
import type { StoredArray, StoredType, StoredValue } from "./column-types.ts";

/**
 * A condition on values: equal to one, in a closed range (a bound left out is open), or equal to one of several. Numbers compare as
 * `<=` does, so 0 equals −0 and NaN matches nothing; strings by their UTF-16 units.
 */
export type ColumnFilter<Value> =
  | { readonly equals: Value }
  | { readonly min?: Value; readonly max?: Value }
  | { readonly oneOf: readonly Value[] };

const LEAST_I64 = -(2n ** 63n);
const GREATEST_I64 = 2n ** 63n - 1n;

export class Predicate {
  readonly low: StoredValue;
  readonly high: StoredValue;
  /** Undefined: everything in the range. */
  readonly members: ReadonlySet<StoredValue> | undefined;

  private constructor(
    low: StoredValue,
    high: StoredValue,
    members: ReadonlySet<StoredValue> | undefined,
  ) {
    this.low = low;
    this.high = high;
    this.members = members;
  }

  static range(low: StoredValue, high: StoredValue): Predicate {
    return new Predicate(low, high, undefined);
  }

  static set(members: ReadonlySet<StoredValue>): Predicate {
    let low: StoredValue = Infinity;
    let high: StoredValue = -Infinity;
    for (const member of members) {
      if (member < low) low = member;
      if (member > high) high = member;
    }
    return new Predicate(low, high, members);
  }

  /** For numbers and bigints. @throws `invalid-argument` */
  static of(filter: ColumnFilter<StoredValue>, stored: StoredType): Predicate {
    const big = stored.type === "i64";
    const check = (value: StoredValue): StoredValue => {
      if (typeof value === (big ? "bigint" : "number") && !Number.isNaN(value)) return value;
      throw new PinionError(
        "invalid-argument",
        `a filter compares a column of ${stored.type} with a ${typeof value}${Number.isNaN(value) ? ", NaN" : ""}`,
      );
    };
    // What a column of f32 was given was rounded, too.
    const exact = (value: StoredValue): StoredValue =>
      stored.type === "f32" ? Math.fround(check(value) as number) : check(value);
    if ("equals" in filter) return Predicate.range(exact(filter.equals), exact(filter.equals));
    if ("oneOf" in filter) return Predicate.set(new Set(filter.oneOf.map(exact)));
    const { min, max } = filter;
    return Predicate.range(
      min === undefined ? (big ? LEAST_I64 : -Infinity) : check(min),
      max === undefined ? (big ? GREATEST_I64 : Infinity) : check(max),
    );
  }

  matches(value: StoredValue): boolean {
    return value >= this.low && value <= this.high && (this.members?.has(value) ?? true);
  }

  /** A block with these bounds may hold a match. */
  mayMatch({ min, max }: BlockEntry): boolean {
    return this.low <= this.high && min <= this.high && max >= this.low;
  }

  /** All of a block with these bounds matches. */
  matchesAll({ min, max, hasNaN }: BlockEntry): boolean {
    return this.members === undefined && !hasNaN && min >= this.low && max <= this.high;
  }

  /** The range seen from `base`, for values that are stored as differences from it, below 2^32. */
  relativeTo(base: number): readonly [number, number] {
    if (typeof this.low === "number" && typeof this.high === "number")
      return [this.low - base, this.high - base];
    const clamp = (value: bigint): number =>
      Number(value < -1n ? -1n : value > 2n ** 32n ? 2n ** 32n : value);
    return [clamp(BigInt(this.low) - BigInt(base)), clamp(BigInt(this.high) - BigInt(base))];
  }
}

/** Indices of the values that match, ascending, to `out`. @returns how many */
export function selectFrom(
  values: StoredArray,
  predicate: Predicate,
  kernels: ScanKernels,
  out: Uint32Array,
): number {
  const { low, high, members } = predicate;
  if (members === undefined) return kernels.selectInRange(values, low, high, out);
  let count = 0;
  for (let i = 0; i < values.length; i++) {
    out[count] = i;
    if (members.has(values[i]!)) count++;
  }
  return count;
}

/** How many of the values match. */
export function countFrom(values: StoredArray, predicate: Predicate, kernels: ScanKernels): number {
  const { low, high, members } = predicate;
  if (members === undefined) return kernels.countInRange(values, low, high);
  let count = 0;
  for (let i = 0; i < values.length; i++) if (members.has(values[i]!)) count++;
  return count;
}
