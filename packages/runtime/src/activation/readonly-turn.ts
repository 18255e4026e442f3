/**
 * Readonly turns: they may run while another turn waits, see the base under it (P7), and are not recorded. The answer leaves
 * once everything it can reflect is committed: `readReply` in protocol.md A.
 */
import { PinionError } from "@pinion/core";
import type { IncomingCall, Outcome } from "../gateway/dispatcher.ts";
import { errorOutcome, refusedOutcome, valueOutcome } from "../shard/outcome.ts";
import type { Gated } from "../shard/output-gate.ts";
import type { Activation } from "./activation.ts";
import type { RegisteredMethod } from "./registered-type.ts";
import { endTurn, poisonedCall, runMethod } from "./turn-runner.ts";
import { openTurnSpan } from "./turn-spans.ts";
import { Turn } from "./turn.ts";

class ReadReply implements Gated {
  readonly #call: IncomingCall;
  readonly #outcome: Outcome;

  constructor(call: IncomingCall, outcome: Outcome) {
    this.#call = call;
    this.#outcome = outcome;
  }

  release(): void {
    this.#call.sink.reply(this.#call, this.#outcome);
  }
}

export function startReadonlyTurn(activation: Activation, call: IncomingCall): void {
  const nowMs = activation.services.clock.nowMs();
  if (call.deadlineAtMs <= nowMs) {
    call.sink.reply(
      call,
      refusedOutcome(
        new PinionError("deadline-exceeded", "the deadline passed before the call ran"),
      ),
    );
    return;
  }
  if (activation.services.isPoisoned(call)) {
    call.sink.reply(call, refusedOutcome(poisonedCall(activation, call)));
    return;
  }
  const turn = new Turn(activation, "readonly", call, undefined, nowMs);
  // State and extents as of the same commit, whenever the method first asks for them.
  if (activation.extents !== undefined) turn.openExtents();
  openTurnSpan(turn);
  runMethod(
    turn,
    activation.type.methods.get(call.method) as RegisteredMethod,
    call,
    finishReadonly,
  );
}

function finishReadonly(turn: Turn, ok: boolean, value: unknown): void {
  if (turn.ended) {
    turn.activation.services.returned(turn);
    return;
  }
  const { activation } = turn;
  const call = turn.call as IncomingCall;
  let outcome: Outcome;
  try {
    outcome = ok ? valueOutcome(value) : errorOutcome(value);
    turn.view?.close();
  } catch (error) {
    outcome = errorOutcome(error);
  }
  endTurn(turn, ok);
  if (turn.observedLsn <= activation.shard.gate.committed) call.sink.reply(call, outcome);
  else activation.shard.gate.hold(turn.observedLsn, new ReadReply(call, outcome));
  activation.turnEnded(turn);
}
