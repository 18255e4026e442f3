/**
 * What a turn has changed so far is committed early when a reentrant turn of the same actor wants the state (protocol.md A,
 * "Entering an inner turn"): the two cannot both have a draft. What the outer turn did before stands even if it throws
 * later, and from then on it is not run again after a crash: its call ends as `interrupted`.
 */
import { NO_LSN, PinionError } from "@pinion/core";
import { RecordKind } from "@pinion/storage";
import { NO_OUTBOX, NO_REMINDERS, writeCommit } from "../records/runtime-records.ts";
import { callKeyOf } from "../shard/call-entry.ts";
import { logRefuses } from "../shard/outcome.ts";
import type { Turn } from "./turn.ts";

/** @throws `overloaded` when the log is full, or extents are being changed: the turn that wanted to enter fails, the outer one goes on. */
export function commitPartial(turn: Turn): void {
  const { activation } = turn;
  const { shard } = activation;
  if (turn.recording) throw logRefuses(shard);
  const { draft, entry } = turn;
  if (turn.extents?.isBroken === true) {
    throw new PinionError(
      "overloaded",
      "another turn of this actor is in the middle of a change of its extents",
      { details: { actor: activation.actor }, retryAfterMs: 5 },
    );
  }
  const extents = turn.extents?.finish();
  if ((draft === undefined && extents === undefined) || entry === undefined) {
    endExtents(turn);
    activation.drafting = undefined;
    return;
  }
  const finished = draft?.finish({ whole: !activation.stored });
  const delta = finished?.delta;
  const payload = shard.encode((w) =>
    writeCommit(w, {
      actor: activation.actor,
      call: callKeyOf(entry.call),
      digest: entry.digest,
      ackedBelow: 0,
      idempotency: entry.idempotency,
      stateVersion: activation.type.stateVersion,
      delta,
      whole: finished?.whole ?? false,
      ok: false,
      outcome: undefined,
      closes: NO_LSN,
      outbox: NO_OUTBOX,
      reminders: NO_REMINDERS,
      extents: extents?.delta,
      partial: true,
    }),
  );
  const at = shard.tryAppend(RecordKind.commit, payload);
  if (at === undefined) throw logRefuses(shard);
  // What the outer turn still holds of the old draft throws from now on: a write to it would vanish.
  draft?.revoke();
  extents?.publish();
  endExtents(turn);
  turn.draft = undefined;
  turn.partial = true;
  activation.drafting = undefined;
  if (finished?.delta !== undefined) {
    activation.base = finished.base;
    activation.stored = true;
  }
  activation.lastLsn = at;
  shard.changed(activation);
  shard.interruptible(turn, at);
}

/** What the turn holds of them throws from now on; asking the context again gives them anew. */
function endExtents(turn: Turn): void {
  turn.extents?.end();
  turn.extents = undefined;
}
