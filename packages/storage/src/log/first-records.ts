/**
 * What an opening writes into the new segment before the segment gets its name: the heads record, the records of the old
 * tail that nothing vouched for, and a marker that does.
 *
 * I1 when `writeFirstRecords` resolves, all of it is flushed, and a claim says so.
 */
import type { DiskFile } from "../disk/disk.ts";
import { BlockSampler } from "./block-sampler.ts";
import { RecordKind, type LogPosition } from "./log.ts";
import { damage, nextRecord, SCAN_CHUNK_BYTES } from "./log-tail.ts";
import {
  CLAIM_BYTES,
  isInternal,
  MARKER_BYTES,
  putHeader,
  putU64,
  RECORD_HEADER_BYTES,
  recordBytes,
  Verdict,
} from "./record-format.ts";
import { SegmentCursor } from "./segment-cursor.ts";
import { SEGMENT_HEADER_BYTES } from "./segment-header.ts";
import { headsPayloadBytes, type PreviousSegment, type ShardHeads } from "./shard-heads.ts";
import type { SparseIndex } from "./sparse-index.ts";
import { SEGMENT_TAIL_BYTES, type WritableSegment } from "./staging-buffer.ts";

const CHUNK_BYTES = 1 << 20;
const FILE_UNIT_BYTES = 4096;

/** Records to be copied: whole ones, of one segment. */
export interface TailRecords {
  readonly file: DiskFile;
  readonly sequence: number;
  readonly generation: number;
  readonly from: number;
  readonly to: number;
}

export interface FirstRecords {
  /** The end of the previous segment; flushed. */
  readonly previous: PreviousSegment;
  /** Where each shard stands there. */
  readonly heads: ShardHeads;
  readonly tail: TailRecords | undefined;
}

/** Size of a file that holds these and is otherwise a segment of `segmentBytes`. */
export function fileBytesFor(first: FirstRecords, segmentBytes: number): number {
  const heads = recordBytes(headsPayloadBytes(first.heads.known()));
  const tail = first.tail ? first.tail.to - first.tail.from : 0;
  const needed = SEGMENT_HEADER_BYTES + heads + tail + MARKER_BYTES + SEGMENT_TAIL_BYTES;
  return Math.max(segmentBytes, Math.ceil(needed / FILE_UNIT_BYTES) * FILE_UNIT_BYTES);
}

/** @returns where the next record goes, and the index of the copied ones */
export async function writeFirstRecords(
  segment: WritableSegment,
  first: FirstRecords,
): Promise<{ offset: number; samples: SparseIndex }> {
  const { previous, heads, tail } = first;
  const writer = new ChunkWriter(segment);
  const payloadBytes = headsPayloadBytes(heads.known());
  const words = await writer.reserve(recordBytes(payloadBytes));
  putHeader(words, 0, payloadBytes, 0, 0, RecordKind.heads, 0, 0);
  heads.put(words, RECORD_HEADER_BYTES / 4, previous);
  putClaim(words, RECORD_HEADER_BYTES / 4, { segment: previous.sequence, offset: previous.end });
  const sampler = new BlockSampler();
  if (tail) {
    await copyRecords(tail, writer, sampler);
    await writer.flush();
    // The copies are flushed: from here on damage to them is damage, not a torn tail.
    const marker = await writer.reserve(MARKER_BYTES);
    putHeader(marker, 0, CLAIM_BYTES, 0, 0, RecordKind.marker, 0, 0);
    putClaim(marker, RECORD_HEADER_BYTES / 4, {
      segment: segment.sequence,
      offset: writer.offset - MARKER_BYTES,
    });
  }
  await writer.flush();
  return { offset: writer.offset, samples: sampler.index };
}

async function copyRecords(
  tail: TailRecords,
  writer: ChunkWriter,
  sampler: BlockSampler,
): Promise<void> {
  const { file, generation, from, to, sequence } = tail;
  const cursor = new SegmentCursor(file, generation, from, to, SCAN_CHUNK_BYTES);
  const { parser } = cursor;
  while (!cursor.atLimit) {
    if ((await nextRecord(cursor)) !== Verdict.record) {
      throw damage("a record that was valid a moment ago is not any more", {
        segment: sequence,
        offset: cursor.offset,
      });
    }
    if (isInternal(parser.kind)) continue;
    const raw = parser.raw();
    const offset = writer.offset;
    const words = await writer.reserve(raw.length);
    new Uint8Array(words.buffer, words.byteOffset, raw.length).set(raw);
    sampler.record(parser.shard, parser.lsn, offset, parser.timestamp);
  }
}

function putClaim(words: Uint32Array, w: number, position: LogPosition): void {
  putU64(words, w, position.segment);
  putU64(words, w + 2, position.offset);
}

/** Collects records and writes them in pieces; the disk fills in their checksums. */
class ChunkWriter {
  readonly #segment: WritableSegment;
  #chunk = new Uint8Array(CHUNK_BYTES);
  #used = 0;
  #written = SEGMENT_HEADER_BYTES;

  constructor(segment: WritableSegment) {
    this.#segment = segment;
  }

  /** Where the next record goes. */
  get offset(): number {
    return this.#written + this.#used;
  }

  /** Room for a record of `bytes`, to be filled in before the next call. */
  async reserve(bytes: number): Promise<Uint32Array> {
    if (this.#used + bytes > this.#chunk.length) await this.#write(false);
    if (bytes > this.#chunk.length) this.#chunk = new Uint8Array(bytes);
    const at = this.#used;
    this.#used += bytes;
    return new Uint32Array(this.#chunk.buffer, at, bytes / 4);
  }

  /** Writes and flushes everything so far. */
  async flush(): Promise<void> {
    await this.#write(true);
  }

  async #write(sync: boolean): Promise<void> {
    if (this.#used === 0) return;
    const { file, generation } = this.#segment;
    await file.writeRecords(this.#written, this.#chunk.subarray(0, this.#used), {
      sync,
      generation,
    });
    this.#written += this.#used;
    this.#used = 0;
  }
}
