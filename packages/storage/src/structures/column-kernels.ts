/**
 * The inner loops of a scan, as a seam: these in JavaScript, and the addon's (addon-scan-kernels.ts), which give the same bits.
 *
 * K1 values are added in blocks, whose sums are added one after the other to what came before. The sum of a block of floating point values is
 *    eight sums, of every eighth value each, added as ((0+4) + (2+6)) + ((1+5) + (3+7)): a fixed order that vector instructions can follow. The
 *    last `length mod 8` values are added to sums 0, 1, …. Of whole numbers of four bytes a block, of 2^20 values at most, has an exact sum.
 *    Sums of a block begin with −0: that changes no sum, and the compiler takes it for floating point. A sum that begins with 0 it takes for an
 *    integer that may become one, which was eight times slower (V8 14.6). Who begins with 0 never gets −0.
 * K2 least and greatest leave NaN out; of nothing they are +∞ and −∞. Of 0 and −0, which are equal, it is the first.
 * K3 a range contains what `>=` its lower and `<=` its upper bound say: no NaN, and both zeros or none.
 * K4 an array that is none of these types or whose memory was taken away, a block of no length and too little room for a result are
 *    mistakes of ours (`internal`).
 */
import { assert } from "@pinion/core";
import type { StoredArray, StoredValue } from "./column-types.ts";

/** Packed values (column-encoding.ts) are narrower than any type of a column. */
export type ScannedArray = StoredArray | Uint8Array | Uint16Array;

export interface ScanKernels {
  /**
   * Adds blocks of `blockRows` values, the last of what is left, to `before` (K1). Of i64 bigints that do not wrap, of everything else
   * numbers.
   */
  sum(values: ScannedArray, blockRows: number, before: StoredValue): StoredValue;
  min(values: ScannedArray): StoredValue;
  max(values: ScannedArray): StoredValue;
  /** How many lie in [low, high]: of i64 bigints, of everything else numbers, also ones the type cannot have. */
  countInRange(values: ScannedArray, low: StoredValue, high: StoredValue): number;
  /** Writes the indices of those, ascending, to `out`, which has room for all. @returns how many */
  selectInRange(
    values: ScannedArray,
    low: StoredValue,
    high: StoredValue,
    out: Uint32Array,
  ): number;
}

const SUMMED_ROWS_MAX = 2 ** 20;
const SCANNED_TYPES: ReadonlySet<unknown> = new Set([
  Float64Array,
  Float32Array,
  Int32Array,
  BigInt64Array,
  Uint32Array,
  Uint16Array,
  Uint8Array,
]);

/** K4. */
export function checkScanned(values: ScannedArray): void {
  assert(SCANNED_TYPES.has(values?.constructor), "a scan of something that is no array of numbers");
  const { buffer } = values;
  const isGone = values.length === 0 && buffer instanceof ArrayBuffer && buffer.detached;
  assert(!isGone, "a scan of memory that was taken away");
}

/** K4. */
export function checkBlockRows(blockRows: number): void {
  assert(
    Number.isSafeInteger(blockRows) && blockRows > 0 && blockRows <= SUMMED_ROWS_MAX,
    `a sum of blocks of ${blockRows} values`,
  );
}

/** K4. */
export function checkRoom(values: ScannedArray, out: Uint32Array): void {
  assert(
    out instanceof Uint32Array && out.length >= values.length,
    `room for ${out?.length} of ${values.length} indices`,
  );
}

type Lanes = [number, number, number, number, number, number, number, number];

function foldLanes(lanes: Lanes, rest: Exclude<ScannedArray, BigInt64Array>): number {
  for (let i = 0; i < rest.length; i++) lanes[i]! += rest[i]!;
  return (
    lanes[0] + lanes[4] + (lanes[2] + lanes[6]) + (lanes[1] + lanes[5] + (lanes[3] + lanes[7]))
  );
}

/** Apart from the other types: a loop that has met several kinds of arrays is slower for each of them. */
function sumF64(values: Float64Array): number {
  let s0 = -0;
  let s1 = -0;
  let s2 = -0;
  let s3 = -0;
  let s4 = -0;
  let s5 = -0;
  let s6 = -0;
  let s7 = -0;
  const whole = values.length & ~7;
  for (let i = 0; i < whole; i += 8) {
    s0 += values[i]!;
    s1 += values[i + 1]!;
    s2 += values[i + 2]!;
    s3 += values[i + 3]!;
    s4 += values[i + 4]!;
    s5 += values[i + 5]!;
    s6 += values[i + 6]!;
    s7 += values[i + 7]!;
  }
  return foldLanes([s0, s1, s2, s3, s4, s5, s6, s7], values.subarray(whole));
}

function sumNumbers(values: Exclude<ScannedArray, BigInt64Array>): number {
  let s0 = -0;
  let s1 = -0;
  let s2 = -0;
  let s3 = -0;
  let s4 = -0;
  let s5 = -0;
  let s6 = -0;
  let s7 = -0;
  const whole = values.length & ~7;
  for (let i = 0; i < whole; i += 8) {
    s0 += values[i]!;
    s1 += values[i + 1]!;
    s2 += values[i + 2]!;
    s3 += values[i + 3]!;
    s4 += values[i + 4]!;
    s5 += values[i + 5]!;
    s6 += values[i + 6]!;
    s7 += values[i + 7]!;
  }
  return foldLanes([s0, s1, s2, s3, s4, s5, s6, s7], values.subarray(whole));
}

/**
 * The halves apart, as numbers: bigints would cost twenty times as much. Of 2^20 values both sums stay below 2^53.
 */
function sumI64(values: BigInt64Array): bigint {
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  let low = -0;
  let high = -0;
  for (let i = 0; i < halves.length; i += 2) {
    low += halves[i]! >>> 0;
    high += halves[i + 1]!;
  }
  return BigInt(high) * 4_294_967_296n + BigInt(low);
}

function sumBlock(values: ScannedArray): StoredValue {
  if (values instanceof Float64Array) return sumF64(values);
  return values instanceof BigInt64Array ? sumI64(values) : sumNumbers(values);
}

export const javascriptKernels: ScanKernels = Object.freeze({
  sum(values: ScannedArray, blockRows: number, before: StoredValue): StoredValue {
    checkScanned(values);
    checkBlockRows(blockRows);
    let sum = before;
    for (let at = 0; at < values.length; at += blockRows) {
      const block = sumBlock(values.subarray(at, at + blockRows));
      sum = (sum as number) + (block as number); // or both are bigints
    }
    return sum;
  },

  min(values: ScannedArray): StoredValue {
    checkScanned(values);
    let least: StoredValue = Infinity;
    for (let i = 0; i < values.length; i++) if (values[i]! < least) least = values[i]!;
    return least;
  },

  max(values: ScannedArray): StoredValue {
    checkScanned(values);
    let greatest: StoredValue = -Infinity;
    for (let i = 0; i < values.length; i++) if (values[i]! > greatest) greatest = values[i]!;
    return greatest;
  },

  countInRange(values: ScannedArray, low: StoredValue, high: StoredValue): number {
    checkScanned(values);
    let count = 0;
    for (let i = 0; i < values.length; i++) if (values[i]! >= low && values[i]! <= high) count++;
    return count;
  },

  selectInRange(
    values: ScannedArray,
    low: StoredValue,
    high: StoredValue,
    out: Uint32Array,
  ): number {
    checkScanned(values);
    checkRoom(values, out);
    let count = 0;
    for (let i = 0; i < values.length; i++) {
      out[count] = i;
      if (values[i]! >= low && values[i]! <= high) count++;
    }
    return count;
  },
});
