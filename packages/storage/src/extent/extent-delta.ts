/**
 * What one turn changed in the extents of its actor, as its commit record carries it. Numbers are varints (7 bits a byte, least
 * significant first) up to 2^53 − 1.
 *
 * | field | content |
 * |---|---|
 * | version | u8, 2 |
 * | count | of extents |
 * | for each | u8 length and name, u8 length and kind, version of its format, length in bytes, the shortest it was in between, count of ranges |
 * | for each range | offset behind the end of the range before, length, the bytes |
 * | behind the ranges | 0, or 1 more than the length of the extent's new facts, and these (extent-facts.ts) |
 */
import { pooledBytes } from "./copies.ts";
import { isUtf8 } from "node:buffer";
import { PinionError } from "@pinion/core";

const VERSION = 2;

export interface DeltaRange {
  readonly offset: number;
  readonly byteCount: number;
  /** The bytes, in order: pieces of the pages they are in, so that a large change is not copied to be encoded. */
  readonly parts: readonly Uint8Array[];
}

export interface ExtentDelta {
  readonly name: string;
  readonly kind: string;
  readonly version: number;
  readonly lengthBytes: number;
  /** Everything from here on was cut off before the ranges were written. */
  readonly minLengthBytes: number;
  /** In order, apart from each other, and within the length. */
  readonly ranges: readonly DeltaRange[];
  /** As `encodeFacts` writes them; undefined: they stay. */
  readonly facts?: Uint8Array | undefined;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let v = value; v > 0x7f; v = Math.floor(v / 128)) bytes++;
  return bytes;
}

/** Of names and kinds, which are few and come again with every turn. */
const textBytes = new Map<string, Uint8Array>();
const TEXTS_MAX = 1_024;

function bytesOf(text: string): Uint8Array {
  const known = textBytes.get(text);
  if (known !== undefined) return known;
  if (textBytes.size === TEXTS_MAX) textBytes.clear();
  const bytes = Buffer.from(text);
  textBytes.set(text, bytes);
  return bytes;
}

const NO_BYTES: Uint8Array = new Uint8Array(0);

/**
 * @param head what comes before them
 * @param allocate makes the bytes that are filled; its default's are nobody else's
 */
export function encodeDeltas(
  deltas: readonly ExtentDelta[],
  head: Uint8Array = NO_BYTES,
  allocate: (length: number) => Uint8Array = pooledBytes,
): Uint8Array {
  let length = head.length + 1 + varintBytes(deltas.length);
  for (const delta of deltas) {
    length += 2 + bytesOf(delta.name).length + bytesOf(delta.kind).length;
    length += varintBytes(delta.version);
    length += varintBytes(delta.lengthBytes) + varintBytes(delta.minLengthBytes);
    length += varintBytes(delta.ranges.length);
    let end = 0;
    for (const { offset, byteCount } of delta.ranges) {
      length += varintBytes(offset - end) + varintBytes(byteCount) + byteCount;
      end = offset + byteCount;
    }
    const { facts } = delta;
    length += facts === undefined ? 1 : varintBytes(facts.length + 1) + facts.length;
  }
  const out = allocate(length);
  out.set(head);
  let at = head.length;
  const varint = (value: number): void => {
    let v = value;
    for (; v > 0x7f; v = Math.floor(v / 128)) out[at++] = (v % 128) | 0x80;
    out[at++] = v;
  };
  out[at++] = VERSION;
  varint(deltas.length);
  const text = (bytes: Uint8Array): void => {
    out[at++] = bytes.length;
    for (let i = 0; i < bytes.length; i++) out[at++] = bytes[i] as number;
  };
  for (const delta of deltas) {
    text(bytesOf(delta.name));
    text(bytesOf(delta.kind));
    varint(delta.version);
    varint(delta.lengthBytes);
    varint(delta.minLengthBytes);
    varint(delta.ranges.length);
    let end = 0;
    for (const { offset, byteCount, parts } of delta.ranges) {
      varint(offset - end);
      varint(byteCount);
      for (const part of parts) {
        out.set(part, at);
        at += part.length;
      }
      end = offset + byteCount;
    }
    varint(delta.facts === undefined ? 0 : delta.facts.length + 1);
    if (delta.facts !== undefined) {
      out.set(delta.facts, at);
      at += delta.facts.length;
    }
  }
  return out;
}

const malformed = (what: string): PinionError =>
  new PinionError("corruption", `the changes of a turn's extents are malformed: ${what}`);

/** @returns deltas whose ranges and facts are views of `bytes` @throws `corruption` for anything that `encodeDeltas` does not write */
export function decodeDeltas(bytes: Uint8Array): ExtentDelta[] {
  let at = 0;
  const u8 = (): number => {
    const value = bytes[at++];
    if (value === undefined) throw malformed("they end too soon");
    return value;
  };
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 49; scale *= 128) {
      const byte = u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        // What fits into fewer bytes was written in fewer.
        if (!Number.isSafeInteger(value) || (byte === 0 && scale > 1)) break;
        return value;
      }
    }
    throw malformed("a number that is none");
  };
  const raw = (length: number): Uint8Array => {
    if (length > bytes.length - at) throw malformed("they end too soon");
    at += length;
    return bytes.subarray(at - length, at);
  };
  const text = (): string => {
    const utf8 = raw(u8());
    if (!isUtf8(utf8)) throw malformed("a text that is none");
    return Buffer.from(utf8).toString("utf8");
  };
  if (u8() !== VERSION) throw malformed("an unknown version");
  const deltas: ExtentDelta[] = [];
  for (let left = varint(); left > 0; left--) {
    const name = text();
    const kind = text();
    const version = varint();
    const lengthBytes = varint();
    const minLengthBytes = varint();
    if (minLengthBytes > lengthBytes) throw malformed("a length below the shortest");
    const ranges: DeltaRange[] = [];
    let end = 0;
    for (let rangesLeft = varint(); rangesLeft > 0; rangesLeft--) {
      const offset = end + varint();
      const content = raw(varint());
      end = offset + content.length;
      if (end > lengthBytes) throw malformed("a range behind the end of its extent");
      ranges.push({ offset, byteCount: content.length, parts: [content] });
    }
    const delta = { name, kind, version, lengthBytes, minLengthBytes, ranges };
    const factsLength = varint();
    deltas.push(factsLength === 0 ? delta : { ...delta, facts: raw(factsLength - 1) });
  }
  if (at !== bytes.length) throw malformed("bytes behind the last");
  return deltas;
}
