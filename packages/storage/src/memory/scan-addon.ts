/** What native/scan.c exports; structures/addon-scan-kernels.ts says what it is for. It checks types, lengths and ranges, and throws a TypeError. */

type Numbers =
  | Float64Array
  | Float32Array
  | Int32Array
  | BigInt64Array
  | Uint32Array
  | Uint16Array
  | Uint8Array;

/** `plain`: without vector instructions. Arrays are not empty. Bounds of whole numbers are whole and of the array's type, of i64 bigints. */
export interface ScanAddon {
  /** The processor has AVX2. */
  readonly hasVectors: boolean;
  /** Of i64 without `before`. */
  sum(values: Numbers, blockRows: number, before: number, plain: boolean): number | bigint;
  min(values: Numbers, plain: boolean): number | bigint;
  max(values: Numbers, plain: boolean): number | bigint;
  count(values: Numbers, low: number | bigint, high: number | bigint, plain: boolean): number;
  select(
    values: Numbers,
    low: number | bigint,
    high: number | bigint,
    out: Uint32Array,
    plain: boolean,
  ): number;
}
