/**
 * UTF-8 text out of a received buffer.
 *
 * Short ASCII is built in JavaScript, because a call into native code costs more than the characters. Names (actor types,
 * methods, map keys) repeat endlessly, so they go through a cache with two places for each hash: one hash, one comparison with the bytes,
 * no allocation on a hit.
 *
 * I1 a cached text is returned only after every byte of it was compared.
 * I2 a cache never grows: a newcomer replaces what has its slot, and long text is not cached.
 * I3 bytes that are not UTF-8 are refused, never replaced silently.
 */
import { isUtf8 } from "node:buffer";

/** Thrown for bytes that are not UTF-8; the two decoders turn it into their own typed error. */
export class InvalidUtf8 extends Error {}

const CACHED_BYTES_MAX = 48;
const SHORT_TEXT = 24;
const REPLACEMENT = "\ufffd";

export function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Text of `bytes[start … end)`. @throws InvalidUtf8 */
export function readText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= SHORT_TEXT) {
    const text = shortAscii(bytes, start, end);
    if (text !== undefined) return text;
  }
  const buffer = toBuffer(bytes);
  const text = buffer.toString("utf8", start, end);
  // Replacement happens only where the bytes are invalid, or spell U+FFFD themselves.
  if (text.includes(REPLACEMENT) && !isUtf8(buffer.subarray(start, end))) throw new InvalidUtf8();
  return text;
}

/** Undefined when a byte is not ASCII. */
function shortAscii(bytes: Uint8Array, start: number, end: number): string | undefined {
  let text = "";
  let i = start;
  for (; i + 4 <= end; i += 4) {
    const a = bytes[i] as number;
    const b = bytes[i + 1] as number;
    const c = bytes[i + 2] as number;
    const d = bytes[i + 3] as number;
    if ((a | b | c | d) > 0x7f) return undefined;
    text += String.fromCharCode(a, b, c, d);
  }
  for (; i < end; i++) {
    const a = bytes[i] as number;
    if (a > 0x7f) return undefined;
    text += String.fromCharCode(a);
  }
  return text;
}

export class TextCache {
  /** Pairs: what was used last, and what it took the place of. */
  readonly #slots: string[];
  readonly #mask: number;
  readonly #properties: boolean;

  /**
   * @param slotCount a power of two, at least 2.
   * @param properties texts become names of properties: newcomers cost more, property access with them less.
   */
  constructor(slotCount: number, properties = true) {
    this.#slots = Array.from<string>({ length: slotCount }).fill("");
    this.#mask = slotCount - 2;
    this.#properties = properties;
  }

  /** Text of `bytes[start … end)`. @throws InvalidUtf8 */
  read(bytes: Uint8Array, start: number, end: number): string {
    const length = end - start;
    if (length === 0) return "";
    if (length > CACHED_BYTES_MAX) return readText(bytes, start, end);
    let hash = length;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
    const slot = (hash ^ (hash >>> 15)) & this.#mask;
    const first = this.#slots[slot] as string;
    if (isText(first, bytes, start, length)) return first; // I1
    const second = this.#slots[slot + 1] as string;
    this.#slots[slot + 1] = first;
    if (isText(second, bytes, start, length)) return (this.#slots[slot] = second); // I1
    const text = readText(bytes, start, end);
    // Only ASCII has one byte a unit, which is what the comparison relies on.
    if (text.length !== length) return text;
    return (this.#slots[slot] = this.#properties ? internalized(text) : text);
  }
}

function isText(text: string, bytes: Uint8Array, start: number, length: number): boolean {
  if (text.length !== length) return false;
  let i = 0;
  while (i < length && text.charCodeAt(i) === bytes[start + i]) i++;
  return i === length;
}

/** The engine's own copy of a property name: object keys made of it need no further look-up. */
function internalized(text: string): string {
  return Object.keys({ [text]: 0 })[0] as string;
}
