/** One actor, looked at without bringing it into memory. */
import { formatActorId, parseActorId, PinionError, valueToJson } from "@pinion/core";
import type { Activation } from "../activation/activation.ts";
import type { LoadedRecord } from "../activation/services.ts";
import { unknownType } from "../activation/unknown-name.ts";
import { combine, remindersOf } from "../checkpoint/actor-records.ts";
import { actorKeyOfId } from "../records/actor-key.ts";
import type { ReminderState } from "../reminders/reminder-state.ts";
import { plainState, type StateVersion } from "../state-value/index.ts";
import type { OwnedShard, WorkerCore } from "../worker/worker-core.ts";
import { turnsOf } from "./turn-summaries.ts";
import type { ActorInspection, ReminderSummary } from "./worker-requests.ts";

/**
 * @param text actor id in text form
 * @throws `invalid-actor-id`, `unknown-actor-type` with the nearest names, `relocate`, errors of the store
 */
export async function inspectActor(
  core: WorkerCore,
  worker: number,
  text: string,
): Promise<ActorInspection> {
  const id = parseActorId(text);
  const type = core.types.get(id.type);
  if (type === undefined) throw unknownType(id.type, [...core.types.keys()]);
  const owned = core.owned(id.type, id.key);
  if (owned === undefined)
    throw new PinionError("relocate", `${text} does not live on worker ${worker}`);
  const common = {
    id: formatActorId(id),
    worker,
    shard: owned.shard.id,
    definedStateVersion: type.stateVersion,
    appliedLsn: owned.shard.appliedLsn,
    committedLsn: core.ports.replication.committed(owned.shard.id),
  };
  const activation = core.catalog.find(id.type, id.namespace, id.branch, id.key);
  if (activation !== undefined && activation.state !== "loading")
    return { ...common, ...inMemory(core, activation) };
  const record = await storedRecord(core, owned, actorKeyOfId(id));
  return {
    ...common,
    activation: activation?.state ?? (record === undefined ? "unknown" : "stored"),
    idleMs: null,
    stateJson: record?.state === undefined ? null : jsonOf(record.state),
    stateVersion: record?.state === undefined ? null : record.stateVersion,
    mailboxLength: activation?.waiting ?? 0,
    turns: [],
    reminders: record === undefined ? [] : reminderRows(remindersOf(record)),
    lsn: record?.lsn ?? 0,
  };
}

function inMemory(
  core: WorkerCore,
  activation: Activation,
): Omit<
  ActorInspection,
  "id" | "worker" | "shard" | "definedStateVersion" | "appliedLsn" | "committedLsn"
> {
  return {
    activation: activation.state,
    idleMs: activation.idle ? Math.round(core.ports.clock.nowMs() - activation.lastUsedMs) : null,
    stateJson: jsonOf(activation.base),
    stateVersion: activation.stateVersion,
    mailboxLength: activation.waiting,
    turns: turnsOf(core, activation),
    reminders: reminderRows(activation.reminders),
    lsn: activation.lastLsn,
  };
}

async function storedRecord(
  core: WorkerCore,
  owned: OwnedShard,
  actor: string,
): Promise<LoadedRecord | undefined> {
  const stored = await core.ports.store.load(owned.shard.id, actor);
  return combine(actor, stored, owned.recovered.get(actor));
}

const jsonOf = (state: StateVersion): string => valueToJson(plainState(state));

function reminderRows(
  reminders: ReadonlyMap<string, ReminderState> | undefined,
): ReminderSummary[] {
  return [...(reminders?.values() ?? [])]
    .sort((a, b) => a.dueMs - b.dueMs)
    .map(({ name, method, dueMs }) => ({ name, method, due: new Date(dueMs).toISOString() }));
}
