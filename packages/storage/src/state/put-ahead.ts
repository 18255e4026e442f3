/**
 * A part of a checkpoint that goes into the store before the rest: what would take too much memory together goes in groups, and where something
 * keeps a checkpoint from being whole, the others need not wait for it.
 *
 * P1 the shard's LSN and facts stay as they are: a start applies the log's records of these actors again. That changes nothing: a record says by its LSN
 *    which of the log's changes of state it has, and changes of extents are bytes at fixed places.
 */
import { isPinionError, type PinionError, type ShardId } from "@pinion/core";
import type { ActorKey, ActorRecord, ExtentChange, StateStore } from "./state-store.ts";

/** What may be wrong with what is stored of one actor, and not with others. */
const OF_ONE_ACTOR: ReadonlySet<string> = new Set(["corruption", "io-error", "format-too-new"]);

export function isOfOneActor(error: unknown): error is PinionError {
  return isPinionError(error) && OF_ONE_ACTOR.has(error.code);
}

/**
 * Takes the named actors out of `actors` and `extents`, and puts them into the store; what they refer to is flushed in the log.
 * @throws as `StateStore.checkpoint`
 */
export async function putAhead(
  store: StateStore,
  shard: ShardId,
  names: Iterable<ActorKey>,
  actors: Map<ActorKey, ActorRecord | undefined>,
  extents: Map<ActorKey, readonly ExtentChange[]>,
): Promise<void> {
  const ahead = new Map<ActorKey, ActorRecord | undefined>();
  const changed = new Map<ActorKey, readonly ExtentChange[]>();
  for (const name of names) {
    ahead.set(name, actors.get(name));
    const changes = extents.get(name);
    if (changes !== undefined) changed.set(name, changes);
    actors.delete(name);
    extents.delete(name);
  }
  const appliedLsn = await store.appliedLsn(shard);
  await store.checkpoint([
    { shard, appliedLsn, actors: ahead, extents: changed, facts: new Map() },
  ]);
}
