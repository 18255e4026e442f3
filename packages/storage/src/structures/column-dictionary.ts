/**
 * The strings of a column, each once: string → code for writers, code → string for readers. One region of the extent, rewritten at
 * twice the size when it is full, so that all regions a column ever had are smaller than its last one. Little endian:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | strings, n |
 * | 4 | 4 | slots, a power of two ≥ 16; n ≤ ¾ of them |
 * | 8 | 4 | bytes of room for text |
 * | 12 | 4 | reserved, 0 |
 * | 16 | 4 × slots | code + 1 at the place of its string's hash (32-bit FNV-1a) or the next free one; 0 free |
 * | … | 4 × ¾ slots | where the text of each code ends; it begins where the one before ends |
 * | … | room | text, UTF-8 |
 *
 * State: a copy of the region, and strings and codes met in this turn.
 *
 * D1 the region is brought in once a turn and copied; writes go to extent and copy.
 * D2 at most 98,304 strings and 4 MiB of them: a column is for strings that repeat.
 */
import { PinionError } from "@pinion/core";
import type { ColumnFilter } from "./column-predicate.ts";
import { Predicate } from "./column-predicate.ts";
import type { ColumnLayout } from "./column-layout.ts";
import type { StoredValue } from "./column-types.ts";
import {
  damagedStructure,
  dataViewOf,
  fetchBytes,
  settle,
  u32Bytes,
  type Steps,
} from "./structure.ts";

const HEADER_BYTES = 16;
const SLOTS_MIN = 16;
const SLOTS_MAX = 2 ** 17;
const TEXT_BYTES_MIN = 256;
export const DICTIONARY_TEXT_BYTES_MAX = 4 * 2 ** 20;
export const DICTIONARY_STRINGS_MAX = stringsOf(SLOTS_MAX);

function stringsOf(slots: number): number {
  return (slots / 4) * 3;
}

function regionBytes(slots: number, textBytes: number): number {
  return HEADER_BYTES + 4 * slots + 4 * stringsOf(slots) + textBytes;
}

function hashOf(text: Uint8Array): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text[i]!, 0x01000193);
  return h >>> 0;
}

export class ColumnDictionary {
  readonly #layout: ColumnLayout;
  #bytes: Buffer = emptyRegion(SLOTS_MIN, TEXT_BYTES_MIN);
  #view: DataView = dataViewOf(this.#bytes);
  /** Of the region that was copied; −1 none. */
  #offset = -1;
  readonly #codes = new Map<string, number>();
  readonly #strings: (string | undefined)[] = [];

  constructor(layout: ColumnLayout) {
    this.#layout = layout;
  }

  get count(): number {
    return this.#view.getUint32(0, true);
  }

  get #slots(): number {
    return this.#view.getUint32(4, true);
  }

  get #textRoom(): number {
    return this.#view.getUint32(8, true);
  }

  /** Brings the region in, unless that was done (D1). @throws `corruption` */
  *load(): Steps<void> {
    const { dictionary } = this.#layout;
    if (dictionary === undefined || dictionary.offset === this.#offset) return;
    const bytes = Buffer.from(
      yield* fetchBytes(this.#layout.extent, dictionary.offset, dictionary.byteCount),
    );
    const view = dataViewOf(bytes);
    const slots = bytes.length < HEADER_BYTES ? 0 : view.getUint32(4, true);
    if (
      !(slots >= SLOTS_MIN && slots <= SLOTS_MAX && (slots & (slots - 1)) === 0) ||
      view.getUint32(0, true) > stringsOf(slots) ||
      view.getUint32(8, true) < TEXT_BYTES_MIN ||
      regionBytes(slots, view.getUint32(8, true)) !== bytes.length
    ) {
      throw this.#damaged("sizes that do not fit");
    }
    this.#bytes = bytes;
    this.#view = view;
    this.#offset = dictionary.offset;
  }

  /** The string of a code that was read. @throws `corruption` */
  stringOf(code: number): string {
    const known = this.#strings[code];
    if (known !== undefined) return known;
    if (code >= this.count) throw this.#damaged(`no code ${code}`);
    const [start, end] = this.#textOf(code);
    return (this.#strings[code] = this.#bytes.toString("utf8", start, end));
  }

  /** Undefined: no row ever held it. */
  codeOf(text: string): number | undefined {
    const known = this.#codes.get(text);
    if (known !== undefined) return known;
    const code = this.#find(Buffer.from(text)).code;
    if (code !== undefined) this.#codes.set(text, code);
    return code;
  }

  /** @throws `state-too-large` (D2), `invalid-argument` for what is not well-formed text */
  *add(text: string): Steps<number> {
    const known = this.codeOf(text);
    if (known !== undefined) return known;
    if (!text.isWellFormed())
      throw new PinionError("invalid-argument", "a string with half a surrogate pair has no UTF-8");
    const encoded = Buffer.from(text);
    const code = this.count;
    const start = this.#endOf(code - 1);
    yield* this.#makeRoom(code + 1, start + encoded.length);
    const { slot } = this.#find(encoded);
    yield* this.#write(this.#textAt + start, encoded);
    yield* this.#write(this.#endsAt + 4 * code, u32Bytes(start + encoded.length));
    yield* this.#write(HEADER_BYTES + 4 * slot, u32Bytes(code + 1));
    yield* this.#write(0, u32Bytes(code + 1));
    this.#codes.set(text, code);
    return code;
  }

  /** The condition in codes. */
  predicateOf(filter: ColumnFilter<string>): Predicate {
    if ("equals" in filter) return this.#setOf([filter.equals]);
    if ("oneOf" in filter) return this.#setOf(filter.oneOf);
    const { min, max } = filter;
    if (min === undefined && max === undefined) return Predicate.range(0, 2 ** 32);
    const codes = new Set<StoredValue>();
    for (let code = 0; code < this.count; code++) {
      const text = this.stringOf(code);
      if ((min === undefined || text >= min) && (max === undefined || text <= max)) codes.add(code);
    }
    return Predicate.set(codes);
  }

  #setOf(texts: readonly string[]): Predicate {
    const codes = texts.map((text) => this.codeOf(text)).filter((code) => code !== undefined);
    return codes.length === 1
      ? Predicate.range(codes[0]!, codes[0]!)
      : Predicate.set(new Set<StoredValue>(codes));
  }

  *#makeRoom(strings: number, textBytes: number): Steps<void> {
    let slots = this.#slots;
    let room = this.#textRoom;
    while (stringsOf(slots) < strings) slots *= 2;
    while (room < textBytes) room *= 2;
    if (slots > SLOTS_MAX || textBytes > DICTIONARY_TEXT_BYTES_MAX) {
      throw new PinionError(
        "state-too-large",
        `the strings of a column are limited to ${DICTIONARY_STRINGS_MAX} different ones and ${DICTIONARY_TEXT_BYTES_MAX} bytes: keep text that does not repeat in a log or a map`,
        { details: { strings, textBytes } },
      );
    }
    if (this.#offset !== -1 && slots === this.#slots && room === this.#textRoom) return;
    const grown = emptyRegion(slots, room);
    const view = dataViewOf(grown);
    const textAt = regionBytes(slots, 0);
    view.setUint32(0, this.count, true);
    this.#bytes.copy(grown, textAt, this.#textAt, this.#textAt + this.#endOf(this.count - 1));
    this.#bytes.copy(
      grown,
      textAt - 4 * stringsOf(slots),
      this.#endsAt,
      this.#endsAt + 4 * this.count,
    );
    for (let code = 0; code < this.count; code++) {
      let slot = hashOf(this.#bytes.subarray(...this.#textOf(code))) & (slots - 1);
      while (view.getUint32(HEADER_BYTES + 4 * slot, true) !== 0) slot = (slot + 1) & (slots - 1);
      view.setUint32(HEADER_BYTES + 4 * slot, code + 1, true);
    }
    const offset = yield* this.#layout.makeRoom(grown.length);
    yield* settle(this.#layout.extent.write(offset, grown));
    this.#layout.wrote();
    yield* this.#layout.putDictionary(offset, grown.length);
    this.#bytes = grown;
    this.#view = view;
    this.#offset = offset;
  }

  /** The code of a text, or the slot where it belongs. */
  #find(text: Uint8Array): { readonly code: number | undefined; readonly slot: number } {
    const mask = this.#slots - 1;
    let slot = hashOf(text) & mask;
    for (let probes = 0; probes <= mask; probes++, slot = (slot + 1) & mask) {
      const code = this.#view.getUint32(HEADER_BYTES + 4 * slot, true) - 1;
      if (code === -1) return { code: undefined, slot };
      if (code >= this.count) throw this.#damaged(`code ${code} in slot ${slot}`);
      if (this.#bytes.subarray(...this.#textOf(code)).equals(text)) return { code, slot };
    }
    throw this.#damaged("no free slot");
  }

  get #endsAt(): number {
    return HEADER_BYTES + 4 * this.#slots;
  }

  get #textAt(): number {
    return regionBytes(this.#slots, 0);
  }

  #endOf(code: number): number {
    return code < 0 ? 0 : this.#view.getUint32(this.#endsAt + 4 * code, true);
  }

  #textOf(code: number): readonly [number, number] {
    const start = this.#endOf(code - 1);
    const end = this.#endOf(code);
    if (!(start <= end && end <= this.#textRoom)) throw this.#damaged(`the text of code ${code}`);
    return [this.#textAt + start, this.#textAt + end];
  }

  *#write(at: number, bytes: Uint8Array): Steps<void> {
    this.#bytes.set(bytes, at);
    yield* settle(this.#layout.extent.write(this.#offset + at, bytes));
    this.#layout.wrote();
  }

  #damaged(what: string): Error {
    return damagedStructure("column", `its dictionary: ${what}`, Math.max(0, this.#offset));
  }
}

function emptyRegion(slots: number, textBytes: number): Buffer {
  const bytes = Buffer.alloc(regionBytes(slots, textBytes));
  bytes.writeUInt32LE(slots, 4);
  bytes.writeUInt32LE(textBytes, 8);
  return bytes;
}
