/**
 * One checkpoint of an embedded store: everything that has changed, as of one record of the log.
 *
 * C1 it is exactly what the records up to `upTo` say: it is frozen in one go, and the store gets it only once that record is flushed, also
 *    where nobody waits for that. A store ahead of its log would skip the records that later get the lost ones' LSNs.
 * C2 a failed checkpoint loses nothing: what it held is dirty again, what was pending stays pending.
 * C3 pending volumes go into the store before the checkpoint they belong to, a group at a time (state/put-ahead.ts): small changes all over an
 *    extent are a page each.
 * C4 a volume that is damaged keeps nobody but itself: all others go into the store, ahead of a checkpoint that will have it, too. Until then
 *    the store's LSN and its place in the log stay where its records are. Which one it is that the store refuses, its error need not say: a careful
 *    checkpoint puts open volumes ahead by halves, and pending ones one by one.
 */
import { isPinionError, NO_LSN, PinionError, type Lsn } from "@pinion/core";
import { ActorExtents } from "../extent/actor-extents.ts";
import { PAGE_BYTES } from "../extent/extent-pages.ts";
import type { LogPosition } from "../log/log.ts";
import { isOfOneActor, putAhead } from "../state/put-ahead.ts";
import type { ActorRecord, ExtentChange, StateStore } from "../state/state-store.ts";
import type { PendingVolume } from "./pending-volumes.ts";
import { encodePosition, POSITION_FACT } from "./store-record.ts";
import { SHARD } from "./store-log.ts";

/** An open volume, as a checkpoint sees it. */
export interface CheckpointMember {
  readonly name: string;
  readonly extents: ActorExtents;
  /** Of its last update. */
  readonly lastLsn: Lsn;
}

export interface CheckpointScope {
  readonly upTo: Lsn;
  /** Where the records behind `upTo` begin. */
  readonly position: LogPosition;
  /** Those with changes. */
  readonly members: readonly CheckpointMember[];
  readonly pending: readonly [string, PendingVolume][];
  /** Bytes of changed pages of pending volumes after which what is in memory of them goes into the store (C3). */
  readonly groupBytes: number;
  /** The store has refused before what a volume has changed (C4). */
  readonly careful: boolean;
}

interface Frozen {
  readonly member: CheckpointMember;
  readonly lsn: Lsn;
  readonly changes: readonly ExtentChange[];
}

const recordAt = (lsn: Lsn): ActorRecord => ({
  state: undefined,
  stateVersion: 1,
  lsn,
  reminders: [],
});

/** A volume that no checkpoint can have, and why. */
export interface UnreadVolume {
  readonly name: string;
  readonly error: PinionError;
  /** What is stored could be read as far as was needed; what has changed could not be put there. */
  readonly isRefused: boolean;
}

async function openPending(
  store: StateStore,
  name: string,
  { deltas }: PendingVolume,
): Promise<ActorExtents | UnreadVolume> {
  try {
    return await ActorExtents.open({ store, shard: SHARD, actor: name }, {}, deltas);
  } catch (e) {
    if (!isOfOneActor(e)) throw e;
    return { name, error: e, isRefused: false };
  }
}

/** @param unread at least one */
export function unreadFailure(unread: readonly UnreadVolume[]): PinionError {
  const [{ name, error }] = unread as readonly [UnreadVolume, ...UnreadVolume[]];
  const others = unread.length === 1 ? "" : ` (and ${unread.length - 1} more)`;
  return new PinionError(
    error.code,
    `what the log has of volume "${name}"${others} cannot be checkpointed, and the log is kept for it; all others are written. It can be deleted to go on without it: ${error.message}`,
    { cause: error, details: { ...error.details, volume: name } },
  );
}

const freeze = (member: CheckpointMember): Frozen => ({
  member,
  lsn: member.lastLsn,
  changes: member.extents.freeze(),
});

/** Puts open volumes ahead (C4). @returns those that the store refuses */
async function putMembersAhead(
  store: StateStore,
  members: readonly CheckpointMember[],
  flushed: (upTo: Lsn) => Promise<void>,
): Promise<UnreadVolume[]> {
  if (members.length === 0) return [];
  const frozen = members.map(freeze);
  try {
    await flushed(lsnMax(members));
    const actors = new Map(frozen.map(({ member, lsn }) => [member.name, recordAt(lsn)]));
    const extents = new Map(frozen.map(({ member, changes }) => [member.name, changes]));
    await putAhead(store, SHARD, [...actors.keys()], actors, extents);
    for (const { extents: written } of members) await written.written();
    return [];
  } catch (e) {
    for (const { extents } of members) extents.failed();
    if (!isOfOneActor(e)) throw e;
    const [{ name }] = members as readonly [CheckpointMember];
    if (members.length === 1) return [{ name, error: e, isRefused: true }];
  }
  const middle = members.length >> 1;
  const first = await putMembersAhead(store, members.slice(0, middle), flushed);
  return [...first, ...(await putMembersAhead(store, members.slice(middle), flushed))];
}

const lsnMax = (members: readonly CheckpointMember[], from: Lsn = NO_LSN): Lsn =>
  members.reduce((max, { lastLsn }) => (lastLsn > max ? lastLsn : max), from);

/**
 * Freezes at once, before it first waits, unless it is careful.
 * @param flushed resolves once the log is flushed up to there
 * @returns volumes that it could not have: then it is no checkpoint yet, and what they have changed stays where it is (C4)
 * @throws `disk-full`, `io-error`, `corruption`, `log-closed`
 */
export async function takeCheckpoint(
  store: StateStore,
  scope: CheckpointScope,
  flushed: (upTo: Lsn) => Promise<void>,
): Promise<UnreadVolume[]> {
  try {
    return await attempt(store, scope, flushed);
  } catch (e) {
    if (scope.careful || !isPinionError(e, "corruption")) throw e;
    return attempt(store, { ...scope, careful: true }, flushed);
  }
}

async function attempt(
  store: StateStore,
  scope: CheckpointScope,
  flushed: (upTo: Lsn) => Promise<void>,
): Promise<UnreadVolume[]> {
  const unread = scope.careful ? await putMembersAhead(store, scope.members, flushed) : [];
  const isUnread = (name: string): boolean => unread.some((each) => each.name === name);
  const members = scope.members.filter(({ name }) => !isUnread(name));
  const upTo = lsnMax(members, scope.upTo);
  const frozen = members.map(freeze);
  // Nobody else has the extents of these.
  const reopened = new Map<string, ActorExtents>();
  let bytes = 0;
  try {
    await flushed(upTo);
    const actors = new Map<string, ActorRecord | undefined>();
    const extents = new Map<string, readonly ExtentChange[]>();
    for (const { member, lsn, changes } of frozen) {
      actors.set(member.name, recordAt(lsn));
      extents.set(member.name, changes);
    }
    for (const [name, volume] of scope.pending) {
      if (actors.has(name) || isUnread(name)) continue;
      if (volume.deleted) {
        actors.set(name, undefined);
        continue;
      }
      const opened = await openPending(store, name, volume);
      if (!(opened instanceof ActorExtents)) {
        unread.push(opened);
        continue;
      }
      actors.set(name, recordAt(volume.lsn));
      reopened.set(name, opened);
      const changes = opened.freeze();
      extents.set(name, changes);
      for (const { pageCount } of changes) bytes += pageCount * PAGE_BYTES;
      if (bytes < scope.groupBytes && !scope.careful) continue;
      try {
        await putAhead(store, SHARD, reopened.keys(), actors, extents);
      } catch (e) {
        if (!scope.careful || !isOfOneActor(e)) throw e;
        unread.push({ name, error: e, isRefused: true });
      }
      for (const done of reopened.values()) done.abandon();
      reopened.clear();
      bytes = 0;
    }
    if (unread.length > 0) await putAhead(store, SHARD, [...actors.keys()], actors, extents);
    else {
      const facts = new Map([[POSITION_FACT, encodePosition(scope.position)]]);
      await store.checkpoint([{ shard: SHARD, appliedLsn: scope.upTo, actors, extents, facts }]);
    }
    for (const { member } of frozen) await member.extents.written();
    return unread;
  } catch (e) {
    for (const { member } of frozen) member.extents.failed();
    throw e;
  } finally {
    for (const opened of reopened.values()) opened.abandon();
  }
}
