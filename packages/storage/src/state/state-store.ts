/**
 * The port behind which a worker checkpoints and reloads what its actors are: state value, reminders, the dedupe window,
 * and how far each shard's log has been applied; and the pages of their extents.
 *
 * I1 `checkpoint` is atomic for each shard: records, extents, facts and `appliedLsn` become visible and durable together.
 * I2 only committed records are ever given to it (P8); the caller truncates the log only after it resolved.
 * I3 everything is asynchronous; nothing on a turn's path waits for it except an activation's first load.
 */
import type { Lsn, ShardId } from "@pinion/core";
import type { PageRun } from "../page/volume.ts";

/** Key of an actor inside its shard: `namespace@branch:type/key` bytes, see `core/actor-id`. */
export type ActorKey = string;

export interface ReminderRecord {
  readonly name: string;
  /** Next due time, ms since the epoch. */
  readonly dueMs: number;
  /** Opaque to the store: schedule, arguments, generation. */
  readonly body: Uint8Array;
}

/** One actor as of its shard's applied LSN. */
export interface ActorRecord {
  /** Encoded state value; undefined when the actor has none. At most 1 MiB. */
  readonly state: Uint8Array | undefined;
  /** Version of the definition that wrote `state`. */
  readonly stateVersion: number;
  /** LSN of the last commit of this actor. */
  readonly lsn: Lsn;
  readonly reminders: readonly ReminderRecord[];
}

/** An extent as of its shard's applied LSN. */
export interface StoredExtent {
  /** 1 to 64 bytes; unique in its actor. */
  readonly name: string;
  /** What structure it holds, and the version of its format. */
  readonly kind: string;
  readonly version: number;
  readonly lengthBytes: number;
  /** Where its pages are, in its shard. */
  readonly volume: number;
  /** As `encodeFacts` has written them (extent/extent-facts.ts); empty: none. */
  readonly facts: Uint8Array;
}

/** The stored pages of one extent, always the newest checkpointed ones. */
export interface ExtentPages {
  /** As `read`, if it can be had without waiting. */
  peek(page: number): Uint8Array | undefined;
  /** 4,096 verified bytes, the reader's own; undefined for a page that was never written and reads as zeros. @throws `corruption`, `io-error` */
  read(page: number): Promise<Uint8Array | undefined>;
  /** Where the pages `from` … `to − 1` lie now; a checkpoint may move them. Pages in none of them read as zeros. */
  runs(from: number, to: number): Promise<readonly PageRun[]>;
  /** A segment's file descriptor, where there is one (real disks); undefined: read page by page. */
  file(segment: number): Promise<number | undefined>;
  close(): void;
}

/** What a checkpoint changes of an extent. */
export interface ExtentChange {
  readonly name: string;
  readonly kind: string;
  readonly version: number;
  readonly lengthBytes: number;
  /** As of `StoredExtent`: all there are, not those that are new. */
  readonly facts: Uint8Array;
  /** About how many pages there are. */
  readonly pageCount: number;
  /** Pages from here on are gone before `pages` are written: the extent was shorter in between. */
  readonly pagesMax?: number;
  /** In order of page number; asked for while the checkpoint is written. Bytes stay as they are until the next is asked for. */
  readonly pages: AsyncIterable<readonly [page: number, bytes: Uint8Array]>;
}

export interface ShardCheckpoint {
  readonly shard: ShardId;
  /** Every record up to here is in the store. */
  readonly appliedLsn: Lsn;
  /** Changed actors; undefined deletes, extents included. */
  readonly actors: ReadonlyMap<ActorKey, ActorRecord | undefined>;
  /** Changed extents, by actor; extents not named stay. */
  readonly extents?: ReadonlyMap<ActorKey, readonly ExtentChange[]>;
  /** Shard facts to replace (dedupe sessions, outbox, open calls), by name; undefined deletes. */
  readonly facts: ReadonlyMap<string, Uint8Array | undefined>;
}

export interface ActorSummary {
  readonly shard: ShardId;
  readonly actor: ActorKey;
  readonly stateBytes: number;
  readonly lsn: Lsn;
  /** Its record cannot be read; `load` says why. The other figures are then 0. */
  readonly damaged?: true;
}

export interface StateStore {
  appliedLsn(shard: ShardId): Promise<Lsn>;
  load(shard: ShardId, actor: ActorKey): Promise<ActorRecord | undefined>;
  /** Empty for an actor without. @throws `corruption` */
  loadExtents(shard: ShardId, actor: ActorKey): Promise<readonly StoredExtent[]>;
  /** Opens the pages of an extent that `loadExtents` gave. */
  extentPages(shard: ShardId, extent: StoredExtent): Promise<ExtentPages>;
  /** Facts of a shard whose name starts with `prefix`, in order of name. */
  facts(shard: ShardId, prefix: string): Promise<{ name: string; value: Uint8Array }[]>;
  /** Reminders of a shard due before `beforeMs`, earliest first, at most `limit`, after the given position. */
  remindersDue(
    shard: ShardId,
    beforeMs: number,
    limit: number,
    after?: { dueMs: number; actor: ActorKey; name: string },
  ): Promise<{ actor: ActorKey; reminder: ReminderRecord }[]>;
  /** Actors in key order, for listings: at most `limit`, after the given key, optionally of keys with a prefix. */
  list(
    shard: ShardId,
    options: { limit: number; after?: ActorKey; prefix?: string },
  ): Promise<ActorSummary[]>;
  /** Atomic for each shard given. Resolves once all are durable; after an error, some may be. @throws `disk-full`, `io-error` */
  checkpoint(shards: readonly ShardCheckpoint[]): Promise<void>;
  close(): Promise<void>;
}
