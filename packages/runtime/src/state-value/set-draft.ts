/** Sets in a draft, as Maps are (map-draft.ts): the view is a Set by class and overrides every method. */
import { DraftNode, INSPECT, literal, NODE, type Session } from "./draft-node.ts";
import { inspectView } from "./inspect-view.ts";
import { notSerializable } from "./limits.ts";
import type { OrderedTable, TableEdit, TableKey } from "./ordered-table.ts";
import { PatchOp, type Patch, type Step } from "./patch-format.ts";

const NOT_CLONABLE: unique symbol = Symbol("a view of a state value cannot be cloned");

/** What a Set keeps as the value of each member. */
export const MEMBER = true;

export class SetDraft extends DraftNode {
  readonly view: Set<unknown> = new SetView(this);
  readonly #edit: TableEdit;

  constructor(session: Session, parent: DraftNode | undefined, slot: unknown, base: OrderedTable) {
    super(session, parent, slot, base);
    this.#edit = base.edit();
  }

  /** For reading. @throws `interrupted` */
  get table(): TableEdit {
    this.beforeRead();
    return this.#edit;
  }

  add(member: unknown): void {
    this.beforeWrite();
    if (
      (typeof member === "object" && member !== null) ||
      typeof member === "function" ||
      typeof member === "symbol"
    ) {
      throw notSerializable(
        this.pathOf("…"),
        "a member of a Set that is not a primitive",
        "objects are found by identity, which does not survive a restart; use a Map keyed by an id",
      );
    }
    if (typeof member === "string" && !member.isWellFormed()) {
      throw notSerializable(this.pathOf(member), "a string with half of a surrogate pair");
    }
    if (this.#edit.has(member as TableKey)) return;
    if (!this.changed) this.touch();
    this.#edit.set(member as TableKey, MEMBER);
  }

  delete(member: unknown): boolean {
    this.beforeWrite();
    if (!this.#edit.has(member as TableKey)) return false;
    if (!this.changed) this.touch();
    return this.#edit.delete(member as TableKey);
  }

  clear(): void {
    this.beforeWrite();
    if (this.#edit.size === 0) return;
    if (!this.changed) this.touch();
    this.#edit.clear();
  }

  members(): MapIterator<TableKey> {
    const { table } = this;
    return this.session.writable ? table.liveKeys() : table.keys();
  }

  /** The members in a Set of their own, for the methods that make new Sets. */
  toSet(): Set<unknown> {
    return new Set(this.members());
  }

  protected override adopt(): void {
    // members are primitives: there are no child nodes
  }

  protected override stepName(slot: unknown): string {
    return `.has(${literal(slot)})`;
  }

  override settle(): object {
    if (!this.changed) return this.base;
    return this.#edit.commit([], (value) => value);
  }

  override describe(patch: Patch, path: readonly Step[]): void {
    const edit = this.#edit;
    const base = this.base as OrderedTable;
    const removed = [...edit.removedKeys()];
    for (const member of removed) patch.removes(member);
    const added = [...edit.changedKeys()];
    const removes = edit.cleared && base.size > 0 ? true : removed;
    if (removes === true || removed.length + added.length > 0)
      patch.add(path, PatchOp.set, removes, added);
  }
}

class SetView extends Set<unknown> {
  readonly #node: SetDraft;

  constructor(node: SetDraft) {
    super();
    this.#node = node;
    super.add(NOT_CLONABLE);
  }

  get [NODE](): DraftNode {
    return this.#node;
  }

  override get size(): number {
    return this.#node.table.size;
  }

  override has(member: unknown): boolean {
    return this.#node.table.has(member as TableKey);
  }

  override add(member: unknown): this {
    this.#node.add(member);
    return this;
  }

  override delete(member: unknown): boolean {
    return this.#node.delete(member);
  }

  override clear(): void {
    this.#node.clear();
  }

  override keys(): SetIterator<unknown> {
    return this.#node.members();
  }

  override values(): SetIterator<unknown> {
    return this.#node.members();
  }

  override *entries(): SetIterator<[unknown, unknown]> {
    for (const member of this.#node.members()) yield [member, member];
    return undefined;
  }

  override [Symbol.iterator](): SetIterator<unknown> {
    return this.#node.members();
  }

  override forEach(
    callback: (value: unknown, again: unknown, set: Set<unknown>) => void,
    self?: unknown,
  ): void {
    for (const member of this.#node.members()) callback.call(self, member, member, this);
  }

  override union<U>(other: ReadonlySetLike<U>): Set<unknown> {
    return this.#node.toSet().union(other);
  }

  override intersection<U>(other: ReadonlySetLike<U>): Set<U> {
    return this.#node.toSet().intersection(other) as Set<U>;
  }

  override difference<U>(other: ReadonlySetLike<U>): Set<unknown> {
    return this.#node.toSet().difference(other);
  }

  override symmetricDifference<U>(other: ReadonlySetLike<U>): Set<unknown> {
    return this.#node.toSet().symmetricDifference(other);
  }

  override isSubsetOf(other: ReadonlySetLike<unknown>): boolean {
    return this.#node.toSet().isSubsetOf(other);
  }

  override isSupersetOf(other: ReadonlySetLike<unknown>): boolean {
    return this.#node.toSet().isSupersetOf(other);
  }

  override isDisjointFrom(other: ReadonlySetLike<unknown>): boolean {
    return this.#node.toSet().isDisjointFrom(other);
  }

  [INSPECT](): unknown {
    return inspectView(this);
  }
}

Object.defineProperty(SetView.prototype, "constructor", {
  value: Set,
  writable: true,
  configurable: true,
});
