/**
 * A call that a turn makes to another actor and waits for. It is a call of its own: recorded, deduplicated and answered there,
 * and it stands even if the caller's turn later throws.
 *
 * I1 it leaves only after the caller's open record is committed (a readonly one: after what the caller has seen is), so
 *    that nothing uncommitted of the caller can be inferred from outside (P1).
 * I2 its id is the caller's plus an ordinal, so a rerun of the caller finds the first answer (P12).
 */
import { childPath } from "../records/call-key.ts";
import type { CallSink, IncomingCall, Outcome, Session } from "../gateway/dispatcher.ts";
import type { Activation } from "./activation.ts";
import type { Turn } from "./turn.ts";

export interface SubCallTarget {
  readonly namespace: string;
  readonly branch: string;
  readonly type: string;
  readonly key: string;
}

export class SubCall implements CallSink {
  readonly turn: Turn;
  readonly call: IncomingCall;
  /** Set by the dispatcher once the call waits or runs there: how deadlocks are found. */
  target: Activation | undefined = undefined;
  readonly sentAtMs: number;
  settled = false;
  readonly #settle: (outcome: Outcome) => void;

  constructor(
    turn: Turn,
    call: Omit<IncomingCall, "sink">,
    sentAtMs: number,
    settle: (outcome: Outcome) => void,
  ) {
    this.turn = turn;
    this.call = { ...call, sink: this };
    this.sentAtMs = sentAtMs;
    this.#settle = settle;
  }

  reply(_call: IncomingCall, outcome: Outcome): void {
    if (this.settled) return;
    this.settled = true;
    this.#settle(outcome);
  }
}

/** The envelope of a call that `turn` makes as its `ordinal`-th. */
export function subCallEnvelope(
  turn: Turn,
  root: { session: Session; seq: number; path: string },
  ordinal: number,
  target: SubCallTarget,
  method: string,
  args: Uint8Array,
  chain: readonly string[],
  issuedAt: number,
): Omit<IncomingCall, "sink"> {
  return {
    session: root.session,
    seq: root.seq,
    path: childPath(root.path, ordinal),
    namespace: target.namespace,
    branch: target.branch,
    type: target.type,
    key: target.key,
    method,
    args,
    deadlineAtMs: turn.limitAtMs,
    attempt: turn.attempt,
    issuedAt,
    consistency: "linearizable",
    idempotencyKey: undefined,
    idempotencyTtlMs: 0,
    traceparent: turn.span?.traceparent ?? turn.call?.traceparent,
    chain,
  };
}
