/**
 * Chunks, each once. Little endian; a room holds
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | magic `CHNK` |
 * | 4 | 4 | bytes of the room |
 * | 8 | 4 | bytes of the chunk, 1 … 65,536 |
 * | 12 | 4 | how many times blobs refer to it |
 * | 16 | 32 | SHA-256 of its bytes |
 * | 48 | … | its bytes |
 *
 * Equal hashes are taken for equal bytes.
 */
import { keyOf, type BlobIndex } from "./blob-index.ts";
import type { BlobLayout } from "./blob-layout.ts";
import { CHUNK_HASH_AT, CHUNK_HEADER_BYTES, type ChunkBatch } from "./chunk-batch.ts";
import { CHUNK_BYTES_MAX, HASH_BYTES } from "./chunk-kernels.ts";
import { dataViewOf, u32Bytes, type Steps } from "./structure.ts";

const HEADER_BYTES = CHUNK_HEADER_BYTES;
const HASH_AT = CHUNK_HASH_AT;
const MAGIC_CHUNK = 0x4b4e4843; // "CHNK"
const REFERENCES_MAX = 2 ** 32 - 1;

/** Where a blob finds one of its chunks. */
export interface ChunkRef {
  readonly offset: number;
  readonly byteCount: number;
}

interface ChunkHeader {
  readonly roomBytes: number;
  readonly byteCount: number;
  readonly references: number;
  /** The header itself, with the hash. */
  readonly view: DataView;
}

export class BlobChunks {
  readonly #layout: BlobLayout;
  readonly #index: BlobIndex;

  constructor(layout: BlobLayout, index: BlobIndex) {
    this.#layout = layout;
    this.#index = index;
  }

  /** One more reference to a chunk with the bytes of that one, whose hash is known. */
  *store(batch: ChunkBatch, index: number): Steps<ChunkRef> {
    const { view } = batch;
    const at = batch.offsetOf(index);
    const byteCount = batch.lengthOf(index);
    const key = keyOf(view, at + HASH_AT);
    for (const offset of this.#index.findNow(key) ?? (yield* this.#index.find(key))) {
      const known = yield* this.#header(offset);
      if (known.references === REFERENCES_MAX || !isSameHash(known.view, view, at)) continue;
      yield* this.#setReferences(offset, known.references + 1);
      return { offset, byteCount };
    }
    const roomBytes = HEADER_BYTES + byteCount;
    const room = this.#layout.takeNow(roomBytes) ?? (yield* this.#layout.take(roomBytes));
    // Right after the search, before anything is written.
    const entering = this.#index.insert(key, room.offset);
    if (entering !== undefined) yield* entering;
    view.setUint32(at, MAGIC_CHUNK, true);
    view.setUint32(at + 4, room.byteCount, true);
    view.setUint32(at + 8, byteCount, true);
    view.setUint32(at + 12, 1, true);
    const written = this.#layout.write(room.offset, batch.bytes.subarray(at, at + roomBytes));
    if (written !== undefined) yield written;
    this.#layout.add("chunks", 1);
    this.#layout.add("chunkBytes", byteCount);
    return { offset: room.offset, byteCount };
  }

  /** A copy of the bytes of a chunk. */
  *read({ offset, byteCount }: ChunkRef): Steps<Uint8Array> {
    const bytes = yield* this.#layout.read(offset, HEADER_BYTES + byteCount, "a chunk");
    if (this.#decode(bytes, offset).byteCount !== byteCount)
      throw this.#layout.damaged(`no chunk of ${byteCount} bytes at ${offset}`, offset);
    return bytes.slice(HEADER_BYTES);
  }

  /** One reference less; the last takes the chunk along. */
  *release({ offset }: ChunkRef): Steps<void> {
    const header = yield* this.#header(offset);
    if (header.references > 1) return yield* this.#setReferences(offset, header.references - 1);
    const { roomBytes, byteCount } = header;
    if (!(yield* this.#index.remove(keyOf(header.view, HASH_AT), offset)))
      throw this.#layout.damaged(`the chunk at ${offset} is not in the index`, offset);
    yield* this.#layout.release({ offset, byteCount: roomBytes });
    this.#layout.add("chunks", -1);
    this.#layout.add("chunkBytes", -byteCount);
  }

  *#header(offset: number): Steps<ChunkHeader> {
    return this.#decode(yield* this.#layout.read(offset, HEADER_BYTES, "a chunk"), offset);
  }

  #decode(bytes: Uint8Array, offset: number): ChunkHeader {
    const view = dataViewOf(bytes);
    const header = {
      roomBytes: view.getUint32(4, true),
      byteCount: view.getUint32(8, true),
      references: view.getUint32(12, true),
      view,
    };
    const good = view.getUint32(0, true) === MAGIC_CHUNK && header.references > 0;
    if (
      !good ||
      header.byteCount > CHUNK_BYTES_MAX ||
      header.roomBytes < HEADER_BYTES + header.byteCount
    )
      throw this.#layout.damaged(`no chunk at ${offset}`, offset);
    return header;
  }

  *#setReferences(offset: number, references: number): Steps<void> {
    const written = this.#layout.write(offset + 12, u32Bytes(references));
    if (written !== undefined) yield written;
  }
}

/** @param at where the header begins in `b` */
function isSameHash(a: DataView, b: DataView, at: number): boolean {
  for (let i = HASH_AT; i < HASH_AT + HASH_BYTES; i += 4)
    if (a.getUint32(i, true) !== b.getUint32(at + i, true)) return false;
  return true;
}
