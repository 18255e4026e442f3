/**
 * The writer and reader that log records of the runtime are made with. Numbers are varints (7 bits a byte, least
 * significant first) up to 2^53 − 1; texts and byte strings carry their length.
 *
 * I1 a reader never reads past its bytes: anything malformed is `corruption`, whatever the input.
 */
import { InvalidUtf8, PinionError, TextCache } from "@pinion/core";

const START_BYTES = 64 * 1024;
const RELEASE_ABOVE_BYTES = 4 * 1024 * 1024;

export class ByteWriter {
  #bytes = Buffer.allocUnsafeSlow(START_BYTES);
  #length = 0;

  /** Forgets what was written. A buffer that one huge record made large is given back. */
  reset(): void {
    this.#length = 0;
    if (this.#bytes.length > RELEASE_ABOVE_BYTES) this.#bytes = Buffer.allocUnsafeSlow(START_BYTES);
  }

  get length(): number {
    return this.#length;
  }

  /** What was written: a view, valid until the next `reset`. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  copy(): Uint8Array {
    return new Uint8Array(this.#bytes.subarray(0, this.#length));
  }

  #room(bytes: number): void {
    const need = this.#length + bytes;
    if (need <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(need, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }

  u8(value: number): void {
    this.#room(1);
    this.#bytes[this.#length++] = value;
  }

  u32(value: number): void {
    this.#room(4);
    this.#length = this.#bytes.writeUInt32LE(value >>> 0, this.#length);
  }

  /** @param value a safe integer ≥ 0: what the reader takes. @throws `invalid-argument` */
  varint(value: number): void {
    if (!(Number.isSafeInteger(value) && value >= 0)) {
      throw new PinionError(
        "invalid-argument",
        `${value} is not a whole number from 0 to 2^53 − 1`,
      );
    }
    this.#room(8);
    let v = value;
    while (v > 0x7f) {
      this.#bytes[this.#length++] = (v & 0x7f) | 0x80;
      // above 2^31 a shift would lose the high bits
      v = v > 0x7fffffff ? Math.floor(v / 128) : v >>> 7;
    }
    this.#bytes[this.#length++] = v;
  }

  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  text(text: string): void {
    const units = text.length;
    // Most texts are short ASCII: one byte of length, one byte a unit, no call into the engine's encoder.
    if (units < 64) {
      this.#room(units + 1);
      const at = this.#length + 1;
      let i = 0;
      for (; i < units; i++) {
        const c = text.charCodeAt(i);
        if (c > 0x7f) break;
        this.#bytes[at + i] = c;
      }
      if (i === units) {
        this.#bytes[this.#length] = units;
        this.#length = at + units;
        return;
      }
    }
    const length = Buffer.byteLength(text);
    this.varint(length);
    this.#room(length);
    this.#bytes.write(text, this.#length, "utf8");
    this.#length += length;
  }
}

/** Up to here a loop is faster than a view and a copy. */
const LOOP_BYTES_MAX = 64;
/** Ids of actors and sessions: nearly every record repeats some. */
const texts = new TextCache(16_384, false);

export class ByteReader {
  readonly #bytes: Buffer;
  #at = 0;
  readonly #what: string;

  /** @param what names the record in errors */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  fail(why: string): PinionError {
    return new PinionError("corruption", `${this.#what}: ${why} at byte ${this.#at}`, {
      details: { what: this.#what, offset: this.#at },
    });
  }

  #need(bytes: number): void {
    if (bytes > this.#bytes.length - this.#at)
      throw this.fail(`needs ${bytes} more bytes, has ${this.#bytes.length - this.#at}`);
  }

  u8(): number {
    this.#need(1);
    return this.#bytes[this.#at++] as number;
  }

  u32(): number {
    this.#need(4);
    const value = this.#bytes.readUInt32LE(this.#at);
    this.#at += 4;
    return value;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) throw this.fail("number out of range");
        return value;
      }
      scale *= 128;
    }
    throw this.fail("number too long");
  }

  /** A copy: the record's bytes belong to the log. */
  bytes(): Uint8Array {
    const length = this.varint();
    this.#need(length);
    const start = this.#at;
    this.#at += length;
    const copy = new Uint8Array(length);
    if (length > LOOP_BYTES_MAX) copy.set(this.#bytes.subarray(start, this.#at));
    else for (let i = 0; i < length; i++) copy[i] = this.#bytes[start + i] as number;
    return copy;
  }

  text(): string {
    const length = this.varint();
    this.#need(length);
    const start = this.#at;
    this.#at += length;
    try {
      return texts.read(this.#bytes, start, this.#at);
    } catch (error) {
      throw error instanceof InvalidUtf8 ? this.fail("text that is not UTF-8") : error;
    }
  }

  /** Reads a list; a count larger than the bytes left is refused before anything is allocated. */
  list<T>(item: () => T): T[] {
    const count = this.varint();
    this.#need(count);
    const items: T[] = [];
    for (let i = 0; i < count; i++) items.push(item());
    return items;
  }

  end(): void {
    if (!this.done) throw this.fail("bytes left over");
  }
}
