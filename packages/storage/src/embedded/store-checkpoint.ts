/**
 * One checkpoint of an embedded store: everything that has changed, as of one record of the log.
 *
 * C1 it is exactly what the records up to `upTo` say: it is frozen in one go, and the store gets it only once that record is flushed, also
 *    where nobody waits for that. A store ahead of its log would skip the records that later get the lost ones' LSNs.
 * C2 a failed checkpoint loses nothing: what it held is dirty again, what was pending stays pending.
 * C3 pending volumes go into the store before the checkpoint they belong to, a group at a time, without moving its LSN: small changes all over an
 *    extent are a page each. A start in between applies their records again, which changes nothing.
 */
import type { Lsn } from "@pinion/core";
import { ActorExtents } from "../extent/actor-extents.ts";
import { PAGE_BYTES } from "../extent/extent-pages.ts";
import type { LogPosition } from "../log/log.ts";
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

/**
 * Freezes at once, before it first waits.
 * @param flushed resolves once `scope.upTo` is flushed
 * @throws `disk-full`, `io-error`, `corruption`, `log-closed`
 */
export async function takeCheckpoint(
  store: StateStore,
  scope: CheckpointScope,
  flushed: () => Promise<void>,
): Promise<void> {
  const frozen: Frozen[] = scope.members.map((member) => ({
    member,
    lsn: member.lastLsn,
    changes: member.extents.freeze(),
  }));
  // Nobody else has the extents of these.
  const reopened = new Map<string, ActorExtents>();
  let bytes = 0;
  try {
    await flushed();
    const actors = new Map<string, ActorRecord | undefined>();
    const extents = new Map<string, readonly ExtentChange[]>();
    for (const { member, lsn, changes } of frozen) {
      actors.set(member.name, recordAt(lsn));
      extents.set(member.name, changes);
    }
    for (const [name, { deleted, deltas, lsn }] of scope.pending) {
      if (actors.has(name)) continue;
      actors.set(name, deleted ? undefined : recordAt(lsn));
      if (deleted) continue;
      const opened = await ActorExtents.open({ store, shard: SHARD, actor: name }, {}, deltas);
      reopened.set(name, opened);
      const changes = opened.freeze();
      extents.set(name, changes);
      for (const { pageCount } of changes) bytes += pageCount * PAGE_BYTES;
      if (bytes < scope.groupBytes) continue;
      await putAhead(store, reopened.keys(), actors, extents);
      for (const done of reopened.values()) done.abandon();
      reopened.clear();
      bytes = 0;
    }
    const facts = new Map([[POSITION_FACT, encodePosition(scope.position)]]);
    await store.checkpoint([{ shard: SHARD, appliedLsn: scope.upTo, actors, extents, facts }]);
    for (const { member } of frozen) await member.extents.written();
  } catch (e) {
    for (const { member } of frozen) member.extents.failed();
    throw e;
  } finally {
    for (const opened of reopened.values()) opened.abandon();
  }
}

/** Puts volumes of a checkpoint into the store before it (C3), and takes them out. */
async function putAhead(
  store: StateStore,
  names: Iterable<string>,
  actors: Map<string, ActorRecord | undefined>,
  extents: Map<string, readonly ExtentChange[]>,
): Promise<void> {
  const ahead = new Map<string, ActorRecord | undefined>();
  const changed = new Map<string, readonly ExtentChange[]>();
  for (const name of names) {
    ahead.set(name, actors.get(name));
    changed.set(name, extents.get(name) ?? []);
    actors.delete(name);
    extents.delete(name);
  }
  const appliedLsn = await store.appliedLsn(SHARD);
  await store.checkpoint([
    { shard: SHARD, appliedLsn, actors: ahead, extents: changed, facts: new Map() },
  ]);
}
