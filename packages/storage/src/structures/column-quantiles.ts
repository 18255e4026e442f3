/**
 * Exact quantiles of more values than fit into memory: 16 bits of every wanted value at a time, most significant first, by counting (radix
 * selection). Values are taken as 64-bit keys that sort as they do: floating point with its sign bit turned, negative ones with all
 * bits turned; i64 with its sign bit turned. All narrower types go through f64, which holds them exactly.
 */
import { PinionError } from "@pinion/core";
import { nextValues, type ColumnCursor } from "./column-reader.ts";
import type { StoredArray, StoredType, StoredValue } from "./column-types.ts";
import type { Steps } from "./structure.ts";

const SORTED_MAX = 2 ** 20;
const SHARES_MAX = 32;
const DIGITS = 4;
const DIGIT_VALUES = 2 ** 16;

/** @param open starts over from the first row; the rows are the same each time */
export function* quantilesOf(
  stored: StoredType,
  shares: readonly number[],
  open: () => Steps<ColumnCursor>,
): Steps<(StoredValue | undefined)[]> {
  if (shares.length > SHARES_MAX || !shares.every((share) => share >= 0 && share <= 1)) {
    throw new PinionError(
      "invalid-argument",
      `up to ${SHARES_MAX} quantiles, each from 0 to 1, and not ${shares.slice(0, SHARES_MAX + 1).join(", ")}`,
    );
  }
  const { count, sorted } = yield* collect(stored, yield* open());
  if (count === 0) return shares.map(() => undefined);
  const ranks = shares.map((share) =>
    Math.min(count - 1, Math.max(0, Math.ceil(share * count) - 1)),
  );
  if (sorted !== undefined) return ranks.map((rank) => sorted[rank]);
  return yield* selectRanks(stored, ranks, open);
}

/** Counts the values other than NaN, and keeps them sorted if they are few enough. */
function* collect(
  stored: StoredType,
  cursor: ColumnCursor,
): Steps<{ readonly count: number; readonly sorted: StoredArray | undefined }> {
  let kept: StoredArray | undefined = stored.make(Math.min(SORTED_MAX, stored.rows));
  let count = 0;
  for (let values; (values = yield* nextValues(cursor)) !== undefined;) {
    if (kept !== undefined && count + values.length > kept.length) {
      const grown: StoredArray | undefined =
        count + values.length > SORTED_MAX ? undefined : stored.make(kept.length * 2);
      if (grown !== undefined) for (let i = 0; i < count; i++) grown[i] = kept[i]!;
      kept = grown;
    }
    for (let i = 0; i < values.length; i++) {
      if (Number.isNaN(values[i])) continue;
      if (kept !== undefined) kept[count] = values[i]!;
      count++;
    }
  }
  return { count, sorted: kept?.subarray(0, count).sort() };
}

/** What is known of one wanted value. */
interface Target {
  /** Among the values that begin with `prefix`. */
  rank: number;
  /** The digits that were found, as one number; the last digit is kept apart, since 64 bits do not fit. */
  prefix: number;
  last: number;
}

function* selectRanks(
  stored: StoredType,
  ranks: readonly number[],
  open: () => Steps<ColumnCursor>,
): Steps<StoredValue[]> {
  const targets = ranks.map((rank): Target => ({ rank, prefix: 0, last: 0 }));
  const keys = new KeyMaker(stored.type === "i64");
  for (let digit = 0; digit < DIGITS; digit++) {
    const counts = new Map(targets.map(({ prefix }) => [prefix, new Float64Array(DIGIT_VALUES)]));
    const cursor = yield* open();
    for (let values; (values = yield* nextValues(cursor)) !== undefined;) {
      for (let i = 0; i < values.length; i++) {
        if (Number.isNaN(values[i])) continue;
        keys.take(values[i]!);
        const counted = counts.get(keys.prefix(digit));
        if (counted !== undefined) counted[keys.digit(digit)]! += 1;
      }
    }
    for (const target of targets) {
      const counted = counts.get(target.prefix)!;
      let next = 0;
      while (next < DIGIT_VALUES - 1 && target.rank >= counted[next]!)
        target.rank -= counted[next++]!;
      if (digit < DIGITS - 1) target.prefix = target.prefix * DIGIT_VALUES + next;
      else target.last = next;
    }
  }
  return targets.map(({ prefix, last }) => keys.valueOf(prefix, last));
}

class KeyMaker {
  readonly #big: boolean;
  readonly #words = new Uint32Array(2);
  readonly #number = new Float64Array(this.#words.buffer);
  readonly #bigint = new BigInt64Array(this.#words.buffer);
  #low = 0;
  #high = 0;

  constructor(big: boolean) {
    this.#big = big;
  }

  take(value: StoredValue): void {
    if (typeof value === "bigint") this.#bigint[0] = value;
    else this.#number[0] = value;
    this.#low = this.#words[0]!;
    this.#high = this.#words[1]!;
    if (!this.#big && this.#high >= 0x8000_0000) {
      this.#low = ~this.#low >>> 0;
      this.#high = ~this.#high >>> 0;
    } else {
      this.#high = (this.#high ^ 0x8000_0000) >>> 0;
    }
  }

  /** The first `digits` of the key. */
  prefix(digits: number): number {
    if (digits === 0) return 0;
    if (digits === 1) return this.#high >>> 16;
    return digits === 2 ? this.#high : this.#high * DIGIT_VALUES + (this.#low >>> 16);
  }

  digit(digit: number): number {
    const word = digit < 2 ? this.#high : this.#low;
    return digit % 2 === 0 ? word >>> 16 : word & 0xffff;
  }

  /** The value of a key. */
  valueOf(prefix: number, last: number): StoredValue {
    let high = Math.floor(prefix / DIGIT_VALUES);
    let low = ((prefix % DIGIT_VALUES) * DIGIT_VALUES + last) >>> 0;
    if (!this.#big && high < 0x8000_0000) {
      high = ~high >>> 0;
      low = ~low >>> 0;
    } else {
      high = (high ^ 0x8000_0000) >>> 0;
    }
    this.#words[0] = low;
    this.#words[1] = high;
    return this.#big ? this.#bigint[0]! : this.#number[0]!;
  }
}
