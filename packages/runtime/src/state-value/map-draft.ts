/**
 * Maps in a draft. The view is a real Map by class (`instanceof`, `constructor`), but its own entries are not the ones it
 * shows: every method is overridden. One entry is kept that nothing can clone, so that `structuredClone` and
 * `postMessage`, which look past the methods, refuse the view instead of taking it for an empty Map.
 */
import { describeTable } from "./describe-table.ts";
import { DraftNode, INSPECT, literal, NODE, type Session } from "./draft-node.ts";
import { inspectView } from "./inspect-view.ts";
import { notSerializable } from "./limits.ts";
import type { OrderedTable, TableEdit, TableKey } from "./ordered-table.ts";
import { PatchOp, type Patch, type Step } from "./patch-format.ts";

const NOT_CLONABLE: unique symbol = Symbol("a view of a state value cannot be cloned");

export class MapDraft extends DraftNode {
  readonly view: Map<unknown, unknown> = new MapView(this);
  readonly #edit: TableEdit;
  readonly #pending = new Set<TableKey>();
  #settled: OrderedTable | undefined;

  constructor(session: Session, parent: DraftNode | undefined, slot: unknown, base: OrderedTable) {
    super(session, parent, slot, base);
    this.#edit = base.edit();
  }

  /** For reading. @throws `interrupted` */
  get table(): TableEdit {
    this.beforeRead();
    return this.#edit;
  }

  get(key: unknown): unknown {
    const value = this.table.get(key as TableKey);
    return typeof value === "object" && value !== null ? this.show(value, key) : value;
  }

  set(key: unknown, value: unknown): void {
    this.beforeWrite(key);
    const tableKey = this.#assertKey(key);
    if (this.holds(this.#edit.get(tableKey), value) && this.#edit.has(tableKey)) return;
    const admitted = this.session.admit(value, this, key);
    if (!this.changed) this.touch();
    if (typeof admitted === "object" && admitted !== null) this.#pending.add(tableKey);
    this.#edit.set(tableKey, admitted);
  }

  delete(key: unknown): boolean {
    this.beforeWrite(key);
    if (!this.#edit.has(key as TableKey)) return false;
    if (!this.changed) this.touch();
    return this.#edit.delete(key as TableKey);
  }

  clear(): void {
    this.beforeWrite();
    if (this.#edit.size === 0) return;
    if (!this.changed) this.touch();
    this.#edit.clear();
  }

  /** Keys, live: what is written meanwhile is seen as a Map's iterator would see it. */
  keys(): MapIterator<TableKey> {
    const { table } = this;
    return this.session.writable ? table.liveKeys() : table.keys();
  }

  #assertKey(key: unknown): TableKey {
    if (
      (typeof key === "object" && key !== null) ||
      typeof key === "function" ||
      typeof key === "symbol"
    ) {
      throw notSerializable(
        this.pathOf("…"),
        "an entry of a Map whose key is not a primitive",
        "objects are found by identity, which does not survive a restart; key it by an id",
      );
    }
    return key as TableKey;
  }

  protected override adopt(child: DraftNode): void {
    const key = child.slot as TableKey;
    if (this.#edit.get(key) !== child.base) return;
    if (!this.changed) this.touch();
    this.#pending.add(key);
    this.#edit.place(key, child);
  }

  protected override stepName(slot: unknown): string {
    return `.get(${literal(slot)})`;
  }

  override settle(): object {
    if (!this.changed) return this.base;
    this.#settled = this.#edit.commit(this.#pending, (value, key) => this.settleSlot(value, key));
    return this.#settled;
  }

  override describe(patch: Patch, path: readonly Step[]): void {
    if (this.#settled === undefined) return;
    describeTable(this.#edit, this.#settled, this.#pending, PatchOp.map, patch, path);
  }
}

class MapView extends Map<unknown, unknown> {
  readonly #node: MapDraft;

  constructor(node: MapDraft) {
    super();
    this.#node = node;
    super.set(NOT_CLONABLE, undefined);
  }

  get [NODE](): DraftNode {
    return this.#node;
  }

  override get size(): number {
    return this.#node.table.size;
  }

  override get(key: unknown): unknown {
    return this.#node.get(key);
  }

  override has(key: unknown): boolean {
    return this.#node.table.has(key as TableKey);
  }

  override set(key: unknown, value: unknown): this {
    this.#node.set(key, value);
    return this;
  }

  override delete(key: unknown): boolean {
    return this.#node.delete(key);
  }

  override clear(): void {
    this.#node.clear();
  }

  override getOrInsert(key: unknown, value: unknown): unknown {
    if (!this.has(key)) this.set(key, value);
    return this.get(key);
  }

  override getOrInsertComputed(key: unknown, compute: (key: unknown) => unknown): unknown {
    if (!this.has(key)) this.set(key, compute(key));
    return this.get(key);
  }

  override keys(): MapIterator<unknown> {
    return this.#node.keys();
  }

  override *values(): MapIterator<unknown> {
    for (const key of this.#node.keys()) yield this.#node.get(key);
    return undefined;
  }

  override *entries(): MapIterator<[unknown, unknown]> {
    for (const key of this.#node.keys()) yield [key, this.#node.get(key)];
    return undefined;
  }

  override [Symbol.iterator](): MapIterator<[unknown, unknown]> {
    return this.entries();
  }

  override forEach(
    callback: (value: unknown, key: unknown, map: Map<unknown, unknown>) => void,
    self?: unknown,
  ): void {
    for (const key of this.#node.keys()) callback.call(self, this.#node.get(key), key, this);
  }

  [INSPECT](): unknown {
    return inspectView(this);
  }
}

Object.defineProperty(MapView.prototype, "constructor", {
  value: Map,
  writable: true,
  configurable: true,
});
