/**
 * Copies for callers to keep. Short ones lie in pieces of 16 KiB, because an allocation for each costs more than copying it; a piece lives as
 * long as one of its copies.
 */

/** Memory of its own. Not `bytes.slice`: a Buffer's is a view. */
export const copyOf = (bytes: Uint8Array, start = 0, end = bytes.length): Uint8Array =>
  Uint8Array.prototype.slice.call(bytes, start, end);

const SLAB_BYTES = 16 * 1024;
const POOLED_BYTES_MAX = 1024;
const LOOP_BYTES_MAX = 32;
let slab = new ArrayBuffer(SLAB_BYTES);
let slabUsed = 0;

/** Bytes to be filled, the caller's own. */
export function pooledBytes(length: number): Uint8Array {
  if (length > POOLED_BYTES_MAX) return new Uint8Array(length);
  if (slabUsed + length > SLAB_BYTES) {
    slab = new ArrayBuffer(SLAB_BYTES);
    slabUsed = 0;
  }
  const bytes = new Uint8Array(slab, slabUsed, length);
  slabUsed += (length + 7) & -8; // so that they can be looked at as numbers
  return bytes;
}

/** `bytes[start … end)` in memory that is the caller's own. */
export function pooledCopy(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const length = end - start;
  if (length > POOLED_BYTES_MAX) return copyOf(bytes, start, end);
  const copy = pooledBytes(length);
  if (length > LOOP_BYTES_MAX)
    copy.set(length === bytes.length ? bytes : bytes.subarray(start, end));
  else for (let i = 0; i < length; i++) copy[i] = bytes[start + i] as number;
  return copy;
}
