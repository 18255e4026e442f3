/**
 * What the actor simulation holds a worker to (N1, N3, N4 of the design):
 *
 * E1 an answered call is applied exactly once at every actor it reaches, sub-calls and sends included.
 * E2 a call that threw left nothing of its own anywhere; nobody ever saw anything of it.
 * E3 what a reader was shown stays; what was answered before a reader asked is in what it is shown.
 * E4 a due time of a reminder has one effect, none is skipped while it is set, none comes after it was cancelled.
 * E5 an effect runs at least once if its turn's record stands, and never otherwise.
 * E6 under `periodic` and `async` a cut may take answers, but only the newest ones, none after an older one is gone, and (unless
 *    the disk failed as well) only within the stated window. What was taken never comes back, but by a rerun of its open call.
 */
import { decodeError, decodeValue, encodeArgs, type PinionError } from "@pinion/core";
import type { FlushPolicy } from "@pinion/storage";
import { OPERATION_MS_MAX, type Machine } from "./actor-machine.ts";
import { ALL_PLACES, placeText, tracesOf, type Op, type Place, type Trace } from "./actor-ops.ts";

/** A flush under way, the next one, and a segment being prepared: each a handful of operations. */
const FLUSH_MS_MAX = 12 * OPERATION_MS_MAX;

interface Shown {
  readonly total: number;
  readonly applied: ReadonlyMap<string, number>;
  readonly dues: ReadonlyMap<string, number>;
  readonly strays: readonly string[];
}

/** How a life ended. */
export interface LifeEnd {
  readonly atMs: number;
  readonly by: "power" | "kill" | "stop";
  /** The log's disk was made to fail. */
  readonly diskFailed: boolean;
}

export class ActorOracle {
  readonly problems: string[] = [];
  readonly lives: LifeEnd[] = [];
  lost = 0;
  firings = 0;
  readonly #policy: FlushPolicy;
  readonly #ops: () => readonly Op[];
  /** Operations whose effect has been tried, and whether it has succeeded. */
  readonly #effects = new Map<string, boolean>();
  /** Marks that readers were shown, by place. */
  readonly #seen = new Map<string, Set<string>>();
  /** Operations that were answered before a reader asked: it must see them. */
  readonly #mustSee = new Map<Op, Op[]>();

  constructor(policy: FlushPolicy, ops: () => readonly Op[]) {
    this.#policy = policy;
    this.#ops = ops;
  }

  get strict(): boolean {
    return this.#policy.replyWaits;
  }

  problem(text: string): void {
    if (this.problems.length < 20) this.problems.push(text);
  }

  check(): void {
    if (this.problems.length > 0) throw new Error(this.problems.join("\n"));
  }

  ranEffect(op: string, ok: boolean): void {
    this.#effects.set(op, ok || (this.#effects.get(op) ?? false));
  }

  // --- as it happens ----------------------------------------------------------------------------------------------------

  asked(op: Op, machine: Machine): void {
    if (op.method !== "read") return;
    const place = placeText(op.place);
    const before = this.#ops().filter(
      (o) =>
        o.answer?.ok === true &&
        placeText(o.place) === place &&
        (this.strict || o.answer.life === machine.life),
    );
    this.#mustSee.set(op, before);
  }

  answered(op: Op, storeFails: boolean): void {
    const { ok, value } = op.answer as NonNullable<Op["answer"]>;
    if (op.method === "read" && ok) {
      this.#checkRead(op, toShown(value));
      return;
    }
    const text = ok ? JSON.stringify(value) : (value as Error).message;
    const code = ok ? "" : (value as PinionError).code;
    const calls = isRerunnable(op);
    if (calls && (code === "deadlock" || code === "interrupted")) return;
    // The other actor could not be loaded: its caller's turn ends with that.
    if (calls && code === "io-error" && storeFails) return;
    if (op.method === "moody" && !ok && text.includes(`no: ${op.id}`)) return;
    const right =
      op.method === "fail" || op.method === "failLate"
        ? !ok && text.includes(`no: ${op.id}`)
        : ok && text === (op.method === "transfer" || op.method === "relay" ? "[1,1]" : "1");
    if (!right) this.problem(`${op.id} ${op.method} answered ${code} ${text}`);
  }

  #checkRead(op: Op, shown: Shown): void {
    const place = placeText(op.place);
    this.#checkState(op.place, shown);
    for (const before of this.#mustSee.get(op) ?? []) {
      for (const { mark, at } of tracesOf(before))
        if (mark === before.id && placeText(at) === place && !shown.applied.has(mark))
          this.problem(`${op.id} read ${place} without ${mark}, which had been answered before`);
    }
    this.#mustSee.delete(op);
    let seen = this.#seen.get(place);
    if (seen === undefined) this.#seen.set(place, (seen = new Set()));
    for (const mark of shown.applied.keys()) seen.add(mark);
  }

  /** What holds for a state at any time. */
  #checkState(place: Place, shown: Shown): void {
    const where = placeText(place);
    let sum = 0;
    const amounts = this.#amounts();
    for (const [mark, times] of shown.applied) {
      if (times !== 1) this.problem(`${mark} was applied ${times} times at ${where}`);
      const amount = amounts.get(`${mark}@${where}`);
      if (amount === undefined)
        this.problem(`${mark} is seen at ${where}, where it never belonged`);
      sum += amount ?? 0;
    }
    if (sum !== shown.total) this.problem(`${where} says ${shown.total}, its parts say ${sum}`);
    for (const stray of shown.strays)
      this.problem(`the reminder ${stray} of ${where} ran although it had been cancelled`);
    this.#checkDues(where, shown.dues);
  }

  #amounts(): Map<string, number> {
    const amounts = new Map<string, number>();
    for (const op of this.#ops())
      for (const { mark, at, amount } of tracesOf(op))
        amounts.set(`${mark}@${placeText(at)}`, amount);
    return amounts;
  }

  #checkDues(where: string, dues: ReadonlyMap<string, number>): void {
    const byOp = new Map<string, number[]>();
    for (const [name, times] of dues) {
      if (times !== 1) this.problem(`the reminder ${name} of ${where} ran ${times} times`);
      const [op = "", due] = name.split("@");
      byOp.set(op, [...(byOp.get(op) ?? []), Number(due)]);
    }
    this.firings = Math.max(this.firings, dues.size);
    for (const [op, due] of byOp) {
      due.sort((a, b) => a - b);
      const gaps = due.slice(1).map((at, i) => at - (due[i] as number));
      if (new Set(gaps).size > 1)
        this.problem(
          `the reminder of ${op} at ${where} skipped a due time: gaps ${gaps.join(" ")}`,
        );
    }
  }

  // --- after a restart --------------------------------------------------------------------------------------------------

  /** Reads every actor and compares with what was answered and shown before. */
  async checkRestart(machine: Machine): Promise<void> {
    const seen = this.#everythingSeen();
    const states = await this.#readAll(machine);
    if (machine.dead) return;
    const missing: Op[] = [];
    for (const op of this.#ops()) {
      if (op.answer?.ok !== true || op.lost || op.answer.life >= machine.life) continue;
      const gone = (t: Trace): boolean => !states.get(placeText(t.at))?.applied.has(t.mark);
      const traces = tracesOf(op);
      // A reentrant turn is committed in parts, of which a cut may take the later ones.
      const inParts = !this.strict && op.place.type === "pal";
      if (traces.some((t) => (inParts || t.mark === op.id) && gone(t))) missing.push(op);
    }
    if (this.strict) {
      for (const op of missing)
        this.problem(`${op.id} ${op.method} was answered and is gone in life ${machine.life}`);
      this.#checkSeen(seen, states);
    } else this.#checkLosses(missing, machine.life);
  }

  #everythingSeen(): [place: string, mark: string][] {
    return [...this.#seen].flatMap(([place, marks]) =>
      [...marks].map((mark): [string, string] => [place, mark]),
    );
  }

  #checkSeen(seen: readonly [string, string][], states: ReadonlyMap<string, Shown>): void {
    for (const [place, mark] of seen)
      if (!states.get(place)?.applied.has(mark))
        this.problem(`${mark} was shown at ${place} and is gone`);
  }

  /** E6. */
  #checkLosses(missing: readonly Op[], life: number): void {
    for (const op of missing) {
      op.lost = true;
      this.lost++;
      const answer = op.answer as NonNullable<Op["answer"]>;
      const end = this.lives[answer.life] as LifeEnd;
      const ends = this.lives.slice(answer.life, life);
      const byProcessOnly = ends.every((e) => e.by !== "power");
      const ageMs = end.atMs - answer.atMs;
      const bounded = this.#policy.name === "periodic" || byProcessOnly;
      if (bounded && !end.diskFailed && ageMs > this.#policy.waitMs + FLUSH_MS_MAX)
        this.problem(`${op.id} is gone although it was answered ${ageMs} ms before the ${end.by}`);
      if (end.by === "stop") this.problem(`${op.id} is gone after a stop in order`);
      const later = this.#ops().find(
        (o) =>
          o.answer?.life === answer.life &&
          o.answer.direct &&
          o.answer.index > answer.index &&
          o.answer.ok &&
          !o.lost &&
          !missing.includes(o) &&
          !isRerunnable(o) &&
          tracesOf(o).some((t) => t.mark === o.id),
      );
      if (later !== undefined)
        this.problem(`${op.id} is gone, but ${later.id}, answered after it, is there`);
    }
  }

  // --- at the end -------------------------------------------------------------------------------------------------------

  async checkEnd(machine: Machine): Promise<void> {
    const states = await this.#readAll(machine);
    for (const place of ALL_PLACES) this.#checkState(place, states.get(placeText(place)) as Shown);
    for (const op of this.#ops()) this.#checkOp(op, states);
    if (this.strict) this.#checkSeen(this.#everythingSeen(), states);
    this.check();
  }

  #checkOp(op: Op, states: ReadonlyMap<string, Shown>): void {
    const traces = tracesOf(op).map((t) => ({
      mark: t.mark,
      count: states.get(placeText(t.at))?.applied.get(t.mark) ?? 0,
    }));
    const own = traces.find((t) => t.mark === op.id);
    const sum = traces.reduce((n, t) => n + t.count, 0);
    const shown = `${op.id} ${op.method} (${fate(op)}): ${traces.map((t) => `${t.mark} ${t.count}`).join(", ")}`;
    const isPal = op.place.type === "pal";
    if (op.lost) {
      // Where its open record survived the loss of its commit, it was run again.
      if (sum !== 0 && !isRerunnable(op)) this.problem(`what the power took is back: ${shown}`);
    } else if (op.answer?.ok === true) {
      if (sum !== traces.length) this.problem(shown);
    } else if (op.answer !== undefined) {
      // What it had called may stand; of a reentrant turn also what it did until then. A power cut may take the error's record
      // and leave the open one, if replies do not wait: then it was run again.
      const again = !this.strict && isRerunnable(op);
      if (!isPal && !again && (own?.count ?? 0) !== 0) this.problem(shown);
    } else if (!isPal && own?.count === 1 && sum !== traces.length) this.problem(shown);
    else if (op.method === "post" && own?.count === 0 && sum !== 0) this.problem(shown);
    this.#checkEffect(op, own?.count ?? 0);
  }

  /** E5. */
  #checkEffect(op: Op, applied: number): void {
    const ran = this.#effects.get(op.id);
    if (op.method === "notify" && applied === 1 && ran !== true)
      this.problem(`the effect of ${op.id} never succeeded`);
    if (ran !== undefined && applied === 0 && (this.strict || op.method === "fail"))
      this.problem(`the effect of ${op.id} ran, but the turn is not there`);
  }

  async #readAll(machine: Machine): Promise<Map<string, Shown>> {
    const states = await Promise.all(ALL_PLACES.map((place) => readActor(machine, place)));
    return new Map(states.map((state, i) => [placeText(ALL_PLACES[i] as Place), state]));
  }
}

/** It calls others, so that a crash may leave its open record alone. */
const isRerunnable = (op: Op): boolean =>
  ["transfer", "gamble", "failLate", "relay"].includes(op.method);

function fate(op: Op): string {
  if (op.lost) return "lost";
  if (op.answer === undefined) return "abandoned";
  return op.answer.ok ? "answered" : `failed: ${(op.answer.value as Error).message}`;
}

function toShown(value: unknown): Shown {
  const v = value as {
    total: number;
    applied: [string, number][];
    dues: [string, number][];
    strays: string[];
  };
  return { total: v.total, applied: new Map(v.applied), dues: new Map(v.dues), strays: v.strays };
}

/** Reads again where the state store was made to fail. */
function readActor(machine: Machine, place: Place): Promise<Shown> {
  return new Promise((resolve, reject) => {
    const ask = (attempt: number): void =>
      machine.worker.submit({
        session: machine.worker.session("reader"),
        seq: attempt,
        path: "",
        ...place,
        branch: "main",
        method: "read",
        args: encodeArgs([]),
        deadlineAtMs: Infinity,
        attempt,
        issuedAt: 0,
        consistency: "linearizable",
        idempotencyKey: undefined,
        idempotencyTtlMs: 0,
        traceparent: undefined,
        chain: [],
        sink: {
          reply: (_call, outcome) => {
            if (outcome.ok) resolve(toShown(decodeValue(outcome.bytes)));
            else if (attempt < 50)
              machine.worker.core.ports.clock.setTimer(2, () => ask(attempt + 1));
            else reject(decodeError(outcome.bytes));
          },
        },
      });
    ask(1);
  });
}
