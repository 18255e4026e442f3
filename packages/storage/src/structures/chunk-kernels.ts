/**
 * Where chunks end and what their hashes are, as a seam: this in JavaScript, and the addon's (addon-chunk-kernels.ts), which give the same.
 *
 * FastCDC (Xia et al., USENIX ATC 2016): a gear hash over the last 32 bytes, no cut before a least length (whose bytes are not even looked
 * at), fewer cuts before a normal length than behind it. 8, 12 and 64 KiB make chunks of 12.5 KiB on average. Measured on 27 MB of source text in
 * nine versions: 0.317 of it is kept; the paper's 2, 8 and 64 KiB keep 0.285 and take twice the time, 16, 20 and 64 KiB keep 0.415.
 *
 * SHA-256, because processors have instructions for it: in JavaScript 1.3 GB/s of 12 KiB chunks, twice BLAKE2s.
 *
 * C2 the table, lengths and masks are part of the format: other ones would find no chunk again that is stored.
 * C3 bytes, places and lengths that are not in the memory are mistakes of ours (`internal`).
 */
import { hash } from "node:crypto";
import { assert } from "@pinion/core";

export const CHUNK_BYTES_MIN = 8 * 1024;
const CHUNK_BYTES_NORMAL = 12 * 1024;
export const CHUNK_BYTES_MAX = 64 * 1024;
export const HASH_BYTES = 32;
/** What memory begins with that is hashed off the event loop. */
export const TICKET_BYTES = 4;
/** Chunks that are hashed by one call. */
export const CHUNKS_AT_ONCE = 128;
/** Of a chunk in `places`: where its hash goes, where it begins, its length. */
export const PLACE_WORDS = 3;
/** Bytes the hash remembers: each byte moves it up by a bit. */
const WINDOW_BYTES = 32;
/** Upper bits, because those know the whole window. One place in 8,192 before the normal length, one in 2,048 behind it. */
const MASK_BEFORE = -1 << (32 - 13);
const MASK_BEHIND = -1 << (32 - 11);

/** 256 numbers without a pattern: murmur3's finaliser of multiples of the golden ratio. */
const GEAR = Int32Array.from({ length: 256 }, (_, byte) => {
  let h = Math.imul(byte + 1, 0x9e3779b9);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
});

/** @returns the end of the first window in `from` … `to` that the mask lets through, or −1 */
function findCut(bytes: Uint8Array, from: number, to: number, mask: number): number {
  let h = 0;
  for (let i = from - WINDOW_BYTES; i < from; i++) h = ((h << 1) + GEAR[bytes[i]!]!) | 0;
  for (let i = from; i < to; i++) {
    h = ((h << 1) + GEAR[bytes[i]!]!) | 0;
    if ((h & mask) === 0) return i + 1;
  }
  return -1;
}

function endOfChunk(bytes: Uint8Array, start: number, end: number, scanned: number): number {
  const normal = Math.min(end, start + CHUNK_BYTES_NORMAL);
  const limit = Math.min(end, start + CHUNK_BYTES_MAX);
  let from = start + Math.max(scanned, CHUNK_BYTES_MIN);
  if (from < normal) {
    const cut = findCut(bytes, from, normal, MASK_BEFORE);
    if (cut !== -1) return cut;
    from = normal;
  }
  if (from < limit) {
    const cut = findCut(bytes, from, limit, MASK_BEHIND);
    if (cut !== -1) return cut;
  }
  return limit - start === CHUNK_BYTES_MAX ? limit : -1;
}

export interface ChunkKernels {
  /**
   * Where the chunk that begins at `start` ends; −1 if its bytes up to `end` do not say.
   * @param scanned bytes of it that were looked at before, in vain
   */
  cut(bytes: Uint8Array, start: number, end: number, scanned: number): number;
  /** Puts the hashes of the first `count` chunks at `places` where they belong, in the same memory. */
  hash(memory: Uint8Array, places: Uint32Array, count: number): void;
  /**
   * The same off the event loop; undefined: not possible. The first word of `memory` is a ticket: who raises it by one from `ticket` hashes, and
   * raises it again when the hashes are there. The event loop may be first, and need not wait then. `places` may be used again at once; otherwise the bytes must stay as they are, and the
   * memory must not be detached, until it is done.
   */
  hashLater(
    memory: Uint8Array,
    places: Uint32Array,
    count: number,
    ticket: number,
  ): Promise<void> | undefined;
}

/** C3. */
export function checkCut(bytes: Uint8Array, start: number, end: number, scanned: number): void {
  const known =
    bytes instanceof Uint8Array &&
    Number.isSafeInteger(start) &&
    Number.isSafeInteger(end) &&
    Number.isSafeInteger(scanned);
  if (known && start >= 0 && start <= end && end <= bytes.length && end < 2 ** 32 && scanned >= 0)
    return;
  assert(false, `a cut of bytes ${start} to ${end} of ${bytes?.length}`);
}

/** C3. */
export function checkPlaces(memory: Uint8Array, places: Uint32Array, count: number): void {
  const known =
    memory instanceof Uint8Array &&
    places instanceof Uint32Array &&
    Number.isSafeInteger(count) &&
    count >= 0 &&
    count <= CHUNKS_AT_ONCE &&
    count * PLACE_WORDS <= places.length;
  if (!known) assert(false, `hashes of ${count} chunks`);
  for (let i = 0; i < count * PLACE_WORDS; i += PLACE_WORDS) {
    const isInside =
      places[i]! + HASH_BYTES <= memory.length && places[i + 1]! + places[i + 2]! <= memory.length;
    assert(isInside, "a chunk that is not in the memory");
  }
}

/** C3. */
export function checkTicket(memory: Uint8Array, places: Uint32Array, count: number): void {
  assert(memory.byteOffset % 4 === 0, "a ticket that is no word");
  for (let i = 0; i < count * PLACE_WORDS; i += PLACE_WORDS)
    assert(places[i]! >= TICKET_BYTES, "a hash in place of a ticket");
}

export const javascriptChunkKernels: ChunkKernels = Object.freeze({
  cut(bytes: Uint8Array, start: number, end: number, scanned: number): number {
    checkCut(bytes, start, end, scanned);
    return endOfChunk(bytes, start, end, scanned);
  },

  hash(memory: Uint8Array, places: Uint32Array, count: number): void {
    checkPlaces(memory, places, count);
    for (let i = 0; i < count * PLACE_WORDS; i += PLACE_WORDS) {
      const from = places[i + 1]!;
      const chunk = memory.subarray(from, from + places[i + 2]!);
      memory.set(hash("sha256", chunk, "buffer"), places[i]!);
    }
  },

  hashLater(): undefined {
    return undefined;
  },
});
