/** The extent index as a turn sees and changes it: `ctx.memory.index` of actors, and what updates and reads of a volume are given. */
import { PinionError } from "@pinion/core";
import type { ActorExtents, HotExtentOfActor } from "./actor-extents.ts";
import type { ConnectedExtent } from "./connections.ts";
import {
  attributesProblem,
  flagsProblem,
  OPPOSITE,
  withLink,
  withoutLink,
  type ExtentAttributes,
  type ExtentFacts,
  type ExtentFlags,
  type LinkKind,
} from "./extent-facts.ts";
import type { ExtentImage } from "./extent-image.ts";
import type { ExtentQuery } from "./extent-index.ts";
import type { AccessCounts } from "./extent-usage.ts";
import type { ExtentsTurn } from "./extents-turn.ts";

export interface ExtentConnection {
  /** Default "next". */
  readonly kind?: LinkKind;
  /** Above 0, up to 1, which is the default: how likely one is used with the other. */
  readonly weight?: number;
}

/**
 * What is known about the extents that the definition declares, by name. What is set is part of the actor: it counts with the turn's commit, the turn
 * itself sees it at once, and a turn that throws sets nothing. What is measured lives with the activation. All methods throw `invalid-argument` for
 * a name that is not declared; those that set something `readonly-violation` in a readonly method.
 */
export interface ExtentIndexView {
  /** As they were set, by this turn or an earlier one. */
  facts(extent: string): ExtentFacts;
  /** Sets those that are given, undefined leaves one to the defaults again: docs/residency.md says what they do. @throws `invalid-argument` */
  setFlags(extent: string, flags: Partial<ExtentFlags>): void;
  /** Sets those that are given, undefined removes one: what the extent is found by. @throws `invalid-argument` */
  setAttributes(extent: string, attributes: Partial<ExtentAttributes>): void;
  /**
   * Connects two extents from both ends: what is next for one is previous for the other. Connected before, they get the new weight.
   * @throws `invalid-argument`, also where one of them has 16 connections already
   */
  connect(from: string, to: string, connection?: ExtentConnection): void;
  /** Ends what `connect` made, from both ends: of one kind, as seen from `from`, or of all. */
  disconnect(from: string, to: string, kind?: LinkKind): void;
  /** What was set, together with what was learned from turns that used both; the strongest first. */
  connected(extent: string): ConnectedExtent[];
  /** Names of extents with a row group, a partition, or a time bucket; no other extent is looked at. @throws `invalid-argument` */
  find(query: ExtentQuery): string[];
  /** The hottest first, of those that turns of this activation have used. */
  getHotExtents(limit: number): HotExtentOfActor[];
  /** Since the activation began, by turns that are over. */
  accesses(extent: string): AccessCounts;
}

/** The turn that an index belongs to. */
export interface IndexScope {
  /** For errors, such as `actor type "airport"`. */
  readonly owner: string;
  readonly names: readonly string[];
  /** Undefined where `names` is empty. */
  readonly extents: ActorExtents | undefined;
  /** The extents as the turn sees them; undefined as `extents`. @throws once the turn is over */
  overlay(): ExtentsTurn | undefined;
  /** @throws `readonly-violation` */
  mayChange(): void;
}

export class TurnExtentIndex implements ExtentIndexView {
  readonly #scope: IndexScope;

  constructor(scope: IndexScope) {
    this.#scope = scope;
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
    const { links } = this.#overlayOf(extent).facts(extent);
    return (this.#scope.extents as ActorExtents).connected(extent, links);
  }

  find(query: ExtentQuery): string[] {
    const overlay = this.#scope.overlay();
    return overlay === undefined ? [] : overlay.find(query);
  }

  getHotExtents(limit: number): HotExtentOfActor[] {
    this.#scope.overlay();
    if (!(Number.isInteger(limit) && limit >= 1))
      throw new PinionError(
        "invalid-argument",
        `getHotExtents takes a number from 1, not ${limit}`,
      );
    return this.#scope.extents?.hottest(limit) ?? [];
  }

  accesses(extent: string): AccessCounts {
    this.#overlayOf(extent);
    const { extents } = this.#scope;
    return ((extents as ActorExtents).image(extent) as ExtentImage).usage.counts;
  }

  #change(extent: string, change: (facts: ExtentFacts) => ExtentFacts): void {
    const overlay = this.#changing(extent);
    overlay.setFacts(extent, change(overlay.facts(extent)));
  }

  #changing(extent: string): ExtentsTurn {
    this.#scope.mayChange();
    return this.#overlayOf(extent);
  }

  #overlayOf(extent: string): ExtentsTurn {
    const overlay = this.#scope.overlay();
    this.#checkName(extent);
    return overlay as ExtentsTurn;
  }

  #checkName(extent: string): void {
    const { owner, names } = this.#scope;
    if (names.includes(extent)) return;
    throw new PinionError(
      "invalid-argument",
      `${owner} declares no extent "${extent}"; it has ${names.join(", ") || "none"}`,
      { details: { extent } },
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
