/**
 * JavaScript values → MessagePack, in one pass that also checks them (format: value-format.ts).
 *
 * I1 a value that cannot be carried exactly is refused with its path; nothing is dropped or changed on the way.
 * I2 after an error the writer stands where it stood before.
 *
 * The hot path keeps no path: when it meets something it cannot carry it stops, and `explainRefusal` walks the value
 * a second time to say where.
 */
import { PinionError } from "../errors.ts";
import type { ByteWriter } from "./byte-writer.ts";
import {
  BIGINT_BYTES_MAX,
  binaryKindOf,
  CONTAINERS_MAX,
  DEPTH_MAX,
  EXT_BIGINT,
  EXT_BINARY,
  EXT_MAP,
  EXT_SET,
  EXT_TIMESTAMP,
  EXT_UNDEFINED,
} from "./value-format.ts";
import { explainRefusal, isPlainObject, Refusal } from "./value-refusal.ts";

/** Containers of the value being written (the encoder runs no user code but getters, and never nests). */
let containers = 0;

/** Appends one value. @throws `not-serializable` naming the path below `name`; `frame-too-large` */
export function writeValue(w: ByteWriter, value: unknown, name = "value"): void {
  const start = w.position;
  containers = 0;
  try {
    write(w, value, 0);
  } catch (e) {
    w.position = start; // I2
    throw e instanceof PinionError ? e : explainRefusal(value, name, e);
  }
}

/** Appends the array of a call's arguments. @throws `not-serializable` naming the path from `args`; `frame-too-large` */
export function writeArgs(w: ByteWriter, args: readonly unknown[]): void {
  const start = w.position;
  containers = 0;
  try {
    writeArrayHeader(w, args.length);
    for (let i = 0; i < args.length; i++) write(w, args[i], 0);
  } catch (e) {
    w.position = start; // I2
    throw e instanceof PinionError ? e : explainRefusal(args, "args", e, 1);
  }
}

function write(w: ByteWriter, value: unknown, depth: number): void {
  switch (typeof value) {
    case "string":
      return writeString(w, value);
    case "number":
      return writeNumber(w, value);
    case "boolean":
      return w.byte(value ? 0xc3 : 0xc2);
    case "undefined":
      return writeUndefined(w);
    case "bigint":
      return writeBigint(w, value);
    case "object":
      return value === null ? w.byte(0xc0) : writeObject(w, value, depth);
    default:
      throw new Refusal(`a ${typeof value}`);
  }
}

function writeUndefined(w: ByteWriter): void {
  w.reserve(3);
  const { buffer } = w;
  buffer[w.position++] = 0xd4;
  buffer[w.position++] = EXT_UNDEFINED;
  buffer[w.position++] = 0;
}

function writeNumber(w: ByteWriter, n: number): void {
  // |0 is exact for int32 and turns −0 into 0: tell them apart by division
  if ((n | 0) === n && (n !== 0 || 1 / n > 0)) return writeInt32(w, n);
  if (Number.isSafeInteger(n) && n !== 0) return writeLongInteger(w, n);
  w.byte(0xcb);
  w.float64(n);
}

function writeInt32(w: ByteWriter, n: number): void {
  if (n >= 0) {
    if (n < 0x80) w.byte(n);
    else if (n < 0x100) w.uint16(0xcc00 | n);
    else if (n < 0x10000) {
      w.byte(0xcd);
      w.uint16(n);
    } else {
      w.byte(0xce);
      w.uint32(n);
    }
  } else if (n >= -0x20) w.byte(n & 0xff);
  else if (n >= -0x80) w.uint16(0xd000 | (n & 0xff));
  else if (n >= -0x8000) {
    w.byte(0xd1);
    w.uint16(n & 0xffff);
  } else {
    w.byte(0xd2);
    w.uint32(n);
  }
}

/** A safe integer outside int32. */
function writeLongInteger(w: ByteWriter, n: number): void {
  if (n > 0 && n <= 0xffffffff) {
    w.byte(0xce);
    return w.uint32(n);
  }
  w.byte(n > 0 ? 0xcf : 0xd3);
  w.uint32(Math.floor(n / 2 ** 32));
  w.uint32(n >>> 0);
}

function writeString(w: ByteWriter, text: string): void {
  const { length } = text;
  // The header's size depends on the byte count, which for ASCII is the unit count: guess that, correct afterwards.
  const guessed = strHeaderBytes(length);
  const start = w.position;
  w.reserve(5);
  w.position = start + guessed;
  const count = w.utf8(text);
  if (count !== length) {
    if (!text.isWellFormed()) throw new Refusal("half of a surrogate pair in a string");
    const needed = strHeaderBytes(count);
    if (needed !== guessed) w.openGap(start + guessed, needed - guessed);
  }
  const { buffer } = w;
  if (count < 32) buffer[start] = 0xa0 | count;
  else if (count < 0x100) {
    buffer[start] = 0xd9;
    buffer[start + 1] = count;
  } else if (count < 0x10000) {
    buffer[start] = 0xda;
    buffer.writeUInt16BE(count, start + 1);
  } else {
    buffer[start] = 0xdb;
    buffer.writeUInt32BE(count, start + 1);
  }
}

function strHeaderBytes(count: number): number {
  return count < 32 ? 1 : count < 0x100 ? 2 : count < 0x10000 ? 3 : 5;
}

function writeBigint(w: ByteWriter, n: bigint): void {
  const safe = n <= BigInt(Number.MAX_SAFE_INTEGER) && n >= BigInt(Number.MIN_SAFE_INTEGER);
  if (!safe && (BigInt.asUintN(64, n) === n || BigInt.asIntN(64, n) === n)) {
    w.byte(n > 0n ? 0xcf : 0xd3);
    w.reserve(8);
    w.buffer.writeBigUInt64BE(BigInt.asUintN(64, n), w.position);
    w.position += 8;
    return;
  }
  // Hex is linear in the length, unlike decimal. Two's complement needs the bits of n, or of −n − 1, and a sign bit.
  const magnitude = (n < 0n ? -n - 1n : n).toString(16);
  const bits = magnitude.length * 4 - (Math.clz32(Number.parseInt(magnitude.charAt(0), 16)) - 28);
  const byteCount = Math.ceil((bits + 1) / 8);
  if (byteCount > BIGINT_BYTES_MAX)
    throw new Refusal(`a bigint of more than ${BIGINT_BYTES_MAX} bytes`);
  const hex = BigInt.asUintN(byteCount * 8, n)
    .toString(16)
    .padStart(byteCount * 2, "0");
  writeExtHeader(w, byteCount, EXT_BIGINT);
  w.bytes(Buffer.from(hex, "hex"));
}

function writeObject(w: ByteWriter, value: object, depth: number): void {
  if (depth >= DEPTH_MAX) throw new Refusal(`more than ${DEPTH_MAX} levels of nesting`);
  if (++containers > CONTAINERS_MAX)
    throw new Refusal(`more than ${CONTAINERS_MAX} objects and arrays`);
  if (Array.isArray(value)) return writeArray(w, value, depth);
  const proto: unknown = Object.getPrototypeOf(value);
  if (proto === Object.prototype || proto === null) return writePlain(w, value, depth);
  if (value instanceof Date) return writeDate(w, value);
  if (value instanceof Map) return writeMap(w, value, depth);
  if (value instanceof Set) return writeSet(w, value, depth);
  if (value instanceof Uint8Array) return writeBin(w, value);
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return writeBinary(w, value);
  if (isPlainObject(value)) return writePlain(w, value, depth);
  throw new Refusal("an instance of a class");
}

function writeArrayHeader(w: ByteWriter, count: number): void {
  if (count < 16) return w.byte(0x90 | count);
  if (count < 0x10000) {
    w.byte(0xdc);
    return w.uint16(count);
  }
  w.byte(0xdd);
  w.uint32(count);
}

function writeMapHeader(w: ByteWriter, count: number): void {
  if (count < 16) return w.byte(0x80 | count);
  if (count < 0x10000) {
    w.byte(0xde);
    return w.uint16(count);
  }
  w.byte(0xdf);
  w.uint32(count);
}

function writeArray(w: ByteWriter, items: readonly unknown[], depth: number): void {
  const count = items.length;
  writeArrayHeader(w, count);
  for (let i = 0; i < count; i++) write(w, items[i], depth + 1);
}

function writePlain(w: ByteWriter, value: object, depth: number): void {
  const keys = Object.keys(value);
  const record = value as Readonly<Record<string, unknown>>;
  writeMapHeader(w, keys.length);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as string;
    if (key === "__proto__") throw new Refusal("a property named __proto__");
    writeString(w, key);
    write(w, record[key], depth + 1);
  }
}

function writeMap(w: ByteWriter, map: ReadonlyMap<unknown, unknown>, depth: number): void {
  const lengthAt = openExt32(w, EXT_MAP);
  writeMapHeader(w, map.size);
  for (const [key, value] of map) {
    write(w, key, depth + 1);
    write(w, value, depth + 1);
  }
  closeExt32(w, lengthAt);
}

function writeSet(w: ByteWriter, set: ReadonlySet<unknown>, depth: number): void {
  const lengthAt = openExt32(w, EXT_SET);
  writeArrayHeader(w, set.size);
  for (const item of set) write(w, item, depth + 1);
  closeExt32(w, lengthAt);
}

/** An extension whose length is known only afterwards. */
function openExt32(w: ByteWriter, type: number): number {
  w.byte(0xc9);
  const lengthAt = w.position;
  w.uint32(0);
  w.byte(type);
  return lengthAt;
}

function closeExt32(w: ByteWriter, lengthAt: number): void {
  w.buffer.writeUInt32BE(w.position - lengthAt - 5, lengthAt);
}

function writeExtHeader(w: ByteWriter, count: number, type: number): void {
  const fixed = [1, 2, 4, 8, 16].indexOf(count);
  if (fixed >= 0) w.byte(0xd4 + fixed);
  else if (count < 0x100) w.uint16(0xc700 | count);
  else if (count < 0x10000) {
    w.byte(0xc8);
    w.uint16(count);
  } else {
    w.byte(0xc9);
    w.uint32(count);
  }
  w.byte(type);
}

function writeBin(w: ByteWriter, bytes: Uint8Array): void {
  const count = bytes.length;
  if (count < 0x100) w.uint16(0xc400 | count);
  else if (count < 0x10000) {
    w.byte(0xc5);
    w.uint16(count);
  } else {
    w.byte(0xc6);
    w.uint32(count);
  }
  w.bytes(bytes);
}

function writeBinary(w: ByteWriter, value: ArrayBufferView | ArrayBuffer): void {
  const name = Object.prototype.toString.call(value).slice("[object ".length, -1);
  const kind = binaryKindOf(name);
  if (kind < 0) throw new Refusal(`a ${name}`);
  const bytes =
    value instanceof ArrayBuffer
      ? new Uint8Array(value)
      : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  writeExtHeader(w, bytes.length + 1, EXT_BINARY);
  w.byte(kind);
  w.bytes(bytes);
}

/** The three timestamp forms of the MessagePack specification: u32 s; u30 ns + u34 s; u32 ns + i64 s. */
function writeDate(w: ByteWriter, date: Date): void {
  const ms = date.getTime();
  if (Number.isNaN(ms)) throw new Refusal("an invalid Date");
  const seconds = Math.floor(ms / 1000);
  const ns = (ms - seconds * 1000) * 1_000_000;
  if (seconds >= 0 && seconds < 2 ** 34) {
    if (ns === 0 && seconds < 2 ** 32) {
      writeExtHeader(w, 4, EXT_TIMESTAMP);
      return w.uint32(seconds);
    }
    writeExtHeader(w, 8, EXT_TIMESTAMP);
    w.uint32(ns * 4 + Math.floor(seconds / 2 ** 32));
    return w.uint32(seconds >>> 0);
  }
  writeExtHeader(w, 12, EXT_TIMESTAMP);
  w.uint32(ns);
  w.uint32(Math.floor(seconds / 2 ** 32));
  w.uint32(seconds >>> 0);
}
