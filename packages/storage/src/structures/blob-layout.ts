/**
 * Header and rooms of the extent of a blob store. Little endian. Everything behind the header is a room, in use or free, of one of these
 * sizes: eight to each power of two, 64, 72, 80 … 128, 144 … 128 KiB.
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 8 | structure header (structure.ts), kind 3, version 1 |
 * | 8 | 8 | blobs, without those that are not finished |
 * | 16 | 8 | bytes of them |
 * | 24 | 8 | chunks |
 * | 32 | 8 | bytes of them |
 * | 40 | 8 | bytes in free rooms |
 * | 48 | 8 | root of the index of chunks (blob-index.ts), 0: empty |
 * | 56 | 8 | root of the index of names, 0: empty |
 * | 64 | 8 | first of the deleted blobs whose chunks are still to be released (blob-records.ts), 0: none |
 * | 72 | 8 | end of the last room |
 * | 80 | 48 | reserved, 0 |
 * | 128 | 8 × 96 | first free room of each size, 0: none |
 *
 * A free room: u64 next of its size, 0: none; u32 its bytes; u32 magic `ROOM`.
 *
 * A1 a room is a free one of the size that was asked for or one of the next two, or a new one at the end. Rooms are not divided and not
 *    joined: chunks come in about the same lengths again, and pieces of rooms would fit none.
 * A2 the header is written once, when an operation ends, and its sizes only if one of them changed. Until then this one is newer than the
 *    extent's, and is not read again.
 */
import type { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import {
  checkStructureHeader,
  damagedStructure,
  dataViewOf,
  fetchBytes,
  getU64,
  putStructureHeader,
  putU64,
  zeroBytes,
  type Steps,
} from "./structure.ts";

export const BLOB_VERSION = 1;
const HEADER_BYTES = 896;
const SIZES_AT = 128;
const SIZES = 96;
const ROOM_BYTES_MIN = 64;
export const ROOM_BYTES_MAX = 128 * 1024;
const SIZES_LOOKED_AT = 3;
const FREE_ROOM_BYTES = 16;
const MAGIC_ROOM = 0x4d4f4f52; // "ROOM"

/** Fields of the header that are counted or pointed to. */
const FIELDS = {
  blobs: 8,
  blobBytes: 16,
  chunks: 24,
  chunkBytes: 32,
  freeBytes: 40,
  chunkRoot: 48,
  nameRoot: 56,
  deleted: 64,
  end: 72,
} as const;
export type BlobField = keyof typeof FIELDS;

export interface Room {
  readonly offset: number;
  readonly byteCount: number;
}

/** The least size that holds so many bytes. */
function roundUp(byteCount: number): number {
  if (byteCount <= ROOM_BYTES_MIN) return ROOM_BYTES_MIN;
  const step = 2 ** (28 - Math.clz32(byteCount));
  return Math.ceil(byteCount / step) * step;
}

/** Which of the sizes it is, from 0 on. */
function indexOf(byteCount: number): number {
  const power = 31 - Math.clz32(byteCount);
  return (power - 6) * 8 + ((byteCount >>> (power - 3)) & 7);
}

export class BlobLayout {
  readonly extent: ExtentAccess;
  #header: DataView = new DataView(new ArrayBuffer(HEADER_BYTES));
  #headerBytes = new Uint8Array(this.#header.buffer);
  #fieldBytes = this.#headerBytes.subarray(0, SIZES_AT);
  #generation = -1;
  /** From the first change of an operation to its end (A2). */
  #changing = false;
  #sizesChanged = false;

  constructor(extent: ExtentAccess) {
    this.extent = extent;
  }

  /** The next `load` reads the header again. */
  forget(): void {
    this.#generation = -1;
    this.#changing = false;
  }

  /** Whether `load` would do nothing. */
  get isLoaded(): boolean {
    return this.#changing || this.#generation === this.extent.generation;
  }

  /** @throws `corruption`, `format-too-new` */
  *load(): Steps<void> {
    if (this.isLoaded) return;
    const { generation, lengthBytes } = this.extent;
    if (lengthBytes > 0) {
      const bytes = yield* fetchBytes(this.extent, 0, Math.min(lengthBytes, HEADER_BYTES));
      const header = dataViewOf(bytes.slice());
      checkStructureHeader(header, "blob", BLOB_VERSION);
      const end = header.byteLength < HEADER_BYTES ? 0 : getU64(header, FIELDS.end);
      if (!(end >= HEADER_BYTES && end <= lengthBytes && end % 8 === 0))
        throw this.damaged("its header is not one", 0);
      this.#setHeader(header);
    } else {
      this.#setHeader(new DataView(new ArrayBuffer(HEADER_BYTES)));
      putStructureHeader(this.#header, "blob", BLOB_VERSION);
      this.set("end", HEADER_BYTES);
    }
    this.#generation = generation;
  }

  #setHeader(header: DataView): void {
    this.#header = header;
    this.#headerBytes = new Uint8Array(header.buffer, header.byteOffset, HEADER_BYTES);
    this.#fieldBytes = this.#headerBytes.subarray(0, SIZES_AT);
  }

  /** Writes the header, if anything was changed (A2). */
  *save(): Steps<void> {
    if (!this.#changing) return;
    const { extent } = this;
    const whole = this.#sizesChanged || extent.lengthBytes < HEADER_BYTES;
    const written = extent.write(0, whole ? this.#headerBytes : this.#fieldBytes);
    if (written !== undefined) yield written;
    const end = this.get("end");
    const resized = extent.lengthBytes < end ? extent.resize(end) : undefined;
    if (resized !== undefined) yield resized;
    this.#generation = extent.generation;
    this.#changing = this.#sizesChanged = false;
  }

  get(field: BlobField): number {
    return getU64(this.#header, FIELDS[field]);
  }

  set(field: BlobField, value: number): void {
    this.#changing = true;
    putU64(this.#header, FIELDS[field], value);
  }

  add(field: BlobField, amount: number): void {
    this.set(field, Math.max(0, this.get(field) + amount));
  }

  damaged(what: string, offset: number): PinionError {
    return damagedStructure("blob", what, offset);
  }

  /** Bytes of a room. @param what for the message. @throws `corruption` if there cannot be such a room */
  *read(offset: number, byteCount: number, what: string): Steps<Uint8Array> {
    const now = this.readNow(offset, byteCount, what);
    return now ?? (yield* fetchBytes(this.extent, offset, byteCount));
  }

  /** As `read`, if they are in memory. */
  readNow(offset: number, byteCount: number, what: string): Uint8Array | undefined {
    const fits = offset >= HEADER_BYTES && offset % 8 === 0;
    if (!(fits && offset + byteCount <= this.extent.lengthBytes))
      throw this.damaged(`${what} at ${offset}, ${byteCount} bytes`, 0);
    return this.extent.peek(offset, byteCount);
  }

  /**
   * Writes into a room that was taken, or of which bytes were read. `bytes` are copied.
   * @returns what to wait for, if a page had to be brought in
   */
  write(offset: number, bytes: Uint8Array): Promise<void> | undefined {
    this.#changing = true;
    if (offset !== this.extent.lengthBytes) return this.extent.write(offset, bytes);
    this.extent.append(bytes);
    return undefined;
  }

  /** A room of at least this size (A1). */
  *take(byteCount: number): Steps<Room> {
    const now = this.takeNow(byteCount);
    if (now !== undefined) return now;
    const size = this.#freeSize(indexOf(roundUp(byteCount)));
    const offset = this.#firstFree(size);
    return this.#takeFree(size, yield* this.read(offset, FREE_ROOM_BYTES, "a free room"));
  }

  /** As `take`; undefined: it is a free one that is not in memory. */
  takeNow(byteCount: number): Room | undefined {
    const wanted = roundUp(byteCount);
    const size = this.#freeSize(indexOf(wanted));
    if (size !== -1) {
      const free = this.readNow(this.#firstFree(size), FREE_ROOM_BYTES, "a free room");
      return free && this.#takeFree(size, free);
    }
    const offset = this.get("end");
    this.set("end", offset + wanted);
    return { offset, byteCount: wanted };
  }

  /** The size of which there is a free room, from this one on (A1); −1: none. */
  #freeSize(first: number): number {
    const end = Math.min(first + SIZES_LOOKED_AT, SIZES);
    for (let size = first; size < end; size++) if (this.#firstFree(size) !== 0) return size;
    return -1;
  }

  #firstFree(size: number): number {
    return getU64(this.#header, SIZES_AT + 8 * size);
  }

  #setFirstFree(size: number, offset: number): void {
    putU64(this.#header, SIZES_AT + 8 * size, offset);
    this.#changing = this.#sizesChanged = true;
  }

  /** @param bytes of the first free room of this size */
  #takeFree(size: number, bytes: Uint8Array): Room {
    const view = dataViewOf(bytes);
    const room = { offset: this.#firstFree(size), byteCount: view.getUint32(8, true) };
    const good = view.getUint32(12, true) === MAGIC_ROOM && indexOf(room.byteCount) === size;
    this.#checkRoom(room, good);
    this.#setFirstFree(size, getU64(view, 0));
    this.add("freeBytes", -room.byteCount);
    return room;
  }

  /** Makes a room free. */
  *release(room: Room): Steps<void> {
    this.#checkRoom(room, true);
    const size = indexOf(room.byteCount);
    const bytes = zeroBytes(FREE_ROOM_BYTES);
    const view = dataViewOf(bytes);
    putU64(view, 0, this.#firstFree(size));
    view.setUint32(8, room.byteCount, true);
    view.setUint32(12, MAGIC_ROOM, true);
    const written = this.write(room.offset, bytes);
    if (written !== undefined) yield written;
    this.#setFirstFree(size, room.offset);
    this.add("freeBytes", room.byteCount);
  }

  #checkRoom({ offset, byteCount }: Room, good: boolean): void {
    const size = byteCount <= ROOM_BYTES_MAX && byteCount === roundUp(byteCount);
    if (good && size && offset + byteCount <= this.get("end")) return;
    throw this.damaged(`a room at ${offset}, ${byteCount} bytes`, offset);
  }
}
