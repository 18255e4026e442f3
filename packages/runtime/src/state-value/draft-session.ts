/**
 * One look at one version of a state value: the nodes of what was looked at, and whether writing is allowed. A mutating
 * turn has a writable session, a readonly turn one that refuses; both show the same views, so a method reads the same
 * code either way.
 *
 * State: `#root`, the slot at the top (a primitive, a committed container, or `Placed` after `ctx.state = …`); `#nodes`, the
 * node of each committed container that was looked at, which makes `ctx.state.a === ctx.state.a`.
 */
import { PinionError } from "@pinion/core";
import { ArrayDraft } from "./array-draft.ts";
import { assertAssignable, CopyIn } from "./copy-in.ts";
import { Placed, type DraftNode, type Session } from "./draft-node.ts";
import { isBinary, LeafDraft } from "./leaf-draft.ts";
import { MapDraft } from "./map-draft.ts";
import { OrderedTable } from "./ordered-table.ts";
import { Patch } from "./patch-format.ts";
import { RecordDraft, WideRecordDraft } from "./record-draft.ts";
import { SetDraft } from "./set-draft.ts";

export class DraftSession implements Session {
  readonly writable: boolean;
  closed = false;
  /** Something may have changed. */
  changed = false;
  /** The whole value was assigned. */
  replaced = false;
  /** The committed form of what was written holds tables. */
  tables = false;
  #root: unknown;
  #rootNode: DraftNode | undefined;
  #nodes: Map<object, DraftNode> | undefined;
  #leaves: LeafDraft[] | undefined;
  #copier: CopyIn | undefined;

  constructor(committed: unknown, writable: boolean) {
    this.#root = committed;
    this.writable = writable;
  }

  /** What `ctx.state` is. @throws `interrupted` */
  get root(): unknown {
    if (this.closed) this.refuseClosed();
    const root = this.#root;
    if (typeof root !== "object" || root === null) return root;
    if (root instanceof Placed) return root.value;
    return (this.#rootNode ??= this.open(undefined, undefined, root)).view;
  }

  /** `ctx.state = value`. @throws `not-serializable`, `readonly-violation`, `interrupted` */
  replace(value: unknown): void {
    this.#assertWritable("state");
    if (typeof value === "object" && value !== null && value === this.root) return;
    assertAssignable(value, () => "state");
    this.changed = true;
    this.replaced = true;
    this.#root = typeof value === "object" && value !== null ? new Placed(value) : value;
  }

  refuseClosed(): never {
    throw new PinionError(
      "interrupted",
      "this view of an actor's state belongs to a turn that is over: read ctx.state again",
      {
        details: { reason: "state-view-expired" },
      },
    );
  }

  assertWritable(node: DraftNode, slot: unknown): void {
    if (this.writable && !this.closed) return;
    this.#assertWritable(slot === undefined ? node.path : node.pathOf(slot));
  }

  #assertWritable(path: string): void {
    if (this.closed) this.refuseClosed();
    if (!this.writable) {
      throw new PinionError("readonly-violation", `a readonly method wrote to ${path}`, {
        details: { path },
      });
    }
  }

  viewOf(parent: DraftNode, slot: unknown, committed: object): unknown {
    const nodes = (this.#nodes ??= new Map());
    let node = nodes.get(committed);
    if (node === undefined) {
      node = this.open(parent, slot, committed);
      nodes.set(committed, node);
    }
    return node.view;
  }

  nodeOf(committed: object): DraftNode | undefined {
    return this.#nodes?.get(committed);
  }

  open(parent: DraftNode | undefined, slot: unknown, committed: object): DraftNode {
    if (Array.isArray(committed)) return new ArrayDraft(this, parent, slot, committed);
    if (committed instanceof OrderedTable) {
      if (committed.kind === "map") return new MapDraft(this, parent, slot, committed);
      if (committed.kind === "set") return new SetDraft(this, parent, slot, committed);
      return new WideRecordDraft(this, parent, slot, committed);
    }
    if (committed instanceof Date || isBinary(committed)) {
      const leaf = new LeafDraft(this, parent, slot, committed);
      (this.#leaves ??= []).push(leaf);
      return leaf;
    }
    return new RecordDraft(this, parent, slot, committed as Readonly<Record<string, unknown>>);
  }

  admit(value: unknown, parent: DraftNode, slot: unknown): unknown {
    if (typeof value === "number" || value === undefined || value === null) return value;
    assertAssignable(value, () => parent.pathOf(slot));
    return typeof value === "object" ? new Placed(value) : value;
  }

  copyPlaced(placed: Placed, parent: DraftNode, slot: unknown): unknown {
    return this.#copy(placed.value, () => parent.pathOf(slot), parent.depth + 1);
  }

  #copy(value: unknown, path: () => string, depth: number): unknown {
    const copier = this.#copier ?? new CopyIn();
    const copy = copier.copy(value, path, depth);
    if (copier.tables) this.tables = true;
    return copy;
  }

  holdsTables(): void {
    this.tables = true;
  }

  rootChanged(): void {
    this.changed = true;
  }

  noticeLeaves(): void {
    if (this.#leaves === undefined || !this.writable) return;
    for (const leaf of this.#leaves) if (!leaf.changed && leaf.written) leaf.touch();
  }

  /** @throws `readonly-violation` when a readonly method wrote into its copy of a date or of bytes. */
  assertLeavesUnwritten(): void {
    for (const leaf of this.#leaves ?? []) {
      if (!leaf.written) continue;
      throw new PinionError("readonly-violation", `a readonly method wrote to ${leaf.path}`, {
        details: { path: leaf.path },
      });
    }
  }

  /** The committed form as of now. @throws `not-serializable`, `state-too-large` */
  settle(): unknown {
    const root = this.#root;
    this.#copier = new CopyIn(); // one for all: it counts bytes
    try {
      if (root instanceof Placed) return this.#copy(root.value, () => "state", 0);
      return this.#rootNode === undefined ? root : this.#rootNode.settle();
    } finally {
      this.#copier = undefined;
    }
  }

  /** What was changed up to the last `settle`, unless the whole value was replaced. */
  describe(): Patch {
    const patch = new Patch();
    this.#rootNode?.describe(patch, []);
    return patch;
  }
}
