/**
 * How JavaScript values travel: standard MessagePack (msgpack.org/spec), which any MessagePack library reads, with
 * extension types for what it has no word for. Frozen by golden vectors (value.test.golden.ts).
 *
 * | value                                   | bytes                                                            |
 * |-----------------------------------------|------------------------------------------------------------------|
 * | null, booleans                          | nil, false, true                                                 |
 * | safe integer (but not −0)               | the shortest int; beyond 32 bits uint64 or int64                 |
 * | any other number                        | float64                                                          |
 * | string                                  | the shortest str; must be well-formed UTF-16                     |
 * | Array                                   | array                                                            |
 * | plain object                            | map with string keys, own enumerable properties in their order   |
 * | Uint8Array (Buffer too)                 | bin                                                              |
 * | bigint beyond ±(2^53 − 1), in 64 bits   | uint64 or int64                                                  |
 * | Date                                    | timestamp, extension −1, 4, 8 or 12 bytes, ms precision          |
 * | undefined                               | extension 0: one byte 0                                          |
 * | any other bigint                        | extension 1: two's complement, big endian, shortest              |
 * | Map                                     | extension 2 (ext 32): one MessagePack map                        |
 * | Set                                     | extension 3 (ext 32): one MessagePack array                      |
 * | other typed array, ArrayBuffer, DataView| extension 4: kind byte (`BINARY_KINDS`), then little-endian bytes|
 *
 * What a decoder accepts beyond that: integers of any width, float32, maps whose keys are not all strings (they become
 * a `Map`). Map keys `__proto__` and unknown extensions are refused.
 *
 * Integers and bigints never turn into each other: a decoder makes a `number` of every integer that is safe, and a
 * bigint that is safe travels as extension 1.
 */

/** Containers within containers. A cycle shows as depth. */
export const DEPTH_MAX = 100;
/** What a decoder takes: a little more, so that a full-depth value still decodes inside an envelope. */
export const DECODED_DEPTH_MAX = DEPTH_MAX + 8;
/**
 * Containers in one value. An empty map is one byte on the wire and about 56 in memory, so a frame of 4 MiB could claim
 * 235 MB without a bound; with it, 2^20 × 56 B = 56 MiB.
 */
export const CONTAINERS_MAX = 2 ** 20;
/** 8 KiB = a number of 19,700 decimal digits. */
export const BIGINT_BYTES_MAX = 8 * 1024;

export const EXT_TIMESTAMP = 0xff; // −1 as a byte
export const EXT_UNDEFINED = 0;
export const EXT_BIGINT = 1;
export const EXT_MAP = 2;
export const EXT_SET = 3;
export const EXT_BINARY = 4;

export type BinaryView =
  | Int8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array
  | DataView;

interface BinaryKind {
  readonly name: string;
  readonly bytesPerElement: number;
  /** A value over a fresh buffer. */
  make(buffer: ArrayBuffer): BinaryView | ArrayBuffer;
}

/** Index = kind byte. Append only. */
export const BINARY_KINDS: readonly BinaryKind[] = Object.freeze([
  { name: "ArrayBuffer", bytesPerElement: 1, make: (b: ArrayBuffer) => b },
  { name: "DataView", bytesPerElement: 1, make: (b: ArrayBuffer) => new DataView(b) },
  { name: "Int8Array", bytesPerElement: 1, make: (b: ArrayBuffer) => new Int8Array(b) },
  {
    name: "Uint8ClampedArray",
    bytesPerElement: 1,
    make: (b: ArrayBuffer) => new Uint8ClampedArray(b),
  },
  { name: "Int16Array", bytesPerElement: 2, make: (b: ArrayBuffer) => new Int16Array(b) },
  { name: "Uint16Array", bytesPerElement: 2, make: (b: ArrayBuffer) => new Uint16Array(b) },
  { name: "Int32Array", bytesPerElement: 4, make: (b: ArrayBuffer) => new Int32Array(b) },
  { name: "Uint32Array", bytesPerElement: 4, make: (b: ArrayBuffer) => new Uint32Array(b) },
  { name: "Float32Array", bytesPerElement: 4, make: (b: ArrayBuffer) => new Float32Array(b) },
  { name: "Float64Array", bytesPerElement: 8, make: (b: ArrayBuffer) => new Float64Array(b) },
  { name: "BigInt64Array", bytesPerElement: 8, make: (b: ArrayBuffer) => new BigInt64Array(b) },
  { name: "BigUint64Array", bytesPerElement: 8, make: (b: ArrayBuffer) => new BigUint64Array(b) },
]);

export function binaryKindOf(name: string): number {
  return BINARY_KINDS.findIndex((kind) => kind.name === name);
}
