/**
 * What the parts of a worker share: its shards, types, catalog and clocks. State only; the parts act on it.
 */
import {
  shardOf,
  type Clock,
  type HybridClock,
  type PinionError,
  type Rng,
  type ShardId,
  type Telemetry,
} from "@pinion/core";
import {
  BufferMemory,
  PlainResidency,
  unwrittenBounds,
  UnwrittenPages,
  type Log,
  type StateStore,
} from "@pinion/storage";
import type { RegisteredType } from "../activation/registered-type.ts";
import type { ActorResidency, TurnMonitor } from "../activation/services.ts";
import type { Turn } from "../activation/turn.ts";
import { TurnWatch } from "../activation/turn-watch.ts";
import { Catalog } from "../catalog/catalog.ts";
import type { Replication } from "../replication/replication.ts";
import type { CheckpointShard } from "../checkpoint/frozen-shard.ts";
import type { Shard } from "../shard/shard.ts";
import type { WorkerOptions } from "./worker-options.ts";

/** Where warnings go; one line each, with what was thrown. */
export interface WorkerLogger {
  readonly warn: (
    message: string,
    error: unknown,
    details: Record<string, string | number>,
  ) => void;
}

export interface WorkerPorts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  readonly store: StateStore;
  /** Which extents are in memory while their actors are active; default: `PlainResidency` without bound. */
  readonly residency?: ActorResidency;
  readonly replication: Replication;
  readonly telemetry: Telemetry;
  readonly monitor: TurnMonitor;
  readonly logger: WorkerLogger;
}

/** A shard that lives here, with what checkpoints know of it. */
export type OwnedShard = CheckpointShard;

export type WorkerState = "recovering" | "serving" | "draining" | "stopped" | "failed";

export class WorkerCore {
  readonly ports: WorkerPorts;
  readonly options: WorkerOptions;
  readonly hlc: HybridClock;
  readonly types: ReadonlyMap<string, RegisteredType>;
  readonly catalog = new Catalog();
  readonly shards = new Map<ShardId, OwnedShard>();
  readonly watch: TurnWatch;
  /** Turns that were given up and whose methods have not returned, oldest first: to be named by health and inspection. */
  readonly abandoned = new Set<Turn>();
  readonly residency: ActorResidency;
  /** What extents have changed since the last checkpoint. */
  readonly unwritten: UnwrittenPages;
  state: WorkerState = "recovering";
  /** The grace of a stop is over: nothing is admitted any more, not even what running turns and sends ask for. */
  closing = false;
  failure: PinionError | undefined;

  constructor(
    ports: WorkerPorts,
    options: WorkerOptions,
    hlc: HybridClock,
    types: ReadonlyMap<string, RegisteredType>,
    wantCheckpoint: () => void,
  ) {
    this.ports = ports;
    this.options = options;
    this.hlc = hlc;
    this.types = types;
    this.residency = ports.residency ?? new PlainResidency(new BufferMemory());
    const bounds = unwrittenBounds(options.checkpoint.dirtyBytes);
    this.unwritten = new UnwrittenPages(bounds, wantCheckpoint);
    this.watch = new TurnWatch(ports.clock);
  }

  owned(type: string, key: string): OwnedShard | undefined {
    return this.shards.get(shardOf(type, key, this.options.shardCount));
  }

  get outboxSize(): number {
    let n = 0;
    for (const { shard } of this.shards.values()) n += shard.outbox.size;
    return n;
  }

  /** Every shard's share is checked alone: cheap enough for each call. */
  outboxFull(shard: Shard): boolean {
    return shard.outbox.size >= this.options.outboxMax / Math.max(1, this.shards.size) + 1_000;
  }
}
