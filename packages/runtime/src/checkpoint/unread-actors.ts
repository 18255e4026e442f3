/**
 * Actors of which the store cannot read, or cannot write, what is there already: damage that keeps nobody but themselves.
 *
 * U1 everything else of their shard goes into the store ahead of the checkpoint that will have them, too (`putAhead`). Until then the shard's LSN, its
 *    facts and its place in the log stay where their records are.
 * U2 a record never goes without the extents that belong to it: a start would take the log's changes of those for known.
 */
import { formatActorId, PinionError } from "@pinion/core";
import {
  isOfOneActor,
  putAhead,
  type ActorKey,
  type ActorRecord,
  type ExtentChange,
  type StateStore,
} from "@pinion/storage";
import { parseActorKey } from "../records/actor-key.ts";
import type { Shard, ShardMember } from "../shard/shard.ts";
import { capture, recordOfCaptured } from "./actor-records.ts";

/** Each with the reason. */
export type UnreadActors = ReadonlyMap<ActorKey, PinionError>;

/** @returns undefined if there are none */
export function unreadFailure(unread: UnreadActors): PinionError | undefined {
  for (const [key, error] of unread) {
    const actor = formatActorId(parseActorKey(key));
    const others = unread.size === 1 ? "" : ` (and ${unread.size - 1} more)`;
    return new PinionError(
      error.code,
      `what the log has of ${actor}${others} cannot be checkpointed, and the log is kept for it; all others are written: ${error.message}`,
      { cause: error, details: { ...error.details, actor } },
    );
  }
  return undefined;
}

export interface MembersAheadPorts {
  readonly store: StateStore;
  /** Resolves once all that the shard has appended is committed and flushed. */
  flushed(): Promise<void>;
  written(member: ShardMember): void;
}

/**
 * Puts members that have changed into the store ahead of a checkpoint, and finds those that it does not take: by halves, since its error need not say whose it is.
 * @throws what is no error of one actor
 */
export async function putMembersAhead(
  ports: MembersAheadPorts,
  shard: Shard,
  members: readonly ShardMember[],
): Promise<Map<ActorKey, PinionError>> {
  if (members.length === 0) return new Map();
  const group = new Set(members);
  shard.dirty = shard.dirty.filter((member) => !group.has(member));
  const captured = members.map((member) => {
    member.dirty = false;
    return capture(member);
  });
  try {
    await ports.flushed();
    const actors = new Map<ActorKey, ActorRecord>();
    const extents = new Map<ActorKey, readonly ExtentChange[]>();
    for (const each of captured) {
      actors.set(each.actor, recordOfCaptured(each));
      if (each.extents.length > 0) extents.set(each.actor, each.extents);
    }
    await putAhead(ports.store, shard.id, [...actors.keys()], actors, extents);
    for (const member of members) {
      await member.extents?.written();
      ports.written(member);
    }
    return new Map();
  } catch (error) {
    for (const member of members) {
      member.extents?.failed();
      shard.changed(member);
    }
    if (!isOfOneActor(error)) throw error;
    const [only] = members as readonly [ShardMember];
    if (members.length === 1) return new Map([[only.actor, error]]);
  }
  const middle = members.length >> 1;
  const first = await putMembersAhead(ports, shard, members.slice(0, middle));
  const second = await putMembersAhead(ports, shard, members.slice(middle));
  return new Map([...first, ...second]);
}
