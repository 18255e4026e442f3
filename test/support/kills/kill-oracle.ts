/**
 * What was asked of a real host and what it answered, held against what its actors say after each kill.
 *
 * K1 under policies whose replies wait, whatever was answered stays; otherwise a SIGKILL takes at most the answers of the last
 *    `waitMs` before it (plus what a busy machine adds), because what was written stays readable.
 * K2 nothing is applied twice or where it does not belong, and a call that threw left nothing.
 * K3 in the end every answered call has reached everybody it was meant to reach.
 */
import type { FlushPolicy } from "@pinion/storage";
import { placeText, tracesOf, type Op, type Place } from "../../simulation/actor-ops.ts";
import type { Shown } from "../../simulation/bank-actor.ts";
import type { Asked, Said } from "./kill-messages.ts";

/** A loaded machine may write late: its event loop, its thread pool and its disk are shared. */
const LATE_MS_MAX = 250;

interface Known {
  readonly op: Op;
  readonly marks: readonly {
    readonly mark: string;
    readonly place: string;
    readonly amount: number;
  }[];
  answer: { readonly ok: boolean; readonly atMs: number; readonly text: string } | undefined;
  lost: boolean;
}

export class KillOracle {
  readonly problems: string[] = [];
  answered = 0;
  lost = 0;
  readonly #policy: FlushPolicy;
  readonly #known = new Map<string, Known>();
  /** "<mark>@<place>" with the amount it adds. */
  readonly #amounts = new Map<string, number>();
  readonly #waiting: { readonly answers: number; readonly resolve: () => void }[] = [];

  constructor(policy: FlushPolicy) {
    this.#policy = policy;
  }

  get asked(): number {
    return this.#known.size;
  }

  heard(said: Said): void {
    if ("asked" in said) this.#asked(said.asked);
    else if ("answered" in said) this.#answered(said);
  }

  /** Resolves once so many more calls have been answered. */
  moreAnswers(count: number): Promise<void> {
    return new Promise((resolve) =>
      this.#waiting.push({ answers: this.answered + count, resolve }),
    );
  }

  #asked(asked: Asked): void {
    const op = asked as Op;
    const marks = tracesOf(op).map(({ mark, at, amount }) => ({
      mark,
      place: placeText(at),
      amount,
    }));
    for (const { mark, place, amount } of marks) this.#amounts.set(`${mark}@${place}`, amount);
    this.#known.set(op.id, { op, marks, answer: undefined, lost: false });
  }

  #answered(said: Extract<Said, { readonly answered: string }>): void {
    const known = this.#known.get(said.answered) as Known;
    const text = said.ok ? JSON.stringify(said.value) : `${said.code} ${said.message}`;
    known.answer = { ok: said.ok, atMs: said.atMs, text };
    this.answered++;
    this.#checkAnswer(known.op, said.ok, text);
    while (this.#waiting[0] !== undefined && this.#waiting[0].answers <= this.answered)
      this.#waiting.shift()?.resolve();
  }

  #checkAnswer(op: Op, ok: boolean, text: string): void {
    const calls = ["transfer", "gamble", "failLate", "relay"].includes(op.method);
    const right =
      op.method === "fail" || op.method === "failLate"
        ? !ok && text.includes(`no: ${op.id}`)
        : op.method === "read"
          ? ok
          : ok && (op.method === "transfer" || op.method === "relay" ? "[1,1]" : "1") === text;
    if (op.method === "moody" && !ok && text.includes(`no: ${op.id}`)) return;
    const gaveWay = calls && !ok && /^(?:deadlock|interrupted)/.test(text);
    if (!right && !gaveWay) this.problems.push(`${op.id} ${op.method} answered ${text}`);
  }

  /** Everything an actor shows, at any time. */
  checkState(place: Place, shown: Shown): void {
    const where = placeText(place);
    let sum = 0;
    for (const [mark, times] of shown.applied) {
      if (times !== 1) this.problems.push(`${mark} was applied ${times} times at ${where}`);
      const amount = this.#amounts.get(`${mark}@${where}`);
      if (amount === undefined) this.problems.push(`${mark} does not belong at ${where}`);
      sum += amount ?? 0;
    }
    if (sum !== shown.total)
      this.problems.push(`${where} says ${shown.total}, its parts say ${sum}`);
    for (const [due, times] of shown.dues)
      if (times !== 1) this.problems.push(`the reminder ${due} of ${where} ran ${times} times`);
    for (const stray of shown.strays)
      this.problems.push(`the reminder ${stray} of ${where} ran although it had been cancelled`);
  }

  /** After a kill at `killedAtMs`. @param before the calls that had been answered by then */
  checkKill(
    before: readonly string[],
    states: ReadonlyMap<string, Shown>,
    killedAtMs: number,
  ): void {
    const marks = marksOf(states);
    for (const id of before) {
      const known = this.#known.get(id) as Known;
      const own = known.marks.find((m) => m.mark === id);
      if (own === undefined || known.lost || marks.has(`${own.mark}@${own.place}`)) continue;
      const ageMs = killedAtMs - (known.answer?.atMs ?? 0);
      if (this.#policy.replyWaits)
        this.problems.push(`${id} ${known.op.method} was answered and is gone`);
      else if (ageMs > this.#policy.waitMs + LATE_MS_MAX)
        this.problems.push(`${id} is gone although it was answered ${ageMs} ms before the kill`);
      known.lost = true;
      this.lost++;
    }
  }

  /** Ids of the calls that were answered well and leave something behind. */
  get answeredOps(): string[] {
    return [...this.#known.values()]
      .filter((k) => k.answer?.ok === true && !k.lost && k.marks.length > 0)
      .map((k) => k.op.id);
  }

  /** What has not arrived yet: sends on their way. */
  missing(states: ReadonlyMap<string, Shown>): string[] {
    const marks = marksOf(states);
    return [...this.#known.values()]
      .filter((k) => k.answer?.ok === true && !k.lost)
      .flatMap((k) => k.marks.filter((m) => !marks.has(`${m.mark}@${m.place}`)))
      .map((m) => `${m.mark} at ${m.place}`);
  }

  /** At the end, when nothing is on its way any more. */
  checkEnd(states: ReadonlyMap<string, Shown>): void {
    const marks = marksOf(states);
    for (const what of this.missing(states)) this.problems.push(`${what} never arrived`);
    for (const { op, answer, lost } of this.#known.values()) {
      if (answer === undefined) this.problems.push(`${op.id} was never answered`);
      if (answer?.ok !== false || op.place.type === "pal" || lost) continue;
      if (marks.has(`${op.id}@${placeText(op.place)}`) && this.#policy.replyWaits)
        this.problems.push(`${op.id} ${op.method} failed (${answer.text}) and its change stayed`);
    }
  }
}

function marksOf(states: ReadonlyMap<string, Shown>): Set<string> {
  const marks = new Set<string>();
  for (const [place, shown] of states)
    for (const [mark] of shown.applied) marks.add(`${mark}@${place}`);
  return marks;
}
