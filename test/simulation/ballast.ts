/** Actors that nobody calls: cold pages among those that checkpoints replace, which cleaning has to move and nothing may lose. */
import { lsn, NO_LSN, shardId, type ShardId } from "@pinion/core";
import type { ActorRecord, ShardCheckpoint, StateStore } from "@pinion/storage";

const ACTORS_PER_SHARD = 40;
/** Three to a leaf. */
const STATE_BYTES = 1_000;

const keyOf = (i: number): string => `default@main:ballast/${i}`;
const stateOf = (shard: ShardId, i: number): Buffer => Buffer.alloc(STATE_BYTES, shard * 50 + i);

/** Before the first record: as of LSN 0. */
export async function writeBallast(store: StateStore, shardCount: number): Promise<void> {
  const shards = Array.from({ length: shardCount }, (_, n): ShardCheckpoint => {
    const shard = shardId(n);
    const actors = new Map<string, ActorRecord>();
    for (let i = 0; i < ACTORS_PER_SHARD; i++) {
      const state = stateOf(shard, i);
      actors.set(keyOf(i), { state, stateVersion: 1, lsn: lsn(0), reminders: [] });
    }
    return { shard, appliedLsn: NO_LSN, actors, facts: new Map() };
  });
  await store.checkpoint(shards);
}

/** @returns what is missing or wrong */
export async function missingBallast(store: StateStore, shardCount: number): Promise<string[]> {
  const missing: string[] = [];
  for (let n = 0; n < shardCount; n++) {
    for (let i = 0; i < ACTORS_PER_SHARD; i++) {
      const found = await store.load(shardId(n), keyOf(i));
      const isRight = found?.state !== undefined && stateOf(shardId(n), i).equals(found.state);
      if (!isRight) missing.push(`${keyOf(i)} of shard ${n} is lost`);
    }
  }
  return missing;
}
