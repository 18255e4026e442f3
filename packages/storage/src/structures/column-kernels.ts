/**
 * The inner loops of a scan, as a seam: an implementation in machine code can take their place, and must give the same bits.
 *
 * K1 a sum of floating point values is eight sums, of every eighth value each, added as ((0+4) + (2+6)) + ((1+5) + (3+7)): a fixed order that
 *    vector instructions can follow. The last `length mod 8` values are added to sums 0, 1, ….
 *    Sums begin with −0: that changes no sum, and the compiler takes it for floating point. A sum that begins with 0 it takes for an
 *    integer that may become one, which was eight times slower (V8 14.6). What comes out is never −0.
 * K2 least and greatest leave NaN out; of nothing they are +∞ and −∞.
 */
import type { StoredArray, StoredValue } from "./column-types.ts";

/** Packed values (column-encoding.ts) are narrower than any type of a column. */
export type ScannedArray = StoredArray | Uint8Array | Uint16Array;

export interface ScanKernels {
  /** Of i64 a bigint that does not wrap, of everything else a number. */
  sum(values: ScannedArray): StoredValue;
  min(values: ScannedArray): StoredValue;
  max(values: ScannedArray): StoredValue;
  /** How many lie in [low, high]. */
  countInRange(values: ScannedArray, low: StoredValue, high: StoredValue): number;
  /** Writes the indices of those, ascending, to `out`, which has room for all. @returns how many */
  selectInRange(
    values: ScannedArray,
    low: StoredValue,
    high: StoredValue,
    out: Uint32Array,
  ): number;
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
 * The halves apart, as numbers: bigints would cost twenty times as much. Of 2^20 values both sums stay below 2^53, and a block has
 * 8,192.
 */
function sumI64(values: BigInt64Array): bigint {
  const PART = 2 ** 20;
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  let total = 0n;
  for (let start = 0; start < halves.length; start += PART * 2) {
    const end = Math.min(halves.length, start + PART * 2);
    let low = -0;
    let high = -0;
    for (let i = start; i < end; i += 2) {
      low += halves[i]! >>> 0;
      high += halves[i + 1]!;
    }
    total += BigInt(high) * 4_294_967_296n + BigInt(low);
  }
  return total;
}

export const javascriptKernels: ScanKernels = Object.freeze({
  sum(values: ScannedArray): StoredValue {
    if (values instanceof Float64Array) return sumF64(values);
    return values instanceof BigInt64Array ? sumI64(values) : sumNumbers(values);
  },

  min(values: ScannedArray): StoredValue {
    let least: StoredValue = Infinity;
    for (let i = 0; i < values.length; i++) if (values[i]! < least) least = values[i]!;
    return least;
  },

  max(values: ScannedArray): StoredValue {
    let greatest: StoredValue = -Infinity;
    for (let i = 0; i < values.length; i++) if (values[i]! > greatest) greatest = values[i]!;
    return greatest;
  },

  countInRange(values: ScannedArray, low: StoredValue, high: StoredValue): number {
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
    let count = 0;
    for (let i = 0; i < values.length; i++) {
      out[count] = i;
      if (values[i]! >= low && values[i]! <= high) count++;
    }
    return count;
  },
});
