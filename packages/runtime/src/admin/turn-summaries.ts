/** Turns as the admin side shows them. */
import { formatActorId } from "@pinion/core";
import type { Activation } from "../activation/activation.ts";
import type { Turn } from "../activation/turn.ts";
import { callKeyText } from "../records/call-key.ts";
import { callKeyOf } from "../shard/call-entry.ts";
import type { WorkerCore } from "../worker/worker-core.ts";
import { SLOW_TURN_MS, SLOW_TURNS_MAX, type TurnSummary } from "./worker-requests.ts";

function summaryOf(turn: Turn, nowMs: number): TurnSummary {
  const remainingMs = turn.limitAtMs === Infinity ? null : Math.round(turn.limitAtMs - nowMs);
  return {
    actor: formatActorId(turn.activation.id),
    method: turn.call?.method ?? "(hook)",
    call: turn.call === undefined ? "" : callKeyText(callKeyOf(turn.call)),
    ageMs: Math.round(nowMs - turn.startedAtMs),
    remainingMs,
    abandoned: turn.ended,
  };
}

/** Turns that have waited for long, and given-up ones whose method has not returned, oldest first. */
export function slowTurns(core: WorkerCore): TurnSummary[] {
  const nowMs = core.ports.clock.nowMs();
  const slow = [...core.watch.turns()].filter((t) => nowMs - t.startedAtMs >= SLOW_TURN_MS);
  return [...core.abandoned, ...slow]
    .sort((a, b) => a.startedAtMs - b.startedAtMs)
    .slice(0, SLOW_TURNS_MAX)
    .map((turn) => summaryOf(turn, nowMs));
}

export function turnsOf(core: WorkerCore, activation: Activation): TurnSummary[] {
  const nowMs = core.ports.clock.nowMs();
  const running = [...core.watch.turns(), ...core.abandoned];
  return running
    .filter((turn) => turn.activation.actor === activation.actor)
    .map((turn) => summaryOf(turn, nowMs));
}
