/**
 * The extents of one turn, changed together: what `ActorExtents` gives a turn to work on.
 *
 * State: an `ExtentTurn` for each extent that the turn has reached for, of a readonly turn for all.
 */
import { PinionError } from "@pinion/core";
import { encodeDeltas, type ExtentDelta } from "./extent-delta.ts";
import { NO_FACTS, type ExtentFacts } from "./extent-facts.ts";
import type { ExtentImage } from "./extent-image.ts";
import { ExtentIndex, type ExtentQuery } from "./extent-index.ts";
import { ExtentTurn } from "./extent-turn.ts";
import type { AccessStreams } from "./extent-usage.ts";
import { WriteBudget } from "./write-budget.ts";

/** What a turn sees of the actor's extents. */
export interface TurnExtents {
  readonly images: Iterable<ExtentImage>;
  readonly declared: ReadonlySet<string>;
  readonly index: ExtentIndex;
  image(name: string): ExtentImage | undefined;
  prefetchConnected(name: string): void;
  factsChanged(): void;
  used(extents: readonly UsedExtent[], nowMs: number): void;
}

/** By a turn that is over. */
export interface UsedExtent {
  readonly image: ExtentImage;
  readonly accesses: AccessStreams;
}

/** The extents of one turn. */
export class ExtentsTurn {
  readonly #of: TurnExtents;
  readonly #readonly: boolean;
  readonly #beganMs: number;
  readonly #budget = new WriteBudget();
  /** Few: each is asked for by name once, so a list will do. */
  readonly #turns: ExtentTurn[] = [];
  /** Of the facts as this turn sees them, once it has asked, where that is not what the actor has. */
  #index: ExtentIndex | undefined;
  #isSealed = false;
  #ended = false;

  constructor(of: TurnExtents, readonly: boolean, beganMs: number) {
    this.#of = of;
    this.#beganMs = beganMs;
    this.#readonly = readonly;
    if (!readonly) return;
    // As of one moment: a readonly turn sees all of them at the same commit.
    for (const { identity } of of.images) this.extent(identity.name);
    this.#index = of.index;
  }

  extent(name: string): ExtentTurn {
    let turn = this.#turnOf(name);
    if (turn === undefined) {
      this.running();
      const image = this.#of.image(name);
      if (image === undefined)
        throw new PinionError("internal", `assertion failed: there is no extent "${name}"`);
      const begun = image.facts.flags.prefetch ? () => this.#of.prefetchConnected(name) : undefined;
      turn = new ExtentTurn(image, this.#readonly, this.#budget, begun);
      if (this.#isSealed) turn.seal();
      this.#turns.push(turn);
    }
    return turn;
  }

  #turnOf(name: string): ExtentTurn | undefined {
    for (const turn of this.#turns) if (turn.image.identity.name === name) return turn;
    return undefined;
  }

  /** @throws `view-expired` once it is over */
  running(): this {
    if (!this.#ended) return this;
    throw new PinionError(
      "view-expired",
      "the turn of these extents is over, or another one has entered",
    );
  }

  /** Own changes included. */
  facts(name: string): ExtentFacts {
    return this.extent(name).facts;
  }

  /** @throws `readonly-violation` */
  setFacts(name: string, facts: ExtentFacts): void {
    this.extent(name).setFacts(facts);
    this.#index = undefined;
  }

  /** As `ExtentIndex`, with the turn's own changes. */
  find(query: ExtentQuery): string[] {
    const hasOwn = this.#turns.some(({ factsChanged }) => factsChanged);
    if (hasOwn) this.#index ??= this.#ownIndex();
    return (this.#index ?? this.#of.index).find(query);
  }

  #ownIndex(): ExtentIndex {
    const { declared } = this.#of;
    return new ExtentIndex(
      [...declared].map((name) => {
        const facts = this.#turnOf(name)?.facts ?? this.#of.image(name)?.facts ?? NO_FACTS;
        return [name, facts] as const;
      }),
    );
  }

  /** A change of it is under way, or was refused: what there is now is not whole and must not be committed. */
  get isBroken(): boolean {
    return this.#budget.refusal !== undefined || this.#isWaiting;
  }

  /** Reads and writes so far that had to wait. */
  get waitsBegun(): number {
    let begun = 0;
    for (const turn of this.#turns) begun += turn.waitsBegun;
    return begun;
  }

  get #isWaiting(): boolean {
    for (const turn of this.#turns) if (turn.isWaiting) return true;
    return false;
  }

  /** What the turn has changed; undefined when nothing. @param head of the commit record @param allocate as for `encodeDeltas` @throws `write-set-too-large`, `invalid-argument` where it `isBroken` */
  finish(
    head?: Uint8Array,
    allocate?: (length: number) => Uint8Array,
  ): FinishedExtents | undefined {
    if (this.#budget.refusal !== undefined) throw this.#budget.refusal;
    if (this.#isWaiting) {
      throw new PinionError(
        "invalid-argument",
        "a turn returned before what it had begun with its extents was done: is an await missing, or the pause or finish of a blob?",
      );
    }
    const changed: { turn: ExtentTurn; delta: ExtentDelta }[] = [];
    for (const turn of this.#turns) {
      const delta = turn.delta();
      if (delta !== undefined) changed.push({ turn, delta });
    }
    if (changed.length === 0) return undefined;
    return {
      delta: encodeDeltas(
        changed.map(({ delta }) => delta),
        head,
        allocate,
      ),
      publish: () => {
        for (const { turn, delta } of changed) turn.commit(delta);
        this.#index = undefined;
        if (changed.some(({ delta }) => delta.facts !== undefined)) this.#of.factsChanged();
      },
    };
  }

  /** Its record waits for room in the log: until that is there, nothing more may be written. */
  seal(): void {
    this.#isSealed = true;
    for (const turn of this.#turns) turn.seal();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    const used: UsedExtent[] = [];
    for (const turn of this.#turns) {
      const { accesses, image } = turn;
      if (accesses !== undefined) used.push({ image, accesses });
      turn.end();
    }
    this.#of.used(used, this.#beganMs);
  }
}

export interface FinishedExtents {
  /** For the commit record, behind the head that `finish` was given. */
  readonly delta: Uint8Array;
  /** Makes the changes the actor's present, once the record is in the log (actor-extents.ts, A1). */
  publish(): void;
}
