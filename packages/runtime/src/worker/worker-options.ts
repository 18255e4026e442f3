/** Options of one worker, resolved by the host. Ms and bytes as the names say. */
import type { CheckpointerOptions } from "../checkpoint/checkpointer.ts";
import type { TypeDefaults } from "../activation/registered-type.ts";
import type { DedupeLimits } from "../shard/dedupe-window.ts";

export interface WorkerOptions {
  readonly shardCount: number;
  readonly typeDefaults: TypeDefaults;
  readonly dedupe: DedupeLimits;
  readonly checkpoint: CheckpointerOptions;
  readonly reminderHorizonMs: number;
  /** Mutating calls of a shard admitted and not recorded. Beyond: `overloaded`. */
  readonly pendingPerShardMax: number;
  /** Outbox entries not delivered, over all shards. Beyond: `overloaded` for calls that may add more. */
  readonly outboxMax: number;
  /** Activations kept in memory; beyond, the one used longest ago ends. */
  readonly activationsMax: number;
  /** Sessions that have changed something and are known at once. Beyond: `overloaded` for a changing call of another one. */
  readonly sessionsMax: number;
  readonly maxClockSkewMs: number;
  /** Ids of damaged actors that are given up before the worker serves (discard-actors.ts). */
  readonly discard: readonly string[];
  /** Calls and hooks that blocked the event loop twice: refused for good. Keys by `callKeyText` and `hookKeyText`. */
  readonly poisoned: ReadonlySet<string>;
}

export const WORKER_DEFAULTS: WorkerOptions = Object.freeze({
  shardCount: 16,
  typeDefaults: { maxTurnMs: 30_000, mailboxLength: 1_024, idleDeactivationMs: 5 * 60_000 },
  dedupe: {
    sessionBytesMax: 8 * 1024 * 1024,
    shardBytesMax: 32 * 1024 * 1024,
    sessionExpiryMs: 60 * 60_000,
  },
  checkpoint: {
    logBytes: 128 * 1024 * 1024,
    dirtyBytes: 512 * 1024 * 1024,
    dirtyMs: 60_000,
    segmentBytes: 64 * 1024 * 1024,
  },
  reminderHorizonMs: 5 * 60_000,
  pendingPerShardMax: 20_000,
  outboxMax: 200_000,
  activationsMax: 200_000,
  sessionsMax: 100_000,
  maxClockSkewMs: 10_000,
  discard: Object.freeze([]),
  poisoned: new Set<string>(),
});
