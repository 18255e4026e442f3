/**
 * One checkpoint of an embedded store: everything that has changed, as of one record of the log.
 *
 * C1 it is exactly what the records up to `upTo` say: it is frozen in one go, and the store gets it only once that record is flushed, also
 *    where nobody waits for that. A store ahead of its log would skip the records that later get the lost ones' LSNs.
 * C2 a failed checkpoint loses nothing: what it held is dirty again, what was pending stays pending.
 * C3 pending volumes go into the store before the checkpoint they belong to, a group at a time (state/put-ahead.ts): small changes all over an
 *    extent are a page each.
 * C4 a pending volume that cannot be read keeps nobody but itself: all others go into the store, ahead of a checkpoint that will have it, too. Until then
 *    the store's LSN and its place in the log stay where its records are.
 */
import { PinionError, type Lsn } from "@pinion/core";
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

/** A pending volume that cannot be read, and why. */
export interface UnreadVolume {
  readonly name: string;
  readonly error: PinionError;
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
    return { name, error: e };
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

/**
 * Freezes at once, before it first waits.
 * @param flushed resolves once `scope.upTo` is flushed
 * @returns pending volumes that cannot be read: then it is no checkpoint yet, and they stay pending (C4)
 * @throws `disk-full`, `io-error`, `corruption`, `log-closed`
 */
export async function takeCheckpoint(
  store: StateStore,
  scope: CheckpointScope,
  flushed: () => Promise<void>,
): Promise<UnreadVolume[]> {
  const frozen: Frozen[] = scope.members.map((member) => ({
    member,
    lsn: member.lastLsn,
    changes: member.extents.freeze(),
  }));
  // Nobody else has the extents of these.
  const reopened = new Map<string, ActorExtents>();
  const unread: UnreadVolume[] = [];
  let bytes = 0;
  try {
    await flushed();
    const actors = new Map<string, ActorRecord | undefined>();
    const extents = new Map<string, readonly ExtentChange[]>();
    for (const { member, lsn, changes } of frozen) {
      actors.set(member.name, recordAt(lsn));
      extents.set(member.name, changes);
    }
    for (const [name, volume] of scope.pending) {
      if (actors.has(name)) continue;
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
      if (bytes < scope.groupBytes) continue;
      await putAhead(store, SHARD, reopened.keys(), actors, extents);
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
