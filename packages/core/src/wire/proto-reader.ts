/**
 * Protocol Buffers decoding: the primitives of the hand-written message codecs.
 *
 * I1 nothing outside `[at, end)` is read; every claim is checked before it is used.
 * I2 bad input raises `malformed-frame` and nothing else.
 * I3 an unknown field, or a known one of another wire type, is skipped: a newer peer may send it.
 */
import { PinionError } from "../errors.ts";
import { InvalidUtf8, readText, type TextCache } from "./text.ts";

export class ProtoReader {
  bytes: Uint8Array;
  at: number;
  end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  malformed(what: string): PinionError {
    return new PinionError("malformed-frame", `${what}, at byte ${this.at}`, {
      details: { at: this.at },
    });
  }

  /** The next field's tag, `number << 3 | wire type`. */
  tag(): number {
    const tag = this.uint32();
    if (tag < 8) throw this.malformed("a field has number 0");
    return tag;
  }

  /** A varint up to 2^53 − 1. */
  uint(): number {
    const { bytes, end } = this;
    let at = this.at;
    let n = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      if (at >= end) throw this.malformed("the input ends within a number");
      const byte = bytes[at++] as number;
      n += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (n > Number.MAX_SAFE_INTEGER) break;
        this.at = at;
        return n;
      }
      scale *= 128;
    }
    throw this.malformed("a number beyond 2^53");
  }

  uint32(): number {
    const { at } = this;
    if (at < this.end) {
      const byte = this.bytes[at] as number;
      if (byte < 0x80) {
        this.at = at + 1;
        return byte;
      }
    }
    const n = this.uint();
    if (n > 0xffffffff) throw this.malformed("a number beyond 32 bits");
    return n;
  }

  bool(): boolean {
    return this.uint() !== 0;
  }

  fixed64(): number {
    const at = this.claim(8);
    const b = this.bytes;
    const low =
      ((b[at] as number) |
        ((b[at + 1] as number) << 8) |
        ((b[at + 2] as number) << 16) |
        ((b[at + 3] as number) << 24)) >>>
      0;
    const high =
      ((b[at + 4] as number) |
        ((b[at + 5] as number) << 8) |
        ((b[at + 6] as number) << 16) |
        ((b[at + 7] as number) << 24)) >>>
      0;
    const n = high * 2 ** 32 + low;
    if (n > Number.MAX_SAFE_INTEGER) throw this.malformed("a time beyond 2^53");
    return n;
  }

  /** Claims `count` bytes and returns where they start. */
  claim(count: number): number {
    const start = this.at;
    if (count > this.end - start) throw this.malformed("the input ends too early");
    this.at = start + count;
    return start;
  }

  /** Enters a length-delimited field; returns where it ends. */
  length(): number {
    const count = this.uint32();
    if (count > this.end - this.at) throw this.malformed("a length exceeds the input");
    return this.at + count;
  }

  /** Reads a nested message: `read` gets this reader with its end set to the message's. */
  within<T>(read: (r: ProtoReader) => T): T {
    const outerEnd = this.end;
    this.end = this.length();
    const result = read(this);
    this.end = outerEnd;
    return result;
  }

  text(): string {
    const end = this.length();
    const start = this.at;
    this.at = end;
    return this.#textOf(start, end);
  }

  #textOf(start: number, end: number): string {
    try {
      return readText(this.bytes, start, end);
    } catch (e) {
      throw e instanceof InvalidUtf8 ? this.malformed("text that is not UTF-8") : e;
    }
  }

  /** Text that is likely to come again. */
  name(cache: TextCache): string {
    const end = this.length();
    const start = this.at;
    this.at = end;
    try {
      return cache.read(this.bytes, start, end);
    } catch (e) {
      throw e instanceof InvalidUtf8 ? this.malformed("text that is not UTF-8") : e;
    }
  }

  /** A view, not a copy. */
  view(): Uint8Array {
    const end = this.length();
    const start = this.at;
    this.at = end;
    return this.bytes.subarray(start, end);
  }

  /** Steps over the value of an unknown field (I3). */
  skip(tag: number): void {
    switch (tag & 7) {
      case 0:
        this.#skipVarint();
        return;
      case 1:
        this.claim(8);
        return;
      case 2:
        this.at = this.length();
        return;
      case 5:
        this.claim(4);
        return;
      default:
        throw this.malformed(`wire type ${tag & 7} is not in use`);
    }
  }

  /** Any 64-bit number is fine in a field we do not know. */
  #skipVarint(): void {
    for (let i = 0; i < 10; i++) if ((this.bytes[this.claim(1)] as number) < 0x80) return;
    throw this.malformed("a number of more than 10 bytes");
  }
}
