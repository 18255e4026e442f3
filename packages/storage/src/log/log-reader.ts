/**
 * Reads records back: one by its LSN, all from a position on, the last one before a time.
 *
 * I1 readers see what `LogProgress.visible` covers: flushed records, or under a policy whose replies do not wait, written
 *    ones, which a power cut may still take.
 * I2 every record's checksum is verified before it is returned. An invalid one inside what is visible is `corruption`; nothing
 *    behind it is returned.
 * I3 a reader pins the segment it stands in, and the next one before it lets go of this one. Readers are bounded in number.
 */
import {
  lsn as asLsn,
  NO_LSN,
  PinionError,
  term,
  hlcTime,
  shardId,
  type HlcTime,
  type Lsn,
  type ShardId,
} from "@pinion/core";
import { BlockSampler } from "./block-sampler.ts";
import type { SegmentEntry } from "./log-index.ts";
import { closedBy, type LogProgress } from "./log-progress.ts";
import { damage, nextRecord, SCAN_CHUNK_BYTES } from "./log-tail.ts";
import type { LogPosition, LogRecord, RecordKind } from "./log.ts";
import { comparePositions, describePosition } from "./position.ts";
import { isInternal, RECORD_ALIGN_BYTES, Verdict } from "./record-format.ts";
import type { SegmentCatalog } from "./segment-catalog.ts";
import { SegmentCursor } from "./segment-cursor.ts";
import type { SegmentHandles, SegmentLease } from "./segment-handles.ts";
import { SEGMENT_HEADER_BYTES } from "./segment-header.ts";
import { INDEX_BLOCK_BYTES, type SparseIndex } from "./sparse-index.ts";

const POINT_READ_BYTES = 32 * 1024;
/** Sparse indexes kept of segments that are not active. */
const INDEXES_MAX = 8;

export interface ReaderOptions {
  readonly from?: LogPosition;
  readonly shards?: ReadonlySet<ShardId>;
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

export interface LogReaderParts {
  readonly catalog: SegmentCatalog;
  readonly handles: SegmentHandles;
  readonly progress: LogProgress;
  /** Where the next record goes. */
  readonly position: () => LogPosition;
  readonly readersMax: number;
}

export class LogReader {
  readonly #catalog: SegmentCatalog;
  readonly #handles: SegmentHandles;
  readonly #progress: LogProgress;
  readonly #position: () => LogPosition;
  readonly #readersMax: number;
  /** Least recently used first. */
  readonly #indexes = new Map<number, Promise<SparseIndex>>();
  #readers = 0;
  #closed = false;

  constructor(parts: LogReaderParts) {
    this.#catalog = parts.catalog;
    this.#handles = parts.handles;
    this.#progress = parts.progress;
    this.#position = parts.position;
    this.#readersMax = parts.readersMax;
  }

  get readers(): number {
    return this.#readers;
  }

  /** Takes over the index of a segment that is, or was, being written. */
  adoptIndex(sequence: number, index: SparseIndex): void {
    this.#indexes.set(sequence, Promise.resolve(index));
    this.#evictIndexes();
  }

  /** Ends followers and refuses new readers. */
  close(): void {
    this.#closed = true;
  }

  async read(shard: ShardId, lsn: Lsn): Promise<LogRecord | undefined> {
    if (!(lsn >= 1) || !this.#progress.isVisible(shard, lsn)) return undefined;
    const entry = await this.#catalog.lastWhere(({ heads }) => heads.lsn[shard]! < lsn);
    if (!entry) return undefined;
    return this.#inSegment(entry, async (lease) => {
      // Let go between the look-up and the pin.
      if (entry.sequence < this.#catalog.first) return undefined;
      const index = await this.#index(entry, lease);
      const from = index.before(shard, lsn);
      let found: LogRecord | undefined;
      if (from !== undefined) {
        await this.#scanBlock(entry, lease, from, (cursor) => {
          if (cursor.parser.shard !== shard || cursor.parser.lsn !== lsn)
            return cursor.parser.shard !== shard || cursor.parser.lsn < lsn;
          found = recordAt(cursor, entry.sequence, true);
          return false;
        });
      }
      if (!found)
        throw damage(`record ${lsn} of shard ${shard} should be in this segment and is not`, {
          segment: entry.sequence,
          offset: from ?? 0,
        });
      return found;
    });
  }

  async lsnAt(shard: ShardId, time: HlcTime): Promise<Lsn> {
    const entry = await this.#catalog.lastWhere(({ heads }) => heads.timestamp[shard]! <= time);
    if (!entry) return NO_LSN;
    let newest = entry.heads.lsn[shard]!;
    await this.#inSegment(entry, async (lease) => {
      if (entry.sequence < this.#catalog.first) return;
      const from = (await this.#index(entry, lease)).beforeTime(shard, time);
      if (from === undefined) return;
      await this.#scanBlock(entry, lease, from, ({ parser }) => {
        if (parser.shard !== shard) return true;
        if (parser.timestamp > time || !this.#progress.isVisible(shard, parser.lsn)) return false;
        newest = parser.lsn;
        return true;
      });
    });
    const { heads } = await this.#catalog.entry(this.#catalog.first);
    return newest > heads.lsn[shard]! ? asLsn(newest) : NO_LSN;
  }

  records(options: ReaderOptions): AsyncIterable<LogRecord> {
    return { [Symbol.asyncIterator]: () => this.#records(options) };
  }

  async *#records(options: ReaderOptions): AsyncGenerator<LogRecord, void, void> {
    const { signal, shards, follow = false } = options;
    signal?.throwIfAborted();
    let at = this.#startOf(options.from);
    this.#readers++;
    let lease: SegmentLease | undefined;
    try {
      while (await this.#reached(at.segment, follow, signal)) {
        const entry = await this.#catalog.entry(at.segment);
        const next = await this.#handles.acquire(at.segment, entry.generation);
        lease?.release();
        lease = next;
        const cursor = new SegmentCursor(
          lease.file,
          entry.generation,
          at.offset,
          at.offset,
          SCAN_CHUNK_BYTES,
        );
        while (await this.#extend(cursor, at.segment, follow, signal)) {
          while (!cursor.atLimit) {
            await this.#expectRecord(cursor, at.segment);
            const { kind, shard } = cursor.parser;
            if (isInternal(kind) || shards?.has(shardId(shard)) === false) continue;
            yield recordAt(cursor, at.segment, false);
            signal?.throwIfAborted();
          }
        }
        if (at.segment >= this.#progress.visible.segment) return;
        at = { segment: at.segment + 1, offset: SEGMENT_HEADER_BYTES };
      }
    } finally {
      lease?.release();
      this.#readers--;
    }
  }

  #startOf(from: LogPosition | undefined): LogPosition {
    if (this.#closed) throw new PinionError("log-closed", "the log was closed");
    if (this.#readers >= this.#readersMax) {
      throw new PinionError(
        "overloaded",
        `the log has ${this.#readers} readers already, its limit`,
        {
          details: { readers: this.#readers, max: this.#readersMax },
        },
      );
    }
    const { first } = this.#catalog;
    const { segment, offset } = from ?? { segment: first, offset: SEGMENT_HEADER_BYTES };
    if (segment < first) {
      throw new PinionError(
        "not-found",
        `the log no longer holds ${describePosition({ segment, offset })}: it begins with segment ${first}`,
        {
          details: { segment, offset, first },
        },
      );
    }
    if (
      !(
        comparePositions({ segment, offset }, this.#position()) <= 0 &&
        offset >= 0 &&
        offset % RECORD_ALIGN_BYTES === 0
      )
    ) {
      throw new PinionError(
        "invalid-argument",
        `${describePosition({ segment, offset })} is not a position of this log`,
      );
    }
    return { segment, offset: Math.max(offset, SEGMENT_HEADER_BYTES) };
  }

  /** Whether the segment has begun, as far as readers are concerned; waits for it when following. */
  async #reached(
    sequence: number,
    follow: boolean,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    for (;;) {
      const { visible } = this.#progress;
      if (sequence <= visible.segment) return true;
      if (!(await this.#more(visible, follow, signal))) return false;
    }
  }

  /** Moves the cursor's limit to what is visible of its segment, waiting for more when following. @returns false at its end */
  async #extend(
    cursor: SegmentCursor,
    sequence: number,
    follow: boolean,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    for (;;) {
      const { visible } = this.#progress;
      cursor.limit =
        sequence < visible.segment ? (await this.#catalog.entry(sequence)).end : visible.offset;
      if (!cursor.atLimit) return true;
      if (sequence < visible.segment || !(await this.#more(visible, follow, signal))) return false;
    }
  }

  /** Waits for more than `seen`, when following. @returns false when there will be no more  @throws `log-closed` after a failure */
  async #more(
    seen: LogPosition,
    follow: boolean,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (!follow || this.#closed) return false;
    if (this.#progress.failure) throw closedBy(this.#progress.failure);
    await this.#moved(seen, signal);
    return true;
  }

  /** Resolves when more is visible than `seen`, or nothing more will be. */
  #moved(seen: LogPosition, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#progress.visible !== seen) return resolve();
      const done = (): void => {
        unsubscribe();
        signal?.removeEventListener("abort", onAbort);
        resolve();
      };
      const onAbort = (): void => {
        unsubscribe();
        reject(signal?.reason as Error);
      };
      const unsubscribe = this.#progress.onVisible.add(done);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  async #inSegment<T>(entry: SegmentEntry, use: (lease: SegmentLease) => Promise<T>): Promise<T> {
    const lease = await this.#handles.acquire(entry.sequence, entry.generation);
    try {
      return await use(lease);
    } finally {
      lease.release();
    }
  }

  /** Gives each record that begins in the block of `from` to `each`, until it returns false. */
  async #scanBlock(
    entry: SegmentEntry,
    lease: SegmentLease,
    from: number,
    each: (cursor: SegmentCursor) => boolean,
  ): Promise<void> {
    const blockEnd = (Math.floor(from / INDEX_BLOCK_BYTES) + 1) * INDEX_BLOCK_BYTES;
    const cursor = new SegmentCursor(
      lease.file,
      entry.generation,
      from,
      await this.#visibleEnd(entry),
      POINT_READ_BYTES,
    );
    while (!cursor.atLimit && cursor.offset < blockEnd) {
      await this.#expectRecord(cursor, entry.sequence);
      if (!isInternal(cursor.parser.kind) && !each(cursor)) return;
    }
  }

  async #visibleEnd({ sequence }: SegmentEntry): Promise<number> {
    const { visible } = this.#progress;
    return sequence < visible.segment ? (await this.#catalog.entry(sequence)).end : visible.offset;
  }

  async #expectRecord(cursor: SegmentCursor, sequence: number): Promise<void> {
    if ((await nextRecord(cursor)) === Verdict.record) return;
    throw damage("the record is damaged: it does not match its checksum", {
      segment: sequence,
      offset: cursor.offset,
    });
  }

  #index(entry: SegmentEntry, lease: SegmentLease): Promise<SparseIndex> {
    const known = this.#indexes.get(entry.sequence);
    if (known) {
      this.#indexes.delete(entry.sequence);
      this.#indexes.set(entry.sequence, known);
      return known;
    }
    const building = this.#buildIndex(entry, lease);
    this.#indexes.set(entry.sequence, building);
    building.catch(() => this.#indexes.delete(entry.sequence));
    this.#evictIndexes();
    return building;
  }

  async #buildIndex(entry: SegmentEntry, lease: SegmentLease): Promise<SparseIndex> {
    const sampler = new BlockSampler();
    const cursor = new SegmentCursor(
      lease.file,
      entry.generation,
      SEGMENT_HEADER_BYTES,
      await this.#visibleEnd(entry),
      SCAN_CHUNK_BYTES,
    );
    while (!cursor.atLimit) {
      await this.#expectRecord(cursor, entry.sequence);
      const { kind, shard, lsn, timestamp } = cursor.parser;
      if (!isInternal(kind)) sampler.record(shard, lsn, cursor.recordOffset, timestamp);
    }
    return sampler.index;
  }

  #evictIndexes(): void {
    for (const sequence of this.#indexes.keys()) {
      if (this.#indexes.size <= INDEXES_MAX + 1) return;
      if (sequence < this.#catalog.last) this.#indexes.delete(sequence);
    }
  }
}

function recordAt(cursor: SegmentCursor, segment: number, copy: boolean): LogRecord {
  const { parser } = cursor;
  const payload = parser.payload();
  return {
    shard: shardId(parser.shard),
    lsn: asLsn(parser.lsn),
    term: term(parser.term),
    kind: parser.kind as RecordKind,
    timestamp: hlcTime(parser.timestamp),
    payload: copy ? new Uint8Array(payload) : payload,
    position: { segment, offset: cursor.recordOffset },
  };
}
