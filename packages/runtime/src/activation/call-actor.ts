/**
 * Awaited calls from a turn to another actor (protocol.md A, `await ctx.call`).
 */
import {
  decodeError,
  decodeValue,
  formatActorId,
  PinionError,
  sleep,
  type Lsn,
} from "@pinion/core";
import { RecordKind } from "@pinion/storage";
import type { IncomingCall, Outcome } from "../gateway/dispatcher.ts";
import { writeOpen } from "../records/runtime-records.ts";
import { callKeyOf, type CallEntry } from "../shard/call-entry.ts";
import { SubCall, subCallEnvelope, type SubCallTarget } from "./sub-call.ts";
import type { Turn } from "./turn.ts";

/** Pause before a refused call is made again. */
const RETRY_MS_MIN = 2;
const RETRY_MS_MAX = 200;

/** Resolves to the callee's answer; rejects with its error. */
export async function openSubCall(
  turn: Turn,
  target: SubCallTarget,
  method: string,
  args: Uint8Array,
): Promise<unknown> {
  turn.callsOpen++;
  try {
    return await callAndWait(turn, target, method, args);
  } finally {
    turn.callsOpen--;
  }
}

async function callAndWait(
  turn: Turn,
  target: SubCallTarget,
  method: string,
  args: Uint8Array,
): Promise<unknown> {
  turn.assertRunning();
  const { activation } = turn;
  const { services, shard } = activation;
  const targetType = activation.checkTarget(target.type, target.key, method);
  const isReadonly = targetType?.methods.get(method)?.readonly === true;
  if (turn.kind === "hook" || turn.call === undefined) {
    throw new PinionError(
      "invalid-argument",
      "onActivate and onDeactivate cannot call other actors",
    );
  }
  if (!isReadonly) turn.assertMayChange(`call ${target.type}.${method}, which is not readonly`);
  const ordinal = turn.ordinal++;
  if (isReadonly)
    await shard.whenCommitted(
      turn.observedLsn > activation.lastLsn ? turn.observedLsn : activation.lastLsn,
    );
  else await opened(turn);
  turn.assertRunning();

  const chain = [...turn.call.chain, formatActorId(activation.id)];
  const now = services.hlc.last;
  const envelope = subCallEnvelope(turn, turn.call, ordinal, target, method, args, chain, now);
  const outcome = await answer(turn, envelope);
  services.monitor.resume(activation.actor, turn.call.method, turn.call);
  if (!outcome.ok) throw decodeError(outcome.bytes);
  return decodeValue(outcome.bytes);
}

/** The callee's answer. A call that it could not take for the moment is made again, with the same id, while the turn has time. */
async function answer(turn: Turn, envelope: Omit<IncomingCall, "sink">): Promise<Outcome> {
  const { services } = turn.activation;
  for (let pauseMs = RETRY_MS_MIN; ; pauseMs = Math.min(RETRY_MS_MAX, pauseMs * 2)) {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const subCall = new SubCall(turn, envelope, services.clock.nowMs(), resolve);
    (turn.subCalls ??= []).push(subCall);
    services.blocked();
    services.transmit(subCall.call);
    const outcome = await promise;
    if (outcome.refused !== "transient" || turn.ended) return outcome;
    turn.subCalls.splice(turn.subCalls.indexOf(subCall), 1);
    await sleep(services.clock, pauseMs, turn.signal);
  }
}

/** Makes the turn one that recovery runs again: its open record is committed before anything of it leaves. */
function opened(turn: Turn): Promise<void> {
  turn.opening ??= open(turn);
  return turn.opening;
}

async function open(turn: Turn): Promise<void> {
  const { activation } = turn;
  const { shard } = activation;
  const call = turn.call as IncomingCall;
  const entry = turn.entry as CallEntry; // readonly turns and hooks do not get here
  const payload = shard.encodeCopy((w) =>
    writeOpen(w, {
      actor: activation.actor,
      call: callKeyOf(call),
      digest: entry.digest,
      idempotency: entry.idempotency,
      method: call.method,
      args: call.args,
      attempt: turn.attempt,
      nowMs: turn.nowMs,
      seed: turn.seed,
      issuedAt: call.issuedAt,
      chain: call.chain,
    }),
  );
  const publish = (at: Lsn): void => {
    // The turn ended in the same moment: recovery drops the record.
    if (turn.ended) return;
    turn.openLsn = at;
    shard.opened(turn, at);
  };
  await shard.append(RecordKind.open, payload, publish, () => turn.signal);
  turn.assertRunning();
  await shard.whenCommitted(turn.openLsn);
}
