/**
 * Where things are in the extent of a log. Little endian. Slots of 64 KiB from offset 0; a block of the log lies in one slot. The first
 * 64 bytes of slot 0 are the header of the log, of the other slots unused:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 8 | structure header (structure.ts), kind 2, version 1 |
 * | 8 | 8 | number of the first entry that was not cut off |
 * | 16 | 8 | number that the next entry gets |
 * | 24 | 8 | time of the last entry, f64 ms |
 * | 32 | 8 | number of the first block |
 * | 40 | 8 | number of the last block |
 * | 48 | 4 | slot of the first block |
 * | 52 | 4 | slot of the last block |
 * | 56 | 4 | bytes of the last block's slot that are used, 256 … 65,536 |
 * | 60 | 4 | 1 + slot that is free, 0: none |
 *
 * A block:
 *
 * | 64 | 8 | number of the block: 0, 1, … |
 * | 72 | 8 | number of the first entry that begins here, or will |
 * | 80 | 8 | time of the last entry that began before, f64 ms |
 * | 88 | 4 | where the first entry begins, 256 … 65,536; before it lies the rest of one that began earlier |
 * | 92 | 4 | 1 + slot of the next block, and once this one is free, of the next free one; 0: none |
 * | 96 | 4 × 32 | slot of the block 2^j before this one |
 * | 224 | 32 | reserved, 0 |
 * | 256 | … | entries |
 *
 * An entry: u32 bytes of its content, plus 2^31 if that is raw; f64 ms; the content, which goes on in the next block where this one
 * ends. The first twelve bytes are never divided: fewer at the end of a block are unused.
 *
 * G1 numbers of entries and their times never go down from block to block: a block is found by either in as many steps as its
 *    number has bits, following the links to earlier blocks (a skip list without chance).
 * G2 a link is followed only to blocks that are not cut off, and the block there has the number that is expected.
 * G3 cutting off the beginning puts a whole chain of blocks in front of the free ones: a few bytes, however many there are. New blocks take
 *    free slots first. The extent does not shrink.
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
  settle,
  u32Bytes,
  zeroBytes,
  type Steps,
} from "./structure.ts";

export const LOG_VERSION = 1;
export const SLOT_BYTES = 64 * 1024;
export const BLOCK_HEADER_BYTES = 256;
export const ENTRY_HEADER_BYTES = 12;
const HEADER_BYTES = 64;
const BLOCK_FIELDS_BYTES = BLOCK_HEADER_BYTES - HEADER_BYTES;
const LINKS = 32;

export interface LogBlock {
  readonly number: number;
  readonly slot: number;
  readonly firstEntry: number;
  readonly timeBefore: number;
  readonly firstAt: number;
  /** 1 + slot; 0 none. */
  readonly next: number;
  /** Slots of earlier blocks. */
  readonly links: readonly number[];
}

export class LogLayout {
  readonly extent: ExtentAccess;
  firstEntry = 0;
  nextEntry = 0;
  lastTimeMs = 0;
  firstBlock = 0;
  lastBlock = 0;
  #firstSlot = 0;
  #lastSlot = 0;
  /** Of the last block. */
  usedBytes = BLOCK_HEADER_BYTES;
  #free = 0;
  #generation = -1;

  constructor(extent: ExtentAccess) {
    this.extent = extent;
  }

  /** The next `load` reads them again. */
  forget(): void {
    this.#generation = -1;
  }

  /** The fields are those of the extent. */
  get current(): boolean {
    return this.#generation === this.extent.generation;
  }

  get #slots(): number {
    return Math.ceil(this.extent.lengthBytes / SLOT_BYTES);
  }

  /** Where the last block can be written on. */
  get endOffset(): number {
    return this.#lastSlot * SLOT_BYTES + this.usedBytes;
  }

  /** @throws `corruption`, `format-too-new` */
  *load(): Steps<void> {
    if (this.current) return;
    const { generation, lengthBytes } = this.extent;
    if (lengthBytes > 0) {
      const bytes = yield* fetchBytes(this.extent, 0, Math.min(lengthBytes, HEADER_BYTES));
      this.#decode(dataViewOf(bytes));
    }
    this.#generation = generation;
  }

  #decode(header: DataView): void {
    checkStructureHeader(header, "log", LOG_VERSION);
    if (header.byteLength < HEADER_BYTES) throw this.damaged("it ends inside its header", 0);
    this.firstEntry = getU64(header, 8);
    this.nextEntry = getU64(header, 16);
    this.lastTimeMs = header.getFloat64(24, true);
    this.firstBlock = getU64(header, 32);
    this.lastBlock = getU64(header, 40);
    this.#firstSlot = header.getUint32(48, true);
    this.#lastSlot = header.getUint32(52, true);
    this.usedBytes = header.getUint32(56, true);
    this.#free = header.getUint32(60, true);
    const { usedBytes } = this;
    if (
      !(this.firstEntry <= this.nextEntry && this.nextEntry <= Number.MAX_SAFE_INTEGER) ||
      !(this.firstBlock <= this.lastBlock && this.lastBlock - this.firstBlock < this.#slots) ||
      this.lastBlock > Number.MAX_SAFE_INTEGER ||
      !(usedBytes >= BLOCK_HEADER_BYTES && usedBytes <= SLOT_BYTES) ||
      this.#firstSlot >= this.#slots ||
      this.endOffset > this.extent.lengthBytes ||
      !Number.isFinite(this.lastTimeMs)
    ) {
      throw this.damaged("its header is not one", 0);
    }
  }

  damaged(what: string, offset: number): PinionError {
    return damagedStructure("log", what, offset);
  }

  /** The first bytes of a log that had none: header and block 0. */
  begin(): void {
    if (this.extent.lengthBytes > 0) return;
    this.extent.append(new Uint8Array(BLOCK_HEADER_BYTES));
    const bytes = new Uint8Array(BLOCK_FIELDS_BYTES);
    dataViewOf(bytes).setUint32(88 - HEADER_BYTES, BLOCK_HEADER_BYTES, true);
    void this.extent.write(HEADER_BYTES, bytes); // of the tail that was just appended: never waits
  }

  /** Writes the header as the fields say. */
  *save(): Steps<void> {
    const bytes = zeroBytes(HEADER_BYTES);
    const view = dataViewOf(bytes);
    putStructureHeader(view, "log", LOG_VERSION);
    putU64(view, 8, this.firstEntry);
    putU64(view, 16, this.nextEntry);
    view.setFloat64(24, this.lastTimeMs, true);
    putU64(view, 32, this.firstBlock);
    putU64(view, 40, this.lastBlock);
    view.setUint32(48, this.#firstSlot, true);
    view.setUint32(52, this.#lastSlot, true);
    view.setUint32(56, this.usedBytes, true);
    view.setUint32(60, this.#free, true);
    yield* settle(this.extent.write(0, bytes));
    this.#generation = this.extent.generation;
  }

  lastBlockHere(): Steps<LogBlock> {
    return this.#blockAt(this.#lastSlot, this.lastBlock);
  }

  /** The block in a slot, which is the one expected there (G2). @throws `corruption` */
  *#blockAt(slot: number, expected: number): Steps<LogBlock> {
    const at = slot * SLOT_BYTES;
    if (at + BLOCK_HEADER_BYTES > this.extent.lengthBytes)
      throw this.damaged(`block ${expected} in slot ${slot}, which there is not`, 0);
    const view = dataViewOf(yield* fetchBytes(this.extent, at, BLOCK_HEADER_BYTES));
    const number = getU64(view, 64);
    const firstAt = view.getUint32(88, true);
    if (number !== expected || firstAt < BLOCK_HEADER_BYTES || firstAt > SLOT_BYTES)
      throw this.damaged(`slot ${slot} does not hold block ${expected}`, at);
    const links: number[] = [];
    for (let j = 0; j < LINKS; j++) links.push(view.getUint32(96 + 4 * j, true));
    return {
      number,
      slot,
      firstEntry: getU64(view, 72),
      timeBefore: view.getFloat64(80, true),
      firstAt,
      next: view.getUint32(92, true),
      links,
    };
  }

  /** The block 2^j before, undefined if that was cut off or never was. */
  *#earlier(block: LogBlock, j: number): Steps<LogBlock | undefined> {
    const number = block.number - 2 ** j;
    if (number < this.firstBlock) return undefined;
    return yield* this.#blockAt(block.links[j]!, number);
  }

  /** The block behind, undefined behind the last. */
  *after(block: LogBlock): Steps<LogBlock | undefined> {
    if (block.number === this.lastBlock) return undefined;
    return yield* this.#blockAt(block.next - 1, block.number + 1);
  }

  /** The last block that is not `beyond`, or the first (G1). */
  *find(beyond: (block: LogBlock) => boolean): Steps<LogBlock> {
    let block = yield* this.lastBlockHere();
    if (!beyond(block)) return block;
    for (let j = LINKS - 1; j >= 0; j--) {
      const earlier = yield* this.#earlier(block, j);
      if (earlier !== undefined && beyond(earlier)) block = earlier;
    }
    return (yield* this.#earlier(block, 0)) ?? block;
  }

  /** The bytes of a block as far as they are used, from the start of its slot. */
  *bytesOf(block: LogBlock): Steps<Uint8Array> {
    const at = block.slot * SLOT_BYTES;
    const used = block.number === this.lastBlock ? this.usedBytes : SLOT_BYTES;
    // Behind a full block in the last slot a few bytes may be missing: those that are unused.
    return yield* fetchBytes(this.extent, at, Math.min(used, this.extent.lengthBytes - at));
  }

  /** Writes where the last block ends. */
  *write(bytes: Uint8Array): Steps<void> {
    yield* this.#put(this.endOffset, bytes);
    this.usedBytes += bytes.length;
  }

  *#put(offset: number, bytes: Uint8Array): Steps<void> {
    if (offset === this.extent.lengthBytes) this.extent.append(bytes);
    else yield* settle(this.extent.write(offset, bytes));
  }

  /**
   * Puts a new block behind the last.
   * @param firstEntry number of the first entry that begins in it
   * @param restBytes what still comes of an entry that began earlier
   */
  *addBlock(firstEntry: number, timeBefore: number, restBytes: number): Steps<void> {
    const last = yield* this.lastBlockHere();
    const number = last.number + 1;
    const slot = yield* this.#takeSlot();
    const bytes = new Uint8Array(BLOCK_FIELDS_BYTES);
    const view = new DataView(bytes.buffer);
    const firstAt = BLOCK_HEADER_BYTES + restBytes;
    putU64(view, 0, number);
    putU64(view, 8, firstEntry);
    view.setFloat64(16, timeBefore, true);
    view.setUint32(24, Math.min(firstAt, SLOT_BYTES), true);
    // The block 2^j before this one is the block 2^(j−1) before the one 2^(j−1) before this one.
    let linked: LogBlock | undefined = last;
    for (let j = 0; j < LINKS && linked !== undefined; j++) {
      view.setUint32(32 + 4 * j, linked.slot, true);
      linked = yield* this.#earlier(linked, j);
    }
    yield* this.#put(slot * SLOT_BYTES + HEADER_BYTES, bytes);
    yield* this.#setNext(last.slot, slot + 1);
    this.lastBlock = number;
    this.#lastSlot = slot;
    this.usedBytes = BLOCK_HEADER_BYTES;
  }

  *#setNext(slot: number, next: number): Steps<void> {
    yield* settle(this.extent.write(slot * SLOT_BYTES + 92, u32Bytes(next)));
  }

  *#takeSlot(): Steps<number> {
    if (this.#free === 0) return this.#slots;
    const slot = this.#free - 1;
    const at = slot * SLOT_BYTES;
    if (at + BLOCK_HEADER_BYTES > this.extent.lengthBytes)
      throw this.damaged(`no free slot ${slot}`, 60);
    const view = dataViewOf(yield* fetchBytes(this.extent, at, BLOCK_HEADER_BYTES));
    if (getU64(view, 64) >= this.firstBlock) throw this.damaged(`slot ${slot} is not free`, at);
    this.#free = view.getUint32(92, true);
    return slot;
  }

  /** `block` becomes the first; those before it are free (G3). */
  *cutBefore(block: LogBlock): Steps<void> {
    const before = yield* this.#earlier(block, 0);
    if (before === undefined) return;
    yield* this.#setNext(before.slot, this.#free);
    this.#free = this.#firstSlot + 1;
    this.firstBlock = block.number;
    this.#firstSlot = block.slot;
  }
}
