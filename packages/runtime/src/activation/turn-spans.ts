/**
 * Spans of a turn and of its commit, children of the call's. Only calls whose client is traced have them: for all others one
 * comparison is the cost.
 */
import type { Lsn, Span } from "@pinion/core";
import type { Gated } from "../shard/output-gate.ts";
import type { Turn } from "./turn.ts";

/** The turn of a traced call begins: what it calls itself becomes a child of this span. */
export function openTurnSpan(turn: Turn): void {
  const { call, activation } = turn;
  const { telemetry } = activation.services;
  if (call?.traceparent === undefined || !telemetry.tracing) return;
  const span = telemetry.span(`pinion.turn ${call.type}/${call.method}`, call.traceparent);
  span.setAttribute("pinion.actor", activation.actor);
  span.setAttribute("pinion.shard", activation.shard.id);
  span.setAttribute("pinion.turn_kind", turn.kind);
  span.setAttribute("pinion.attempt", turn.attempt);
  turn.span = span;
}

/** From the append of the turn's record until the record is committed. */
export function openCommitSpan(turn: Turn, at: Lsn): void {
  if (turn.span === undefined) return;
  const { shard, services } = turn.activation;
  const span = services.telemetry.span("pinion.commit", turn.span.traceparent);
  span.setAttribute("pinion.shard", shard.id);
  span.setAttribute("pinion.lsn", at);
  shard.gate.hold(at, new CommitSpan(span));
}

class CommitSpan implements Gated {
  readonly #span: Span;

  constructor(span: Span) {
    this.#span = span;
  }

  release(): void {
    this.#span.end();
  }

  drop(error: Error): void {
    this.#span.end(error);
  }
}
