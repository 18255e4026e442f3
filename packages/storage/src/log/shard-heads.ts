/**
 * Where each shard stands: its last LSN, the term and timestamp of that record. A segment's first record, `heads`, states
 * it for the segment's beginning, so that opening the log reads the newest segment only, whatever the index still knows,
 * and so that the index can be rebuilt from one record per segment.
 *
 * Payload of a heads record, little endian:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 16 | claim {u64 segment, u64 offset}: flushed before this record was written |
 * | 16 | 16 | {u64 sequence, u64 end} of the previous segment; zeros in the first one |
 * | 32 | 8 | generation of the previous segment |
 * | 40 | 4 | number of shards |
 * | 44 | 4 | zero |
 * | 48 | 24 each | {u16 shard, u16 zero, u32 term, u64 last LSN, u64 timestamp}, shards with records only, ascending |
 */
import type { LogPosition } from "./log.ts";
import { getU64, putU64 } from "./record-format.ts";

const FIXED_BYTES = 48;
const ENTRY_BYTES = 24;

/** What a heads record says about the segment before. */
export interface PreviousSegment {
  readonly sequence: number;
  readonly end: number;
  readonly generation: number;
}

export interface HeadsRecord {
  readonly claim: LogPosition;
  readonly previous: PreviousSegment;
  readonly heads: ShardHeads;
}

/** Payload bytes of a heads record over `shards` shards. */
export function headsPayloadBytes(shards: number): number {
  return FIXED_BYTES + ENTRY_BYTES * shards;
}

export class ShardHeads {
  readonly shardCount: number;
  readonly lsn: Float64Array;
  readonly timestamp: Float64Array;
  readonly term: Uint32Array;

  constructor(shardCount: number) {
    this.shardCount = shardCount;
    this.lsn = new Float64Array(shardCount);
    this.timestamp = new Float64Array(shardCount);
    this.term = new Uint32Array(shardCount);
  }

  copy(): ShardHeads {
    const copy = new ShardHeads(this.shardCount);
    copy.lsn.set(this.lsn);
    copy.timestamp.set(this.timestamp);
    copy.term.set(this.term);
    return copy;
  }

  /** Shards that have had a record. */
  known(): number {
    let known = 0;
    for (let shard = 0; shard < this.shardCount; shard++) if (this.lsn[shard] !== 0) known++;
    return known;
  }

  /** Takes over one record. */
  advance(shard: number, lsn: number, timestamp: number, term: number): void {
    this.lsn[shard] = lsn;
    this.timestamp[shard] = timestamp;
    this.term[shard] = term;
  }

  /** Writes the payload of a heads record at word `w`; the claim is left for the flush to fill in. @returns its bytes */
  put(words: Uint32Array, w: number, previous: PreviousSegment): number {
    words.fill(0, w, w + FIXED_BYTES / 4);
    putU64(words, w + 4, previous.sequence);
    putU64(words, w + 6, previous.end);
    putU64(words, w + 8, previous.generation);
    let at = w + FIXED_BYTES / 4;
    for (let shard = 0; shard < this.shardCount; shard++) {
      const lsn = this.lsn[shard]!;
      if (lsn === 0) continue;
      words[at] = shard;
      words[at + 1] = this.term[shard]!;
      putU64(words, at + 2, lsn);
      putU64(words, at + 4, this.timestamp[shard]!);
      at += ENTRY_BYTES / 4;
    }
    words[w + 10] = (at - w - FIXED_BYTES / 4) / (ENTRY_BYTES / 4);
    return (at - w) * 4;
  }

  /** The heads as the payload of a heads record. */
  encode(previous: PreviousSegment): Uint8Array {
    const words = new Uint32Array(headsPayloadBytes(this.shardCount) / 4);
    const bytes = this.put(words, 0, previous);
    return new Uint8Array(words.buffer, 0, bytes);
  }
}

/**
 * Reads the payload of a heads record whose checksum has been verified.
 * @param shardCount of the log, or undefined to take what is there
 * @returns undefined when the payload is not what its length says, its shards do not ascend, or the log does not have one
 */
export function decodeHeads(payload: Uint8Array, shardCount?: number): HeadsRecord | undefined {
  if (payload.length < FIXED_BYTES) return undefined;
  const copy = new Uint8Array(payload);
  const words = new Uint32Array(copy.buffer, 0, copy.length >>> 2);
  const count = words[10]!;
  if (payload.length !== headsPayloadBytes(count)) return undefined;
  const last = count === 0 ? -1 : words[(FIXED_BYTES + (count - 1) * ENTRY_BYTES) / 4]!;
  const heads = new ShardHeads(shardCount ?? last + 1);
  let before = -1;
  for (let at = FIXED_BYTES / 4; at < words.length; at += ENTRY_BYTES / 4) {
    const shard = words[at]!;
    const lsn = getU64(words, at + 2);
    const timestamp = getU64(words, at + 4);
    if (!(shard > before && shard < heads.shardCount && lsn >= 1 && timestamp >= 0))
      return undefined;
    heads.advance(shard, lsn, timestamp, words[at + 1]!);
    before = shard;
  }
  return {
    claim: { segment: getU64(words, 0), offset: getU64(words, 2) },
    previous: { sequence: getU64(words, 4), end: getU64(words, 6), generation: getU64(words, 8) },
    heads,
  };
}
