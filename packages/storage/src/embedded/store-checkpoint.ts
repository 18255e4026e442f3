/**
 * One checkpoint of an embedded store: everything that has changed, as of one record of the log.
 *
 * C1 it is exactly what the records up to `upTo` say: it is frozen in one go, and the store gets it only once that record is flushed, also
 *    where nobody waits for that. A store ahead of its log would skip the records that later get the lost ones' LSNs.
 * C2 a failed checkpoint loses nothing: what it held is dirty again, what was pending stays pending.
 */
import type { Lsn } from "@pinion/core";
import { ActorExtents } from "../extent/actor-extents.ts";
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
  const reopened: ActorExtents[] = [];
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
      reopened.push(opened);
      extents.set(name, opened.freeze());
    }
    const facts = new Map([[POSITION_FACT, encodePosition(scope.position)]]);
    await store.checkpoint([{ shard: SHARD, appliedLsn: scope.upTo, actors, extents, facts }]);
    for (const { member } of frozen) await member.extents.written();
  } catch (e) {
    for (const { member } of frozen) member.extents.failed();
    throw e;
  } finally {
    for (const opened of reopened) opened.abandon();
  }
}
