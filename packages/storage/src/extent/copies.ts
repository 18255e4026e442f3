/**
 * Copies for callers to keep. Short ones lie in pieces of 16 KiB, because an allocation for each costs more than copying it; a piece lives as
 * long as one of its copies, and cannot be transferred to another thread.
 */

import { markAsUntransferable } from "node:worker_threads";

/** Memory of its own. Not `bytes.slice`: a Buffer's is a view. */
export const copyOf = (bytes: Uint8Array, start = 0, end = bytes.length): Uint8Array =>
  Uint8Array.prototype.slice.call(bytes, start, end);

const SLAB_BYTES = 16 * 1024;
const POOLED_BYTES_MAX = 1024;
const LOOP_BYTES_MAX = 32;

class Pool {
  #slab = new ArrayBuffer(0);
  #used = 0;

  bytes(length: number): Uint8Array {
    if (length > POOLED_BYTES_MAX) return new Uint8Array(length);
    if (this.#used + length > this.#slab.byteLength) {
      this.#slab = new ArrayBuffer(SLAB_BYTES);
      // Others' bytes are in it.
      markAsUntransferable(this.#slab);
      this.#used = 0;
    }
    const bytes = new Uint8Array(this.#slab, this.#used, length);
    this.#used += (length + 7) & -8; // so that they can be looked at as numbers
    return bytes;
  }

  copy(bytes: Uint8Array, start: number, end: number): Uint8Array {
    const length = end - start;
    if (length > POOLED_BYTES_MAX) return copyOf(bytes, start, end);
    const copy = this.bytes(length);
    if (length > LOOP_BYTES_MAX)
      copy.set(length === bytes.length ? bytes : bytes.subarray(start, end));
    else for (let i = 0; i < length; i++) copy[i] = bytes[start + i] as number;
    return copy;
  }
}

/** What callers get lies apart from what is on its way into the log. */
const given = new Pool();
const kept = new Pool();

/** Bytes to be filled, for records. */
export const pooledBytes = (length: number): Uint8Array => kept.bytes(length);

/** A copy that stays inside. */
export const keptCopy = (bytes: Uint8Array): Uint8Array => kept.copy(bytes, 0, bytes.length);

/** `bytes[start … end)` for a caller to keep. */
export const pooledCopy = (bytes: Uint8Array, start: number, end: number): Uint8Array =>
  given.copy(bytes, start, end);
