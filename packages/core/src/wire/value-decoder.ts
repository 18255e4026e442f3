/**
 * MessagePack → JavaScript values (format: value-format.ts). The input is hostile until proven otherwise.
 *
 * I1 any input gives a value or `malformed-frame`, in time and memory linear in its length: a declared length is checked
 *    against what is left before anything is allocated, depth and the number of containers are bounded.
 * I2 nothing in a result refers to the input: views are copied, so the input may be reused and a user may write to them.
 * I3 no input reaches a prototype: the key `__proto__` is refused.
 */
import { PinionError } from "../errors.ts";
import { readFloat64 } from "./byte-writer.ts";
import { InvalidUtf8, readText, TextCache, toBuffer } from "./text.ts";
import {
  BIGINT_BYTES_MAX,
  BINARY_KINDS,
  CONTAINERS_MAX,
  DECODED_DEPTH_MAX,
  EXT_BIGINT,
  EXT_BINARY,
  EXT_MAP,
  EXT_SET,
  EXT_TIMESTAMP,
  EXT_UNDEFINED,
} from "./value-format.ts";

const PREALLOCATED_ITEMS_MAX = 1024;
const NOTHING: Uint8Array = new Uint8Array(0);
const float32 = new DataView(new ArrayBuffer(4));

/** One decode at a time: decoding calls no user code. */
class ValueReader {
  #bytes: Uint8Array = NOTHING;
  #at = 0;
  #end = 0;
  #depth = 0;
  #containers = 0;
  readonly #keys = new TextCache(1024);

  open(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#depth = 0;
    this.#containers = 0;
  }

  close(): void {
    this.#bytes = NOTHING;
  }

  one(): unknown {
    const value = this.#value();
    if (this.#at !== this.#end) throw this.#malformed("bytes are left behind the value");
    return value;
  }

  args(): unknown[] {
    const head = this.#uint8();
    const count =
      (head & 0xf0) === 0x90
        ? head & 0x0f
        : head === 0xdc
          ? this.#uint16()
          : head === 0xdd
            ? this.#uint32()
            : this.#fail("the arguments are not an array");
    const items = this.#items(count);
    if (this.#at !== this.#end) throw this.#malformed("bytes are left behind the arguments");
    return items;
  }

  #malformed(what: string): PinionError {
    return new PinionError("malformed-frame", `MessagePack: ${what}, at byte ${this.#at}`, {
      details: { at: this.#at },
    });
  }

  #fail(what: string): never {
    throw this.#malformed(what);
  }

  /** Claims `count` bytes; returns where they start. */
  #claim(count: number): number {
    const start = this.#at;
    if (count > this.#end - start) this.#fail("the input ends too early");
    this.#at = start + count;
    return start;
  }

  #uint8(): number {
    if (this.#at >= this.#end) this.#fail("the input ends too early");
    return this.#bytes[this.#at++] as number;
  }

  #uint16(): number {
    const at = this.#claim(2);
    return ((this.#bytes[at] as number) << 8) | (this.#bytes[at + 1] as number);
  }

  #int32(): number {
    const at = this.#claim(4);
    const b = this.#bytes;
    return (
      ((b[at] as number) << 24) |
      ((b[at + 1] as number) << 16) |
      ((b[at + 2] as number) << 8) |
      (b[at + 3] as number)
    );
  }

  #uint32(): number {
    return this.#int32() >>> 0;
  }

  #value(): unknown {
    const head = this.#uint8();
    if (head < 0x80) return head;
    if (head >= 0xe0) return head - 0x100;
    if (head < 0x90) return this.#map(head & 0x0f);
    if (head < 0xa0) return this.#array(head & 0x0f);
    if (head < 0xc0) return this.#str(head & 0x1f);
    switch (head) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#bin(this.#uint8());
      case 0xc5:
        return this.#bin(this.#uint16());
      case 0xc6:
        return this.#bin(this.#uint32());
      case 0xc7:
        return this.#ext(this.#uint8());
      case 0xc8:
        return this.#ext(this.#uint16());
      case 0xc9:
        return this.#ext(this.#uint32());
      case 0xca:
        float32.setInt32(0, this.#int32());
        return float32.getFloat32(0);
      case 0xcb:
        return readFloat64(this.#bytes, this.#claim(8));
      case 0xcc:
        return this.#uint8();
      case 0xcd:
        return this.#uint16();
      case 0xce:
        return this.#uint32();
      case 0xcf:
        return this.#long(this.#uint32());
      case 0xd0:
        return (this.#uint8() << 24) >> 24;
      case 0xd1:
        return (this.#uint16() << 16) >> 16;
      case 0xd2:
        return this.#int32();
      case 0xd3:
        return this.#long(this.#int32());
      case 0xd9:
        return this.#str(this.#uint8());
      case 0xda:
        return this.#str(this.#uint16());
      case 0xdb:
        return this.#str(this.#uint32());
      case 0xdc:
        return this.#array(this.#uint16());
      case 0xdd:
        return this.#array(this.#uint32());
      case 0xde:
        return this.#map(this.#uint16());
      case 0xdf:
        return this.#map(this.#uint32());
      default:
        // d4 … d8 are extensions of 1, 2, 4, 8, 16 bytes; c1 is never used
        return head >= 0xd4 && head <= 0xd8
          ? this.#ext(1 << (head - 0xd4))
          : this.#fail("byte 0xc1 means nothing");
    }
  }

  #long(high: number): number | bigint {
    const low = this.#uint32();
    const n = high * 2 ** 32 + low;
    return Number.isSafeInteger(n) ? n : (BigInt(high) << 32n) | BigInt(low);
  }

  #str(count: number): string {
    return this.#text(this.#claim(count), count);
  }

  #text(start: number, count: number): string {
    try {
      return readText(this.#bytes, start, start + count);
    } catch (e) {
      throw e instanceof InvalidUtf8 ? this.#malformed("a string is not UTF-8") : e;
    }
  }

  #bin(count: number): Uint8Array {
    const start = this.#claim(count);
    return new Uint8Array(this.#bytes.subarray(start, start + count)); // a copy (I2)
  }

  /** Before a container of `count` items, each at least one byte. */
  #enter(count: number): void {
    if (count > this.#end - this.#at)
      this.#fail("a container declares more items than there are bytes");
    if (++this.#depth > DECODED_DEPTH_MAX)
      this.#fail(`more than ${DECODED_DEPTH_MAX} levels of nesting`);
    if (++this.#containers > CONTAINERS_MAX) this.#fail(`more than ${CONTAINERS_MAX} containers`);
  }

  #array(count: number): unknown[] {
    this.#enter(count);
    const items = this.#items(count);
    this.#depth--;
    return items;
  }

  #items(count: number): unknown[] {
    if (count > this.#end - this.#at)
      this.#fail("a container declares more items than there are bytes");
    // Allocated ahead only where it is small: 100 nested claims of 4 Mi items would be 3 GB.
    if (count > PREALLOCATED_ITEMS_MAX) return this.#manyItems(count);
    // oxlint-disable-next-line unicorn/no-new-array -- the allocation is the point, and four times faster than Array.from
    const items = new Array<unknown>(count);
    for (let i = 0; i < count; i++) items[i] = this.#value();
    return items;
  }

  #manyItems(count: number): unknown[] {
    const items: unknown[] = [];
    for (let i = 0; i < count; i++) items.push(this.#value());
    return items;
  }

  #map(count: number): object {
    this.#enter(count * 2);
    const object: Record<string, unknown> = {};
    for (let i = 0; i < count; i++) {
      const key = this.#key();
      if (key === undefined) {
        const map = this.#mapOf(new Map<unknown, unknown>(Object.entries(object)), count - i);
        this.#depth--;
        return map;
      }
      if (key === "__proto__") this.#fail("a map has the key __proto__"); // I3
      object[key] = this.#value();
    }
    this.#depth--;
    return object;
  }

  /** The string key here; undefined, with nothing consumed, when it is not a string. */
  #key(): string | undefined {
    const head = this.#uint8();
    let count: number;
    if ((head & 0xe0) === 0xa0) count = head & 0x1f;
    else if (head === 0xd9) count = this.#uint8();
    else if (head === 0xda) count = this.#uint16();
    else if (head === 0xdb) count = this.#uint32();
    else {
      this.#at--;
      return undefined;
    }
    const start = this.#claim(count);
    try {
      return this.#keys.read(this.#bytes, start, start + count);
    } catch (e) {
      throw e instanceof InvalidUtf8 ? this.#malformed("a key is not UTF-8") : e;
    }
  }

  #mapOf(map: Map<unknown, unknown>, count: number): Map<unknown, unknown> {
    for (let i = 0; i < count; i++) {
      const key = this.#value();
      map.set(key, this.#value());
    }
    return map;
  }

  #ext(count: number): unknown {
    const type = this.#uint8();
    const start = this.#claim(count);
    const end = this.#at;
    switch (type) {
      case EXT_UNDEFINED:
        return count === 1 && this.#bytes[start] === 0
          ? undefined
          : this.#fail("undefined is not one byte 0");
      case EXT_TIMESTAMP:
        return this.#timestamp(start, count);
      case EXT_BIGINT:
        return this.#bigint(start, count);
      case EXT_BINARY:
        return this.#binary(start, count);
      case EXT_MAP:
      case EXT_SET:
        this.#at = start;
        return this.#nested(type, end);
      default:
        return this.#fail(`extension type ${(type << 24) >> 24} is not known`);
    }
  }

  /** A Map or Set: one map or array that fills the extension exactly. */
  #nested(type: number, end: number): Map<unknown, unknown> | Set<unknown> {
    const outerEnd = this.#end;
    this.#end = end;
    const head = this.#uint8();
    const isMap = type === EXT_MAP;
    const short = isMap ? 0x80 : 0x90;
    const count =
      (head & 0xf0) === short
        ? head & 0x0f
        : head === (isMap ? 0xde : 0xdc)
          ? this.#uint16()
          : head === (isMap ? 0xdf : 0xdd)
            ? this.#uint32()
            : this.#fail(isMap ? "a Map holds no map" : "a Set holds no array");
    this.#enter(isMap ? count * 2 : count);
    const result = isMap ? this.#mapOf(new Map(), count) : new Set(this.#items(count));
    this.#depth--;
    if (this.#at !== end) this.#fail("an extension's length does not match its content");
    this.#end = outerEnd;
    return result;
  }

  #bigint(start: number, count: number): bigint {
    if (count === 0 || count > BIGINT_BYTES_MAX) this.#fail(`a bigint of ${count} bytes`);
    const hex = toBuffer(this.#bytes).toString("hex", start, start + count);
    return BigInt.asIntN(count * 8, BigInt(`0x${hex}`));
  }

  #binary(start: number, count: number): unknown {
    const kind = BINARY_KINDS[count === 0 ? -1 : (this.#bytes[start] as number)];
    if (kind === undefined) return this.#fail("a binary array of unknown kind");
    if ((count - 1) % kind.bytesPerElement !== 0)
      this.#fail(`a ${kind.name} with a part of an element`);
    const copy = new ArrayBuffer(count - 1); // aligned, and the user's own (I2)
    new Uint8Array(copy).set(this.#bytes.subarray(start + 1, start + count));
    return kind.make(copy);
  }

  #timestamp(start: number, count: number): Date {
    const end = this.#at;
    this.#at = start;
    let ns = 0;
    let seconds: number;
    if (count === 4) seconds = this.#uint32();
    else if (count === 8) {
      const high = this.#uint32();
      ns = high >>> 2;
      seconds = (high & 3) * 2 ** 32 + this.#uint32();
    } else if (count === 12) {
      ns = this.#uint32();
      seconds = this.#int32() * 2 ** 32;
      seconds += this.#uint32();
    } else return this.#fail(`a timestamp of ${count} bytes`);
    this.#at = end;
    const date = new Date(seconds * 1000 + Math.floor(ns / 1_000_000));
    if (ns > 999_999_999 || Number.isNaN(date.getTime()))
      this.#fail("a timestamp outside the calendar");
    return date;
  }
}

const reader = new ValueReader();

/** The value in `bytes[start … end)`. @throws `malformed-frame` */
export function decodeValue(bytes: Uint8Array, start = 0, end = bytes.length): unknown {
  reader.open(bytes, start, end);
  try {
    return reader.one();
  } finally {
    reader.close();
  }
}

/** The arguments in `bytes[start … end)`. @throws `malformed-frame` */
export function decodeArgs(bytes: Uint8Array, start = 0, end = bytes.length): unknown[] {
  reader.open(bytes, start, end);
  try {
    return reader.args();
  } finally {
    reader.close();
  }
}
