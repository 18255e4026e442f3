/**
 * Watches the turns that have yielded: deadlines, `maxTurnMs`, and the deadlock probe. One timer for all of them,
 * because a timer per turn would cost more than most turns.
 *
 * I1 a suspended turn is looked at no later than its limit, and every `PROBE_MS` while it waits for another actor.
 */
import { PinionError, type Clock, type Timer } from "@pinion/core";
import { findDeadlock, PROBE_MS } from "./deadlock.ts";
import type { Turn } from "./turn.ts";

export class TurnWatch {
  readonly #clock: Clock;
  #first: Turn | undefined;
  #count = 0;
  #timer: Timer | undefined;
  #timerAtMs = Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#count;
  }

  *turns(): Iterable<Turn> {
    for (let t = this.#first; t !== undefined; t = t.watchNext) yield t;
  }

  add(turn: Turn): void {
    turn.watchNext = this.#first;
    if (this.#first !== undefined) this.#first.watchPrevious = turn;
    this.#first = turn;
    this.#count++;
    this.#arm(turn.limitAtMs);
  }

  remove(turn: Turn): void {
    if (turn.watchPrevious !== undefined) turn.watchPrevious.watchNext = turn.watchNext;
    else if (this.#first === turn) this.#first = turn.watchNext;
    else return;
    if (turn.watchNext !== undefined) turn.watchNext.watchPrevious = turn.watchPrevious;
    turn.watchNext = turn.watchPrevious = undefined;
    this.#count--;
  }

  /** A turn waits for another actor: probe soon. */
  blocked(): void {
    this.#arm(this.#clock.nowMs() + PROBE_MS);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAtMs = Infinity;
    for (const turn of [...this.turns()]) this.remove(turn);
  }

  #arm(atMs: number): void {
    if (atMs >= this.#timerAtMs || atMs === Infinity) return;
    this.#timer?.cancel();
    this.#timerAtMs = atMs;
    this.#timer = this.#clock.setTimer(Math.max(0, atMs - this.#clock.nowMs()), () => this.#look());
  }

  #look(): void {
    this.#timer = undefined;
    this.#timerAtMs = Infinity;
    const nowMs = this.#clock.nowMs();
    let nextAtMs = Infinity;
    for (const turn of [...this.turns()]) {
      if (turn.ended) continue;
      if (nowMs >= turn.limitAtMs) {
        turn.activation.timeUp(turn, timeUpError(turn, nowMs));
        continue;
      }
      nextAtMs = Math.min(nextAtMs, turn.limitAtMs);
      const waits = turn.subCalls?.some((s) => !s.settled) ?? false;
      if (!waits) continue;
      nextAtMs = Math.min(nextAtMs, nowMs + PROBE_MS);
      findDeadlock(turn, nowMs)?.breakUp();
    }
    this.#arm(nextAtMs);
  }
}

function timeUpError(turn: Turn, nowMs: number): PinionError {
  const details = {
    actor: turn.activation.actor,
    method: turn.call?.method ?? "",
    ranMs: Math.round(nowMs - turn.startedAtMs),
  };
  return nowMs >= turn.deadlineAtMs
    ? new PinionError(
        "deadline-exceeded",
        `the deadline passed while ${details.method} of ${details.actor} ran; nothing was changed`,
        {
          details,
        },
      )
    : new PinionError(
        "turn-timeout",
        `${details.method} of ${details.actor} took longer than ${turn.activation.type.maxTurnMs} ms (maxTurnMs); nothing was changed`,
        { details },
      );
}
