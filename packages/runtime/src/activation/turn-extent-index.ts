/** `ctx.memory.index`: what is known about the actor's extents, as a turn sees and changes it. */
import { nearestNames, PinionError } from "@pinion/core";
import {
  attributesProblem,
  flagsProblem,
  OPPOSITE,
  withLink,
  withoutLink,
  type AccessCounts,
  type ActorExtents,
  type ConnectedExtent,
  type ExtentAttributes,
  type ExtentFacts,
  type ExtentFlags,
  type ExtentImage,
  type ExtentQuery,
  type ExtentsTurn,
  type HotExtentOfActor,
  type LinkKind,
} from "@pinion/storage";
import type { ExtentConnection, ExtentIndexView } from "../definition/actor-context.ts";
import type { Turn } from "./turn.ts";

export class TurnExtentIndex implements ExtentIndexView {
  readonly #turn: Turn;

  constructor(turn: Turn) {
    this.#turn = turn;
  }

  facts(extent: string): ExtentFacts {
    return this.#overlayOf(extent).facts(extent);
  }

  setFlags(extent: string, flags: Partial<ExtentFlags>): void {
    this.#change(extent, (facts) => {
      const next = { ...facts.flags, ...known(flags, facts.flags, "flag") };
      refuse(extent, flagsProblem(next));
      return { ...facts, flags: next };
    });
  }

  setAttributes(extent: string, attributes: Partial<ExtentAttributes>): void {
    this.#change(extent, (facts) => {
      const next = { ...facts.attributes, ...known(attributes, facts.attributes, "attribute") };
      const { timeBucket } = next;
      refuse(extent, attributesProblem(next));
      // A copy: what the caller does with its own later is not the index's.
      const own = timeBucket && { fromMs: timeBucket.fromMs, toMs: timeBucket.toMs };
      return { ...facts, attributes: { ...next, timeBucket: own } };
    });
  }

  connect(from: string, to: string, connection: ExtentConnection = {}): void {
    const { kind = "next", weight = 1 } = connection;
    this.#checkName(to);
    if (from === to)
      throw new PinionError("invalid-argument", `extent "${from}" cannot be connected with itself`);
    const overlay = this.#changing(from);
    // Both are made before one is set: where one end is refused, the other has nothing either.
    const forth = withLink(overlay.facts(from), from, { kind, to, weight });
    const back = withLink(overlay.facts(to), to, { kind: OPPOSITE[kind], to: from, weight });
    overlay.setFacts(from, forth);
    overlay.setFacts(to, back);
  }

  disconnect(from: string, to: string, kind?: LinkKind): void {
    this.#checkName(to);
    const overlay = this.#changing(from);
    overlay.setFacts(from, withoutLink(overlay.facts(from), to, kind));
    overlay.setFacts(to, withoutLink(overlay.facts(to), from, kind && OPPOSITE[kind]));
  }

  connected(extent: string): ConnectedExtent[] {
    const links = this.#overlayOf(extent).facts(extent).links;
    return this.#extents(extent).connected(extent, links);
  }

  find(query: ExtentQuery): string[] {
    const turn = this.#turn;
    turn.assertRunning();
    return turn.activation.extents === undefined ? [] : turn.openExtents().find(query);
  }

  getHotExtents(limit: number): HotExtentOfActor[] {
    const turn = this.#turn;
    turn.assertRunning();
    if (!(Number.isInteger(limit) && limit >= 1))
      throw new PinionError(
        "invalid-argument",
        `getHotExtents takes a number from 1, not ${limit}`,
      );
    return turn.activation.extents?.hottest(limit) ?? [];
  }

  accesses(extent: string): AccessCounts {
    return (this.#extents(extent).image(extent) as ExtentImage).usage.counts;
  }

  #change(extent: string, change: (facts: ExtentFacts) => ExtentFacts): void {
    const overlay = this.#changing(extent);
    overlay.setFacts(extent, change(overlay.facts(extent)));
  }

  #changing(extent: string): ExtentsTurn {
    this.#turn.assertMayChange("set anything about an extent");
    return this.#overlayOf(extent);
  }

  #overlayOf(extent: string): ExtentsTurn {
    this.#checkName(extent);
    return this.#turn.openExtents();
  }

  #extents(extent: string): ActorExtents {
    this.#checkName(extent);
    return this.#turn.activation.extents as ActorExtents;
  }

  #checkName(extent: string): void {
    const turn = this.#turn;
    turn.assertRunning();
    const { type } = turn.activation;
    const names = type.extents?.names ?? [];
    if (names.includes(extent)) return;
    throw new PinionError(
      "invalid-argument",
      `actor type "${type.name}" declares no extent "${extent}"; nearest: ${nearestNames(extent, names).join(", ") || "it declares none"}`,
      { details: { extent, type: type.name } },
    );
  }
}

/** @throws `invalid-argument` for a key that means nothing: it would be lost without a word */
function known<T extends object>(given: Partial<T>, of: T, what: string): Partial<T> {
  for (const key of Object.keys(given)) {
    if (Object.hasOwn(of, key)) continue;
    throw new PinionError(
      "invalid-argument",
      `an extent has no ${what} "${key}"; there are ${Object.keys(of).join(", ")}`,
    );
  }
  return given;
}

function refuse(extent: string, problem: string | undefined): void {
  if (problem === undefined) return;
  throw new PinionError("invalid-argument", `extent "${extent}": ${problem}`, {
    details: { extent },
  });
}
