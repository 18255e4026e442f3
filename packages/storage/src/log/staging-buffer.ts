/**
 * Records on their way to the disk. The writer keeps two of these: one is filled by appends while the other is being written.
 *
 * A buffer holds one or more *regions*; a region is a run of records that goes to one place of one segment file in one
 * write, ends with a marker, and becomes flushed as a whole. Usually there is one; a second begins where a segment is full,
 * and the policy `sync` makes one per record.
 *
 * I1 `put` copies and allocates nothing: header words are stored as numbers, and what a flush needs to know of its records is
 *    kept per shard and block, not per record.
 * I2 after a record there is always room for the region's marker.
 * I3 bytes of closed regions do not change, except for claims and checksums while they are written.
 */
import { assert } from "@pinion/core";
import type { DiskFile } from "../disk/disk.ts";
import { RecordKind, type LogPosition } from "./log.ts";
import {
  CLAIM_BYTES,
  MARKER_BYTES,
  putHeader,
  putU64,
  RECORD_HEADER_BYTES,
  recordBytes,
} from "./record-format.ts";
import { headsPayloadBytes, type PreviousSegment, type ShardHeads } from "./shard-heads.ts";
import { INDEX_BLOCK_BYTES, type SparseIndex } from "./sparse-index.ts";

/** A segment file that is being written. */
export interface WritableSegment {
  readonly sequence: number;
  readonly generation: number;
  readonly fileBytes: number;
  readonly file: DiskFile;
}

/** What stays free at a segment's end: a batch's own marker, and one that vouches for it when nothing follows. */
export const SEGMENT_TAIL_BYTES = 2 * MARKER_BYTES;

export interface Region {
  readonly segment: WritableSegment;
  /** Where it lies in the buffer. */
  readonly start: number;
  end: number;
  readonly fileOffset: number;
  records: number;
  readonly firstTouch: number;
  endTouch: number;
  /** Set when the region opens its segment with a heads record. */
  readonly opening: SegmentOpening | undefined;
}

export interface SegmentOpening {
  readonly previous: PreviousSegment;
  /** As of the segment's beginning. */
  readonly heads: ShardHeads;
}

const FIRST_TOUCHES = 1024;

export class StagingBuffer {
  bytes: Uint8Array;
  #words: Uint32Array;
  /** Bytes filled, and up to where records may reach. */
  used = 0;
  limit = 0;
  records = 0;
  /** When the first record came, for policies that wait a while; the writer sets it. */
  firstAtMs = 0;
  /** Closed regions, in order. */
  readonly regions: Region[] = [];
  #open: Region | undefined;
  /** Staging offset at which the next block of the file begins. */
  #blockEnd = 0;
  /** First touch of the current block and region: older ones are not extended. */
  #touchBase = 0;
  #touches = 0;
  #touchShard = new Uint16Array(FIRST_TOUCHES);
  #touchOffset = new Uint32Array(FIRST_TOUCHES);
  #touchFirstLsn = new Float64Array(FIRST_TOUCHES);
  #touchLastLsn = new Float64Array(FIRST_TOUCHES);
  #touchTime = new Float64Array(FIRST_TOUCHES);
  /** Touch of each shard; meaningless unless it is in the current block and names the shard. */
  readonly #touchOf: Uint32Array;

  constructor(capacityBytes: number, shardCount: number) {
    this.bytes = new Uint8Array(capacityBytes);
    this.#words = new Uint32Array(this.bytes.buffer);
    this.#touchOf = new Uint32Array(shardCount);
  }

  get capacity(): number {
    return this.bytes.length;
  }

  /** The file offset that follows what is in the buffer. */
  get fileOffset(): number {
    const open = this.#region();
    return open.fileOffset + this.used - open.start;
  }

  get segment(): WritableSegment {
    return this.#region().segment;
  }

  /** Records in the region that is open. */
  get openRecords(): number {
    return this.#region().records;
  }

  /** Empties the buffer for a larger record than it holds. */
  replaceMemory(capacityBytes: number): void {
    assert(this.used === 0, "the memory of a staging buffer in use is replaced");
    this.bytes = new Uint8Array(capacityBytes);
    this.#words = new Uint32Array(this.bytes.buffer);
  }

  /** Opens a region that goes to `fileOffset` of `segment`. */
  open(segment: WritableSegment, fileOffset: number, opening?: SegmentOpening): void {
    assert(this.#open === undefined, "a region is opened inside another");
    const region: Region = {
      segment,
      start: this.used,
      end: this.used,
      fileOffset,
      records: 0,
      firstTouch: this.#touches,
      endTouch: this.#touches,
      opening,
    };
    this.#open = region;
    this.#touchBase = this.#touches;
    if (opening) this.#putHeads(opening);
    const delta = this.used - this.fileOffset;
    this.#blockEnd = nextBlock(this.fileOffset) + delta;
    this.limit = Math.min(
      this.capacity - MARKER_BYTES,
      segment.fileBytes - SEGMENT_TAIL_BYTES + delta,
    );
  }

  /** Ends the open region with a marker. Its claim is filled in when the region is written. */
  close(): void {
    const region = this.#region();
    putHeader(this.#words, this.used, CLAIM_BYTES, 0, 0, RecordKind.marker, 0, 0);
    this.used += MARKER_BYTES;
    assert(this.used <= this.capacity, "a staging buffer has no room for its marker");
    region.end = this.used;
    region.endTouch = this.#touches;
    this.regions.push(region);
    this.#open = undefined;
  }

  /** Gives up an open region that holds nothing. */
  abandon(): void {
    assert(this.#region().start === this.used, "a region with records is given up");
    this.#open = undefined;
  }

  /** Copies one record in. The caller has checked that `used + recordBytes(…) ≤ limit`. */
  put(
    payload: Uint8Array,
    payloadBytes: number,
    lsn: number,
    timestamp: number,
    kind: number,
    shard: number,
    term: number,
  ): void {
    const at = this.used;
    if (at >= this.#blockEnd) this.#enterBlock(at);
    const touch = this.#touchOf[shard]!;
    if (touch >= this.#touchBase && touch < this.#touches && this.#touchShard[touch] === shard) {
      this.#touchLastLsn[touch] = lsn;
    } else {
      this.#touch(shard, lsn, timestamp);
    }
    putHeader(this.#words, at, payloadBytes, lsn, timestamp, kind, shard, term);
    this.bytes.set(payload, at + RECORD_HEADER_BYTES);
    this.used = at + recordBytes(payloadBytes);
    this.records++;
    this.#open!.records++;
  }

  /** Writes `flushed` into the region's claims: called just before the region is written. */
  fillClaims(region: Region, flushed: LogPosition): void {
    this.#putClaim(region.end - CLAIM_BYTES, flushed);
    if (region.opening) this.#putClaim(region.start + RECORD_HEADER_BYTES, flushed);
  }

  /** Tells `progress` the shards the region holds records of, and the last of their LSNs; later calls win. */
  lastLsns(region: Region, progress: { wrote(shard: number, lsn: number): void }): void {
    for (let touch = region.firstTouch; touch < region.endTouch; touch++) {
      progress.wrote(this.#touchShard[touch]!, this.#touchLastLsn[touch]!);
    }
  }

  /** Adds the region's samples to its segment's index. */
  sample(region: Region, index: SparseIndex): void {
    for (let touch = region.firstTouch; touch < region.endTouch; touch++) {
      index.add(
        this.#touchShard[touch]!,
        this.#touchFirstLsn[touch]!,
        this.#touchOffset[touch]!,
        this.#touchTime[touch]!,
      );
    }
  }

  /** Forgets everything; keeps the memory, unless it was enlarged beyond `capacityBytes`. */
  reset(capacityBytes: number): void {
    assert(this.#open === undefined, "a staging buffer is reset while it is filled");
    this.used = 0;
    this.records = 0;
    this.regions.length = 0;
    this.#touches = 0;
    if (this.capacity > capacityBytes) this.replaceMemory(capacityBytes);
  }

  #region(): Region {
    assert(this.#open !== undefined, "a staging buffer is used before it was opened");
    return this.#open;
  }

  #putHeads(opening: SegmentOpening): void {
    const payloadBytes = headsPayloadBytes(opening.heads.known());
    putHeader(this.#words, this.used, payloadBytes, 0, 0, RecordKind.heads, 0, 0);
    opening.heads.put(this.#words, (this.used + RECORD_HEADER_BYTES) >>> 2, opening.previous);
    this.used += recordBytes(payloadBytes);
  }

  #putClaim(at: number, position: LogPosition): void {
    putU64(this.#words, at >>> 2, position.segment);
    putU64(this.#words, (at >>> 2) + 2, position.offset);
  }

  #enterBlock(at: number): void {
    const delta = at - this.fileOffset;
    this.#blockEnd = nextBlock(at - delta) + delta;
    this.#touchBase = this.#touches;
  }

  #touch(shard: number, lsn: number, timestamp: number): void {
    const touch = this.#touches++;
    if (touch === this.#touchShard.length) this.#growTouches();
    this.#touchOf[shard] = touch;
    this.#touchShard[touch] = shard;
    this.#touchOffset[touch] = this.fileOffset;
    this.#touchFirstLsn[touch] = lsn;
    this.#touchLastLsn[touch] = lsn;
    this.#touchTime[touch] = timestamp;
  }

  /** Bounded by the records a buffer holds. */
  #growTouches(): void {
    const length = this.#touchShard.length * 2;
    this.#touchShard = grown(this.#touchShard, new Uint16Array(length));
    this.#touchOffset = grown(this.#touchOffset, new Uint32Array(length));
    this.#touchFirstLsn = grown(this.#touchFirstLsn, new Float64Array(length));
    this.#touchLastLsn = grown(this.#touchLastLsn, new Float64Array(length));
    this.#touchTime = grown(this.#touchTime, new Float64Array(length));
  }
}

function nextBlock(fileOffset: number): number {
  return (Math.floor(fileOffset / INDEX_BLOCK_BYTES) + 1) * INDEX_BLOCK_BYTES;
}

function grown<T extends Uint16Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
