/**
 * Plain objects in a draft. Up to `WIDE_RECORD_KEYS` keys the draft writes a shallow copy; beyond that it writes an
 * overlay (ordered-table.ts), because copying an object of 1,000 keys takes V8 190 µs.
 *
 * Both kinds stand behind one Proxy handler, whose target is the node itself: the target is extensible and its own
 * properties are configurable, so no Proxy invariant ties what the traps answer.
 */
import { describeTable } from "./describe-table.ts";
import { DraftNode, INSPECT, NODE, Pending, propertyStep, type Session } from "./draft-node.ts";
import { inspectView } from "./inspect-view.ts";
import { notSerializable } from "./limits.ts";
import { OrderedTable, type TableEdit } from "./ordered-table.ts";
import { PatchOp, type Patch, type Step } from "./patch-format.ts";

export type CommittedRecord = Readonly<Record<string, unknown>>;

/** V8 keeps objects of more keys as hash tables, which it copies 100 times slower. */
export const WIDE_RECORD_KEYS = 64;

const INTEGER_KEY = /^(?:0|[1-9]\d{0,9})$/;

/** Keys JavaScript orders by value instead of by insertion. */
export function isIntegerKey(key: string): boolean {
  return INTEGER_KEY.test(key) && Number(key) < 2 ** 32 - 1;
}

export abstract class AnyRecordDraft extends DraftNode {
  readonly view: object = new Proxy(this, RECORD_HANDLER);

  abstract read(key: string): unknown;
  abstract hasKey(key: string): boolean;
  /** Own keys in JavaScript's order. */
  abstract ownKeys(): string[];
  protected abstract store(key: string, value: unknown): void;
  protected abstract remove(key: string): void;

  get(key: string): unknown {
    this.beforeRead();
    const value = this.read(key);
    if (typeof value === "object" && value !== null && key !== "__proto__")
      return this.show(value, key);
    return value;
  }

  put(key: string, value: unknown): void {
    this.beforeWrite(key);
    if (this.holds(this.read(key), value) && (value !== undefined || this.hasKey(key))) return;
    if (key === "__proto__") throw notSerializable(this.pathOf(key), "a property named __proto__");
    const admitted = this.session.admit(value, this, key);
    if (!this.changed) this.touch();
    this.store(key, admitted);
  }

  delete(key: string): void {
    this.beforeWrite(key);
    if (!this.hasKey(key)) return;
    if (!this.changed) this.touch();
    this.remove(key);
  }

  keys(): string[] {
    this.beforeRead();
    return this.ownKeys();
  }

  has(key: string): boolean {
    this.beforeRead();
    return this.hasKey(key);
  }

  refuse(what: string): never {
    this.beforeWrite();
    throw notSerializable(this.path, what);
  }

  protected override stepName(slot: unknown): string {
    return propertyStep(slot as string);
  }

  [INSPECT](): unknown {
    return inspectView(this); // called with the view as `this`
  }
}

export class RecordDraft extends AnyRecordDraft {
  #copy: Record<string, unknown> | undefined;
  /** True while `#copy` is also part of a committed value. */
  #shared = false;
  /** Keys under which `#copy` may hold something pending. */
  #pending: Set<string> | undefined;
  /** A key was added. */
  #grown = false;
  /** What `settle` made of `#copy`. */
  #settled: CommittedRecord | undefined;

  constructor(
    session: Session,
    parent: DraftNode | undefined,
    slot: unknown,
    base: CommittedRecord,
  ) {
    super(session, parent, slot, base);
  }

  get #current(): CommittedRecord {
    return this.#copy ?? (this.base as CommittedRecord);
  }

  override read(key: string): unknown {
    return this.#current[key];
  }

  override hasKey(key: string): boolean {
    return Object.hasOwn(this.#current, key);
  }

  override ownKeys(): string[] {
    return Object.keys(this.#current);
  }

  #own(): Record<string, unknown> {
    if (this.#copy === undefined || this.#shared) {
      this.#copy = { ...this.#current };
      this.#shared = false;
    }
    return this.#copy;
  }

  protected override store(key: string, value: unknown): void {
    if (typeof value === "object" && value !== null) (this.#pending ??= new Set()).add(key);
    if (!this.#grown && !this.hasKey(key)) this.#grown = true;
    this.#own()[key] = value;
  }

  protected override remove(key: string): void {
    // oxlint-disable-next-line typescript/no-dynamic-delete
    delete this.#own()[key];
  }

  protected override adopt(child: DraftNode): void {
    const key = child.slot as string;
    if (this.#current[key] !== child.base) return;
    if (!this.changed) this.touch();
    (this.#pending ??= new Set()).add(key);
    this.#own()[key] = child;
  }

  override settle(): object {
    const copy = this.#copy;
    if (copy === undefined) return this.base;
    if (this.#grown && Object.keys(copy).length > WIDE_RECORD_KEYS) return this.#settleWide(copy);
    if (this.#pending === undefined) {
      this.#shared = true;
      this.#settled = copy;
      return copy;
    }
    const settled: Record<string, unknown> = { ...copy };
    for (const key of this.#pending) {
      const value = copy[key];
      if (value instanceof Pending) settled[key] = this.settleSlot(value, key);
    }
    this.#settled = settled;
    return settled;
  }

  #settleWide(copy: CommittedRecord): OrderedTable {
    const entries = new Map(Object.keys(copy).map((key) => [key, this.settleSlot(copy[key], key)]));
    this.#settled = Object.fromEntries(entries);
    this.session.holdsTables();
    return OrderedTable.of("record", entries);
  }

  override describe(patch: Patch, path: readonly Step[]): void {
    const base = this.base as CommittedRecord;
    const copy = this.#copy ?? base;
    const settled = this.#settled ?? base;
    const keep = keysInPlace(Object.keys(base), copy);
    const removed: string[] = [];
    const assigned: unknown[] = [];
    const nested: [string, DraftNode][] = [];
    for (const key of Object.keys(base)) {
      if (keep.has(key)) continue;
      removed.push(key);
      patch.removes(base[key]);
    }
    for (const key of Object.keys(copy)) {
      const value = copy[key];
      if (keep.has(key)) {
        if (Object.is(value, base[key])) continue;
        if (value instanceof DraftNode && value.nested) {
          nested.push([key, value]);
          continue;
        }
        patch.removes(base[key]);
      }
      assigned.push(key, settled[key]);
    }
    if (removed.length + assigned.length > 0) patch.add(path, PatchOp.record, removed, assigned);
    for (const [key, child] of nested) child.describe(patch, [...path, key]);
  }
}

/**
 * The keys of `before` that are in `after` where they were. JavaScript puts a key that is deleted and set again at the end, so
 * the others keep their order; integer keys are always in theirs.
 */
function keysInPlace(before: readonly string[], after: CommittedRecord): ReadonlySet<string> {
  const keep = new Set<string>();
  const order = Object.keys(after);
  let next = 0;
  while (next < order.length && isIntegerKey(order[next] as string)) next++;
  for (const key of before) {
    if (isIntegerKey(key)) {
      if (Object.hasOwn(after, key)) keep.add(key);
    } else if (order[next] === key) {
      keep.add(key);
      next++;
    }
  }
  return keep;
}

export class WideRecordDraft extends AnyRecordDraft {
  readonly #edit: TableEdit;
  readonly #pending = new Set<string>();
  #settled: OrderedTable | undefined;

  constructor(session: Session, parent: DraftNode | undefined, slot: unknown, base: OrderedTable) {
    super(session, parent, slot, base);
    this.#edit = base.edit();
  }

  override read(key: string): unknown {
    const value = this.#edit.get(key);
    return value !== undefined || this.#edit.has(key) ? value : RECORD_PROTOTYPE[key];
  }

  override hasKey(key: string): boolean {
    return this.#edit.has(key);
  }

  override ownKeys(): string[] {
    return recordKeys(this.#edit.keys() as Iterable<string>);
  }

  protected override store(key: string, value: unknown): void {
    if (typeof value === "object" && value !== null) this.#pending.add(key);
    this.#edit.set(key, value);
  }

  protected override remove(key: string): void {
    this.#edit.delete(key);
  }

  protected override adopt(child: DraftNode): void {
    const key = child.slot as string;
    if (this.#edit.get(key) !== child.base) return;
    if (!this.changed) this.touch();
    this.#pending.add(key);
    this.#edit.place(key, child);
  }

  override settle(): object {
    if (!this.changed) return this.base;
    this.#settled = this.#edit.commit(this.#pending, (value, key) => this.settleSlot(value, key));
    return this.#settled;
  }

  override describe(patch: Patch, path: readonly Step[]): void {
    if (this.#settled === undefined) return;
    describeTable(this.#edit, this.#settled, this.#pending, PatchOp.record, patch, path);
  }
}

/** Own keys of an object whose insertion order is `keys`. */
export function recordKeys(keys: Iterable<string>): string[] {
  const integers: string[] = [];
  const names: string[] = [];
  for (const key of keys) (isIntegerKey(key) ? integers : names).push(key);
  if (integers.length === 0) return names;
  return [...integers.sort((a, b) => Number(a) - Number(b)), ...names];
}

const RECORD_PROTOTYPE = Object.prototype as Readonly<Record<PropertyKey, unknown>>;

const RECORD_HANDLER: ProxyHandler<AnyRecordDraft> = {
  get(node, key) {
    if (typeof key === "string") return node.get(key);
    return key === NODE ? node : RECORD_PROTOTYPE[key];
  },
  set(node, key, value: unknown) {
    if (typeof key === "symbol") return node.refuse("an object with a symbol for a key");
    node.put(key, value);
    return true;
  },
  has(node, key) {
    if (typeof key === "symbol") return key in RECORD_PROTOTYPE;
    return node.has(key) || key in RECORD_PROTOTYPE;
  },
  deleteProperty(node, key) {
    if (typeof key === "string") node.delete(key);
    return true;
  },
  ownKeys(node) {
    return node.keys();
  },
  getOwnPropertyDescriptor(node, key) {
    if (typeof key === "symbol" || !node.has(key)) return undefined;
    return { value: node.get(key), writable: true, enumerable: true, configurable: true };
  },
  defineProperty(node, key, descriptor) {
    const plain =
      descriptor.writable === true &&
      descriptor.enumerable === true &&
      descriptor.configurable === true;
    if (typeof key === "symbol" || !plain) {
      return node.refuse("an object with an accessor, a hidden or a fixed property");
    }
    node.put(key, descriptor.value);
    return true;
  },
  getPrototypeOf() {
    return Object.prototype;
  },
  setPrototypeOf(node) {
    return node.refuse("an object with a prototype of its own");
  },
  preventExtensions(node) {
    return node.refuse("an object that is frozen or sealed");
  },
};
