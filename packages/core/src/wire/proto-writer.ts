/**
 * Protocol Buffers encoding on a `ByteWriter`: the primitives of the hand-written message codecs.
 *
 * A tag is `field number << 3 | wire type`. Fields with proto3's zero value are left out. Lengths are written afterwards
 * into one byte kept free for them, and what follows is moved where one byte is too short: most texts and messages are
 * shorter than 128 bytes.
 */
import { assert } from "../errors.ts";
import type { ByteWriter } from "./byte-writer.ts";

export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;

/** @param n a safe integer ≥ 0. */
export function writeVarint(w: ByteWriter, n: number): void {
  if (n < 0x80) {
    w.byte(n);
    return;
  }
  w.reserve(8); // 53 bits = 8 × 7
  const { buffer } = w;
  let at = w.position;
  let rest = n;
  while (rest > 0x7fffffff) {
    buffer[at++] = (rest & 0x7f) | 0x80;
    rest = Math.floor(rest / 128);
  }
  while (rest > 0x7f) {
    buffer[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  buffer[at++] = rest;
  w.position = at;
}

export function varintBytes(n: number): number {
  let count = 1;
  for (let rest = n; rest > 0x7f; rest = Math.floor(rest / 128)) count++;
  return count;
}

/** Left out when zero. */
export function writeUint(w: ByteWriter, tag: number, n: number): void {
  if (n === 0) return;
  assert(Number.isSafeInteger(n) && n > 0, `a wire integer is ${n}`);
  writeVarint(w, tag);
  writeVarint(w, n);
}

export function writeBool(w: ByteWriter, tag: number, value: boolean): void {
  if (value) writeUint(w, tag, 1);
}

/** Little endian; left out when zero. */
export function writeFixed64(w: ByteWriter, tag: number, n: number): void {
  if (n === 0) return;
  writeVarint(w, tag);
  w.reserve(8);
  const { buffer } = w;
  let at = w.position;
  let low = n >>> 0;
  let high = Math.floor(n / 2 ** 32);
  for (let i = 0; i < 4; i++, low >>>= 8) buffer[at++] = low;
  for (let i = 0; i < 4; i++, high >>>= 8) buffer[at++] = high;
  w.position = at;
}

/** Left out when empty. */
export function writeText(w: ByteWriter, tag: number, text: string): void {
  if (text !== "") writeTextItem(w, tag, text);
}

/** One item of a repeated field: an empty text is an item, too. */
export function writeTextItem(w: ByteWriter, tag: number, text: string): void {
  const at = openLength(w, tag);
  w.utf8(text);
  closeLength(w, at);
}

/** Left out when empty. */
export function writeBytes(w: ByteWriter, tag: number, bytes: Uint8Array): void {
  if (bytes.length > 0) writeBytesItem(w, tag, bytes);
}

export function writeBytesItem(w: ByteWriter, tag: number, bytes: Uint8Array): void {
  writeVarint(w, tag);
  writeVarint(w, bytes.length);
  w.bytes(bytes);
}

/** Starts a length-delimited field; give the result to `closeLength`. */
export function openLength(w: ByteWriter, tag: number): number {
  writeVarint(w, tag);
  w.byte(0);
  return w.position;
}

/** Returns where the content starts now: it may have moved. */
export function closeLength(w: ByteWriter, contentAt: number): number {
  const count = w.position - contentAt;
  if (count < 0x80) {
    w.buffer[contentAt - 1] = count;
    return contentAt;
  }
  const extra = varintBytes(count) - 1;
  w.openGap(contentAt, extra);
  const end = w.position;
  w.position = contentAt - 1;
  writeVarint(w, count);
  w.position = end;
  return contentAt + extra;
}
