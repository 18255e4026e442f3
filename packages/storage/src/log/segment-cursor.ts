/**
 * Walks the records of one segment file in order, through a buffer it refills.
 *
 * I1 the buffer grows to the chunk that was asked for where so much is to be read, and beyond that only for a record that is larger than it,
 *    so memory is bounded by the largest record.
 * I2 a record's payload is a view of the buffer, valid until the next `fill`.
 */
import type { DiskFile } from "../disk/disk.ts";
import { RECORD_HEADER_BYTES, RecordParser, Verdict } from "./record-format.ts";

const BUFFER_BYTES_MIN = 64 * 1024;

/** Not much more than there is to read: a small log is opened with small buffers. */
const bufferBytes = (chunkBytes: number, leftBytes: number): number =>
  Math.min(chunkBytes, Math.max(BUFFER_BYTES_MIN, Math.ceil(leftBytes / 8) * 8));

export class SegmentCursor {
  readonly parser: RecordParser;
  readonly #file: DiskFile;
  readonly #chunkBytes: number;
  #buffer: Uint8Array;
  /** What of the file is in the buffer. */
  #bufferOffset: number;
  #filled = 0;
  /** The next record to parse, in the file. */
  #offset: number;
  /** No record is read beyond; may be moved forward between reads. */
  limit: number;

  /**
   * @param offset where a record begins
   * @param chunkBytes how much is read at a time, a multiple of 8; less where less is to be read
   */
  constructor(
    file: DiskFile,
    generation: number,
    offset: number,
    limit: number,
    chunkBytes: number,
  ) {
    this.#file = file;
    this.parser = new RecordParser(generation);
    this.#chunkBytes = chunkBytes;
    this.#buffer = new Uint8Array(bufferBytes(chunkBytes, limit - offset));
    this.parser.use(this.#buffer);
    this.#bufferOffset = offset;
    this.#offset = offset;
    this.limit = limit;
  }

  /** Where the next record begins, or the record that `step` did not accept. */
  get offset(): number {
    return this.#offset;
  }

  /** Where the record that `step` returned last begins. */
  get recordOffset(): number {
    return this.#bufferOffset + this.parser.at;
  }

  /** The file's bytes from `offset` on that are in the buffer. */
  get rest(): Uint8Array {
    return this.#buffer.subarray(this.#offset - this.#bufferOffset, this.#filled);
  }

  /**
   * The next record, described by `parser`. `more`: call `fill`, then again. After `invalid` and `unsupported` the cursor stays
   * where it is.
   */
  step(): Verdict {
    const { parser } = this;
    const verdict = parser.parse(
      this.#offset - this.#bufferOffset,
      this.#filled,
      this.#bufferOffset,
    );
    if (verdict === Verdict.record) {
      this.#offset = this.#bufferOffset + parser.next;
    } else if (verdict === Verdict.more && this.#offset + parser.needBytes > this.limit) {
      // A header that promises more than there is: the end, or damage.
      return Verdict.invalid;
    }
    return verdict;
  }

  /** Whether nothing but zero or one incomplete header lies between the cursor and the limit. */
  get atLimit(): boolean {
    return this.#offset + RECORD_HEADER_BYTES > this.limit;
  }

  /** Brings in what the last `step` lacked, or the next chunk. @returns false when the file has nothing more */
  async fill(): Promise<boolean> {
    const keep = this.#offset - this.#bufferOffset;
    const kept = Math.max(0, this.#filled - keep);
    const wanted = bufferBytes(this.#chunkBytes, this.limit - this.#offset);
    const needBytes = Math.max(this.parser.needBytes, wanted);
    if (needBytes > this.#buffer.length) {
      const grown = new Uint8Array((needBytes + 7) & -8);
      grown.set(this.#buffer.subarray(keep, this.#filled));
      this.#buffer = grown;
      this.parser.use(grown);
    } else if (keep > 0) {
      this.#buffer.copyWithin(0, keep, this.#filled);
    }
    this.#bufferOffset = this.#offset;
    const room = Math.min(this.#buffer.length, this.limit - this.#offset) - kept;
    this.#filled = kept;
    if (room <= 0) return false;
    const read = await this.#file.read(
      this.#bufferOffset + kept,
      this.#buffer.subarray(kept, kept + room),
    );
    this.#filled = kept + read;
    return read > 0;
  }
}
