/**
 * Turns that recovery or a reminder starts, rather than a client.
 */
import { createHash } from "node:crypto";
import { decodeError, PinionError } from "@pinion/core";
import type { Activation } from "../activation/activation.ts";
import type { IncomingCall, Outcome, Session } from "../gateway/dispatcher.ts";
import { parseActorKey } from "../records/actor-key.ts";
import { REMINDER_SESSION } from "../records/call-key.ts";
import type { ReminderOp } from "../records/runtime-records.ts";
import { encodeReminderBody, type ReminderState } from "../reminders/reminder-state.ts";
import type { Firing } from "../reminders/schedule.ts";
import { CallEntry, type PreparedTurn } from "../shard/call-entry.ts";
import { errorOutcome, valueOutcome } from "../shard/outcome.ts";
import { recoveredCall } from "../shard/shard-facts.ts";
import type { OpenCall } from "../shard/shard.ts";
import type { OwnedShard, WorkerCore } from "./worker-core.ts";

/** Pause before a rerun whose actor could not be loaded. */
const RETRY_MS = 500;
/** Runs of one call: beyond, it ends as `interrupted`. */
export const ATTEMPTS_MAX = 3;

export interface RerunHooks {
  /** @throws typed errors */
  activationOf(actor: string): Activation;
  session(id: string): Session;
}

/** The call of a due time is (this, due): two actors with equal reminders must not share it, nor their sub-calls and sends. */
function reminderSession(actor: string, state: ReminderState): string {
  // A digest, because names of facts are bounded; 96 bits do not meet.
  const who = createHash("sha256").update(actor).digest("base64url").slice(0, 16);
  return `${REMINDER_SESSION}/${who}/${state.generation}/${state.name}`;
}

function advance(state: ReminderState, firing: Firing): ReminderOp {
  if (firing.nextDueMs === undefined) return { op: "cancel", name: state.name };
  const next = { ...state, dueMs: firing.nextDueMs };
  return { op: "set", name: state.name, dueMs: next.dueMs, body: encodeReminderBody(next) };
}

/**
 * Prepares a reminder's turn: what it is for, and where its schedule goes. While it waited, a turn before it may have cancelled or
 * replaced the reminder: then it must not run, or its commit would bring the old schedule back.
 */
function prepareReminder(state: ReminderState, firing: Firing): (turn: PreparedTurn) => boolean {
  return (turn) => {
    const now = turn.member.reminders?.get(state.name);
    if (now?.generation !== state.generation || now.dueMs !== state.dueMs) return false;
    turn.reminderAdvance = advance(state, firing);
    if (firing.dueMs !== undefined) {
      turn.reminder = { name: state.name, due: new Date(firing.dueMs), missed: firing.missed };
    }
    return true;
  };
}

/**
 * Runs a due reminder's turn. Resolves when it is recorded, also if the method threw; rejects when it was refused.
 * A firing without a due time (policy "skip") only moves the schedule on.
 */
export function fireReminder(
  core: WorkerCore,
  hooks: RerunHooks,
  actor: string,
  state: ReminderState,
  firing: Firing,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const activation = hooks.activationOf(actor);
    const id = parseActorKey(actor);
    const session = reminderSession(actor, state);
    const call = recoveredCall(
      { session, seq: firing.dueMs ?? state.dueMs, path: "" },
      {
        session: hooks.session(session),
        namespace: id.namespace,
        branch: id.branch,
        type: id.type,
        key: id.key,
        method: state.method,
        args: state.args,
        issuedAt: core.hlc.last,
        sink: {
          reply: (_call: IncomingCall, outcome: Outcome) =>
            outcome.refused === undefined ? resolve() : reject(decodeError(outcome.bytes)),
        },
      },
    );
    const entry = new CallEntry(call, 0);
    entry.prepare = prepareReminder(state, firing);
    if (firing.dueMs === undefined) entry.end = valueOutcome(undefined);
    activation.shard.pending++;
    activation.admit(entry);
  });
}

/** After recovery: turns that were cut off run again, before anything else in their mailbox, or end as `interrupted`. */
export function rerunOpenCalls(core: WorkerCore, hooks: RerunHooks): number {
  let count = 0;
  for (const owned of core.shards.values()) {
    for (const [key, open] of [...owned.shard.opens]) {
      count++;
      try {
        rerun(core, hooks, owned, open);
      } catch (error) {
        core.ports.logger.warn("a turn that a crash cut off cannot be run again", error, {
          actor: open.actor,
          call: key,
        });
      }
    }
  }
  return count;
}

function rerun(core: WorkerCore, hooks: RerunHooks, owned: OwnedShard, cut: OpenCall): void {
  const { shard } = owned;
  const activation = hooks.activationOf(cut.actor);
  const id = parseActorKey(cut.actor);
  const { open } = cut;
  const call = recoveredCall(cut.key, {
    session: hooks.session(cut.key.session),
    namespace: id.namespace,
    branch: id.branch,
    type: id.type,
    key: id.key,
    method: open?.method ?? "",
    args: open?.args ?? new Uint8Array(0),
    issuedAt: open?.issuedAt ?? 0,
    chain: open?.chain ?? [],
    idempotencyKey: cut.idempotency?.key,
  });
  const entry = new CallEntry(call, cut.digest);
  entry.takeWaiting();
  entry.expiresMs = cut.idempotency?.expiresMs ?? 0;
  const reminder = reminderOf(owned, cut);
  if (cut.key.session.startsWith(REMINDER_SESSION) && reminder === undefined) {
    // Its schedule has moved on meanwhile: the due time had its effect.
    shard.opens.delete(`${cut.key.session}/${cut.key.seq}`);
    return;
  }
  const attempt = (open?.attempt ?? 0) + 1;
  if (cut.interruptible || open === undefined || attempt > ATTEMPTS_MAX) {
    const why = cut.interruptible
      ? "part of what it changed was already committed"
      : `it was cut off ${ATTEMPTS_MAX} times`;
    entry.end = errorOutcome(
      new PinionError("interrupted", `a crash cut off this call and it is not run again: ${why}`, {
        details: { actor: cut.actor },
      }),
    );
  }
  entry.closes = cut.lsn;
  entry.prepare = (turn) => {
    if (open !== undefined) turn.replayWith(open.nowMs, open.seed, attempt);
    return reminder?.(turn) ?? true;
  };
  if (!cut.key.session.startsWith("@")) {
    shard.dedupe.add(cut.key, cut.idempotency?.key, cut.actor, entry, core.ports.clock.wallMs());
  }
  entry.tryAgain = () => {
    if (core.closing || core.failure !== undefined) return false;
    core.ports.clock.setTimer(RETRY_MS, () => runFirst(core, hooks, cut.actor, entry));
    return true;
  };
  shard.pending++;
  activation.admitFirst(entry);
}

/** Runs an entry that was refused before, because its actor could not be loaded. */
function runFirst(core: WorkerCore, hooks: RerunHooks, actor: string, entry: CallEntry): void {
  // A worker that stops or has failed: the next start runs it.
  if (core.closing || core.failure !== undefined) return;
  hooks.activationOf(actor).admitFirst(entry);
}

function reminderOf(
  owned: OwnedShard,
  cut: OpenCall,
): ((turn: PreparedTurn) => boolean) | undefined {
  if (!cut.key.session.startsWith(`${REMINDER_SESSION}/`)) return undefined;
  const [, generation, ...name] = cut.key.session.slice(REMINDER_SESSION.length + 1).split("/");
  const claimed = owned.reminders.claim(cut.actor, name.join("/"), Number(generation), cut.key.seq);
  return claimed === undefined ? undefined : prepareReminder(claimed.state, claimed.firing);
}
