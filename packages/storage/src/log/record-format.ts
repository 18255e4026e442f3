/**
 * A record as it lies in a segment file. Little endian, records start at multiples of 8.
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | CRC32C of {u64 segment generation, u64 offset in the file}, then of bytes 4 … 32 + length |
 * | 4 | 4 | payload length, at most 16 MiB + 64 KiB |
 * | 8 | 8 | LSN; 0 in records of the log itself |
 * | 16 | 8 | timestamp, µs since the epoch (hybrid logical clock) |
 * | 24 | 1 | format version, 1 |
 * | 25 | 1 | bits 0–4 kind, 5 compressed, 6 encrypted, 7 reserved |
 * | 26 | 2 | shard; 0 in records of the log itself |
 * | 28 | 4 | term; 0 in records of the log itself |
 * | 32 | … | payload, then zeros to the next multiple of 8 |
 *
 * Records of the log itself begin their payload with a *claim*: {u64 segment, u64 offset}, "everything before this
 * position was flushed before this record was written". Two kinds: `marker` (the claim alone, ends every batch) and
 * `heads` (shard-heads.ts, opens every segment).
 *
 * I1 the seed binds a record to its segment's life and its place: what a recycled file still holds, or what was
 *    written to a wrong offset, does not verify.
 * I2 every bit is covered: the checksum by itself, the padding by being zero, the rest by the checksum.
 * I3 a version, kind or flag this code does not know is refused, never skipped.
 */
import { endianness } from "node:os";
import { assert, PinionError } from "@pinion/core";
import { RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES } from "../memory/seal-records.ts";
import { RecordKind } from "./log.ts";
import { RecordChecksum } from "./record-checksum.ts";

export { RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES };

export const RECORD_VERSION = 1;
/** The largest write set (16 MiB) and what a commit record wraps around it. */
export const PAYLOAD_BYTES_MAX = 16 * 2 ** 20 + 64 * 2 ** 10;
export const CLAIM_BYTES = 16;
/** Header and claim. */
export const MARKER_BYTES = 48;

const KIND_MASK = 0x1f;
const FLAG_MASK = 0xe0;
const KNOWN_KINDS = new Set<number>(Object.values(RecordKind));

/** Bytes a record takes in the file, padding included. */
export function recordBytes(payloadBytes: number): number {
  return (RECORD_HEADER_BYTES + payloadBytes + RECORD_ALIGN_BYTES - 1) & -RECORD_ALIGN_BYTES;
}

// Headers are written and read as 32-bit words in the machine's own order: a big-endian one would write another format.
if (endianness() !== "LE") {
  throw new PinionError("unsupported-platform", "the log needs a little-endian processor");
}

/** Header and padding of a record at `at` (a multiple of 8) in `words`; the checksum is left zero for the disk to fill in.
 * To be called before the payload is copied: it clears the last eight bytes, padding or not. */
export function putHeader(
  words: Uint32Array,
  at: number,
  payloadBytes: number,
  lsn: number,
  timestamp: number,
  kind: number,
  shard: number,
  term: number,
): void {
  const w = at >>> 2;
  // The last two words hold the padding, if any; the payload overwrites its part of them afterwards.
  const last = (at + recordBytes(payloadBytes)) >>> 2;
  words[last - 1] = 0;
  words[last - 2] = 0;
  words[w] = 0;
  words[w + 1] = payloadBytes;
  words[w + 2] = lsn;
  words[w + 3] = lsn / 4_294_967_296;
  words[w + 4] = timestamp;
  words[w + 5] = timestamp / 4_294_967_296;
  words[w + 6] = RECORD_VERSION | (kind << 8) | (shard << 16);
  words[w + 7] = term;
}

/** A u64 that is a safe integer, at word `w`. */
export function putU64(words: Uint32Array, w: number, value: number): void {
  words[w] = value;
  words[w + 1] = value / 4_294_967_296;
}

/** NaN when the value is beyond what a number holds exactly. */
export function getU64(words: Uint32Array, w: number): number {
  const high = words[w + 1]!;
  return high < 0x20_0000 ? high * 4_294_967_296 + words[w]! : NaN;
}

/** What `RecordParser.parse` found. */
export const Verdict = Object.freeze({
  /** A record; the parser's fields describe it. */
  record: 0,
  /** The buffer ends before the record does; `needBytes` says how many are needed from its start. */
  more: 1,
  /** Not a record of this segment at this place. */
  invalid: 2,
  /** A whole record of a version, kind or flag this code does not know (I3). */
  unsupported: 3,
} as const);
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** Reads records of one segment out of a buffer, one at a time, into its own fields: no allocation per record. */
export class RecordParser {
  #bytes: Uint8Array = new Uint8Array(0);
  #words: Uint32Array = new Uint32Array(0);
  readonly #checksum: RecordChecksum;

  /** Where the record starts in the buffer, and what follows it. */
  at = 0;
  next = 0;
  payloadBytes = 0;
  lsn = 0;
  timestamp = 0;
  kind = 0;
  shard = 0;
  term = 0;
  needBytes = RECORD_HEADER_BYTES;

  constructor(generation: number) {
    this.#checksum = new RecordChecksum(generation);
  }

  /** @param bytes starts at a multiple of 8 of its memory and of the file */
  use(bytes: Uint8Array): void {
    assert(bytes.byteOffset % RECORD_ALIGN_BYTES === 0, "a buffer of records is not aligned");
    this.#bytes = bytes;
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  }

  /** @param end bytes of the buffer that are filled  @param fileOffset of the buffer's first byte */
  parse(at: number, end: number, fileOffset: number): Verdict {
    this.at = at;
    this.needBytes = RECORD_HEADER_BYTES;
    if (at + RECORD_HEADER_BYTES > end) return Verdict.more;
    const words = this.#words;
    const w = at >>> 2;
    const payloadBytes = words[w + 1]!;
    if (payloadBytes > PAYLOAD_BYTES_MAX) return Verdict.invalid;
    this.needBytes = recordBytes(payloadBytes);
    const next = at + this.needBytes;
    if (next > end) return Verdict.more;
    if (this.#checksum.of(this.#bytes, words, at, payloadBytes, fileOffset + at) !== words[w]!)
      return Verdict.invalid;
    for (let i = at + RECORD_HEADER_BYTES + payloadBytes; i < next; i++) {
      if (this.#bytes[i] !== 0) return Verdict.invalid;
    }
    return this.#describe(w, payloadBytes, next);
  }

  /** The payload, in the buffer itself. */
  payload(): Uint8Array {
    const start = this.at + RECORD_HEADER_BYTES;
    return this.#bytes.subarray(start, start + this.payloadBytes);
  }

  /** The whole record, padding included, in the buffer itself. */
  raw(): Uint8Array {
    return this.#bytes.subarray(this.at, this.next);
  }

  /** Where the claim of one of the log's own records points. */
  claimSegment(): number {
    return getU64(this.#words, (this.at + RECORD_HEADER_BYTES) >>> 2);
  }

  claimOffset(): number {
    return getU64(this.#words, (this.at + RECORD_HEADER_BYTES + 8) >>> 2);
  }

  /** Whether the bytes at `at` could be a marker: a cheap test before the checksum, for the search beyond a damaged place. */
  looksLikeMarker(at: number): boolean {
    const w = at >>> 2;
    return this.#words[w + 1] === CLAIM_BYTES && (this.#words[w + 6]! & 0xffff) === RECORD_VERSION;
  }

  #describe(w: number, payloadBytes: number, next: number): Verdict {
    const words = this.#words;
    const lsn = getU64(words, w + 2);
    const timestamp = getU64(words, w + 4);
    const type = words[w + 6]!;
    const flags = (type >>> 8) & 0xff;
    this.next = next;
    this.payloadBytes = payloadBytes;
    this.lsn = lsn;
    this.timestamp = timestamp;
    this.kind = flags & KIND_MASK;
    this.shard = type >>> 16;
    this.term = words[w + 7]!;
    if (
      (type & 0xff) !== RECORD_VERSION ||
      (flags & FLAG_MASK) !== 0 ||
      !KNOWN_KINDS.has(this.kind)
    ) {
      return Verdict.unsupported;
    }
    if (Number.isNaN(lsn) || Number.isNaN(timestamp)) return Verdict.unsupported;
    if (isInternal(this.kind) && payloadBytes < CLAIM_BYTES) return Verdict.unsupported;
    return Verdict.record;
  }
}

/** Kinds only the log itself writes; readers never see them. */
export function isInternal(kind: number): boolean {
  return kind === RecordKind.marker || kind === RecordKind.heads;
}

/** 1 for each kind a caller may append. */
export const APPENDABLE = Uint8Array.from({ length: 32 }, (_, kind) =>
  KNOWN_KINDS.has(kind) && !isInternal(kind) ? 1 : 0,
);
