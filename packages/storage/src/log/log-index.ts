/**
 * The segment index in the key-value store: one row per segment, one per retaining consumer. It makes opening and looking
 * up independent of the log's length; everything in it except the consumers can be rebuilt from the segments.
 *
 * | table | key | value |
 * |---|---|---|
 * | `log-segments` | u32 worker, u64 sequence, big endian | the row below |
 * | `log-consumers` | u32 worker, name in UTF-8 | u64 segment, u64 offset |
 *
 * A row, little endian:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | CRC32C of what follows |
 * | 4 | 2 | version, 1 |
 * | 6 | 1 | status: 0 active, 1 finalized, 2 archived |
 * | 7 | 1 | 1 when the checksum is known |
 * | 8 | 8 | generation |
 * | 16 | 8 | bytes of the file |
 * | 24 | 8 | end: bytes that count; 0 while active |
 * | 32 | 8 | created, µs |
 * | 40 | 8 | finalized, µs |
 * | 48 | 8 | archived, µs |
 * | 56 | 4 | CRC32C of the file's first `end` bytes |
 * | 60 | 4 | zero |
 * | 64 | … | payload of the segment's heads record: last LSN, term and time of each shard before it |
 *
 * I1 a row that does not verify is as good as none: the segment itself decides.
 */
import { PinionError } from "@pinion/core";
import { crc32c } from "@node-rs/crc32";
import type { KvStore, KvWrite } from "../kv/kv-store.ts";
import type { LogPosition } from "./log.ts";
import { getU64, putU64 } from "./record-format.ts";
import { decodeHeads, type ShardHeads } from "./shard-heads.ts";

export const SegmentStatus = Object.freeze({ active: 0, finalized: 1, archived: 2 } as const);
export type SegmentStatus = keyof typeof SegmentStatus;
const STATUS_NAMES = [
  "active",
  "finalized",
  "archived",
] as const satisfies readonly SegmentStatus[];

export interface SegmentEntry {
  readonly sequence: number;
  readonly generation: number;
  readonly status: SegmentStatus;
  /** Bytes of the file. */
  readonly fileBytes: number;
  /** Bytes that count, header included; 0 while the segment is active. */
  readonly end: number;
  readonly createdAtUs: number;
  readonly finalizedAtUs: number;
  readonly archivedAtUs: number;
  /** CRC32C of the first `end` bytes of the file, once it was computed. */
  readonly checksum: number | undefined;
  /** Where each shard stood before the segment's first record. */
  readonly heads: ShardHeads;
}

const SEGMENTS = "log-segments";
const CONSUMERS = "log-consumers";
const ROW_VERSION = 1;
const ROW_BYTES = 64;
const NO_PREVIOUS = Object.freeze({ sequence: 0, end: 0, generation: 0 });
export const CONSUMER_NAME_BYTES_MAX = 256;

export class LogIndex {
  readonly #kv: KvStore;
  readonly #worker: number;
  readonly #shardCount: number;

  constructor(kv: KvStore, worker: number, shardCount: number) {
    this.#kv = kv;
    this.#worker = worker;
    this.#shardCount = shardCount;
  }

  /** The row of a segment, or undefined when there is none that can be trusted. */
  async entry(sequence: number): Promise<SegmentEntry | undefined> {
    const value = await this.#kv.get(SEGMENTS, this.#segmentKey(sequence));
    return value && decodeRow(sequence, value, this.#shardCount);
  }

  /** Lowest and highest sequence that has a row, good or bad. */
  async range(): Promise<{ first: number; last: number } | undefined> {
    const bounds = { from: this.#segmentKey(0), to: this.#segmentKey(2 ** 53), limit: 1 };
    const [first] = await this.#kv.range(SEGMENTS, bounds);
    const [last] = await this.#kv.range(SEGMENTS, { ...bounds, reverse: true });
    return first && last && { first: sequenceOfKey(first.key), last: sequenceOfKey(last.key) };
  }

  put(entry: SegmentEntry): KvWrite {
    return { table: SEGMENTS, key: this.#segmentKey(entry.sequence), value: encodeRow(entry) };
  }

  drop(sequence: number): KvWrite {
    return { table: SEGMENTS, key: this.#segmentKey(sequence), value: undefined };
  }

  async consumers(): Promise<Map<string, LogPosition>> {
    const from = this.#consumerKey("");
    const to = from.slice();
    new DataView(to.buffer).setUint32(0, this.#worker + 1);
    const rows = await this.#kv.range(CONSUMERS, { from, to });
    const consumers = new Map<string, LogPosition>();
    for (const { key, value } of rows) {
      const words = new Uint32Array(new Uint8Array(value).buffer);
      consumers.set(Buffer.from(key.subarray(4)).toString(), {
        segment: getU64(words, 0),
        offset: getU64(words, 2),
      });
    }
    return consumers;
  }

  putConsumer(name: string, position: LogPosition | undefined): KvWrite {
    const key = this.#consumerKey(name);
    if (key.length === 4 || key.length - 4 > CONSUMER_NAME_BYTES_MAX) {
      throw new PinionError(
        "invalid-argument",
        `a consumer's name has 1 to ${CONSUMER_NAME_BYTES_MAX} bytes, "${name}" has ${key.length - 4}`,
      );
    }
    if (position === undefined) return { table: CONSUMERS, key, value: undefined };
    const words = new Uint32Array(4);
    putU64(words, 0, position.segment);
    putU64(words, 2, position.offset);
    return { table: CONSUMERS, key, value: new Uint8Array(words.buffer) };
  }

  commit(writes: readonly KvWrite[]): Promise<void> {
    return this.#kv.commit(writes);
  }

  sync(): Promise<void> {
    return this.#kv.sync();
  }

  #segmentKey(sequence: number): Uint8Array {
    const key = new Uint8Array(12);
    const view = new DataView(key.buffer);
    view.setUint32(0, this.#worker);
    view.setBigUint64(4, BigInt(sequence));
    return key;
  }

  #consumerKey(name: string): Uint8Array {
    const text = new TextEncoder().encode(name);
    const key = new Uint8Array(4 + text.length);
    new DataView(key.buffer).setUint32(0, this.#worker);
    key.set(text, 4);
    return key;
  }
}

function sequenceOfKey(key: Uint8Array): number {
  return Number(new DataView(key.buffer, key.byteOffset).getBigUint64(4));
}

function encodeRow(entry: SegmentEntry): Uint8Array {
  const heads = entry.heads.encode(NO_PREVIOUS);
  const bytes = new Uint8Array(ROW_BYTES + heads.length);
  const words = new Uint32Array(bytes.buffer);
  words[1] =
    ROW_VERSION |
    (SegmentStatus[entry.status] << 16) |
    (entry.checksum === undefined ? 0 : 1 << 24);
  putU64(words, 2, entry.generation);
  putU64(words, 4, entry.fileBytes);
  putU64(words, 6, entry.end);
  putU64(words, 8, entry.createdAtUs);
  putU64(words, 10, entry.finalizedAtUs);
  putU64(words, 12, entry.archivedAtUs);
  words[14] = entry.checksum ?? 0;
  bytes.set(heads, ROW_BYTES);
  words[0] = crc32c(bytes.subarray(4));
  return bytes;
}

function decodeRow(
  sequence: number,
  value: Uint8Array,
  shardCount: number,
): SegmentEntry | undefined {
  if (value.length < ROW_BYTES || value.length % 4 !== 0) return undefined;
  const bytes = new Uint8Array(value);
  const words = new Uint32Array(bytes.buffer);
  if (words[0] !== crc32c(bytes.subarray(4)) || (words[1]! & 0xffff) !== ROW_VERSION)
    return undefined;
  const status = STATUS_NAMES[(words[1]! >>> 16) & 0xff];
  const record = decodeHeads(bytes.subarray(ROW_BYTES), shardCount);
  if (status === undefined || record === undefined) return undefined;
  return {
    sequence,
    generation: getU64(words, 2),
    status,
    fileBytes: getU64(words, 4),
    end: getU64(words, 6),
    createdAtUs: getU64(words, 8),
    finalizedAtUs: getU64(words, 10),
    archivedAtUs: getU64(words, 12),
    checksum: words[1]! >>> 24 === 1 ? words[14]! : undefined,
    heads: record.heads,
  };
}
