/**
 * What stands between a method and a state value: for each container that is looked at, a node that shows the committed
 * container until somebody writes, and then a copy of that one container (copy on write along the written path).
 *
 * A container's slots hold, besides primitives and committed containers, two things that exist only during a turn:
 *
 *   DraftNode   a child that was changed, at the place where it has always been
 *   Placed      an object a method put there: a new one, or one that also stands elsewhere
 *
 * I1 committed containers are never written and never handed out; what a method gets is a view.
 * I2 a committed container stands at one place of its tree only, so a container leads to its one node. What was `Placed`
 *    is copied when the turn ends, which keeps that true and leaves the method's own objects alone.
 * I3 every write begins with `beforeWrite`, so a readonly session or one that is over changes nothing.
 */
import type { Patch, Step } from "./patch-format.ts";

/** Leads from a view to its node. Only objects made here answer to it. */
export const NODE: unique symbol = Symbol("pinion.state");
/** What `console.log` asks; Node's documented name. */
export const INSPECT: unique symbol = Symbol.for("nodejs.util.inspect.custom") as never;

export interface Session {
  /** False in readonly turns. */
  readonly writable: boolean;
  /** True once its views may not be used any more. */
  readonly closed: boolean;
  /** @throws `interrupted` */
  refuseClosed(): never;
  /** @throws `readonly-violation`, `interrupted` */
  assertWritable(node: DraftNode, slot: unknown): void;
  /** A new node; `viewOf` remembers it. */
  open(parent: DraftNode | undefined, slot: unknown, committed: object): DraftNode;
  /** The view of a committed container that stands in a slot of `parent`. */
  viewOf(parent: DraftNode, slot: unknown, committed: object): unknown;
  /** The node of a committed container, if somebody has looked at it. */
  nodeOf(committed: object): DraftNode | undefined;
  /** What is kept in a slot for a value a method assigns. @throws `not-serializable` */
  admit(value: unknown, parent: DraftNode, slot: unknown): unknown;
  /** A committed copy of an object a method has put somewhere. */
  copyPlaced(placed: Placed, parent: DraftNode, slot: unknown): unknown;
  /** The committed form of what was written holds tables. */
  holdsTables(): void;
  /** Finds what was written into copies of dates and bytes since last asked. */
  noticeLeaves(): void;
  /** A node without parent was changed. */
  rootChanged(node: DraftNode): void;
}

/** Occupies a slot until the turn ends. */
export abstract class Pending {}

export class Placed extends Pending {
  /** As the method sees it: its own object, or a view. */
  readonly value: object;

  constructor(value: object) {
    super();
    this.value = value;
  }
}

export abstract class DraftNode extends Pending {
  readonly session: Session;
  readonly parent: DraftNode | undefined;
  /** Key in the parent; for an array where it stood when first looked at. */
  readonly slot: unknown;
  readonly base: object;
  changed = false;

  constructor(session: Session, parent: DraftNode | undefined, slot: unknown, base: object) {
    super();
    this.session = session;
    this.parent = parent;
    this.slot = slot;
    this.base = base;
  }

  /** What user code holds. */
  abstract readonly view: object;

  /** False for a value that is replaced as a whole: its parent describes it. */
  get nested(): boolean {
    return true;
  }

  /** The committed form as of now. May be called again, also after further writes. */
  abstract settle(): object;

  /** Adds what was changed up to the last `settle`: this container first, then what is nested in it. */
  abstract describe(patch: Patch, path: readonly Step[]): void;

  /** A child was changed for the first time: take note, if it still stands here. */
  protected abstract adopt(child: DraftNode): void;

  /** How this place is written in code, after its parent's. */
  protected abstract stepName(slot: unknown): string;

  get depth(): number {
    let depth = 0;
    for (let node = this.parent; node !== undefined; node = node.parent) depth++;
    return depth;
  }

  /** For messages: `state.items[3].name`. */
  pathOf(slot: unknown): string {
    return this.path + this.stepName(slot);
  }

  get path(): string {
    return this.parent === undefined ? "state" : this.parent.pathOf(this.slot);
  }

  /** @throws `interrupted` */
  protected beforeRead(): void {
    if (this.session.closed) this.session.refuseClosed();
  }

  /**
   * @param slot what is written, for the message; undefined: this container.
   * @throws `readonly-violation`, `interrupted`
   */
  protected beforeWrite(slot?: unknown): void {
    this.session.assertWritable(this, slot);
  }

  /** Marks the way from the root to here as changed. */
  touch(): void {
    this.changed = true;
    if (this.parent === undefined) this.session.rootChanged(this);
    else this.parent.adopt(this);
  }

  /** What a method sees of a slot that holds an object. */
  show(slotValue: object, slot: unknown): unknown {
    if (slotValue instanceof Pending) {
      return slotValue instanceof DraftNode ? slotValue.view : (slotValue as Placed).value;
    }
    return this.session.viewOf(this, slot, slotValue);
  }

  /** True when assigning `value` to a slot that holds `slotValue` changes nothing. */
  protected holds(slotValue: unknown, value: unknown): boolean {
    if (typeof slotValue !== "object" || slotValue === null) return Object.is(slotValue, value);
    if (slotValue instanceof DraftNode) return slotValue.view === value;
    if (slotValue instanceof Placed) return slotValue.value === value;
    return typeof value === "object" && this.session.nodeOf(slotValue)?.view === value;
  }

  /** What a slot that holds something pending has in the committed form. */
  protected settleSlot(slotValue: unknown, slot: unknown): unknown {
    if (slotValue instanceof DraftNode) return slotValue.settle();
    if (slotValue instanceof Placed) return this.session.copyPlaced(slotValue, this, slot);
    return slotValue;
  }
}

/** The node behind a view, or undefined for any other object. */
export function nodeBehind(value: object): DraftNode | undefined {
  const node = (value as { readonly [NODE]?: unknown })[NODE];
  return node instanceof DraftNode ? node : undefined;
}

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

export function propertyStep(key: string): string {
  return IDENTIFIER.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

/** A Map key or Set member as it is written in code. */
export function literal(key: unknown): string {
  if (typeof key === "string") return JSON.stringify(key);
  return typeof key === "bigint" ? `${key}n` : String(key);
}
