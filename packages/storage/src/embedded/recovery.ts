/**
 * What the log has behind the newest checkpoint, folded per volume. Every record that is read was flushed, so all of it counts.
 *
 * V1 each record behind the checkpoint is taken once and in order, up to the one that the log says is its last; one that is missing, or cannot
 *    be understood, is `corruption`: going on without it would be a silent loss.
 * V2 memory is bounded: beyond `PENDING_BYTES_MAX` of changes, or of pages that they change, and where a deleted volume comes back, what was read so far is checkpointed first. Only
 *    what the log has of volumes that cannot be read stays.
 */
import {
  hlcTime,
  isPinionError,
  messageOf,
  PinionError,
  type HlcTime,
  type Lsn,
} from "@pinion/core";
import { RecordKind, type Log, type LogPosition, type LogRecord } from "../log/log.ts";
import type { StateStore } from "../state/state-store.ts";
import { PendingVolumes } from "./pending-volumes.ts";
import { takeCheckpoint } from "./store-checkpoint.ts";
import { SHARD } from "./store-log.ts";
import {
  decodePosition,
  decodeStoreRecord,
  POSITION_FACT,
  type StoreRecord,
} from "./store-record.ts";

const PENDING_BYTES_MAX = 64 * 1024 * 1024;
const OUT_OF_LOG: ReadonlySet<string> = new Set(["not-found", "invalid-argument"]);

export interface Recovered {
  readonly pending: PendingVolumes;
  /** Newest in the log. */
  readonly lastTimestamp: HlcTime;
}

/** @throws `corruption`, `format-too-new`, `io-error`, `disk-full` */
export async function recover(
  log: Log,
  store: StateStore,
  pendingBytesMax: number = PENDING_BYTES_MAX,
): Promise<Recovered> {
  const pending = new PendingVolumes();
  const [fact] = await store.facts(SHARD, POSITION_FACT);
  const position = fact === undefined ? undefined : decodePosition(fact.value);
  let last = await store.appliedLsn(SHARD);
  let lastTimestamp = hlcTime(0);
  /** Of volumes that cannot be read: they stay whatever is checkpointed. */
  let unreadBytes = 0;
  for await (const record of recordsFrom(log, position)) {
    if (record.timestamp > lastTimestamp) lastTimestamp = record.timestamp;
    if (record.shard !== SHARD || record.lsn <= last) continue;
    if (record.lsn !== last + 1) throw gap(last, record.lsn);
    const { volume, delta } = understand(record);
    const comesBack = delta !== undefined && pending.get(volume)?.deleted === true;
    if (comesBack || pending.byteCount - unreadBytes > pendingBytesMax) {
      await checkpoint(store, pending, last, record.position, pendingBytesMax);
      unreadBytes = pending.byteCount;
    }
    if (delta === undefined) pending.deleted(volume, record.lsn);
    else pending.updated(volume, record.lsn, delta.slice());
    last = record.lsn;
  }
  const end = log.appended(SHARD);
  if (end > last) throw gap(last, end);
  if (end < last) {
    throw new PinionError(
      "corruption",
      `the log ends with record ${end}, the checkpoint has ${last}: the log is older than the checkpoint`,
      { details: { lsn: end, appliedLsn: last } },
    );
  }
  return { pending, lastTimestamp };
}

async function* recordsFrom(log: Log, from: LogPosition | undefined): AsyncGenerator<LogRecord> {
  try {
    yield* log.reader(from === undefined ? {} : { from });
  } catch (e) {
    if (!isPinionError(e) || !OUT_OF_LOG.has(e.code)) throw e;
    throw new PinionError(
      "corruption",
      `the log does not reach back to the last checkpoint: ${e.message}`,
      { cause: e, details: e.details },
    );
  }
}

function understand(record: LogRecord): StoreRecord {
  const { lsn, position, kind } = record;
  try {
    if (kind !== RecordKind.user) throw new PinionError("corruption", `a record of kind ${kind}`);
    return decodeStoreRecord(record.payload);
  } catch (e) {
    if (!isPinionError(e)) throw e;
    throw new PinionError(
      e.code,
      `record ${lsn} (segment ${position.segment}, offset ${position.offset}) cannot be applied: ${messageOf(e)}`,
      { cause: e, details: { ...e.details, lsn } },
    );
  }
}

async function checkpoint(
  store: StateStore,
  pending: PendingVolumes,
  upTo: Lsn,
  position: LogPosition,
  groupBytes: number,
): Promise<void> {
  const entries = pending.entries();
  const scope = { upTo, position, members: [], pending: entries, groupBytes, careful: false };
  // What was read was flushed.
  const unread = await takeCheckpoint(store, scope, async () => {});
  pending.checkpointed(entries, unread);
}

function gap(before: Lsn, next: Lsn): PinionError {
  return new PinionError(
    "corruption",
    `record ${before} is followed by ${next} in the log: the checkpoint is older than the one the log was cut for`,
    { details: { appliedLsn: before, lsn: next } },
  );
}
