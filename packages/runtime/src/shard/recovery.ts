/**
 * Rebuilding the shards of a worker from the store and the log behind its checkpoint. Nothing runs and nothing leaves until it
 * is through; every record read was flushed, so all of it counts as committed.
 *
 * V1 records at or below a shard's applied LSN are skipped; the rest are applied in order, each once.
 * V2 a record that cannot be understood stops recovery with `corruption` naming it: serving without it would be a silent loss. So does one
 *    that is missing (log-continuity.ts).
 */
import {
  hlcTime,
  messageOf,
  NO_LSN,
  PinionError,
  shardOf,
  type HlcTime,
  type Lsn,
  type ShardId,
} from "@pinion/core";
import {
  RecordKind,
  type ActorKey,
  type Log,
  type LoggedDelta,
  type LogPosition,
  type LogRecord,
  type StateStore,
} from "@pinion/storage";
import { parseActorKey } from "../records/actor-key.ts";
import { callKeyText, childPath } from "../records/call-key.ts";
import {
  OutboxKind,
  readCommit,
  readDone,
  readOpen,
  type CommitRecord,
  type ReminderOp,
} from "../records/runtime-records.ts";
import { atOnce } from "./at-once.ts";
import { LogContinuity } from "./log-continuity.ts";
import type { OutboxItem } from "./outbox.ts";
import { readPosition, recoveredEntry, restoreFact } from "./shard-facts.ts";
import type { Shard } from "./shard.ts";

/** What the log holds of an actor beyond its record in the store. */
export interface RecoveredActor {
  readonly deltas: {
    readonly bytes: Uint8Array;
    readonly stateVersion: number;
    readonly lsn: Lsn;
  }[];
  readonly reminderOps: ReminderOp[];
  /** Changes of its extents. */
  readonly extents: LoggedDelta[];
  lsn: Lsn;
}

export interface RecoveredShard {
  readonly shard: Shard;
  readonly actors: Map<ActorKey, RecoveredActor>;
}

interface Recovering {
  readonly shards: ReadonlyMap<ShardId, RecoveredShard>;
  /** Of the cluster: a send's receiver is found by it. */
  readonly shardCount: number;
}

export interface RecoveryResult {
  readonly shards: ReadonlyMap<ShardId, RecoveredShard>;
  readonly records: number;
  /** Newest timestamp in the log: the clock starts after it. */
  readonly lastTimestamp: HlcTime;
}

/** Opened from the store side by side: each waits for a handful of small reads, one after the other. */
export const SHARDS_AT_ONCE = 8;

export async function recoverShards(
  shards: readonly Shard[],
  log: Log,
  store: StateStore,
  shardCount: number,
): Promise<RecoveryResult> {
  const recovered = new Map<ShardId, RecoveredShard>();
  const continuity = new LogContinuity(log);
  const stored = await atOnce(shards, SHARDS_AT_ONCE, async (shard) => ({
    shard,
    appliedLsn: await store.appliedLsn(shard.id),
    facts: await store.facts(shard.id, ""),
  }));
  for (const { shard, appliedLsn, facts } of stored) {
    let position: LogPosition | undefined;
    shard.appliedLsn = appliedLsn;
    for (const { name, value } of facts) {
      shard.persistedFacts.add(name);
      if (name === "position") position = readPosition(value);
      else restoreFact(shard, name, value);
    }
    continuity.expect(shard.id, shard.appliedLsn, position);
    recovered.set(shard.id, { shard, actors: new Map() });
  }
  let records = 0;
  let lastTimestamp = hlcTime(0);
  for await (const record of continuity.records()) {
    if (record.timestamp > lastTimestamp) lastTimestamp = record.timestamp;
    const target = recovered.get(record.shard);
    if (target === undefined || !continuity.isNew(record)) continue;
    apply({ shards: recovered, shardCount }, target, record);
    records++;
  }
  for (const { shard } of recovered.values()) {
    shard.recovered();
  }
  forgetAnswered([...recovered.values()].map((r) => r.shard));
  return { shards: recovered, records, lastTimestamp };
}

/** Nobody asks for the outcome of a send that is done. */
function forgetDelivered(all: Recovering, item: OutboxItem): void {
  if (item.entry.kind !== OutboxKind.send) return;
  const { type, key } = parseActorKey(item.entry.target);
  const path = childPath(item.call.path, item.entry.ordinal);
  all.shards
    .get(shardOf(type, key, all.shardCount))
    ?.shard.dedupe.remove({ ...item.call, path }, undefined, "");
}

function apply(all: Recovering, target: RecoveredShard, record: LogRecord): void {
  try {
    switch (record.kind) {
      case RecordKind.commit:
        applyCommit(target, readCommit(record.payload), record);
        return;
      case RecordKind.open: {
        const open = readOpen(record.payload);
        const key = callKeyText(open.call);
        target.shard.opens.set(key, {
          open,
          lsn: record.lsn,
          // It may have been committed in part before it called anybody.
          interruptible: target.shard.opens.get(key)?.interruptible ?? false,
          actor: open.actor,
          key: open.call,
          digest: open.digest,
          idempotency: open.idempotency,
        });
        return;
      }
      case RecordKind.done:
        for (const { call, ordinal } of readDone(record.payload)) {
          const item = target.shard.outbox.restoreDone(call, ordinal);
          if (item !== undefined) forgetDelivered(all, item);
        }
        return;
      default:
        // Records of the cluster's own business: nothing to rebuild on one host.
        return;
    }
  } catch (error) {
    throw new PinionError(
      "corruption",
      `record ${record.lsn} of shard ${record.shard} (segment ${record.position.segment}, offset ${record.position.offset}) cannot be applied: ${messageOf(error)}`,
      { cause: error, details: { shard: record.shard, lsn: record.lsn } },
    );
  }
}

function applyCommit(
  { shard, actors }: RecoveredShard,
  commit: CommitRecord,
  record: LogRecord,
): void {
  const actor = recoveredActor(actors, commit.actor);
  actor.lsn = record.lsn;
  if (commit.delta !== undefined) {
    if (commit.whole) actor.deltas.length = 0;
    actor.deltas.push({ bytes: commit.delta, stateVersion: commit.stateVersion, lsn: record.lsn });
  }
  actor.reminderOps.push(...commit.reminders);
  if (commit.extents !== undefined) actor.extents.push({ lsn: record.lsn, bytes: commit.extents });
  if (commit.reminders.length > 0) {
    shard.remindersRecovered.push({ actor: commit.actor, ops: commit.reminders });
  }
  if (commit.call === undefined) return;
  if (commit.partial) {
    const text = callKeyText(commit.call);
    const before = shard.opens.get(text);
    shard.opens.set(text, {
      open: before?.open,
      lsn: before?.lsn ?? record.lsn,
      interruptible: true,
      actor: commit.actor,
      key: commit.call,
      digest: commit.digest,
      idempotency: commit.idempotency,
    });
    return;
  }
  if (shard.opens.size > 0) shard.opens.delete(callKeyText(commit.call));
  if (commit.outcome !== undefined && !commit.call.session.startsWith("@")) {
    const entry = recoveredEntry(commit.call, commit.digest, record.lsn, {
      ok: commit.ok,
      bytes: commit.outcome,
    });
    entry.expiresMs = commit.idempotency?.expiresMs ?? 0;
    shard.dedupe.add(
      commit.call,
      commit.idempotency?.key,
      commit.actor,
      entry,
      record.timestamp / 1000,
    );
  }
  shard.dedupe.restoreAcknowledged(commit.call.session, commit.ackedBelow);
  for (const entry of commit.outbox) {
    shard.outbox.restore({
      sender: commit.actor,
      call: commit.call,
      entry,
      lsn: record.lsn,
      attempts: 0,
    });
  }
}

function recoveredActor(actors: Map<ActorKey, RecoveredActor>, key: ActorKey): RecoveredActor {
  let actor = actors.get(key);
  if (actor === undefined) {
    actor = { deltas: [], reminderOps: [], extents: [], lsn: NO_LSN };
    actors.set(key, actor);
  }
  return actor;
}

/**
 * Answers of sub-calls and sends are kept only while somebody may ask again: the caller's turn is open, or the send is still in an
 * outbox. An open record that its turn's commit overtook (the turn was abandoned while the record was being written) goes too.
 */
function forgetAnswered(shards: readonly Shard[]): void {
  const asking = new Set<string>();
  for (const shard of shards) {
    for (const [key, open] of shard.opens) {
      const known = shard.dedupe.lookupKey(open.key, open.idempotency?.key, open.actor);
      const answered = known?.recorded === true || shard.dedupe.isAcknowledged(open.key);
      if (answered) shard.opens.delete(key);
      else asking.add(key);
    }
  }
  for (const shard of shards) {
    for (const [key, entry] of [...shard.dedupe.others()]) {
      if (key.startsWith("!") || entry.expiresMs > 0) continue;
      const cut = Math.max(key.lastIndexOf("."), key.lastIndexOf("/"));
      const ordinal = Number(key.slice(cut + 1));
      const parent = key.slice(0, cut);
      const inOutbox = shards.some((s) => s.outbox.hasKey(`${parent}#${ordinal}`));
      if (!asking.has(parent) && !inOutbox) shard.dedupe.forgetOther(key);
    }
  }
}
