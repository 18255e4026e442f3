/** A shard as a checkpoint captures it, and what becomes of that once the store has it, or has not. */
import type { Lsn, PinionError } from "@pinion/core";
import type { ActorExtents, ActorKey, LogPosition } from "@pinion/storage";
import type { ShardReminders } from "../reminders/shard-reminders.ts";
import type { RecoveredActor } from "../shard/recovery.ts";
import { captureFacts } from "../shard/shard-facts.ts";
import type { Shard, ShardMember } from "../shard/shard.ts";
import { capture, type Captured } from "./actor-records.ts";
import type { UnreadActors } from "./unread-actors.ts";

export interface CheckpointShard {
  readonly shard: Shard;
  readonly reminders: ShardReminders;
  /** Changes the log held at start, of actors not activated since. */
  readonly recovered: Map<ActorKey, RecoveredActor>;
  /** Damaged actors that are being given up (worker/discard-actors.ts). Nobody activates them. */
  readonly discarding: Set<ActorKey>;
}

export interface Frozen {
  readonly target: CheckpointShard;
  readonly upTo: Lsn;
  readonly members: readonly ShardMember[];
  readonly captured: readonly Captured[];
  readonly recovered: readonly [ActorKey, RecoveredActor][];
  /** They go out of the store with this checkpoint, if it has all else of the shard (C6). */
  readonly discarded: ReadonlySet<ActorKey>;
  readonly facts: Map<string, Uint8Array>;
  readonly reminderIds: readonly string[];
  /** Of members. */
  readonly extents: readonly ActorExtents[];
  /** Of recovered actors: nobody else holds them. */
  readonly recoveredExtents: Set<ActorExtents>;
  /** What keeps this from being a whole checkpoint of its shard (C5), and what of it the store has refused. */
  readonly unread: Map<ActorKey, PinionError>;
  readonly refused: Map<ActorKey, PinionError>;
  /** Why nothing of the shard was written; undefined: it was. */
  failure: PinionError | undefined;
}

/** Captures a shard as of its last appended record. Synchronous: nothing of this shard is appended meanwhile. */
export function freeze(
  target: CheckpointShard,
  position: LogPosition,
  refused: UnreadActors = new Map(),
): Frozen {
  const { shard, reminders, recovered } = target;
  const members: ShardMember[] = [];
  const { dirty } = shard;
  shard.dirty = [];
  shard.dirtySinceMs = Infinity;
  for (const member of dirty) {
    member.dirty = false;
    if (refused.has(member.actor)) shard.changed(member);
    else members.push(member);
  }
  return {
    target,
    upTo: shard.appendedLsn,
    members,
    captured: members.map(capture),
    recovered: [...recovered],
    discarded: new Set(target.discarding),
    facts: captureFacts(shard, position),
    reminderIds: reminders.freeze(),
    extents: members.flatMap(({ extents }) => extents ?? []),
    recoveredExtents: new Set(),
    unread: new Map(refused),
    refused: new Map(refused),
    failure: undefined,
  };
}

/** The store has it all, but for what is unread. */
export function written({
  target,
  recovered,
  members,
  facts,
  reminderIds,
  upTo,
  unread,
}: Frozen): void {
  const { shard, reminders } = target;
  for (const [actor] of recovered) if (!unread.has(actor)) target.recovered.delete(actor);
  for (const member of members) if (unread.has(member.actor)) shard.changed(member);
  if (unread.size === 0) shard.persistedFacts = new Set(facts.keys());
  reminders.checkpointed(reminderIds, unread);
  shard.applied(upTo, unread);
}

/** Once it is known what was written. */
export function* unreadOf(f: Frozen): Iterable<[ActorKey, PinionError]> {
  yield* f.unread;
  if (f.failure === undefined) return;
  for (const { actor } of f.members) yield [actor, f.failure];
  for (const [actor] of f.recovered) yield [actor, f.failure];
}

/** Changed pages of members that the store does not take. */
export function leftBytes(frozen: readonly Frozen[]): number {
  let bytes = 0;
  for (const { target, unread, failure } of frozen)
    for (const { actor, extents } of target.shard.dirty)
      if (failure !== undefined || unread.has(actor)) bytes += extents?.dirtyBytes ?? 0;
  return bytes;
}

/** The checkpoint failed: what it held is dirty again. It may be in the store all the same, so its facts have to go with the next. */
export function thaw(f: Frozen): void {
  for (const name of f.facts.keys()) f.target.shard.persistedFacts.add(name);
  for (const extents of [...f.extents, ...f.recoveredExtents]) extents.failed();
  for (const member of f.members) f.target.shard.changed(member);
  f.target.reminders.checkpointFailed(f.reminderIds);
}
