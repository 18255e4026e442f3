/**
 * The clients of the actor simulation: a few processes that call, retry what was not answered with the same call ids, die now
 * and then, and have a successor ask again where an idempotency key makes that safe.
 */
import {
  decodeError,
  decodeValue,
  type PinionError,
  type Rng,
  type VirtualClock,
} from "@pinion/core";
import type { IncomingCall, Outcome } from "@pinion/runtime/internal";
import type { Machine } from "./actor-machine.ts";
import { makeOp, type Op } from "./actor-ops.ts";

const CLIENTS = 4;
const UNANSWERED_MAX = 6;
const RETRY_MS = 3;
const RETRY_LOST_MS = 300;
const LOST_REPLIES = 0.05;
/** Messages that arrive twice. */
const STRAYS = 0.1;

/** What a client is told, checked by the oracle as it comes. */
export interface AnswerListener {
  /** A message leaves for this operation. */
  asked(op: Op, machine: Machine): void;
  answered(op: Op, machine: Machine): void;
  problem(text: string): void;
  /** Whether a life may answer `io-error`: its state store was made to fail. */
  storeFails(life: number): boolean;
}

interface ClientProcess {
  session: string;
  generation: number;
  lastSeq: number;
}

export class Clients {
  readonly ops: Op[] = [];
  retried = 0;
  readonly #rng: Rng;
  readonly #clock: VirtualClock;
  readonly #listener: AnswerListener;
  readonly #processes: ClientProcess[] = [];
  readonly #reminded = new Set<string>();
  #answers = 0;

  constructor(rng: Rng, clock: VirtualClock, listener: AnswerListener) {
    this.#rng = rng;
    this.#clock = clock;
    this.#listener = listener;
    for (let n = 0; n < CLIENTS; n++)
      this.#processes.push({ session: `client${n}.1`, generation: 1, lastSeq: 0 });
  }

  get unanswered(): Op[] {
    return this.ops.filter((o) => o.answer === undefined && !o.abandoned);
  }

  /** Each client that has room asks for something new. Returns how many did. */
  askMore(machine: Machine, max: number): number {
    let sent = 0;
    for (const process of this.#processes) {
      if (sent >= max) break;
      const waiting = this.unanswered.filter((o) => o.session === process.session);
      if (waiting.length >= UNANSWERED_MAX) continue;
      const issuedAt = Math.floor(this.#clock.wallMs() * 1000);
      const op = makeOp(this.#rng, `op${this.ops.length}`, issuedAt, this.#reminded);
      this.ops.push(op);
      this.#adopt(process, op);
      this.#send(machine, op);
      sent++;
    }
    return sent;
  }

  #adopt(process: ClientProcess, op: Op): void {
    op.session = process.session;
    op.seq = ++process.lastSeq;
  }

  /** A client process dies with what it knew, and is started again. */
  killOne(machine: Machine): void {
    const process = this.#rng.pick(this.#processes);
    const left = this.unanswered.filter((o) => o.session === process.session);
    process.session = `${process.session.split(".")[0]}.${++process.generation}`;
    process.lastSeq = 0;
    for (const op of left) {
      if (op.idempotencyKey === undefined) op.abandoned = true;
      else {
        this.#adopt(process, op);
        this.#send(machine, op);
      }
    }
  }

  /** An impatient client asks for the same once more. */
  repeatOne(machine: Machine): void {
    const { unanswered } = this;
    if (unanswered.length > 0) this.#send(machine, this.#rng.pick(unanswered));
  }

  /** After a restart: everything unanswered goes out again; networks repeat messages, so now and then twice. */
  retryAll(machine: Machine): void {
    for (const op of this.unanswered) {
      this.retried++;
      this.#send(machine, op);
      if (this.#rng.chance(0.2)) this.#send(machine, op);
    }
  }

  #send(machine: Machine, op: Op): void {
    if (machine.dead || op.answer !== undefined || op.abandoned) return;
    const { session: id } = op;
    const session = machine.worker.session(id);
    const waiting = this.unanswered.filter((o) => o.session === id);
    const floor = Math.min(...waiting.map((o) => o.seq));
    session.ackedBelow = Math.max(session.ackedBelow, floor);
    op.attempt++;
    op.messages++;
    this.#listener.asked(op, machine);
    this.#deliver(machine, op);
    if (this.#rng.chance(STRAYS)) {
      // A copy that took another way, and may come when the answer is there.
      op.messages++;
      this.#clock.setTimer(1 + this.#rng.below(60), () => this.#deliver(machine, op));
    }
  }

  /** Once, however many copies were refused: else each copy of a message makes more of them for as long as calls are refused. */
  #sendLater(machine: Machine, op: Op, delayMs: number): void {
    if (op.dueAgainIn === machine.life) return;
    op.dueAgainIn = machine.life;
    this.#clock.setTimer(delayMs, () => {
      op.dueAgainIn = undefined;
      this.#send(machine, op);
    });
  }

  #deliver(machine: Machine, op: Op): void {
    const { session: id, seq } = op;
    if (machine.dead || op.abandoned) return;
    const session = machine.worker.session(id);
    machine.worker.submit({
      session,
      seq,
      path: "",
      namespace: op.place.namespace,
      branch: "main",
      type: op.place.type,
      key: op.place.key,
      method: op.method,
      args: op.args,
      deadlineAtMs: Infinity,
      attempt: op.attempt,
      issuedAt: op.issuedAt,
      consistency: "linearizable",
      idempotencyKey: op.idempotencyKey,
      idempotencyTtlMs: 3_600_000,
      traceparent: undefined,
      chain: [],
      sink: {
        reply: (_call: IncomingCall, outcome: Outcome) => {
          // A process that died does not hear its answers.
          if (machine.dead || op.session !== id || op.abandoned) return;
          // Networks lose messages, too: the client asks again after a while, perhaps after a restart.
          if (op.answer === undefined && this.#rng.chance(LOST_REPLIES))
            this.#sendLater(machine, op, RETRY_LOST_MS);
          else this.#answered(machine, op, outcome);
        },
      },
    });
  }

  #answered(machine: Machine, op: Op, outcome: Outcome): void {
    if (outcome.refused === "transient") {
      if (op.answer === undefined) this.#sendLater(machine, op, RETRY_MS);
      return;
    }
    const value: unknown = outcome.ok ? decodeValue(outcome.bytes) : decodeError(outcome.bytes);
    const code = outcome.ok ? undefined : (value as PinionError).code;
    if (op.answer !== undefined) {
      // A repeated message may be answered, too: alike, or that its answer is no longer kept.
      if (op.answer.ok !== outcome.ok && code !== "outcome-unknown" && code !== "io-error")
        this.#listener.problem(`${op.id} was answered twice and differently`);
      return;
    }
    if (
      outcome.refused === "final" &&
      code === "io-error" &&
      this.#listener.storeFails(machine.life)
    ) {
      op.abandoned = true;
      return;
    }
    op.answer = {
      ok: outcome.ok,
      value,
      atMs: this.#clock.nowMs(),
      life: machine.life,
      index: this.#answers++,
      direct: op.messages === 1,
    };
    this.#listener.answered(op, machine);
  }
}
