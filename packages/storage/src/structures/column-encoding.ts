/**
 * How a sealed block stores its values: whichever of these is smallest, and plain unless that saves a quarter. Little endian; w is
 * the width of the type, n the rows of a block.
 *
 * | encoding | for | bytes |
 * |---|---|---|
 * | 0 plain | everything | n × w: values |
 * | 1 runs | everything | u32 count of runs, u32 0, count × w: values, count × u32: row behind each run, ascending, the last is n |
 * | 2 packed | integers | f64 base, u32 p, u32 0, n × p: unsigned values − base |
 * | 3 delta | integers | f64 first value, f64 least delta, u32 p, u32 0, (n − 1) × p: unsigned deltas − least delta |
 *
 * p is 1, 2 or 4 bytes. 2 and 3 only where all values are below 2^53, so that they need no bigints. Equal values are those of equal
 * bits. Padded to a multiple of 8.
 */
import { countFrom, selectFrom, type Predicate } from "./column-predicate.ts";
import type { ScanKernels } from "./column-kernels.ts";
import {
  bytesOf,
  PLAIN,
  type StoredArray,
  type StoredType,
  type StoredValue,
} from "./column-types.ts";
import { damagedStructure, dataViewOf } from "./structure.ts";

const RUNS = 1;
const PACKED = 2;
const DELTA = 3;

const RUNS_HEADER_BYTES = 8;
const PACKED_HEADER_BYTES = 16;
const DELTA_HEADER_BYTES = 24;
/** Plain values are read as they lie; what is to be decoded has to save this much. */
const WORTH_IT = 0.75;

export interface Encoded {
  readonly encoding: number;
  readonly bytes: Uint8Array;
}

/** @param min,max of all values; without NaN */
export function encodeBlock(
  values: StoredArray,
  stored: StoredType,
  min: StoredValue,
  max: StoredValue,
): Encoded {
  const plainBytes = values.byteLength;
  const runs = countRuns(values, stored);
  const sizes = [plainBytes * WORTH_IT, RUNS_HEADER_BYTES + runs * (stored.widthBytes + 4)];
  const low = Number(min);
  const range = Number(max) - low;
  let delta: Deltas | undefined;
  if (stored.integer && Number.isSafeInteger(low) && Number.isSafeInteger(low + range)) {
    sizes[PACKED] = PACKED_HEADER_BYTES + values.length * packedWidth(range);
    if (Number.isSafeInteger(range)) {
      delta = deltasOf(values);
      sizes[DELTA] = DELTA_HEADER_BYTES + (values.length - 1) * packedWidth(delta.max - delta.min);
    }
  }
  const encoding = sizes.indexOf(Math.min(...sizes));
  if (encoding === RUNS) return { encoding, bytes: encodeRuns(values, stored, runs) };
  if (encoding === PACKED) return { encoding, bytes: encodePacked(values, low, range) };
  if (encoding === DELTA) return { encoding, bytes: encodeDelta(values, delta!) };
  return { encoding: PLAIN, bytes: bytesOf(values) };
}

const padded = (byteCount: number): Uint8Array => new Uint8Array(Math.ceil(byteCount / 8) * 8);

/** Infinity: does not fit. */
function packedWidth(range: number): number {
  return range < 2 ** 8 ? 1 : range < 2 ** 16 ? 2 : range < 2 ** 32 ? 4 : Infinity;
}

/** Values as 32-bit words, so that −0, 0 and the many NaN are told apart. */
function wordsOf(values: StoredArray): Int32Array {
  return new Int32Array(values.buffer, values.byteOffset, values.byteLength / 4);
}

function countRuns(values: StoredArray, stored: StoredType): number {
  const words = wordsOf(values);
  let runs = 1;
  if (stored.widthBytes === 4) {
    for (let i = 1; i < words.length; i++) if (words[i] !== words[i - 1]) runs++;
  } else {
    for (let i = 2; i < words.length; i += 2)
      if (words[i] !== words[i - 2] || words[i + 1] !== words[i - 1]) runs++;
  }
  return runs;
}

function encodeRuns(values: StoredArray, stored: StoredType, runs: number): Uint8Array {
  const bytes = padded(RUNS_HEADER_BYTES + runs * (stored.widthBytes + 4));
  const valueBytes = runs * stored.widthBytes;
  const out = stored.over(bytes.subarray(RUNS_HEADER_BYTES, RUNS_HEADER_BYTES + valueBytes));
  const ends = new Uint32Array(bytes.buffer, RUNS_HEADER_BYTES + valueBytes, runs);
  dataViewOf(bytes).setUint32(0, runs, true);
  const words = wordsOf(values);
  const perValue = stored.widthBytes / 4;
  let run = 0;
  for (let i = 0; i < values.length; i++) {
    const at = i * perValue;
    const next = at + perValue;
    const last =
      next === words.length ||
      words[at] !== words[next] ||
      (perValue === 2 && words[at + 1] !== words[next + 1]);
    if (!last) continue;
    out[run] = values[i]!;
    ends[run++] = i + 1;
  }
  return bytes;
}

interface Deltas {
  readonly min: number;
  readonly max: number;
}

function deltasOf(values: StoredArray): Deltas {
  let min = Infinity;
  let max = -Infinity;
  let before = Number(values[0]);
  for (let i = 1; i < values.length; i++) {
    const value = Number(values[i]);
    const delta = value - before;
    if (delta < min) min = delta;
    if (delta > max) max = delta;
    before = value;
  }
  return { min, max };
}

type PackedArray = Uint8Array | Uint16Array | Uint32Array;

function packedOver(bytes: Uint8Array, at: number, width: number, count: number): PackedArray {
  const offset = bytes.byteOffset + at;
  if (width === 1) return new Uint8Array(bytes.buffer, offset, count);
  if (width === 2) return new Uint16Array(bytes.buffer, offset, count);
  return new Uint32Array(bytes.buffer, offset, count);
}

function encodePacked(values: StoredArray, base: number, range: number): Uint8Array {
  const width = packedWidth(range);
  const bytes = padded(PACKED_HEADER_BYTES + values.length * width);
  const view = dataViewOf(bytes);
  view.setFloat64(0, base, true);
  view.setUint32(8, width, true);
  const out = packedOver(bytes, PACKED_HEADER_BYTES, width, values.length);
  for (let i = 0; i < values.length; i++) out[i] = Number(values[i]) - base;
  return bytes;
}

function encodeDelta(values: StoredArray, { min, max }: Deltas): Uint8Array {
  const width = packedWidth(max - min);
  const bytes = padded(DELTA_HEADER_BYTES + (values.length - 1) * width);
  const view = dataViewOf(bytes);
  view.setFloat64(0, Number(values[0]), true);
  view.setFloat64(8, min, true);
  view.setUint32(16, width, true);
  const out = packedOver(bytes, DELTA_HEADER_BYTES, width, values.length - 1);
  let before = Number(values[0]);
  for (let i = 1; i < values.length; i++) {
    const value = Number(values[i]);
    out[i - 1] = value - before - min;
    before = value;
  }
  return bytes;
}

/** Reads one sealed block, or as a plain one the tail. Whatever its bytes are, an answer or `corruption`. */
export class BlockReader {
  readonly encoding: number;
  readonly rows: number;
  readonly #bytes: Uint8Array;
  readonly #stored: StoredType;
  #values: StoredArray | undefined;

  /** @throws `corruption` */
  constructor(bytes: Uint8Array, encoding: number, rows: number, stored: StoredType) {
    this.encoding = encoding;
    this.rows = rows;
    this.#stored = stored;
    // Typed arrays want their bytes aligned. A block is, unless the memory it came in is not.
    this.#bytes = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
    if (encoding === PLAIN) {
      if (bytes.byteLength !== rows * stored.widthBytes) throw this.#damaged("length");
      this.#values = stored.over(this.#bytes);
    }
  }

  /** All values; of a plain block where they lie. */
  values(): StoredArray {
    return (this.#values ??= this.#decode());
  }

  #decode(): StoredArray {
    const out = this.#stored.make(this.rows);
    if (this.encoding === RUNS) {
      const { values, ends } = this.#runs();
      let start = 0;
      for (let run = 0; run < ends.length; run++) {
        fill(out, values[run]!, start, ends[run]!);
        start = ends[run]!;
      }
    } else if (this.encoding === PACKED) {
      const { base, packed } = this.#packed();
      if (out instanceof BigInt64Array) {
        for (let i = 0; i < packed.length; i++) out[i] = BigInt(base + packed[i]!);
      } else {
        for (let i = 0; i < packed.length; i++) out[i] = base + packed[i]!;
      }
    } else {
      this.#decodeDelta(out);
    }
    return out;
  }

  #decodeDelta(out: StoredArray): void {
    if (this.encoding !== DELTA) throw this.#damaged(`encoding ${this.encoding}`);
    const view = this.#header(DELTA_HEADER_BYTES);
    let value = view.getFloat64(0, true);
    const least = view.getFloat64(8, true);
    const deltas = this.#packedAt(DELTA_HEADER_BYTES, view.getUint32(16, true), this.rows - 1);
    put(out, 0, this.#safe(value));
    this.#safe(least);
    for (let i = 0; i < deltas.length; i++) {
      value += least + deltas[i]!;
      put(out, i + 1, value);
    }
    this.#safe(value); // what leaves the whole numbers on the way does not come back
  }

  /** Of all rows; of integers without decoding, as long as that is exact. */
  sum(kernels: ScanKernels): StoredValue {
    if (this.encoding === PACKED && this.#values === undefined) {
      const { base, packed } = this.#packed();
      const above = kernels.sum(packed, this.rows, 0) as number;
      if (this.#stored.type === "i64") return BigInt(base) * BigInt(this.rows) + BigInt(above);
      return base * this.rows + above; // i32: both below 2^45
    }
    if (this.encoding === RUNS && this.#values === undefined && this.#stored.integer) {
      const { values, ends } = this.#runs();
      let sum = this.#stored.zero;
      for (let run = 0; run < ends.length; run++) {
        const count = ends[run]! - (run === 0 ? 0 : ends[run - 1]!);
        const value = values[run]!;
        if (typeof value === "bigint") sum = (sum as bigint) + value * BigInt(count);
        else sum = (sum as number) + value * count;
      }
      return sum;
    }
    return kernels.sum(this.values(), this.rows, this.#stored.zero);
  }

  /** Indices of the rows that match, ascending, to `out`. @returns how many */
  select(predicate: Predicate, kernels: ScanKernels, out: Uint32Array): number {
    if (this.encoding === RUNS && this.#values === undefined) {
      const { values, ends } = this.#runs();
      let count = 0;
      for (let run = 0; run < ends.length; run++) {
        if (!predicate.matches(values[run]!)) continue;
        for (let row = run === 0 ? 0 : ends[run - 1]!; row < ends[run]!; row++) out[count++] = row;
      }
      return count;
    }
    if (this.encoding === PACKED && this.#values === undefined && predicate.members === undefined) {
      const { base, packed } = this.#packed();
      const [low, high] = predicate.relativeTo(base);
      return kernels.selectInRange(packed, low, high, out);
    }
    return selectFrom(this.values(), predicate, kernels, out);
  }

  /** How many rows match. */
  count(predicate: Predicate, kernels: ScanKernels): number {
    if (this.encoding === RUNS && this.#values === undefined) {
      const { values, ends } = this.#runs();
      let count = 0;
      for (let run = 0; run < ends.length; run++) {
        if (predicate.matches(values[run]!)) count += ends[run]! - (run === 0 ? 0 : ends[run - 1]!);
      }
      return count;
    }
    if (this.encoding === PACKED && this.#values === undefined && predicate.members === undefined) {
      const { base, packed } = this.#packed();
      const [low, high] = predicate.relativeTo(base);
      return kernels.countInRange(packed, low, high);
    }
    return countFrom(this.values(), predicate, kernels);
  }

  #runs(): { readonly values: StoredArray; readonly ends: Uint32Array } {
    const { widthBytes } = this.#stored;
    const runs = this.#header(RUNS_HEADER_BYTES).getUint32(0, true);
    if (!(runs >= 1 && runs <= this.rows)) throw this.#damaged(`${runs} runs`);
    const endsAt = RUNS_HEADER_BYTES + runs * widthBytes;
    this.#reaches(endsAt + runs * 4);
    const ends = new Uint32Array(this.#bytes.buffer, this.#bytes.byteOffset + endsAt, runs);
    let before = 0;
    for (const end of ends) {
      if (end <= before) throw this.#damaged("runs that do not ascend");
      before = end;
    }
    if (before !== this.rows) throw this.#damaged(`runs of ${before} rows`);
    return { values: this.#stored.over(this.#bytes.subarray(RUNS_HEADER_BYTES, endsAt)), ends };
  }

  #packed(): { readonly base: number; readonly packed: PackedArray } {
    const view = this.#header(PACKED_HEADER_BYTES);
    const base = this.#safe(view.getFloat64(0, true));
    return {
      base,
      packed: this.#packedAt(PACKED_HEADER_BYTES, view.getUint32(8, true), this.rows),
    };
  }

  #packedAt(at: number, width: number, count: number): PackedArray {
    if (!this.#stored.integer || (width !== 1 && width !== 2 && width !== 4))
      throw this.#damaged(`values of ${width} bytes`);
    this.#reaches(at + count * width);
    return packedOver(this.#bytes, at, width, count);
  }

  #header(byteCount: number): DataView {
    if (this.#bytes.byteLength < byteCount) throw this.#damaged("length");
    return dataViewOf(this.#bytes);
  }

  #reaches(byteCount: number): void {
    if (this.#bytes.byteLength !== Math.ceil(byteCount / 8) * 8) throw this.#damaged("length");
  }

  #safe(value: number): number {
    if (!Number.isSafeInteger(value)) throw this.#damaged(`a value of ${value}`);
    return value;
  }

  #damaged(what: string): Error {
    return damagedStructure("column", `a block of encoding ${this.encoding}: ${what}`, 0);
  }
}

function fill(out: StoredArray, value: StoredValue, from: number, to: number): void {
  if (out instanceof BigInt64Array) out.fill(value as bigint, from, to);
  else out.fill(value as number, from, to);
}

/** A whole number into an array of integers. */
function put(out: StoredArray, at: number, value: number): void {
  if (out instanceof BigInt64Array) out[at] = BigInt(value);
  else out[at] = value;
}
