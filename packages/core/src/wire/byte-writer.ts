/**
 * A growing byte buffer that both encoders (messages and values) write into.
 *
 * State: one slab, of which `[base, position)` is the unit being written. `take` hands that unit out without copying and
 * goes on behind it, so that many small results share one allocation (an allocation per result would cost more than
 * encoding it). Bytes handed out are never written again.
 *
 * I1 growing keeps every offset: the new slab holds the unit at the same place, so a caller may remember offsets.
 * I2 bytes before `base` belong to whoever took them.
 * I3 a unit never exceeds `maxBytes`: one value cannot take the process down.
 */
import { PinionError } from "../errors.ts";

/** 64 KiB hold about a thousand small calls. */
export const SLAB_BYTES = 64 * 1024;
export const UNIT_BYTES_MAX = 64 * 1024 * 1024;
/** Below this many free bytes a slab is not worth going on with: the next unit would probably be copied. */
const SLAB_REST_BYTES_MIN = 2 * 1024;
/** Up to here a loop over UTF-16 units beats the call into native code. */
const SHORT_TEXT = 40;

// Little endian, as every machine Node runs on here (x64, arm64).
const doubles = new Float64Array(1);
const doubleBytes = new Uint8Array(doubles.buffer);

export class ByteWriter {
  /** Replaced when it grows: read it again after every write. */
  buffer: Buffer;
  base = 0;
  position = 0;
  readonly #slabBytes: number;
  readonly #maxBytes: number;

  /**
   * @param slabBytes size of a slab; a result keeps its whole slab alive, so short for results that live long.
   * @param maxBytes largest unit.
   */
  constructor(slabBytes = SLAB_BYTES, maxBytes = UNIT_BYTES_MAX) {
    this.#slabBytes = slabBytes;
    this.#maxBytes = maxBytes;
    this.buffer = Buffer.allocUnsafeSlow(slabBytes);
  }

  /** Makes room for `count` more bytes. @throws `frame-too-large` when the unit would exceed its bound. */
  reserve(count: number): void {
    if (this.position + count > this.buffer.length) this.#grow(count);
  }

  #grow(count: number): void {
    const unit = this.position - this.base;
    if (unit + count > this.#maxBytes) {
      throw new PinionError("frame-too-large", `more than ${this.#maxBytes} bytes in one piece`, {
        details: { maxBytes: this.#maxBytes },
      });
    }
    const grown = Buffer.allocUnsafeSlow(
      Math.max(this.position + count, this.base + 2 * unit, this.#slabBytes),
    );
    this.buffer.copy(grown, this.base, this.base, this.position);
    this.buffer = grown;
  }

  /** The finished unit. The next one starts behind it, or in a new slab. */
  take(): Buffer {
    const unit = this.buffer.subarray(this.base, this.position);
    if (
      this.buffer.length - this.position < SLAB_REST_BYTES_MIN ||
      this.buffer.length > this.#slabBytes
    ) {
      this.buffer = Buffer.allocUnsafeSlow(this.#slabBytes);
      this.position = 0;
    }
    this.base = this.position;
    return unit;
  }

  /** Drops what was written of the unit. */
  reset(): void {
    this.position = this.base;
  }

  byte(value: number): void {
    this.reserve(1);
    this.buffer[this.position++] = value;
  }

  bytes(source: Uint8Array): void {
    this.copy(source, 0, source.length);
  }

  copy(source: Uint8Array, start: number, end: number): void {
    const count = end - start;
    this.reserve(count);
    const { buffer } = this;
    let at = this.position;
    if (count <= SHORT_TEXT) for (let i = start; i < end; i++) buffer[at++] = source[i] as number;
    else
      buffer.set(start === 0 && end === source.length ? source : source.subarray(start, end), at);
    this.position += count;
  }

  /** Big endian, two bytes. */
  uint16(value: number): void {
    this.reserve(2);
    const { buffer } = this;
    buffer[this.position++] = value >>> 8;
    buffer[this.position++] = value;
  }

  /** Big endian, four bytes; also takes a negative int32. */
  uint32(value: number): void {
    this.reserve(4);
    const { buffer } = this;
    let at = this.position;
    buffer[at++] = value >>> 24;
    buffer[at++] = value >>> 16;
    buffer[at++] = value >>> 8;
    buffer[at++] = value;
    this.position = at;
  }

  /** Big endian IEEE 754, eight bytes. */
  float64(value: number): void {
    this.reserve(8);
    doubles[0] = value;
    const { buffer } = this;
    let at = this.position;
    for (let i = 7; i >= 0; i--) buffer[at++] = doubleBytes[i] as number;
    this.position = at;
  }

  /** UTF-8 of `text` without a length; returns how many bytes it took. Lone surrogates become U+FFFD. */
  utf8(text: string): number {
    const { length } = text;
    // a UTF-16 unit is at most 3 bytes of UTF-8; long text is counted exactly
    this.reserve(length <= 1024 ? length * 3 : Buffer.byteLength(text));
    const start = this.position;
    if (length <= SHORT_TEXT) {
      const { buffer } = this;
      let i = 0;
      for (; i < length; i++) {
        const unit = text.charCodeAt(i);
        if (unit > 0x7f) break;
        buffer[start + i] = unit;
      }
      if (i === length) {
        this.position = start + length;
        return length;
      }
    }
    const count = this.buffer.write(text, start, "utf8");
    this.position = start + count;
    return count;
  }

  /** Inserts `count` bytes at `at`, to be filled by the caller, and moves what follows. */
  openGap(at: number, count: number): void {
    this.reserve(count);
    this.buffer.copyWithin(at + count, at, this.position);
    this.position += count;
  }
}

/** The double in eight big-endian bytes at `at`. */
export function readFloat64(bytes: Uint8Array, at: number): number {
  for (let i = 0; i < 8; i++) doubleBytes[7 - i] = bytes[at + i] as number;
  return doubles[0] as number;
}
