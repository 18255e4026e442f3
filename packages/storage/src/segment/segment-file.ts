/**
 * Names and headers of a shard's segment files. The header is page 0; parts of checkpoints follow (batch-format.ts).
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 8 | magic "PNSEGMT1" |
 * | 8 | 4 | CRC32C of the page with this field 0 |
 * | 12 | 2 | version, 1 |
 * | 14 | 2 | shard |
 * | 16 | 8 | id of the segment: the number in its name, never used twice |
 * | 24 | 8 | generation: a random number for the file's life |
 */
import { PinionError } from "@pinion/core";
import { crc32c } from "../memory/crc32c.ts";
import { PAGE_BYTES } from "./page-entry.ts";

const MAGIC = [0x45534e50, 0x31544d47] as const; // "PNSE", "GMT1"
const VERSION = 1;
const TWO_32 = 4_294_967_296;
const NAME = /^(\d{10})\.seg$/;

export interface SegmentFileHeader {
  readonly shard: number;
  readonly segment: number;
  readonly generation: number;
}

export const segmentFileName = (segment: number): string =>
  `${String(segment).padStart(10, "0")}.seg`;

/** The id a file name states; undefined for other files. */
export function segmentOfFileName(name: string): number | undefined {
  const digits = NAME.exec(name)?.[1];
  const segment = digits === undefined ? 0 : Number(digits);
  return segment > 0 && segment < TWO_32 ? segment : undefined;
}

export function encodeSegmentFileHeader({
  shard,
  segment,
  generation,
}: SegmentFileHeader): Uint8Array {
  const bytes = new Uint8Array(PAGE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC[0], true);
  view.setUint32(4, MAGIC[1], true);
  view.setUint16(12, VERSION, true);
  view.setUint16(14, shard, true);
  view.setUint32(16, segment, true);
  view.setUint32(24, generation % TWO_32, true);
  view.setUint32(28, generation / TWO_32, true);
  view.setUint32(8, crc32c(bytes), true);
  return bytes;
}

/** Undefined: not a header. @throws `format-too-new` */
export function decodeSegmentFileHeader(
  bytes: Uint8Array,
  path: string,
): SegmentFileHeader | undefined {
  if (bytes.length < PAGE_BYTES) return undefined;
  const copy = bytes.slice(0, PAGE_BYTES);
  const view = new DataView(copy.buffer);
  if (view.getUint32(0, true) !== MAGIC[0] || view.getUint32(4, true) !== MAGIC[1])
    return undefined;
  const stated = view.getUint32(8, true);
  view.setUint32(8, 0, true);
  if (crc32c(copy) !== stated) return undefined;
  const version = view.getUint16(12, true);
  if (version !== VERSION) {
    throw new PinionError(
      "format-too-new",
      `${path} has segment format ${version}, this version reads format ${VERSION}: upgrade, or use the version that wrote it`,
      { details: { path, version, supported: VERSION } },
    );
  }
  return {
    shard: view.getUint16(14, true),
    segment: view.getUint32(16, true),
    generation: view.getUint32(24, true) + view.getUint32(28, true) * TWO_32,
  };
}
