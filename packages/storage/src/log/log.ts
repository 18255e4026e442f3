/**
 * The worker's append-only log as its users see it: one physical log, many shards, each with its own LSNs.
 * `SegmentedLog` (log-writer.ts and its neighbours) implements it.
 *
 * I1 LSNs of a shard are consecutive; `append*` assigns the next. Order in the file is the order of the calls.
 * I2 `appended ≥ flushed` per shard. A record at or below `flushed(shard)` survives power loss.
 * I3 `onFlushed` listeners run once per completed flush, after `flushed` moved, in the order of subscription.
 * I4 a failed flush is fatal: every later append throws `log-closed`, `failure` tells why, nothing is retried.
 */
import type { HlcTime, Lsn, PinionError, ShardId, Term } from "@pinion/core";

/** 5 bits in the record header. Values are frozen; unknown ones are refused when read. */
export const RecordKind = Object.freeze({
  /** Log-internal: ends every batch, states the position flushed before it. */
  marker: 0,
  commit: 1,
  open: 2,
  done: 3,
  termStart: 4,
  truncate: 5,
  freeze: 6,
  checkpoint: 7,
  fork: 8,
  config: 9,
  out: 10,
  in: 11,
  forward: 12,
  refuse: 13,
  session: 14,
  /** Log-internal: opens every segment, states where each shard stands. */
  heads: 15,
  /** Says nothing: written to see whether this log can still commit. */
  probe: 16,
  /** Free for users of `@pinion/storage` alone. */
  user: 31,
} as const);
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];

export interface LogRecord {
  readonly shard: ShardId;
  readonly lsn: Lsn;
  readonly term: Term;
  readonly kind: RecordKind;
  readonly timestamp: HlcTime;
  /** Valid until the reader moves on; copy to keep. */
  readonly payload: Uint8Array;
  readonly position: LogPosition;
}

/** Where a record starts in the physical log. Ordered by segment, then offset. */
export interface LogPosition {
  /** Segment sequence number, from 1, never reused. */
  readonly segment: number;
  readonly offset: number;
}

export interface AppendInput {
  readonly shard: ShardId;
  readonly term: Term;
  readonly kind: RecordKind;
  readonly timestamp: HlcTime;
}

/** Whether a reply waits for the flush that covers it: false for `periodic` and `async`. */
export interface FlushPolicy {
  readonly name: "group" | "sync" | "batched" | "batchedOrPeriodic" | "periodic" | "async";
  /** Flush once this many records wait. */
  readonly records: number;
  /** … or this many ms after the first of them. */
  readonly waitMs: number;
  readonly replyWaits: boolean;
}

export interface Log {
  readonly policy: FlushPolicy;
  /** Copies `payload` (≤ 16 MiB + 64 KiB) into the log. Undefined when the buffer is full: backpressure. @throws `log-closed`, `record-too-large` */
  tryAppend(input: AppendInput, payload: Uint8Array): Lsn | undefined;
  /** Why `tryAppend` takes nothing: a full disk, an archive that is behind, a failure. Undefined when it is only a full buffer. */
  backpressure(): PinionError | undefined;
  /** Waits for room instead of refusing. @throws as `tryAppend`, `overloaded` when too many wait, the signal's reason */
  append(input: AppendInput, payload: Uint8Array, signal?: AbortSignal): Promise<Lsn>;
  /** Payload bytes of `append`s that wait for room. */
  readonly queuedBytes: number;
  appended(shard: ShardId): Lsn;
  flushed(shard: ShardId): Lsn;
  /** Asks that what was appended so far be flushed without waiting for the policy's count or time. */
  requestFlush(): void;
  /** Resolves once `flushed(shard) ≥ lsn`. Rejects when the log fails. */
  whenFlushed(shard: ShardId, lsn: Lsn): Promise<void>;
  onFlushed(listener: () => void): () => void;
  onFailure(listener: (error: PinionError) => void): () => void;
  readonly failure: PinionError | undefined;
  /** The record, or undefined when it is not (or no longer) in the log. */
  read(shard: ShardId, lsn: Lsn): Promise<LogRecord | undefined>;
  /** Records from a position (default: the oldest retained) in file order; `follow` keeps waiting at the end. Pins the segment it stands in. */
  reader(options?: {
    from?: LogPosition;
    shards?: ReadonlySet<ShardId>;
    follow?: boolean;
    signal?: AbortSignal;
  }): AsyncIterable<LogRecord>;
  /** Position of the next record to be appended: what a checkpoint retains from. */
  position(): LogPosition;
  /** Keeps segments from `position` on for this consumer; the lowest of all consumers decides. undefined gives up the claim. */
  retain(consumer: string, position: LogPosition | undefined): Promise<void>;
  /** Newest LSN of the shard whose timestamp is at or before `time`; NO_LSN when none is retained. */
  lsnAt(shard: ShardId, time: HlcTime): Promise<Lsn>;
  close(): Promise<void>;
}
