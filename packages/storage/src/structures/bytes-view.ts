/**
 * The resident bytes of an extent, read without waiting, as a `DataView` reads them. It shows the extent as the turn sees it, own writes included.
 *
 * V1 it is good until the end of the turn; then everything throws `view-expired`.
 * V2 it never hands out the memory itself, except by the method called unsafe.
 * V3 between two looks at it the extent may have changed, grown, or come out of memory: each look finds that out for itself.
 */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { copyOf } from "../extent/copies.ts";

const WINDOW_BYTES = 4096;
const NOTHING = new DataView(new ArrayBuffer(0));

/** All methods throw `invalid-argument` beyond the end, `view-expired`, `not-resident`. */
export class BytesView {
  readonly #extent: ExtentAccess;
  /** The bytes from `#start`, as of `#generation`: a page, or what was asked for where that lies in two. */
  #window: DataView = NOTHING;
  #start = 0;
  #generation = -1;

  /** Use `BytesHandle.view`. */
  constructor(extent: ExtentAccess) {
    this.#extent = extent;
    this.#alive();
  }

  /** At this moment. */
  get length(): number {
    this.#alive();
    return this.#extent.lengthBytes;
  }

  getInt8(offset: number): number {
    return this.#at(offset, 1).getInt8(offset - this.#start);
  }

  getUint8(offset: number): number {
    return this.#at(offset, 1).getUint8(offset - this.#start);
  }

  getInt16(offset: number, littleEndian?: boolean): number {
    return this.#at(offset, 2).getInt16(offset - this.#start, littleEndian);
  }

  getUint16(offset: number, littleEndian?: boolean): number {
    return this.#at(offset, 2).getUint16(offset - this.#start, littleEndian);
  }

  getInt32(offset: number, littleEndian?: boolean): number {
    return this.#at(offset, 4).getInt32(offset - this.#start, littleEndian);
  }

  getUint32(offset: number, littleEndian?: boolean): number {
    return this.#at(offset, 4).getUint32(offset - this.#start, littleEndian);
  }

  getFloat32(offset: number, littleEndian?: boolean): number {
    return this.#at(offset, 4).getFloat32(offset - this.#start, littleEndian);
  }

  getFloat64(offset: number, littleEndian?: boolean): number {
    return this.#at(offset, 8).getFloat64(offset - this.#start, littleEndian);
  }

  getBigInt64(offset: number, littleEndian?: boolean): bigint {
    return this.#at(offset, 8).getBigInt64(offset - this.#start, littleEndian);
  }

  getBigUint64(offset: number, littleEndian?: boolean): bigint {
    return this.#at(offset, 8).getBigUint64(offset - this.#start, littleEndian);
  }

  /** A copy of the bytes `from` (default 0) up to `to`, exclusive (default: the end). */
  toBytes(from = 0, to = this.length): Uint8Array {
    return copyOf(this.unsafeBytes(from, to));
  }

  /**
   * The memory of these bytes itself, for the hottest loops: good until the next write to the extent or the end of the turn; never write to it.
   * Later it shows something else, or reads as undefined; nothing is checked.
   */
  unsafeBytes(from = 0, to = this.length): Uint8Array {
    if (!(Number.isSafeInteger(from) && Number.isSafeInteger(to) && from <= to))
      throw new PinionError("invalid-argument", `bytes ${from} to ${to} of an extent`);
    return this.#peek(from, to - from);
  }

  #at(offset: number, byteCount: number): DataView {
    const { byteLength } = this.#window;
    const extent = this.#extent;
    const isWhole = Number.isInteger(offset);
    const isHere =
      isWhole && offset >= this.#start && offset + byteCount <= this.#start + byteLength;
    if (!isHere || extent.ended || extent.generation !== this.#generation || !extent.resident)
      this.#enter(offset, byteCount);
    return this.#window;
  }

  #enter(offset: number, byteCount: number): void {
    if (!Number.isSafeInteger(offset))
      throw new PinionError("invalid-argument", `a byte at ${offset}`);
    this.#alive();
    const start = offset - (offset % WINDOW_BYTES);
    const end = Math.min(start + WINDOW_BYTES, this.#extent.lengthBytes);
    const isWithin = offset >= 0 && offset + byteCount <= end;
    const bytes = isWithin ? this.#peek(start, end - start) : this.#peek(offset, byteCount);
    this.#start = isWithin ? start : offset;
    this.#window = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#generation = this.#extent.generation;
  }

  #peek(offset: number, byteCount: number): Uint8Array {
    this.#alive();
    const bytes = this.#extent.peek(offset, byteCount);
    if (bytes === undefined) throw notResident();
    return bytes;
  }

  #alive(): void {
    const { ended, resident } = this.#extent;
    if (ended) {
      throw new PinionError(
        "view-expired",
        "this view was made in a turn that is over: make one in each turn",
      );
    }
    if (!resident) throw notResident();
  }
}

function notResident(): PinionError {
  return new PinionError(
    "not-resident",
    "these bytes are not in memory: pin their extent (memory profile hot or warm), or use read and update, which wait",
  );
}
