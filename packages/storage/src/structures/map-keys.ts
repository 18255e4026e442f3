/**
 * Keys of maps as byte strings whose order is the keys' own.
 *
 * | kind | code | bytes |
 * |---|---|---|
 * | string | 1 | UTF-8: the order of code points |
 * | bytes | 2 | as they are |
 * | i64 | 3 | big endian, the sign bit flipped |
 * | number | 4 | the double, big endian; the sign bit flipped, all bits of negative ones. −0 is 0, NaN is refused |
 *
 * State: one buffer that a key is put into for the length of one operation.
 */
import { isUtf8 } from "node:buffer";
import { PinionError } from "@pinion/core";
import { damagedNode, KEY_BYTES_MAX, type Bytes } from "./map-node.ts";

export interface MapKeys {
  string: string;
  bytes: Uint8Array;
  i64: bigint;
  number: number;
}
export type MapKeyKind = keyof MapKeys;

export interface KeyCodec<K> {
  readonly code: number;
  /** Puts a key into `keyBuffer`. @returns its length @throws `invalid-argument` */
  encode(key: K): number;
  /** @throws `corruption` */
  decode(key: Bytes): K;
}

const buffer = Buffer.allocUnsafeSlow(KEY_BYTES_MAX);
/** What `encode` puts the key into. */
export const keyBuffer = new Uint8Array(buffer.buffer, buffer.byteOffset, KEY_BYTES_MAX);
const keyView = new DataView(buffer.buffer, buffer.byteOffset, KEY_BYTES_MAX);
/** Up to here a loop beats the call into native code. */
const SHORT_TEXT = 48;
const SIGN = 0x8000_0000;
const I64_MIN = -(2n ** 63n);
const I64_MAX = 2n ** 63n - 1n;

function refused(key: unknown, what: string): PinionError {
  const text = typeof key === "string" ? JSON.stringify(key.slice(0, 40)) : `of type ${typeof key}`;
  return new PinionError("invalid-argument", `the key ${text} ${what}`);
}

function checkLength(key: unknown, bytes: number): number {
  if (bytes > KEY_BYTES_MAX) throw refused(key, `takes ${bytes} bytes; ${KEY_BYTES_MAX} at most`);
  return bytes;
}

const strings: KeyCodec<string> = {
  code: 1,
  encode(key) {
    if (typeof key !== "string") throw refused(key, "is no string");
    const { length } = key;
    if (length <= SHORT_TEXT) {
      let i = 0;
      for (; i < length; i++) {
        const unit = key.charCodeAt(i);
        if (unit > 0x7f) break;
        keyBuffer[i] = unit;
      }
      if (i === length) return length;
    }
    if (!key.isWellFormed()) throw refused(key, "has half of a surrogate pair");
    const bytes = checkLength(key, Buffer.byteLength(key));
    buffer.write(key, 0, "utf8");
    return bytes;
  },
  decode(key) {
    if (key.length <= SHORT_TEXT) {
      let text = "";
      let i = 0;
      for (; i < key.length; i++) {
        const byte = key[i] as number;
        if (byte > 0x7f) break;
        text += String.fromCharCode(byte);
      }
      if (i === key.length) return text;
    }
    if (!isUtf8(key)) throw damagedNode(0, "a key is not UTF-8");
    return Buffer.from(key.buffer, key.byteOffset, key.length).toString("utf8");
  },
};

const byteStrings: KeyCodec<Uint8Array> = {
  code: 2,
  encode(key) {
    if (!(key instanceof Uint8Array)) throw refused(key, "is no Uint8Array");
    checkLength(key, key.length);
    if (key.length > SHORT_TEXT) keyBuffer.set(key);
    else for (let i = 0; i < key.length; i++) keyBuffer[i] = key[i] as number;
    return key.length;
  },
  decode: (key) => key,
};

function eightBytes(key: Bytes): DataView {
  if (key.length !== 8) throw damagedNode(0, `a key of ${key.length} bytes; 8 are right`);
  return new DataView(key.buffer, key.byteOffset, 8);
}

const integers: KeyCodec<bigint> = {
  code: 3,
  encode(key) {
    if (typeof key !== "bigint" || key < I64_MIN || key > I64_MAX)
      throw refused(key, "is no bigint of 64 bits");
    keyView.setBigInt64(0, key ^ I64_MIN);
    return 8;
  },
  decode: (key) => eightBytes(key).getBigInt64(0) ^ I64_MIN,
};

const numbers: KeyCodec<number> = {
  code: 4,
  encode(key) {
    if (typeof key !== "number" || Number.isNaN(key)) throw refused(key, "is no number");
    keyView.setFloat64(0, key === 0 ? 0 : key);
    const high = keyView.getUint32(0);
    const isNegative = high >= SIGN;
    keyView.setUint32(0, isNegative ? ~high : high ^ SIGN);
    if (isNegative) keyView.setUint32(4, ~keyView.getUint32(4));
    return 8;
  },
  decode(key) {
    const view = eightBytes(key);
    const copy = new DataView(new ArrayBuffer(8));
    const high = view.getUint32(0);
    const isNegative = high < SIGN;
    copy.setUint32(0, isNegative ? ~high : high ^ SIGN);
    copy.setUint32(4, isNegative ? ~view.getUint32(4) : view.getUint32(4));
    return copy.getFloat64(0);
  },
};

export const KEY_CODECS: { readonly [Kind in MapKeyKind]: KeyCodec<MapKeys[Kind]> } = {
  string: strings,
  bytes: byteStrings,
  i64: integers,
  number: numbers,
};

/** The lowest byte string above all that begin with `prefix`; undefined: there is none. */
export function afterPrefix(prefix: Bytes): Bytes | undefined {
  for (let end = prefix.length; end > 0; end--) {
    const byte = prefix[end - 1] as number;
    if (byte === 0xff) continue;
    const after = prefix.slice(0, end);
    after[end - 1] = byte + 1;
    return after;
  }
  return undefined;
}
