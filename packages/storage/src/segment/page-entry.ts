/**
 * Where a version of a page lies and what it must look like: what the page map's leaves hold, and its inner nodes of the nodes
 * below them. 16 bytes, little endian:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | segment, from 1; 0: there is no such page |
 * | 4 | 2 | page in the segment (14 bits); 2 bits reserved, 0 |
 * | 6 | 6 | birth: LSN of the freeze the version was written for |
 * | 12 | 4 | checksum |
 *
 * The checksum is CRC32C over a prefix of 28 bytes {u32 segment, u32 page, u32 volume, u8 kind, u8 level, u48 index, u48 birth, u16 0} and the
 * content. So a page that was written to another place, for another page or at another time never passes for this one, and
 * because the entry lies in the parent, a page that was not written at all does not either.
 */
import { crc32c } from "../memory/crc32c.ts";

export const PAGE_BYTES = 4096;
/** 64 MiB. */
export const SEGMENT_PAGES = 16_384;
export const ENTRY_BYTES = 16;

export const PageKind = Object.freeze({ data: 1, map: 2 } as const);
export type PageKind = (typeof PageKind)[keyof typeof PageKind];

/** Which page of which volume, whatever its version. */
export interface PageName {
  readonly volume: number;
  readonly kind: PageKind;
  /** Of a map node: 0 for a leaf. 0 for data. */
  readonly level: number;
  /** Page number in the volume; of a map node: its place among those of its level. Below 2^48. */
  readonly index: number;
}

export interface PageEntry {
  readonly segment: number;
  readonly page: number;
  readonly birth: number;
  readonly checksum: number;
}

/** The root of a volume's page map (page/page-map.ts), as a checkpoint's root record keeps it. */
export interface MapRoot {
  readonly height: number;
  /** Of the root node; undefined while the map is empty. */
  readonly entry: PageEntry | undefined;
}

const TWO_32 = 4_294_967_296;
const PREFIX_BYTES = 28;
const prefix = new Uint8Array(PREFIX_BYTES);
const prefixView = new DataView(prefix.buffer);

export function putU48(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % TWO_32, true);
  view.setUint16(at + 4, value / TWO_32, true);
}

export function getU48(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint16(at + 4, true) * TWO_32;
}

export function pageChecksum(
  name: PageName,
  segment: number,
  page: number,
  birth: number,
  content: Uint8Array,
): number {
  putPrefix(prefixView, name, segment, page, birth);
  return crc32c(content, crc32c(prefix));
}

function putPrefix(
  view: DataView,
  { volume, kind, level, index }: PageName,
  segment: number,
  page: number,
  birth: number,
): void {
  view.setUint32(0, segment, true);
  view.setUint32(4, page, true);
  view.setUint32(8, volume, true);
  view.setUint8(12, kind);
  view.setUint8(13, level);
  putU48(view, 14, index);
  putU48(view, 20, birth);
}

export const CHECK_BYTES = PREFIX_BYTES + 4;

/** What the native door verifies a page by: the prefix, and the checksum of prefix and content (memory/memory-door.ts). */
export function putPageCheck(
  into: Uint8Array,
  at: number,
  name: PageName,
  { segment, page, birth, checksum }: PageEntry,
): void {
  const view = new DataView(into.buffer, into.byteOffset + at, CHECK_BYTES);
  putPrefix(view, name, segment, page, birth);
  view.setUint32(PREFIX_BYTES, checksum, true);
}

export function putEntry(view: DataView, at: number, entry: PageEntry | undefined): void {
  view.setUint32(at, entry?.segment ?? 0, true);
  view.setUint16(at + 4, entry?.page ?? 0, true);
  putU48(view, at + 6, entry?.birth ?? 0);
  view.setUint32(at + 12, entry?.checksum ?? 0, true);
}

export function getEntry(view: DataView, at: number): PageEntry | undefined {
  const segment = view.getUint32(at, true);
  if (segment === 0) return undefined;
  return {
    segment,
    page: view.getUint16(at + 4, true) & (SEGMENT_PAGES - 1),
    birth: getU48(view, at + 6),
    checksum: view.getUint32(at + 12, true),
  };
}
