/**
 * The first 4 KiB of a segment file: which segment it is, and which life of the file. Little endian.
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 8 | magic `PINIONLG` |
 * | 8 | 4 | format version, 1 |
 * | 12 | 4 | CRC32C of all 4,096 bytes with this field zero |
 * | 16 | 8 | generation: 48 random bits, new each time the file is taken into use |
 * | 24 | 8 | sequence of the segment, from 1, also in its name |
 * | 32 | 4 | worker |
 * | 36 | 4 | flags: bit 0, created by an opening (the next two fields are then stated here) |
 * | 40 | 8 | created, µs since the epoch |
 * | 48 | 8 | bytes of the file when it was created |
 * | 56 | 8 | vouched end of the previous segment: no record of it counts beyond; 0 = see this segment's heads record |
 * | 64 | 8 | generation of the previous segment, 0 when there is none |
 * | 72 | … | zeros |
 *
 * A file gets its name `<sequence>.log` only after this header was flushed, so under that name a header that does not
 * verify is damage, never an unfinished creation. Magic, version, checksum and its reach keep their place in every version.
 */
import { PinionError } from "@pinion/core";
import { crc32c } from "@node-rs/crc32";
import { getU64, putU64 } from "./record-format.ts";

export const SEGMENT_HEADER_BYTES = 4096;
export const SEGMENT_VERSION = 1;
/** The names carry 16 digits, so that names sort as sequences do. */
const NAME = /^(\d{16})\.log$/;
const MAGIC = [0x494e4950, 0x474c4e4f] as const; // "PINI", "ONLG"
const FLAG_OPENING = 1;

export interface SegmentHeader {
  readonly generation: number;
  readonly sequence: number;
  readonly worker: number;
  /** Created by an opening of the log, with `previousEnd` stated. */
  readonly byOpening: boolean;
  readonly createdAtUs: number;
  readonly fileBytes: number;
  readonly previousEnd: number;
  readonly previousGeneration: number;
}

export function segmentName(sequence: number): string {
  return `${String(sequence).padStart(16, "0")}.log`;
}

/** The sequence a file name states; undefined for other files. */
export function sequenceOfName(name: string): number | undefined {
  const digits = NAME.exec(name)?.[1];
  const sequence = digits === undefined ? 0 : Number(digits);
  return Number.isSafeInteger(sequence) && sequence > 0 ? sequence : undefined;
}

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const words = new Uint32Array(bytes.buffer);
  words[0] = MAGIC[0];
  words[1] = MAGIC[1];
  words[2] = SEGMENT_VERSION;
  putU64(words, 4, header.generation);
  putU64(words, 6, header.sequence);
  words[8] = header.worker;
  words[9] = header.byOpening ? FLAG_OPENING : 0;
  putU64(words, 10, header.createdAtUs);
  putU64(words, 12, header.fileBytes);
  putU64(words, 14, header.previousEnd);
  putU64(words, 16, header.previousGeneration);
  words[3] = crc32c(bytes);
  return bytes;
}

/**
 * @param bytes the first 4 KiB of the file, or what there is of them; not kept
 * @throws `corruption` (not a header, or a damaged one), `format-too-new`
 */
export function decodeSegmentHeader(bytes: Uint8Array, path: string): SegmentHeader {
  const damaged = (what: string): PinionError =>
    new PinionError("corruption", `${path}: ${what}`, { details: { path, offset: 0 } });
  if (bytes.length < SEGMENT_HEADER_BYTES) {
    throw damaged(`the file ends inside its header, after ${bytes.length} bytes`);
  }
  const copy = new Uint8Array(bytes.subarray(0, SEGMENT_HEADER_BYTES));
  const words = new Uint32Array(copy.buffer);
  if (words[0] !== MAGIC[0] || words[1] !== MAGIC[1])
    throw damaged("not a log segment: its first bytes are wrong");
  const checksum = words[3]!;
  words[3] = 0;
  if (crc32c(copy) !== checksum) throw damaged("the segment header does not match its checksum");
  if (words[2] !== SEGMENT_VERSION) {
    throw new PinionError(
      "format-too-new",
      `${path} has log format ${words[2]}, this version reads format ${SEGMENT_VERSION}: upgrade, or use the version that wrote it`,
      { details: { path, version: words[2]!, supported: SEGMENT_VERSION } },
    );
  }
  return {
    generation: getU64(words, 4),
    sequence: getU64(words, 6),
    worker: words[8]!,
    byOpening: (words[9]! & FLAG_OPENING) !== 0,
    createdAtUs: getU64(words, 10),
    fileBytes: getU64(words, 12),
    previousEnd: getU64(words, 14),
    previousGeneration: getU64(words, 16),
  };
}
