/**
 * Blobs by name. Little endian. A record:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | magic `BLOB` |
 * | 4 | 4 | bytes of its room |
 * | 8 | 4 | 1: finished, 0: not yet, 2: deleted |
 * | 12 | 4 | bytes of the name, 1 … 1,024 |
 * | 16 | 8 | bytes of the blob |
 * | 24 | 8 | first list, 0: none |
 * | 32 | 8 | last list |
 * | 40 | 4 | chunks behind those of the lists |
 * | 44 | 4 | lists |
 * | 48 | 8 | once it is deleted, the next deleted one, 0: none |
 * | 56 | 8 | reserved, 0 |
 * | 64 | … | name, UTF-8, padded with zeros to a multiple of 16; then a reference to each of these chunks |
 *
 * A list, of 4 KiB: u32 magic `LIST`, u32 bytes of its room, u32 references, u32 0, u64 next list, u64 0, then up to 252 references. A
 * reference: u64 offset of the chunk, u32 its bytes, u32 0.
 *
 * R1 records are in the index of names under the hash of their name, a finished and an unfinished one of the same name at most.
 * R2 a deleted record is in no index; it waits in a chain until its chunks have been released, a bounded number at a time.
 */
import { PinionError } from "@pinion/core";
import type { BlobChunks, ChunkRef } from "./blob-chunks.ts";
import { keyOf, type BlobIndex, type HashKey } from "./blob-index.ts";
import type { BlobLayout, Room } from "./blob-layout.ts";
import { HASH_BYTES, type ChunkKernels } from "./chunk-kernels.ts";
import { dataViewOf, getU64, putU64, settle, u32Bytes, u64Bytes, type Steps } from "./structure.ts";

const RECORD_BYTES = 64;
const LIST_HEADER_BYTES = 32;
const REFERENCE_BYTES = 16;
export const LIST_REFERENCES_MAX = 252;
const LIST_BYTES = LIST_HEADER_BYTES + LIST_REFERENCES_MAX * REFERENCE_BYTES;
export const NAME_BYTES_MAX = 1024;
const MAGIC_RECORD = 0x424f4c42; // "BLOB"
const MAGIC_LIST = 0x5453494c; // "LIST"

export const UNFINISHED = 0;
export const FINISHED = 1;
const DELETED = 2;

export interface BlobRecord {
  readonly room: Room;
  readonly status: number;
  readonly name: string;
  readonly byteCount: number;
  readonly firstList: number;
  readonly lastList: number;
  readonly lists: number;
  readonly nextDeleted: number;
  /** Chunks behind those of the lists. */
  readonly rest: readonly ChunkRef[];
}

export interface ChunkList {
  readonly room: Room;
  readonly next: number;
  readonly refs: readonly ChunkRef[];
}

/** @throws `invalid-argument` */
export function checkName(name: string): void {
  if (name.length === 0 || name.length > NAME_BYTES_MAX / 3 || !name.isWellFormed())
    nameBytes(name);
}

/** @throws `invalid-argument` */
function nameBytes(name: string): Uint8Array {
  const bytes = Buffer.from(name);
  if (name.isWellFormed() && bytes.length >= 1 && bytes.length <= NAME_BYTES_MAX) return bytes;
  throw new PinionError(
    "invalid-argument",
    `the name of a blob is well-formed text of 1 to ${NAME_BYTES_MAX} bytes in UTF-8, not ${bytes.length}`,
  );
}

interface KeyedName {
  readonly name: string | undefined;
  readonly bytes: Uint8Array;
  readonly key: HashKey;
}

/** Where a name is hashed: its hash, then its bytes. */
const nameMemory = new Uint8Array(HASH_BYTES + NAME_BYTES_MAX);
const nameView = dataViewOf(nameMemory);
const NAME_PLACE = Uint32Array.of(0, HASH_BYTES, 0);

const namePlace = (nameLength: number): number => Math.ceil(nameLength / 16) * 16;

/** Where a record is put together, to be written at once. */
const recordMemory = new Uint8Array(
  RECORD_BYTES + NAME_BYTES_MAX + LIST_REFERENCES_MAX * REFERENCE_BYTES,
);
const recordView = dataViewOf(recordMemory);

function recordBytes(nameLength: number, refs: number): number {
  return RECORD_BYTES + namePlace(nameLength) + refs * REFERENCE_BYTES;
}

export class BlobRecords {
  readonly #layout: BlobLayout;
  readonly #index: BlobIndex;
  readonly #chunks: BlobChunks;
  readonly #kernels: ChunkKernels;
  /** The name that was looked up last, which an operation asks for several times. */
  #name: KeyedName = { name: undefined, bytes: new Uint8Array(0), key: { high: 0, low: 0 } };
  /** How often the record at an offset was discarded in this turn: who still reads it is told. */
  readonly #discards = new Map<number, number>();

  constructor(layout: BlobLayout, index: BlobIndex, chunks: BlobChunks, kernels: ChunkKernels) {
    this.#kernels = kernels;
    this.#layout = layout;
    this.#index = index;
    this.#chunks = chunks;
  }

  /** @throws `invalid-argument` */
  #keyed(name: string): KeyedName {
    if (name !== this.#name.name) {
      const bytes = nameBytes(name);
      nameMemory.set(bytes, HASH_BYTES);
      NAME_PLACE[2] = bytes.length;
      this.#kernels.hash(nameMemory, NAME_PLACE, 1);
      this.#name = { name, bytes, key: keyOf(nameView, 0) };
    }
    return this.#name;
  }

  *find(name: string, status: number): Steps<BlobRecord | undefined> {
    const { key } = this.#keyed(name);
    for (const offset of this.#index.findNow(key) ?? (yield* this.#index.find(key))) {
      const record = yield* this.read(offset);
      if (record.name === name && record.status === status) return record;
    }
    return undefined;
  }

  /** Of all blobs, finished or not. */
  offsets(): Steps<number[]> {
    return this.#index.all();
  }

  *read(offset: number): Steps<BlobRecord> {
    const head = dataViewOf(yield* this.#layout.read(offset, RECORD_BYTES, "a blob"));
    const nameLength = head.getUint32(12, true);
    const count = head.getUint32(40, true);
    const roomBytes = head.getUint32(4, true);
    const byteCount = recordBytes(nameLength, count);
    if (
      head.getUint32(0, true) !== MAGIC_RECORD ||
      nameLength > NAME_BYTES_MAX ||
      count > LIST_REFERENCES_MAX ||
      roomBytes < byteCount ||
      head.getUint32(44, true) > this.#layout.extent.lengthBytes / LIST_BYTES
    ) {
      throw this.#layout.damaged(`no blob at ${offset}`, offset);
    }
    const bytes = yield* this.#layout.read(offset, byteCount, "a blob");
    const view = dataViewOf(bytes);
    return {
      room: { offset, byteCount: roomBytes },
      status: view.getUint32(8, true),
      name: Buffer.from(bytes.subarray(RECORD_BYTES, RECORD_BYTES + nameLength)).toString(),
      byteCount: getU64(view, 16),
      firstList: getU64(view, 24),
      lastList: getU64(view, 32),
      lists: view.getUint32(44, true),
      nextDeleted: getU64(view, 48),
      rest: readRefs(view, RECORD_BYTES + namePlace(nameLength), count),
    };
  }

  /**
   * A room for a record.
   * @param refs how many chunks it may come to hold behind those of the lists
   */
  *take(name: string, refs: number): Steps<Room> {
    const byteCount = recordBytes(this.#keyed(name).bytes.length, refs);
    return this.#layout.takeNow(byteCount) ?? (yield* this.#layout.take(byteCount));
  }

  /** @returns what to wait for, if a page had to be brought in */
  write(record: BlobRecord): Promise<void> | undefined {
    const name = this.#keyed(record.name).bytes;
    const bytes = recordMemory.subarray(0, recordBytes(name.length, record.rest.length)).fill(0);
    const view = recordView;
    view.setUint32(0, MAGIC_RECORD, true);
    view.setUint32(4, record.room.byteCount, true);
    view.setUint32(8, record.status, true);
    view.setUint32(12, name.length, true);
    putU64(view, 16, record.byteCount);
    putU64(view, 24, record.firstList);
    putU64(view, 32, record.lastList);
    view.setUint32(40, record.rest.length, true);
    view.setUint32(44, record.lists, true);
    putU64(view, 48, record.nextDeleted);
    bytes.set(name, RECORD_BYTES);
    writeRefs(view, RECORD_BYTES + namePlace(name.length), record.rest);
    return this.#layout.write(record.room.offset, bytes);
  }

  /** @returns undefined if it is done; otherwise the steps that do it */
  enter(record: BlobRecord): Steps<void> | undefined {
    const { key } = this.#keyed(record.name);
    return this.#index.insert(key, record.room.offset);
  }

  /** Changes when the record at an offset is discarded. */
  discards(offset: number): number {
    return this.#discards.get(offset) ?? 0;
  }

  /** Takes a record out of the index and puts it where its chunks will be released (R2). */
  *discard(record: BlobRecord): Steps<void> {
    const { key } = this.#keyed(record.name);
    yield* this.#index.remove(key, record.room.offset);
    yield* settle(
      this.write({ ...record, status: DELETED, nextDeleted: this.#layout.get("deleted") }),
    );
    this.#layout.set("deleted", record.room.offset);
    this.#discards.set(record.room.offset, this.discards(record.room.offset) + 1);
    if (record.status !== FINISHED) return;
    this.#layout.add("blobs", -1);
    this.#layout.add("blobBytes", -record.byteCount);
  }

  /** @returns offset of the list */
  *addList(refs: readonly ChunkRef[], lastList: number): Steps<number> {
    const view = new DataView(
      new ArrayBuffer(LIST_HEADER_BYTES + LIST_REFERENCES_MAX * REFERENCE_BYTES),
    );
    const room = yield* this.#layout.take(LIST_BYTES);
    view.setUint32(0, MAGIC_LIST, true);
    view.setUint32(4, room.byteCount, true);
    view.setUint32(8, refs.length, true);
    writeRefs(view, LIST_HEADER_BYTES, refs);
    yield* settle(this.#layout.write(room.offset, new Uint8Array(view.buffer)));
    if (lastList !== 0) {
      yield* settle(this.#layout.write(lastList + 16, u64Bytes(room.offset)));
    }
    return room.offset;
  }

  *readList(offset: number): Steps<ChunkList> {
    const head = dataViewOf(
      yield* this.#layout.read(offset, LIST_HEADER_BYTES, "a list of chunks"),
    );
    const count = head.getUint32(8, true);
    if (head.getUint32(0, true) !== MAGIC_LIST || count > LIST_REFERENCES_MAX)
      throw this.#layout.damaged(`no list of chunks at ${offset}`, offset);
    const room = { offset, byteCount: head.getUint32(4, true) };
    const next = getU64(head, 16);
    const bytes = yield* this.#layout.read(
      offset,
      LIST_HEADER_BYTES + count * REFERENCE_BYTES,
      "a list of chunks",
    );
    return { room, next, refs: readRefs(dataViewOf(bytes), LIST_HEADER_BYTES, count) };
  }

  /** Releases up to `limit` references of deleted blobs. */
  *reclaim(limit: number): Steps<void> {
    let left = limit;
    while (left > 0) {
      const offset = this.#layout.get("deleted");
      if (offset === 0) return;
      const record = yield* this.read(offset);
      if (record.status !== DELETED)
        throw this.#layout.damaged(`the blob at ${offset} is not deleted`, offset);
      if (record.firstList !== 0) {
        left -= yield* this.#reclaimList(record, left);
      } else if (record.rest.length > 0) {
        const count = Math.min(left, record.rest.length);
        for (const ref of record.rest.slice(-count)) yield* this.#chunks.release(ref);
        yield* settle(this.write({ ...record, rest: record.rest.slice(0, -count) }));
        left -= count;
      } else {
        this.#layout.set("deleted", record.nextDeleted);
        yield* this.#layout.release(record.room);
        left--;
      }
    }
  }

  *#reclaimList(record: BlobRecord, limit: number): Steps<number> {
    const list = yield* this.readList(record.firstList);
    const count = Math.min(limit, list.refs.length);
    for (const ref of list.refs.slice(list.refs.length - count)) yield* this.#chunks.release(ref);
    const left = list.refs.length - count;
    if (left > 0) {
      yield* settle(this.#layout.write(list.room.offset + 8, u32Bytes(left)));
    } else {
      const last = list.room.offset === record.lastList;
      yield* settle(this.write({ ...record, firstList: last ? 0 : list.next }));
      yield* this.#layout.release(list.room);
    }
    return Math.max(1, count);
  }
}

function readRefs(view: DataView, at: number, count: number): ChunkRef[] {
  return Array.from({ length: count }, (_, i) => ({
    offset: getU64(view, at + i * REFERENCE_BYTES),
    byteCount: view.getUint32(at + i * REFERENCE_BYTES + 8, true),
  }));
}

function writeRefs(view: DataView, at: number, refs: readonly ChunkRef[]): void {
  refs.forEach(({ offset, byteCount }, i) => {
    putU64(view, at + i * REFERENCE_BYTES, offset);
    view.setUint32(at + i * REFERENCE_BYTES + 8, byteCount, true);
  });
}
