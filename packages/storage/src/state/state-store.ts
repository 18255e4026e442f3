/**
 * The port behind which a worker checkpoints and reloads what its actors are: state value, reminders, the dedupe window,
 * and how far each shard's log has been applied. The LMDB implementation comes first; the directory in segments follows
 * behind the same port and conformance suite.
 *
 * I1 `checkpoint` is atomic: records, shard facts and `appliedLsn` become visible and durable together.
 * I2 only committed records are ever given to it (P8); the caller truncates the log only after it resolved.
 * I3 everything is asynchronous; nothing on a turn's path waits for it except an activation's first load.
 */
import type { Lsn, ShardId } from "@pinion/core";

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

export interface ShardCheckpoint {
  readonly shard: ShardId;
  /** Every record up to here is in the store. */
  readonly appliedLsn: Lsn;
  /** Changed actors; undefined deletes. */
  readonly actors: ReadonlyMap<ActorKey, ActorRecord | undefined>;
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
  /** Atomic over all shards given. Resolves once durable. @throws `disk-full`, `io-error` */
  checkpoint(shards: readonly ShardCheckpoint[]): Promise<void>;
  close(): Promise<void>;
}
