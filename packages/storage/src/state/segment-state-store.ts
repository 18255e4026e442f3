/**
 * The state store of a worker: each of its shards has a store in segments of its own (storage.md, "Checkpoint"), opened when it is
 * first asked for.
 *
 * State: the open shard stores; in the superblocks (a table of the log's index) the newest checkpoint of each shard that is known to be durable.
 *
 * G1 a shard never opens in an older state than its superblock says. Superblocks may be lost: then the newest whole checkpoint counts, and
 *    the log must continue it (runtime/shard/recovery.ts).
 * G2 the superblocks are written after the checkpoints they speak of, and before the caller cuts its log.
 * G3 shards are checkpointed side by side, `AT_ONCE` of them; a failure of one does not undo another.
 */
import {
  assert,
  isPinionError,
  systemClock,
  type Clock,
  type Lsn,
  type PinionError,
  type ShardId,
} from "@pinion/core";
import type { Disk } from "../disk/disk.ts";
import type { KvStore, KvWrite } from "../kv/kv-store.ts";
import type { CheckpointPlace } from "../segment/checkpoint-search.ts";
import type { PagePool } from "../store/page-pool.ts";
import { ShardStore, type ShardStoreStats } from "../store/shard-store.ts";
import { KvStateStore } from "./kv-state-store.ts";
import { shardKey } from "./state-keys.ts";
import type {
  ActorKey,
  ActorRecord,
  ActorSummary,
  ExtentPages,
  ReminderRecord,
  ShardCheckpoint,
  StateStore,
  StoredExtent,
} from "./state-store.ts";
import { decodeSuperblock, decoding, encodeSuperblock } from "./state-values.ts";

const AT_ONCE = 4;
const SUPERBLOCKS = "superblocks";

export interface SegmentStateStoreOptions {
  readonly disk: Disk;
  /** Folder of the worker's shards, a folder each below it. */
  readonly dir: string;
  /** Where superblocks go; stays its owner's. */
  readonly superblocks: KvStore;
  /** A number below 2^48 for a file's or a checkpoint's life: never the same twice. */
  readonly newGeneration: () => number;
  readonly clock?: Clock;
  readonly onDamage?: (error: PinionError) => void;
  /** Pages of a segment; default 16,384 (64 MiB). */
  readonly segmentPages?: number;
  /** Pages of all directories together that are kept in memory; default 16,384 (64 MiB). */
  readonly cachedPagesMax?: number;
  /** Where pages of extents are read through; stays its owner's. */
  readonly pool?: PagePool;
  /** How many shards share that; default 16. */
  readonly shardCount?: number;
}

interface OpenShard {
  readonly shard: ShardId;
  readonly store: ShardStore;
  readonly state: KvStateStore;
}

export class SegmentStateStore implements StateStore {
  readonly #options: SegmentStateStoreOptions;
  readonly #shards = new Map<ShardId, Promise<OpenShard>>();

  constructor(options: SegmentStateStoreOptions) {
    this.#options = options;
  }

  async appliedLsn(shard: ShardId): Promise<Lsn> {
    return (await this.#of(shard)).state.appliedLsn(shard);
  }

  async load(shard: ShardId, actor: ActorKey): Promise<ActorRecord | undefined> {
    return (await this.#of(shard)).state.load(shard, actor);
  }

  async loadExtents(shard: ShardId, actor: ActorKey): Promise<readonly StoredExtent[]> {
    return (await this.#of(shard)).state.loadExtents(shard, actor);
  }

  async extentPages(shard: ShardId, extent: StoredExtent): Promise<ExtentPages> {
    return (await this.#of(shard)).state.extentPages(shard, extent);
  }

  async facts(shard: ShardId, prefix: string): Promise<{ name: string; value: Uint8Array }[]> {
    return (await this.#of(shard)).state.facts(shard, prefix);
  }

  async remindersDue(
    shard: ShardId,
    beforeMs: number,
    limit: number,
    after?: { dueMs: number; actor: ActorKey; name: string },
  ): Promise<{ actor: ActorKey; reminder: ReminderRecord }[]> {
    return (await this.#of(shard)).state.remindersDue(shard, beforeMs, limit, after);
  }

  async list(
    shard: ShardId,
    options: { limit: number; after?: ActorKey; prefix?: string },
  ): Promise<ActorSummary[]> {
    return (await this.#of(shard)).state.list(shard, options);
  }

  async checkpoint(shards: readonly ShardCheckpoint[]): Promise<void> {
    const queue = [...shards];
    const failures: unknown[] = [];
    const durable: OpenShard[] = [];
    const work = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        try {
          const open = await this.#of(next.shard);
          await open.state.checkpoint([next]);
          durable.push(open);
        } catch (e) {
          failures.push(e);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    if (durable.length > 0) {
      await this.#options.superblocks.commit(durable.map(superblockOf));
      await this.#options.superblocks.sync();
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Figures of the shards that are open. */
  async stats(): Promise<ReadonlyMap<ShardId, ShardStoreStats>> {
    const stats = new Map<ShardId, ShardStoreStats>();
    for (const [shard, opening] of this.#shards) {
      const open = await opening.catch(() => undefined);
      if (open !== undefined) stats.set(shard, open.store.stats());
    }
    return stats;
  }

  async close(): Promise<void> {
    for (const opening of this.#shards.values()) {
      const open = await opening.catch(() => undefined);
      await open?.state.close();
      await open?.store.close();
    }
  }

  #of(shard: ShardId): Promise<OpenShard> {
    let opening = this.#shards.get(shard);
    if (opening === undefined) {
      opening = this.#open(shard);
      this.#shards.set(shard, opening);
      // What failed may succeed next time: a disk that was away.
      opening.catch(() => this.#shards.delete(shard));
    }
    return opening;
  }

  async #open(shard: ShardId): Promise<OpenShard> {
    const { disk, dir, newGeneration, clock = systemClock, onDamage } = this.#options;
    const { segmentPages, pool, cachedPagesMax = 16_384, shardCount = 16 } = this.#options;
    const durable = await this.#superblock(shard);
    const store = await ShardStore.open({
      disk,
      dir: `${dir}/${String(shard).padStart(5, "0")}`,
      shard,
      newGeneration,
      clock,
      ...(durable === undefined ? {} : { durable }),
      cachedPagesMax: Math.floor(cachedPagesMax / shardCount),
      ...(segmentPages === undefined ? {} : { segmentPages }),
      ...(pool === undefined ? {} : { pool }),
    });
    const state = new KvStateStore(store, {
      clock,
      volumes: store,
      ...(onDamage === undefined ? {} : { onDamage }),
    });
    return { shard, store, state };
  }

  /** One that is damaged is as good as none (G1). @throws `format-too-new` */
  async #superblock(shard: ShardId): Promise<CheckpointPlace | undefined> {
    const key = shardKey(shard);
    const value = await this.#options.superblocks.get(SUPERBLOCKS, key);
    if (value === undefined) return undefined;
    try {
      return decoding(`the superblock of shard ${shard}`, { shard }, () =>
        decodeSuperblock(key, value),
      );
    } catch (e) {
      if (!isPinionError(e) || e.code !== "corruption") throw e;
      this.#options.onDamage?.(e);
      return undefined;
    }
  }
}

function superblockOf({ shard, store }: OpenShard): KvWrite {
  const { newest } = store;
  assert(newest !== undefined, "a checkpoint that has resolved is there");
  const key = shardKey(shard);
  return { table: SUPERBLOCKS, key, value: encodeSuperblock(key, newest) };
}
