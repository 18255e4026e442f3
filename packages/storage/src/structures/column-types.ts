/**
 * What a column can hold, and how its values lie in memory. A block has 64 KiB of plain values: 8,192 rows of eight bytes or
 * 16,384 rows of four. Strings are stored as codes (u32) of the column's dictionary.
 */
import { PinionError } from "@pinion/core";

/** What one value looks like in actor code. i64 are bigints. */
export interface ColumnValues {
  f64: number;
  f32: number;
  i32: number;
  i64: bigint;
  string: string;
}

/** What many values look like. */
export interface ColumnArrays {
  f64: Float64Array;
  f32: Float32Array;
  i32: Int32Array;
  i64: BigInt64Array;
  string: string[];
}

export type ColumnType = keyof ColumnValues;

/** Values as they are stored; codes of strings are u32. */
export type StoredArray = Float64Array | Float32Array | Int32Array | BigInt64Array | Uint32Array;
export type StoredValue = number | bigint;

export const BLOCK_BYTES = 64 * 1024;
/** The encoding of a block whose values lie as they are (column-encoding.ts). */
export const PLAIN = 0;

export interface StoredType {
  readonly type: ColumnType;
  /** In the header of the extent. */
  readonly code: number;
  readonly widthBytes: 4 | 8;
  /** Of a full block. */
  readonly rows: number;
  readonly integer: boolean;
  /** What sums begin with. */
  readonly zero: StoredValue;
  /** Typed values over bytes: the same memory where it is aligned, else a copy. */
  over(bytes: Uint8Array): StoredArray;
  make(rows: number): StoredArray;
  /** Typed values just as they are stored. */
  isArray(values: unknown): values is StoredArray;
  /** @throws `invalid-argument` for what the type cannot hold; not for strings */
  check(value: unknown): StoredValue;
}

type ArrayOf = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => StoredArray;

function storedType(
  type: ColumnType,
  code: number,
  widthBytes: 4 | 8,
  Values: ArrayOf,
  check: (value: unknown) => value is StoredValue,
): StoredType {
  return Object.freeze({
    type,
    code,
    widthBytes,
    rows: BLOCK_BYTES / widthBytes,
    integer: type !== "f64" && type !== "f32",
    zero: type === "i64" ? 0n : 0,
    over: (bytes: Uint8Array) => {
      const rows = Math.floor(bytes.byteLength / widthBytes);
      return bytes.byteOffset % widthBytes === 0
        ? new Values(bytes.buffer, bytes.byteOffset, rows)
        : new Values(bytes.slice().buffer, 0, rows);
    },
    isArray: (values: unknown): values is StoredArray => values instanceof Values,
    make: (rows: number) => new Values(new ArrayBuffer(rows * widthBytes), 0, rows),
    check: (value: unknown) => {
      if (check(value)) return value;
      throw new PinionError(
        "invalid-argument",
        `${describe(value)} does not fit a column of ${type}`,
      );
    },
  });
}

const describe = (value: unknown): string =>
  typeof value === "bigint" ? `${value}n` : typeof value === "number" ? `${value}` : typeof value;

const isNumber = (value: unknown): value is number => typeof value === "number";
const isInt32 = (value: unknown): value is number => isNumber(value) && (value | 0) === value;
const isUint32 = (value: unknown): value is number => isNumber(value) && value >>> 0 === value;
const isInt64 = (value: unknown): value is bigint =>
  typeof value === "bigint" && BigInt.asIntN(64, value) === value;

export const STORED_TYPES: Readonly<Record<ColumnType, StoredType>> = Object.freeze({
  f64: storedType("f64", 1, 8, Float64Array, isNumber),
  f32: storedType("f32", 2, 4, Float32Array, isNumber),
  i32: storedType("i32", 3, 4, Int32Array, isInt32),
  i64: storedType("i64", 4, 8, BigInt64Array, isInt64),
  string: storedType("string", 5, 4, Uint32Array, isUint32),
});

/** The bytes under typed values. */
export function bytesOf(values: StoredArray): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
