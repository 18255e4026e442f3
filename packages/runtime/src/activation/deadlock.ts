/**
 * Deadlocks between call chains (P19): A waits for B while B, on behalf of another caller, waits for A. A cycle in the graph
 * turn → actor it waits for → that actor's running turn; found by walking it from a turn that has been blocked for a
 * while. The turn whose root call is youngest gives way: its waiting call fails with `deadlock`.
 *
 * Cycles within one chain never get here: they fail at once when the call is made.
 */
import { PinionError } from "@pinion/core";
import type { SubCall } from "./sub-call.ts";
import type { Turn } from "./turn.ts";

/** A turn blocked this long on another actor is looked at for deadlock. */
export const PROBE_MS = 50;

export class Deadlock {
  /** The waiting calls that form the cycle. */
  readonly calls: readonly SubCall[];

  constructor(calls: readonly SubCall[]) {
    this.calls = calls;
  }

  /** Fails the call of the youngest root, so that the others go on. */
  breakUp(): void {
    const victim = this.calls.reduce((a, b) => (isYounger(b.turn, a.turn) ? b : a));
    const actors = this.calls.map((c) => c.turn.activation.actor);
    victim.target?.withdraw(
      victim.call,
      new PinionError(
        "deadlock",
        `deadlock: ${actors.join(" → ")} → ${actors[0]} wait for each other`,
        {
          details: { actors },
        },
      ),
    );
  }
}

function isYounger(a: Turn, b: Turn): boolean {
  const [x, y] = [a.call, b.call];
  if (x === undefined || y === undefined) return x === undefined;
  return x.issuedAt !== y.issuedAt ? x.issuedAt > y.issuedAt : x.seq > y.seq;
}

/** The cycle through `start`, if every call on it has waited for `PROBE_MS`. */
export function findDeadlock(start: Turn, nowMs: number): Deadlock | undefined {
  const path: SubCall[] = [];
  const seen = new Set<Turn>();
  const walk = (turn: Turn): boolean => {
    for (const call of turn.subCalls ?? []) {
      if (call.settled || nowMs - call.sentAtMs < PROBE_MS) continue;
      const next = call.target?.turn;
      // The call waits only if its actor is busy with somebody else's turn, or its own turn there waits further on.
      if (next === undefined || next.ended) continue;
      path.push(call);
      if (next === start) return true;
      if (!seen.has(next)) {
        seen.add(next);
        if (walk(next)) return true;
      }
      path.pop();
    }
    return false;
  };
  if (!walk(start)) return undefined;
  // Only calls that queue can be withdrawn; those whose turn runs are answered when the cycle breaks elsewhere.
  const queued = path.filter((c) => c.target?.turn?.call !== c.call);
  return queued.length === 0 ? undefined : new Deadlock(queued);
}
