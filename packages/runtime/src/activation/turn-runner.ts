/**
 * How a turn begins and ends: from the head of the mailbox to the commit record, and to the output gate. This is the hot
 * path of the runtime (protocol.md, A: `run`); what a plain call does not need is elsewhere.
 *
 * R1 a turn's changes, its outcome, its sends and its reminder changes are one log record, or none exist.
 * R2 the next turn may start as soon as that record is appended (pipelining); replies wait in the gate.
 * R3 a turn that throws changes nothing; its error is recorded as the outcome, so that a retry gets the same answer (P20).
 * R4 a turn whose record finds the log's buffer full keeps its actor and waits, within `TURNS_WAITING_BYTES` and its time. One that
 *    may not leaves no trace, and its caller may retry, unless it has opened sub-calls: they stand, so it waits however long.
 */
import { decodeValue, isThenable, NO_LSN, PinionError, type Lsn } from "@pinion/core";
import { RecordKind } from "@pinion/storage";
import type { IncomingCall, Outcome } from "../gateway/dispatcher.ts";
import {
  NO_OUTBOX,
  NO_REMINDERS,
  writeCommit,
  type CommitRecord,
  type ReminderOp,
} from "../records/runtime-records.ts";
import { callKeyOf, type CallEntry } from "../shard/call-entry.ts";
import { errorOutcome, logRefuses, refusedOutcome, valueOutcome } from "../shard/outcome.ts";
import type { StateVersion } from "../state-value/index.ts";
import type { Activation } from "./activation.ts";
import type { MethodFn, RegisteredMethod } from "./registered-type.ts";
import { TurnContext } from "./turn-context.ts";
import { openCommitSpan, openTurnSpan } from "./turn-spans.ts";
import { Turn } from "./turn.ts";
import { unknownMethod } from "./unknown-name.ts";

/** Bytes of one turn's commit record. */
export const WRITE_SET_BYTES_MAX = 16 * 1024 * 1024;
/** Bytes of records, of all shards of a worker, that may wait for room in its log: one of the largest, and what comes meanwhile. */
export const TURNS_WAITING_BYTES = 2 * WRITE_SET_BYTES_MAX;

function argumentsOf(call: IncomingCall): unknown[] {
  const args = decodeValue(call.args);
  if (Array.isArray(args)) return args as unknown[];
  throw new PinionError("invalid-argument", "the arguments of a call are a MessagePack array");
}

function invoke(activation: Activation, fn: MethodFn, ctx: TurnContext, args: unknown[]): unknown {
  const receiver = activation.type.receiver;
  switch (args.length) {
    case 0:
      return fn.call(receiver, ctx);
    case 1:
      return fn.call(receiver, ctx, args[0]);
    case 2:
      return fn.call(receiver, ctx, args[0], args[1]);
    default:
      return fn.call(receiver, ctx, ...args);
  }
}

/** Runs a method synchronously up to its first wait; `done` gets its result, now or later. */
export function runMethod(
  turn: Turn,
  method: RegisteredMethod,
  call: IncomingCall,
  done: (turn: Turn, ok: boolean, value: unknown) => void,
): void {
  const { activation } = turn;
  activation.running++;
  let result: unknown;
  const { monitor } = activation.services;
  monitor.enter(activation.actor, method.name, call);
  try {
    result = invoke(activation, method.fn, new TurnContext(turn), argumentsOf(call));
    monitor.leave();
  } catch (error) {
    monitor.leave();
    done(turn, false, error);
    return;
  }
  if (!isThenable(result)) {
    done(turn, true, result);
    return;
  }
  turn.suspended = true;
  activation.services.watch(turn);
  result.then(
    (value) => done(turn, true, value),
    (error: unknown) => done(turn, false, error),
  );
}

export function poisonedCall(activation: Activation, call: IncomingCall): PinionError {
  return new PinionError(
    "poisoned",
    `this call of ${call.method} has blocked the worker twice and is not run again`,
    { details: { actor: activation.actor, method: call.method } },
  );
}

/** Starts the turn of a mutating call. */
export function startTurn(activation: Activation, entry: CallEntry): void {
  const { call } = entry;
  const { services } = activation;
  const nowMs = services.clock.nowMs();
  if (call.deadlineAtMs <= nowMs) {
    activation.shard.refuse(
      entry,
      refusedOutcome(
        new PinionError(
          "deadline-exceeded",
          "the deadline passed while the call waited for its turn; it did not run",
        ),
      ),
    );
    return;
  }
  const turn = new Turn(activation, "call", call, entry, nowMs);
  const method = activation.type.methods.get(call.method);
  turn.openLsn = entry.closes;
  if (entry.prepare?.(turn) === false) {
    activation.shard.withdrawn(entry);
    return;
  }
  if (activation.turn === undefined) activation.turn = turn;
  if (entry.end !== undefined) {
    activation.running++;
    commitTurn(turn, entry.end.ok, entry.end, activation.base, undefined, false);
    return;
  }
  if (method === undefined || services.isPoisoned(call)) {
    activation.running++;
    const error =
      method === undefined
        ? unknownMethod(activation.type.name, call.method, [...activation.type.methods.keys()])
        : poisonedCall(activation, call);
    finishTurn(turn, false, error);
    return;
  }
  openTurnSpan(turn);
  runMethod(turn, method, call, finishTurn);
}

/** Ends a turn: record, publish, answer. */
function finishTurn(turn: Turn, ok: boolean, value: unknown): void {
  if (turn.ended || turn.recording) {
    turn.activation.services.returned(turn);
    return;
  }
  const { activation } = turn;
  if (!ok && value !== undefined && value === turn.entryRefused && !isBound(turn)) {
    refuse(turn, refusedOutcome(value));
    return;
  }
  let outcome: Outcome;
  let whole = false;
  let delta: Uint8Array | undefined;
  let next = activation.base;
  if (ok) {
    try {
      outcome = valueOutcome(value);
      if (turn.draft !== undefined) {
        const finished = turn.draft.finish({ whole: !activation.stored });
        ({ delta, whole, base: next } = finished);
      }
      turn.finishedExtents = turn.extents?.finish();
    } catch (error) {
      outcome = errorOutcome(error);
      ok = false;
    }
  } else outcome = errorOutcome(value);
  warnOfOpenCalls(turn);
  commitTurn(turn, ok, outcome, next, delta, whole);
}

/** A call that was made and not awaited is applied or not, and nobody learns which: most often a forgotten `await`. */
function warnOfOpenCalls(turn: Turn): void {
  if (turn.callsOpen === 0) return;
  const { actor, services } = turn.activation;
  services.warn(
    "a method returned before a call it made was answered: is an await missing?",
    undefined,
    { actor, method: (turn.call as IncomingCall).method, open: turn.callsOpen },
  );
}

/** Its time was up, or the activation must go: the turn ends with `error`, and nothing it did counts. */
export function abandonTurn(turn: Turn, error: PinionError): void {
  if (turn.ended || isWaiting(turn, error)) return;
  if (turn.kind !== "hook") turn.activation.services.abandoned(turn);
  if (turn.kind === "call") {
    commitTurn(turn, false, errorOutcome(error), turn.activation.base, undefined, false);
    return;
  }
  endTurn(turn, false);
  if (turn.kind === "readonly") turn.call?.sink.reply(turn.call, errorOutcome(error));
  turn.activation.turnEnded(turn);
}

/**
 * The worker stops before the turn ends: it leaves no outcome. A retry, or the next start if it has called others, runs
 * the call again.
 */
export function cutOffTurn(turn: Turn, error: PinionError): void {
  if (turn.ended || isWaiting(turn, error)) return;
  const { activation, entry } = turn;
  turn.abort(error);
  endTurn(turn, false);
  if (entry !== undefined) activation.shard.refuse(entry, refusedOutcome(error));
  else turn.call?.sink.reply(turn.call, refusedOutcome(error));
  activation.turnEnded(turn);
}

/** A reminder's turn moves its schedule on even if it throws: its due time has had its one effect. */
function reminderOps(turn: Turn, ok: boolean): readonly ReminderOp[] {
  const own = (ok ? turn.reminderOps : undefined) ?? NO_REMINDERS;
  return turn.reminderAdvance === undefined ? own : [turn.reminderAdvance, ...own];
}

/** Of a turn that a call started: others are not recorded under a call id. */
function commitTurn(
  turn: Turn,
  ok: boolean,
  outcome: Outcome,
  next: StateVersion,
  delta: Uint8Array | undefined,
  whole: boolean,
): void {
  const { activation } = turn;
  const entry = turn.entry as CallEntry;
  const call = turn.call as IncomingCall;
  const { shard } = activation;
  const record: CommitRecord = {
    actor: activation.actor,
    call: callKeyOf(call),
    digest: entry.digest,
    ackedBelow: call.session.ackedBelow,
    idempotency: entry.idempotency,
    stateVersion: activation.type.stateVersion,
    delta,
    whole,
    ok,
    outcome: outcome.bytes,
    closes: turn.openLsn,
    outbox: ok ? (turn.outbox ?? NO_OUTBOX) : NO_OUTBOX,
    reminders: reminderOps(turn, ok),
    extents: ok ? turn.finishedExtents?.delta : undefined,
    partial: false,
  };
  const payload = shard.encode((w) => writeCommit(w, record));
  if (payload.length > WRITE_SET_BYTES_MAX) {
    commitError(turn, tooLarge(payload.length, WRITE_SET_BYTES_MAX));
    return;
  }
  let at: Lsn | undefined;
  try {
    at = shard.tryAppend(RecordKind.commit, payload);
  } catch (error) {
    // Segments smaller than a write set: the log says how much it takes.
    commitError(turn, error);
    return;
  }
  if (at === undefined) {
    refused(turn, ok, outcome, next, record, payload.length);
    return;
  }
  publish(turn, ok, outcome, next, record, at);
}

/** The turn's changes cannot be recorded: its outcome is the reason. */
function commitError(turn: Turn, error: unknown): void {
  turn.outbox = turn.reminderOps = turn.finishedExtents = undefined;
  commitTurn(turn, false, errorOutcome(error), turn.activation.base, undefined, false);
}

function tooLarge(bytes: number, limit: number): PinionError {
  return new PinionError(
    "write-set-too-large",
    `the turn's changes, sends and result take ${bytes} bytes; at most ${limit} fit in one commit`,
    { details: { bytes, limit } },
  );
}

/** Part of what it did stands: its outcome must be recorded. */
const isBound = (turn: Turn): boolean => turn.openLsn !== NO_LSN || turn.partial;

/** The turn leaves no trace: its caller may retry (R4). */
function refuse(turn: Turn, outcome: Outcome): void {
  const { activation, entry } = turn;
  endTurn(turn, false);
  activation.shard.refuse(entry as CallEntry, outcome);
  activation.turnEnded(turn);
}

/** Whether its record waits for room in the log. Unless the record must be written, the wait ends now, and the turn soon. */
function isWaiting(turn: Turn, reason: PinionError): boolean {
  turn.giveUp?.abort(reason);
  return turn.recording;
}

/**
 * The log takes nothing right now. A full buffer is written in a moment: the turn keeps its actor and waits, which costs less than
 * to run it again. What lasts (a full disk, an archive that is behind) is for the caller to know, and so is a wait that is over.
 */
function refused(
  turn: Turn,
  ok: boolean,
  outcome: Outcome,
  next: StateVersion,
  record: CommitRecord,
  bytes: number,
): void {
  const { activation } = turn;
  const { shard, services } = activation;
  const { log } = shard;
  const bound = isBound(turn);
  // A turn whose open record waits as well would become bound while it may still give up.
  const mayWait =
    turn.opening === undefined &&
    log.backpressure() === undefined &&
    log.queuedBytes + bytes <= TURNS_WAITING_BYTES &&
    services.clock.nowMs() < turn.limitAtMs;
  if (!bound && !mayWait) {
    refuse(turn, refusedOutcome(logRefuses(shard)));
    return;
  }
  turn.recording = true;
  // What code of the turn that was not awaited would still change is not in the record.
  turn.draft?.revoke();
  turn.extents?.seal();
  if (bound) {
    // What it opened stands, so this outcome must be recorded, and no deadline may record another.
    if (turn.suspended) services.unwatch(turn);
  } else {
    turn.giveUp = new AbortController();
    if (!turn.suspended) services.watch(turn);
    turn.suspended = true;
  }
  let isRecorded = false;
  shard
    .append(
      RecordKind.commit,
      shard.encodeCopy((w) => writeCommit(w, record)),
      (at) => {
        isRecorded = true;
        publish(turn, ok, outcome, next, record, at);
      },
      () => turn.giveUp?.signal,
    )
    .catch((error: unknown) => {
      if (isRecorded) throw error;
      if (!bound) {
        refuse(turn, refusedOutcome(logRefuses(shard)));
        return;
      }
      endTurn(turn, false);
      activation.turnEnded(turn);
      services.warn("a turn was lost with its log", error, { actor: activation.actor });
    });
}

/** The record is appended: its effects are the actor's new present. */
function publish(
  turn: Turn,
  ok: boolean,
  outcome: Outcome,
  next: StateVersion,
  record: CommitRecord,
  at: Lsn,
): void {
  const { activation, entry } = turn;
  const { shard } = activation;
  if (record.delta !== undefined) {
    activation.base = next;
    activation.stored = true;
  }
  if (record.extents !== undefined) turn.finishedExtents?.publish();
  activation.lastLsn = at;
  openCommitSpan(turn, at);
  shard.changed(activation);
  if (record.reminders.length > 0)
    activation.services.remindersChanged(activation, record.reminders);
  endTurn(turn, ok);
  shard.recorded(entry as CallEntry, outcome, at);
  if (record.outbox.length > 0)
    shard.outbox.add(
      activation.actor,
      record.call as NonNullable<CommitRecord["call"]>,
      record.outbox,
      at,
    );
  if (turn.openLsn !== NO_LSN || turn.partial) shard.closed(turn, at);
  activation.turnEnded(turn);
}

const overError = (): PinionError => new PinionError("interrupted", "this turn is over");

/** From here on the turn changes nothing. Whoever calls this finishes with `activation.turnEnded`. */
export function endTurn(turn: Turn, ok: boolean): void {
  turn.ended = true;
  if (turn.span !== undefined) {
    turn.span.setAttribute("pinion.turn_ok", ok);
    turn.span.end();
  }
  turn.draft?.revoke();
  turn.extents?.end();
  // Its open record waits for room: a record of a turn that is over must not be written, or the next start would run it.
  if (turn.opening !== undefined && turn.openLsn === NO_LSN) turn.abort(overError());
  const { activation } = turn;
  if (turn.suspended) activation.services.unwatch(turn);
  activation.services.turnFinished(turn, ok);
}
