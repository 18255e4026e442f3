/**
 * One mutating call as its shard knows it, from admission until its outcome may be forgotten. Next states:
 *
 *     pending  → recorded (its commit record is appended) | refused (never recorded: the entry is removed)
 *     recorded → forgotten (the caller has the reply, see dedupe-window.ts)
 *
 * I1 every caller attached to a pending entry is answered with the one outcome, once that is committed.
 */
import { NO_LSN, type Lsn } from "@pinion/core";
import type { ReminderFiring } from "../definition/actor-context.ts";
import type { IncomingCall, Outcome } from "../gateway/dispatcher.ts";
import type { CallKey } from "../records/call-key.ts";
import type { Idempotency, ReminderOp } from "../records/runtime-records.ts";
import type { ReminderState } from "../reminders/reminder-state.ts";
import type { Gated } from "./output-gate.ts";

/** What may be set on a turn before its method runs. */
export interface PreparedTurn {
  readonly member: { readonly reminders: ReadonlyMap<string, ReminderState> | undefined };
  reminder: ReminderFiring | undefined;
  reminderAdvance: ReminderOp | undefined;
  /** The turn runs again after a crash, with the time and randomness of its first run. */
  replayWith(nowMs: number, seed: number, attempt: number): void;
}

export class CallEntry implements Gated {
  /** The call as it came first, or as recovery rebuilt it. */
  call: IncomingCall;
  readonly digest: number;
  /** Set once recorded. */
  lsn: Lsn = NO_LSN;
  outcome: Outcome | undefined = undefined;
  /** Whom to answer when the gate opens: the first caller, and retries that came meanwhile. */
  #waiting: IncomingCall | IncomingCall[] | undefined;
  /** In a dedupe window: false for reminders and timers, which nobody retries. */
  tracked = false;
  /** Sets up the turn before it starts: a rerun after a crash, a reminder's due time. False: it is not wanted any more. */
  prepare: ((turn: PreparedTurn) => boolean) | undefined = undefined;
  /** The turn records this outcome without running its method. */
  end: Outcome | undefined = undefined;
  /** What happens instead of a refusal: part of a call that is run again stands already, so it must come to its end. */
  tryAgain: (() => boolean) | undefined = undefined;
  /** A rerun closes the open record of the run that a crash cut off. */
  closes: Lsn = NO_LSN;
  /** Ms since the epoch until which an idempotency key holds; 0 for ordinary calls. */
  expiresMs = 0;

  constructor(call: IncomingCall, digest: number) {
    this.call = call;
    this.digest = digest;
    this.#waiting = call;
  }

  /**
   * A retry of the same call waits for the same outcome. It takes the place of an earlier one through the same sink, and of
   * those whose sink was closed: a client that reconnects again and again leaves no more behind than it has streams.
   */
  attach(retry: IncomingCall): void {
    const others: IncomingCall[] = [];
    for (const call of this.takeWaiting()) {
      if (call.sink === retry.sink) call.sink.superseded?.(call);
      else if (call.sink.closed !== true) others.push(call);
    }
    this.#waiting = others.length === 0 ? retry : [...others, retry];
  }

  /** How many callers wait for the outcome. */
  get waitingCount(): number {
    const waiting = this.#waiting;
    return waiting === undefined ? 0 : Array.isArray(waiting) ? waiting.length : 1;
  }

  get recorded(): boolean {
    return this.outcome !== undefined;
  }

  /** Answers everybody who waits. Called when the outcome may leave. */
  release(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    const outcome = this.outcome as Outcome;
    if (waiting === undefined) return;
    if (Array.isArray(waiting)) for (const call of waiting) call.sink.reply(call, outcome);
    else waiting.sink.reply(waiting, outcome);
  }

  /** Hands over whoever waits; the entry is given up. */
  takeWaiting(): IncomingCall[] {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting === undefined ? [] : Array.isArray(waiting) ? waiting : [waiting];
  }

  /** Ends an entry that will not be recorded: everybody who waits gets `outcome`. */
  refuse(outcome: Outcome): void {
    this.outcome = outcome;
    this.release();
  }

  /** What the records of its call say of its idempotency key. */
  get idempotency(): Idempotency | undefined {
    const { idempotencyKey } = this.call;
    return idempotencyKey === undefined
      ? undefined
      : { key: idempotencyKey, expiresMs: this.expiresMs };
  }

  /** Bytes the entry keeps in memory, for the window's bound. */
  bytes(): number {
    return 96 + (this.outcome?.bytes.length ?? 0);
  }
}

export const callKeyOf = (call: IncomingCall): CallKey => ({
  session: call.session.id,
  seq: call.seq,
  path: call.path,
});
