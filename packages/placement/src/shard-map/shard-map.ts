/**
 * The port through which hosts and gateways know who serves which shard.
 *
 * I1 a view never changes; a newer one has a larger `revision`.
 * I2 listeners run after `view()` has changed, in the order of subscription, once per view.
 * I3 a shard's term never goes down from one view to the next.
 * I4 the shard count is the cluster's, fixed when it was created: ids are hashed with it.
 */
import type { ShardId, Term } from "@pinion/core";

export interface ShardOwner {
  readonly hostId: string;
  readonly worker: number;
  readonly term: Term;
}

export interface ShardMapView {
  readonly revision: number;
  readonly shardCount: number;
  /** By shard. */
  readonly owners: readonly ShardOwner[];
}

export interface ShardMap {
  view(): ShardMapView;
  /** @returns stops the subscription */
  subscribe(listener: (view: ShardMapView) => void): () => void;
  close(): Promise<void>;
}

/** Shards a worker of a host serves, ascending. */
export function shardsOf(view: ShardMapView, hostId: string, worker: number): ShardId[] {
  const shards: ShardId[] = [];
  for (const [shard, owner] of view.owners.entries()) {
    if (owner.hostId === hostId && owner.worker === worker) shards.push(shard as ShardId);
  }
  return shards;
}
