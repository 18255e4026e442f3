/**
 * The services a worker's turns, outboxes and reminders run on (activation/services.ts and its neighbours).
 */
import { decodeValue, PinionError, type Lsn } from "@pinion/core";
import { ActorExtents } from "@pinion/storage";
import type { Activation } from "../activation/activation.ts";
import type { RegisteredType } from "../activation/registered-type.ts";
import type { LoadedRecord, TurnServices } from "../activation/services.ts";
import type { Turn } from "../activation/turn.ts";
import { unknownType } from "../activation/unknown-name.ts";
import { combine, remindersOf } from "../checkpoint/actor-records.ts";
import type { EffectContext } from "../definition/actor-context.ts";
import type { IncomingCall, Session } from "../gateway/dispatcher.ts";
import { parseActorKey } from "../records/actor-key.ts";
import { callKeyText, hookKeyText } from "../records/call-key.ts";
import { decodeReminder } from "../reminders/reminder-state.ts";
import { callKeyOf } from "../shard/call-entry.ts";
import type { OutboxItem, OutboxPorts } from "../shard/outbox.ts";
import { recoveredCall } from "../shard/shard-facts.ts";
import type { WorkerCore } from "./worker-core.ts";

/** Given-up turns that are kept to be named; of more, the oldest are forgotten. */
const ABANDONED_MAX = 1_000;

export interface ServiceHooks {
  readonly submit: (call: IncomingCall) => void;
  activationEnded(activation: Activation): void;
  /** As `Admission.activationOf`. */
  activationOf(type: RegisteredType, namespace: string, branch: string, key: string): Activation;
  session(id: string): Session;
}

export function turnServices(core: WorkerCore, hooks: ServiceHooks): TurnServices {
  const { clock, rng, monitor, logger, telemetry } = core.ports;
  // Random, so that no two incarnations share one: a timer's call is never retried across them.
  const ownSession = hooks.session(`@own-${rng.uint32().toString(36)}${rng.uint32().toString(36)}`);
  let ownSeq = 0;
  const turns = telemetry.counter("pinion_turns_total", "Turns that ended", { result: "ok" });
  const failed = telemetry.counter("pinion_turns_total", "Turns that ended", { result: "error" });
  const seconds = telemetry.histogram(
    "pinion_turn_seconds",
    "Time from start to end of turns that awaited something",
  );
  return {
    clock,
    rng,
    monitor,
    telemetry,
    hlc: core.hlc,
    ownSession,
    nextOwnSeq: () => ++ownSeq,
    type: (name) => core.types.get(name),
    typeNames: () => [...core.types.keys()],
    loadRecord: (activation) => loadRecord(core, activation),
    loadExtents: (activation, storedLsn) => loadExtents(core, activation, storedLsn),
    residency: core.residency,
    unwritten: core.unwritten,
    bringIn: (type, namespace, branch, key) => bringIn(core, hooks, type, namespace, branch, key),
    transmit: (call) => hooks.submit(call),
    watch: (turn: Turn) => core.watch.add(turn),
    unwatch: (turn: Turn) => core.watch.remove(turn),
    blocked: () => core.watch.blocked(),
    isPoisoned: (call) =>
      core.options.poisoned.size > 0 && core.options.poisoned.has(callKeyText(callKeyOf(call))),
    isPoisonedHook: (actor, hook) =>
      core.options.poisoned.size > 0 && core.options.poisoned.has(hookKeyText(actor, hook)),
    remindersChanged: (activation, ops) => {
      const reminders = (activation.reminders ??= new Map());
      for (const op of ops) {
        if (op.op === "cancel") reminders.delete(op.name);
        else reminders.set(op.name, decodeReminder(op.name, op.dueMs, op.body));
      }
      core.shards.get(activation.shard.id)?.reminders.changed(activation.actor, ops);
    },
    ended: (activation) => hooks.activationEnded(activation),
    warn: (message, error, details) => logger.warn(message, error, details),
    turnFinished: (turn, ok) => {
      (ok ? turns : failed).add(1);
      if (turn.suspended) seconds.record((clock.nowMs() - turn.startedAtMs) / 1000);
    },
    abandoned: (turn) => {
      core.abandoned.add(turn);
      if (core.abandoned.size <= ABANDONED_MAX) return;
      for (const oldest of core.abandoned) {
        core.abandoned.delete(oldest);
        break;
      }
    },
    returned: (turn) => void core.abandoned.delete(turn),
    get failure() {
      return core.failure;
    },
  };
}

function bringIn(
  core: WorkerCore,
  hooks: ServiceHooks,
  name: string,
  namespace: string,
  branch: string,
  key: string,
): void {
  const type = core.types.get(name);
  if (type === undefined) throw unknownType(name, [...core.types.keys()]);
  const known = core.catalog.find(name, namespace, branch, key);
  if (known !== undefined) {
    if (known.resident !== undefined) core.residency.willAccessSoon?.(known.resident);
    return;
  }
  // A hint does not push others out, and wakes nobody who lives elsewhere.
  if (core.state !== "serving" || core.catalog.size >= core.options.activationsMax) return;
  if (core.owned(name, key) !== undefined) hooks.activationOf(type, namespace, branch, key);
}

async function loadRecord(
  core: WorkerCore,
  activation: Activation,
): Promise<LoadedRecord | undefined> {
  const { shard, actor } = activation;
  // Before the store is asked: a checkpoint that ends meanwhile forgets these changes, and the answer may be from before it.
  const later = core.shards.get(shard.id)?.recovered.get(actor);
  const stored = await core.ports.store.load(shard.id, actor);
  const record = combine(actor, stored, later);
  if (record !== undefined) activation.reminders = remindersOf(record);
  return record;
}

/**
 * What the record in the store covers is in its extents, which may be newer by now: of the log's changes, which are at fixed offsets, those behind the
 * record are all applied, or none.
 */
async function loadExtents(
  core: WorkerCore,
  activation: Activation,
  storedLsn: Lsn,
): Promise<void> {
  const { shard, actor, type } = activation;
  if (type.extents === undefined) return;
  const later = core.shards.get(shard.id)?.recovered.get(actor);
  const { store, clock } = core.ports;
  const owner = { store, shard: shard.id, actor, unwritten: core.unwritten, clock };
  const { declarations, names, profile } = type.extents;
  const missing = (later?.extents ?? []).filter((delta) => delta.lsn > storedLsn);
  const extents = await ActorExtents.open(owner, declarations, missing);
  const resident = { actor, extents, names, profile, type: type.name };
  // From here on whoever ends the activation lets them go, also while they come in.
  activation.resident = resident;
  await core.residency.activate(resident);
}

export function outboxPorts(core: WorkerCore, hooks: ServiceHooks): OutboxPorts {
  const { clock, rng, logger } = core.ports;
  return {
    clock,
    rng,
    sendEnvelope: (item, path) => {
      const target = parseActorKey(item.entry.target);
      const key = { session: item.call.session, seq: item.call.seq, path };
      return recoveredCall(key, {
        session: hooks.session(item.call.session),
        namespace: target.namespace,
        branch: target.branch,
        type: target.type,
        key: target.key,
        method: item.entry.method,
        args: item.entry.args,
        attempt: item.attempts,
        issuedAt: core.hlc.last,
      });
    },
    submit: (call) => hooks.submit(call),
    runEffect: (item) => runEffect(core, item),
    forget: (item, path) => {
      const target = parseActorKey(item.entry.target);
      core
        .owned(target.type, target.key)
        ?.shard.dedupe.remove({ ...item.call, path }, undefined, "");
    },
    warn: (message, error, details) => logger.warn(message, error, details),
  };
}

async function runEffect(core: WorkerCore, item: OutboxItem): Promise<void> {
  const id = parseActorKey(item.sender);
  const type = core.types.get(id.type);
  const effect = type?.effects.get(item.entry.method);
  if (type === undefined || effect === undefined) {
    throw new PinionError(
      "unknown-method",
      `effect "${item.entry.method}" of actor type "${id.type}" is not defined here`,
    );
  }
  const timeout = new AbortController();
  const timer = core.ports.clock.setTimer(type.maxTurnMs, () =>
    timeout.abort(new PinionError("turn-timeout", "the effect took too long")),
  );
  const context: EffectContext = { id, signal: timeout.signal, attempt: item.attempts };
  try {
    const args = decodeValue(item.entry.args) as never[];
    await enterEffect(core, item, () =>
      (effect as (ctx: EffectContext, ...args: unknown[]) => unknown)(context, ...args),
    );
  } finally {
    timer.cancel();
  }
}

/** @throws `poisoned` */
function enterEffect<T>(core: WorkerCore, item: OutboxItem, code: () => T): T {
  const name = `effect ${item.entry.method}`;
  if (core.options.poisoned.has(hookKeyText(item.sender, name))) {
    throw new PinionError("poisoned", `${name} of ${item.sender} has blocked the worker twice`, {
      details: { actor: item.sender },
    });
  }
  core.ports.monitor.enter(item.sender, name, undefined);
  try {
    return code();
  } finally {
    core.ports.monitor.leave();
  }
}
