/**
 * A mutating turn's access to the state: `ctx.state` writes into a draft over the actor's newest version, and `finish`
 * makes of it the next version and the delta for the log. Dropping the draft is the rollback. How it works: draft-node.ts; why
 * it is done this way, with the figures: docs/decisions/0002-state-tracking.md.
 *
 * I1 `finish` changes nothing: it may be called again, also after further writes, when the log refused the first delta.
 * I2 `applyDelta(base, delta)` equals the version `finish` returned.
 */
import { DraftSession } from "./draft-session.ts";
import { STATE_BYTES_MAX, WHOLE_BYTES_MAX } from "./limits.ts";
import { DELTA_HEADER_BYTES, encodePatch, StateVersion } from "./state-version.ts";

export interface FinishedState<S = unknown> {
  /** The next version; the same one when nothing changed. */
  readonly base: StateVersion<S>;
  /** What to log; undefined when nothing changed. In memory of its own. */
  readonly delta: Uint8Array | undefined;
  /** True when `delta` needs no earlier version. */
  readonly whole: boolean;
}

export class StateDraft<S = unknown> {
  readonly #base: StateVersion<S>;
  readonly #session: DraftSession;

  constructor(base: StateVersion<S>) {
    this.#base = base;
    this.#session = new DraftSession(base.tree, true);
  }

  /** `ctx.state`. @throws `interrupted` */
  get root(): S {
    return this.#session.root as S;
  }

  /** `ctx.state = value`. @throws `not-serializable`, `interrupted` */
  replace(value: S): void {
    this.#session.replace(value);
  }

  /**
   * @param whole makes the delta a whole value, for an actor that nothing is stored of yet.
   * @throws `not-serializable` naming the path, `state-too-large`; the turn then has no effect
   */
  finish(options: { readonly whole?: boolean } = {}): FinishedState<S> {
    const base = this.#base;
    const session = this.#session;
    session.noticeLeaves();
    if (!session.changed) return { base, delta: undefined, whole: false };
    const tree = session.settle();
    const tables = base.tables || session.tables;
    if (options.whole === true || session.replaced)
      return finishWhole(new StateVersion<S>(tree, tables));
    let whole: FinishedState<S> | undefined;
    if (base.bytesAtMost <= WHOLE_BYTES_MAX) {
      whole = finishWhole(new StateVersion<S>(tree, tables));
      if ((whole.delta as Uint8Array).length <= WHOLE_BYTES_MAX + DELTA_HEADER_BYTES) return whole;
    }
    return this.#finishPatch(tree, tables, whole);
  }

  #finishPatch(
    tree: unknown,
    tables: boolean,
    whole: FinishedState<S> | undefined,
  ): FinishedState<S> {
    const patch = this.#session.describe();
    if (patch.empty) return { base: this.#base, delta: undefined, whole: false };
    const delta = encodePatch(patch.edits, tables);
    if (delta === undefined) return whole ?? finishWhole(new StateVersion<S>(tree, tables));
    // What is added to the value, and what its containers' headers grow by, is also in the patch.
    const bytesAtMost = this.#base.bytesAtMost + delta.length - patch.bytesRemovedMin;
    const wholeBytes = whole?.delta?.length ?? bytesAtMost;
    if (delta.length >= wholeBytes) return whole ?? finishWhole(new StateVersion<S>(tree, tables));
    const next = new StateVersion<S>(tree, tables, bytesAtMost);
    if (bytesAtMost > STATE_BYTES_MAX && delta.length >= next.measure()) return finishWhole(next);
    return { base: next, delta, whole: false };
  }

  /** Ends the turn's access: views that outlive it throw `interrupted`. */
  revoke(): void {
    this.#session.closed = true;
  }
}

function finishWhole<S>(next: StateVersion<S>): FinishedState<S> {
  return { base: next, delta: next.encodeWhole(), whole: true };
}

/**
 * A readonly turn's access to the state: the same views, any write throws `readonly-violation`. Dates and binary arrays
 * are copies, since JavaScript cannot guard them; `close` finds out whether one was written.
 */
export class StateView<S = unknown> {
  readonly #session: DraftSession;

  constructor(version: StateVersion<S>) {
    this.#session = new DraftSession(version.tree, false);
  }

  /** `ctx.state`. @throws `interrupted` */
  get root(): S {
    return this.#session.root as S;
  }

  /** Ends the turn's access. @throws `readonly-violation` when a copied date or binary array was written. */
  close(): void {
    const session = this.#session;
    if (session.closed) return;
    session.closed = true;
    session.assertLeavesUnwritten();
  }
}
