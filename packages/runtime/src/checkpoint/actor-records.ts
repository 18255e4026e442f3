/**
 * Actors between their three forms: the store's record, the log's later changes, and the frozen value a turn works on.
 */
import { NO_LSN, PinionError, type ShardId } from "@pinion/core";
import {
  ActorExtents,
  type ActorKey,
  type ActorRecord,
  type ExtentChange,
  type ReminderRecord,
  type StateStore,
} from "@pinion/storage";
import {
  decodeReminder,
  encodeReminderBody,
  type ReminderState,
} from "../reminders/reminder-state.ts";
import type { RecoveredActor } from "../shard/recovery.ts";
import type { ShardMember } from "../shard/shard.ts";
import { applyDelta, decodeState, type StateVersion } from "../state-value/index.ts";
import type { LoadedRecord } from "../activation/services.ts";

/** What the store and the log know of an actor; undefined if it was never written. @throws `corruption` */
export function combine(
  actor: ActorKey,
  stored: ActorRecord | undefined,
  later: RecoveredActor | undefined,
): LoadedRecord | undefined {
  if (stored === undefined && later === undefined) return undefined;
  const storedLsn = stored?.lsn ?? NO_LSN;
  let state = stored?.state === undefined ? undefined : decodeState(stored.state);
  let stateVersion = stored?.stateVersion ?? 1;
  for (const delta of later?.deltas ?? []) {
    if (delta.lsn <= storedLsn) continue;
    try {
      state = applyDelta(state, delta.bytes);
    } catch (cause) {
      throw new PinionError(
        "corruption",
        `the change of ${actor} at LSN ${delta.lsn} does not fit its state`,
        {
          cause,
          details: { actor, lsn: delta.lsn },
        },
      );
    }
    stateVersion = delta.stateVersion;
  }
  const reminders = new Map((stored?.reminders ?? []).map((r) => [r.name, r] as const));
  for (const op of later?.reminderOps ?? []) {
    if (op.op === "cancel") reminders.delete(op.name);
    else reminders.set(op.name, { name: op.name, dueMs: op.dueMs, body: op.body });
  }
  const lsn = later !== undefined && later.lsn > storedLsn ? later.lsn : storedLsn;
  return { state, stateVersion, lsn, storedLsn, reminders: [...reminders.values()] };
}

/** An activation's present, captured: cheap, because state values are immutable. */
export interface Captured {
  readonly actor: ActorKey;
  /** Undefined when the log and the store have none. */
  readonly state: StateVersion | undefined;
  readonly stateVersion: number;
  readonly lsn: ActorRecord["lsn"];
  readonly reminders: readonly ReminderState[];
  /** Empty where no extent has changed. Ends with their owner's `written` or `failed`. */
  readonly extents: readonly ExtentChange[];
}

export function capture(member: ShardMember): Captured {
  // What no commit has changed stays as it is stored: a migration too is written with the commit that builds on it.
  const { state, stateVersion } = member.stored
    ? { state: member.base, stateVersion: member.stateVersion }
    : (member.unmigrated ?? { state: undefined, stateVersion: member.stateVersion });
  return {
    actor: member.actor,
    state,
    stateVersion,
    lsn: member.lastLsn,
    reminders: member.reminders === undefined ? [] : [...member.reminders.values()],
    extents: member.extents?.freeze() ?? [],
  };
}

export function recordOfCaptured(c: Captured): ActorRecord {
  return {
    state: c.state?.encode(),
    stateVersion: c.stateVersion,
    lsn: c.lsn,
    reminders: c.reminders.map((r): ReminderRecord => ({
      name: r.name,
      dueMs: r.dueMs,
      body: encodeReminderBody(r),
    })),
  };
}

/** The record of an actor that nobody has activated since the log changed it. */
export async function recordOfRecovered(
  store: StateStore,
  shard: ShardId,
  actor: ActorKey,
  later: RecoveredActor,
): Promise<ActorRecord | undefined> {
  const loaded = combine(actor, await store.load(shard, actor), later);
  if (loaded === undefined) return undefined;
  return {
    state: loaded.state?.encode(),
    stateVersion: loaded.stateVersion,
    lsn: loaded.lsn,
    reminders: loaded.reminders,
  };
}

/** The extents of such an actor; undefined when the log has changed none. Their owner lets them go after the checkpoint. */
export async function extentsOfRecovered(
  store: StateStore,
  shard: ShardId,
  actor: ActorKey,
  later: RecoveredActor,
): Promise<ActorExtents | undefined> {
  if (later.extents.length === 0) return undefined;
  const storedLsn = (await store.load(shard, actor))?.lsn ?? NO_LSN;
  const missing = later.extents.filter((delta) => delta.lsn > storedLsn);
  return missing.length === 0 ? undefined : ActorExtents.open({ store, shard, actor }, {}, missing);
}

export function remindersOf(record: LoadedRecord): Map<string, ReminderState> | undefined {
  if (record.reminders.length === 0) return undefined;
  return new Map(
    record.reminders.map((r) => [r.name, decodeReminder(r.name, r.dueMs, r.body)] as const),
  );
}
