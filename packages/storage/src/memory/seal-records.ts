/**
 * Fills in the checksums of log records that lie one after the other in a buffer: what `sealAndWrite` of the
 * native door does on its way to the disk. This is the reference the addon is tested against byte for byte; the
 * portable door and `SimDisk` run it as it is.
 *
 * Of a record's 32-byte header (log/record-format.ts has the whole table) only this matters here, little endian:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | checksum: CRC32C of the seed prefix, then of bytes 4 … 32 + payload length |
 * | 4 | 4 | payload length |
 *
 * The seed prefix is {u64 segment generation, u64 offset of the record in its file}: a valid record of a recycled
 * segment, or one that was written to a wrong place, never looks valid again. Records start at multiples of 8; the
 * padding between them is zero and not covered.
 */
import { assert } from "@pinion/core";
import { crc32c } from "@node-rs/crc32";

export const RECORD_HEADER_BYTES = 32;
/** Records start at multiples of this. */
export const RECORD_ALIGN_BYTES = 8;

const prefix = new Uint8Array(16);
const prefixView = new DataView(prefix.buffer);

/** State of the checksum before the record's own bytes. */
function seedOf(generation: number, fileOffset: number): number {
  prefixView.setUint32(0, generation % 2 ** 32, true);
  prefixView.setUint32(4, Math.floor(generation / 2 ** 32), true);
  prefixView.setUint32(8, fileOffset % 2 ** 32, true);
  prefixView.setUint32(12, Math.floor(fileOffset / 2 ** 32), true);
  return crc32c(prefix);
}

/**
 * The checksum that belongs into the header of the record that starts at `at` in `bytes` and at `fileOffset` in its file.
 * @param payloadBytes length of the payload; the caller has checked that it ends inside `bytes`.
 */
export function recordChecksum(
  bytes: Uint8Array,
  at: number,
  payloadBytes: number,
  generation: number,
  fileOffset: number,
): number {
  return crc32c(
    bytes.subarray(at + 4, at + RECORD_HEADER_BYTES + payloadBytes),
    seedOf(generation, fileOffset),
  );
}

/**
 * Fills in the checksum of every record in the first `length` bytes.
 * @param fileOffset where byte 0 of `bytes` goes in the file; a multiple of 8.
 */
export function sealRecords(
  bytes: Uint8Array,
  length: number,
  generation: number,
  fileOffset: number,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  let at = 0;
  while (at < length) {
    assert(
      length - at >= RECORD_HEADER_BYTES,
      `a record header is cut off at ${at} of ${length} bytes`,
    );
    const payloadBytes = view.getUint32(at + 4, true);
    const next =
      (at + RECORD_HEADER_BYTES + payloadBytes + RECORD_ALIGN_BYTES - 1) & -RECORD_ALIGN_BYTES;
    assert(
      next <= length,
      `the record at ${at} of ${length} bytes claims ${payloadBytes} bytes of payload`,
    );
    view.setUint32(at, recordChecksum(bytes, at, payloadBytes, generation, fileOffset + at), true);
    at = next;
  }
}
