/**
 * Parts of a checkpoint as they lie in a segment, one after the other from page 1 on: a header page that lists the part's pages,
 * the pages, and in the last part of a checkpoint its root record. Little endian.
 *
 * Header page:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | magic "PNB1" |
 * | 4 | 4 | CRC32C of the page with this field 0, after {u64 segment generation, u64 page in the segment} |
 * | 8 | 2 | version, 1 |
 * | 10 | 2 | flags: 1 = ends with a root record |
 * | 12 | 2 | pages listed, 0 … 168 |
 * | 14 | 2 | shard |
 * | 16 | 8 | sequence of the part in its shard, from 1 |
 * | 24 | 8 | sequence of the checkpoint's first part |
 * | 32 | 8 | nonce of the checkpoint: parts of an attempt that failed may lie behind those of the next |
 * | 40 | 8 | freeze LSN |
 * | 48 | 4 | term |
 * | 52 | 2 | pages of the root record behind the pages listed; 0 without one |
 * | 54 | 10 | reserved, 0 |
 * | 64 | 24 × n | for each page: u8 kind, u8 level, u16 0, u32 volume, u32 checksum, u48 index, u48 birth |
 *
 * Root record, of one page or more: offsets 0 to 52 as above with magic "PNR1" and the same sequence, then
 *
 * | offset | size | field |
 * |---|---|---|
 * | 52 | 4 | number of volumes, at most 63 |
 * | 56 | 4 | number of segments with live pages |
 * | 60 | 4 | CRC32C of what lies behind the first page; 0 when nothing does |
 * | 64 | 64 × n | for each volume: u32 volume, u32 height of its map, entry (16), u64 pages, u64 root of its tree, reserved (24) |
 * | … | 8 × m | for each segment: u32 segment, u32 how many of its pages are referred to |
 *
 * The volumes named here are those that all others are found by (store/shard-store.ts).
 */
import { assert } from "@pinion/core";
import { crc32c } from "../memory/crc32c.ts";
import {
  getEntry,
  getU48,
  PAGE_BYTES,
  putEntry,
  putU48,
  type MapRoot,
  type PageEntry,
  type PageKind,
  type PageName,
} from "./page-entry.ts";

const HEADER_MAGIC = 0x31424e50; // "PNB1"
const ROOT_MAGIC = 0x31524e50; // "PNR1"
const VERSION = 1;
const FLAG_ROOT = 1;
const LIST_AT = 64;
const LISTED_BYTES = 24;
const VOLUME_BYTES = 64;
const LIVE_BYTES = 8;
const TWO_32 = 4_294_967_296;

/** Pages a part lists at most. */
export const PART_PAGES_MAX = Math.floor((PAGE_BYTES - LIST_AT) / LISTED_BYTES);
export const VOLUMES_MAX = (PAGE_BYTES - LIST_AT) / VOLUME_BYTES;

/** Pages that a root record takes. */
export const rootPagesOf = (volumes: number, segments: number): number =>
  Math.ceil((LIST_AT + volumes * VOLUME_BYTES + segments * LIVE_BYTES) / PAGE_BYTES);

/** What all pages of a checkpoint say of it. */
export interface CheckpointId {
  readonly shard: number;
  readonly term: number;
  readonly nonce: number;
  readonly freezeLsn: number;
  /** Sequence of its first part. */
  readonly first: number;
}

export interface ListedPage {
  readonly name: PageName;
  readonly birth: number;
  readonly checksum: number;
}

export interface PartHeader {
  readonly checkpoint: CheckpointId;
  readonly sequence: number;
  /** Of the root record behind its pages; 0 without one. */
  readonly rootPages: number;
  readonly pages: readonly ListedPage[];
}

export interface VolumeRoot {
  readonly volume: number;
  readonly map: MapRoot;
  /** Page numbers below this have been given out. */
  readonly pageCount: number;
  /** Page number of its tree's root; 0 when it has none. */
  readonly treeRoot: number;
}

export interface RootRecord {
  readonly checkpoint: CheckpointId;
  readonly sequence: number;
  readonly volumes: readonly VolumeRoot[];
  /** Segment → pages that this checkpoint refers to. */
  readonly live: ReadonlyMap<number, number>;
}

const salt = new Uint8Array(16);
const saltView = new DataView(salt.buffer);

function putU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % TWO_32, true);
  view.setUint32(at + 4, value / TWO_32, true);
}

function getU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * TWO_32;
}

function begin(
  magic: number,
  flags: number,
  count: number,
  id: CheckpointId,
  sequence: number,
  pages = 1,
): DataView {
  const view = new DataView(new ArrayBuffer(pages * PAGE_BYTES));
  view.setUint32(0, magic, true);
  view.setUint16(8, VERSION, true);
  view.setUint16(10, flags, true);
  view.setUint16(12, count, true);
  view.setUint16(14, id.shard, true);
  putU64(view, 16, sequence);
  putU64(view, 24, id.first);
  putU64(view, 32, id.nonce);
  putU64(view, 40, id.freezeLsn);
  view.setUint32(48, id.term, true);
  return view;
}

function checksumOf(view: DataView, generation: number, page: number): number {
  putU64(saltView, 0, generation);
  putU64(saltView, 8, page);
  return crc32c(new Uint8Array(view.buffer, view.byteOffset, PAGE_BYTES), crc32c(salt));
}

function seal(view: DataView, generation: number, page: number): Uint8Array {
  view.setUint32(4, checksumOf(view, generation, page), true);
  return new Uint8Array(view.buffer);
}

/** Undefined: not a valid page of this kind at this place. */
function unseal(
  bytes: Uint8Array,
  magic: number,
  generation: number,
  page: number,
): DataView | undefined {
  if (bytes.length < PAGE_BYTES) return undefined;
  const view = new DataView(bytes.slice(0, PAGE_BYTES).buffer);
  if (view.getUint32(0, true) !== magic) return undefined;
  const stated = view.getUint32(4, true);
  view.setUint32(4, 0, true);
  if (checksumOf(view, generation, page) !== stated) return undefined;
  return view.getUint16(8, true) === VERSION ? view : undefined;
}

function checkpointOf(view: DataView): CheckpointId {
  return {
    shard: view.getUint16(14, true),
    term: view.getUint32(48, true),
    nonce: getU64(view, 32),
    freezeLsn: getU64(view, 40),
    first: getU64(view, 24),
  };
}

/** @param page where the header goes in its segment */
export function encodePartHeader(header: PartHeader, generation: number, page: number): Uint8Array {
  const { checkpoint, sequence, rootPages, pages } = header;
  assert(pages.length <= PART_PAGES_MAX, `a part of ${pages.length} pages`);
  const view = begin(
    HEADER_MAGIC,
    rootPages > 0 ? FLAG_ROOT : 0,
    pages.length,
    checkpoint,
    sequence,
  );
  view.setUint16(52, rootPages, true);
  let at = LIST_AT;
  for (const { name, birth, checksum } of pages) {
    view.setUint8(at, name.kind);
    view.setUint8(at + 1, name.level);
    view.setUint32(at + 4, name.volume, true);
    view.setUint32(at + 8, checksum, true);
    putU48(view, at + 12, name.index);
    putU48(view, at + 18, birth);
    at += LISTED_BYTES;
  }
  return seal(view, generation, page);
}

/** Undefined when there is no valid header at this place. */
export function decodePartHeader(
  bytes: Uint8Array,
  generation: number,
  page: number,
): PartHeader | undefined {
  const view = unseal(bytes, HEADER_MAGIC, generation, page);
  if (view === undefined) return undefined;
  const count = view.getUint16(12, true);
  if (count > PART_PAGES_MAX) return undefined;
  const pages: ListedPage[] = [];
  for (let i = 0, at = LIST_AT; i < count; i++, at += LISTED_BYTES) {
    const name: PageName = {
      volume: view.getUint32(at + 4, true),
      kind: view.getUint8(at) as PageKind,
      level: view.getUint8(at + 1),
      index: getU48(view, at + 12),
    };
    pages.push({ name, birth: getU48(view, at + 18), checksum: view.getUint32(at + 8, true) });
  }
  return {
    checkpoint: checkpointOf(view),
    sequence: getU64(view, 16),
    rootPages: view.getUint16(52, true),
    pages,
  };
}

/** @param page where it goes in its segment */
export function encodeRootRecord(root: RootRecord, generation: number, page: number): Uint8Array {
  const { checkpoint, sequence, volumes, live } = root;
  assert(volumes.length <= VOLUMES_MAX, `a root record of ${volumes.length} volumes`);
  const pages = rootPagesOf(volumes.length, live.size);
  const view = begin(ROOT_MAGIC, FLAG_ROOT, 0, checkpoint, sequence, pages);
  view.setUint32(52, volumes.length, true);
  view.setUint32(56, live.size, true);
  let at = LIST_AT;
  for (const { volume, map, pageCount, treeRoot } of volumes) {
    view.setUint32(at, volume, true);
    view.setUint32(at + 4, map.height, true);
    putEntry(view, at + 8, map.entry);
    putU64(view, at + 24, pageCount);
    putU64(view, at + 32, treeRoot);
    at += VOLUME_BYTES;
  }
  for (const [segment, count] of live) {
    view.setUint32(at, segment, true);
    view.setUint32(at + 4, count, true);
    at += LIVE_BYTES;
  }
  const behind = new Uint8Array(view.buffer, PAGE_BYTES);
  view.setUint32(60, behind.length === 0 ? 0 : crc32c(behind), true);
  return seal(view, generation, page);
}

/** Undefined when there is no valid root record at this place. @param bytes as many pages as the part's header says */
export function decodeRootRecord(
  bytes: Uint8Array,
  generation: number,
  page: number,
): RootRecord | undefined {
  const first = unseal(bytes, ROOT_MAGIC, generation, page);
  if (first === undefined) return undefined;
  const count = first.getUint32(52, true);
  const segments = first.getUint32(56, true);
  if (count > VOLUMES_MAX || bytes.length < rootPagesOf(count, segments) * PAGE_BYTES)
    return undefined;
  const behind = bytes.subarray(PAGE_BYTES, rootPagesOf(count, segments) * PAGE_BYTES);
  if (first.getUint32(60, true) !== (behind.length === 0 ? 0 : crc32c(behind))) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const volumes: VolumeRoot[] = [];
  let at = LIST_AT;
  for (let i = 0; i < count; i++, at += VOLUME_BYTES) {
    const entry: PageEntry | undefined = getEntry(view, at + 8);
    volumes.push({
      volume: view.getUint32(at, true),
      map: { height: view.getUint32(at + 4, true), entry },
      pageCount: getU64(view, at + 24),
      treeRoot: getU64(view, at + 32),
    });
  }
  const live = new Map<number, number>();
  for (let i = 0; i < segments; i++, at += LIVE_BYTES)
    live.set(view.getUint32(at, true), view.getUint32(at + 4, true));
  return { checkpoint: checkpointOf(first), sequence: getU64(first, 16), volumes, live };
}
