/**
 * Takes a value a method made, or a view, into the committed tree: checks it and copies it. A copy, so that what a method
 * keeps a reference to is not state any more, and so that every container stands at one place of the tree only.
 *
 * Committed forms: plain objects of up to 64 keys, dense arrays, primitives, Dates and binary arrays as themselves;
 * Maps, Sets and larger objects as `OrderedTable`.
 *
 * I1 a value that cannot be kept exactly is refused with its path; nothing is dropped or changed on the way.
 */
import { literal, propertyStep } from "./draft-node.ts";
import { copyLeaf, isBinary } from "./leaf-draft.ts";
import { notSerializable, STATE_BYTES_MAX, STATE_DEPTH_MAX, stateTooLarge } from "./limits.ts";
import { OrderedTable, type TableKey } from "./ordered-table.ts";
import { WIDE_RECORD_KEYS } from "./record-draft.ts";
import { MEMBER } from "./set-draft.ts";

/** The codec's bound of one number. */
const BIGINT_BITS_MAX = 8 * 1024 * 8 - 1;

export class CopyIn {
  /** True once something was copied that the codec cannot encode as it is. */
  tables = false;
  /** What was copied takes at least so many bytes encoded. */
  #bytesMin = 0;
  /** Containers above the value being copied, and the step from each into the next. */
  readonly #above: object[] = [];
  readonly #steps: unknown[] = [];
  #path: () => string = () => "state";
  #depth = 0;

  /** @param path of the place the value goes to; @param depth containers above that place. */
  copy(value: unknown, path: () => string, depth: number): unknown {
    this.#path = path;
    this.#depth = depth;
    this.#above.length = this.#steps.length = 0;
    return this.#value(value);
  }

  #value(value: unknown): unknown {
    switch (typeof value) {
      case "string":
        this.#count(1 + value.length);
        if (!value.isWellFormed()) throw this.#refused("a string with half of a surrogate pair");
        return value;
      case "bigint":
        if (isTooLong(value)) throw this.#refused("a bigint of more than 8 KiB");
        this.#count(1);
        return value;
      case "function":
        throw this.#refused("a function");
      case "symbol":
        throw this.#refused("a symbol");
      case "object":
        return value === null ? null : this.#container(value);
      default:
        this.#count(1);
        return value;
    }
  }

  #container(value: object): unknown {
    if (this.#above.includes(value)) {
      const back = this.#above.indexOf(value);
      throw this.#refused(
        `a cycle back to ${this.#pathDownTo(back)}`,
        "keep the id of what it refers to",
      );
    }
    if (this.#depth + this.#above.length >= STATE_DEPTH_MAX) {
      throw this.#refused(`more than ${STATE_DEPTH_MAX} levels deep`);
    }
    this.#count(1);
    this.#above.push(value);
    const copy = this.#copyOf(value);
    this.#above.pop();
    return copy;
  }

  #copyOf(value: object): unknown {
    if (Array.isArray(value)) return this.#array(value);
    const proto: unknown = Object.getPrototypeOf(value);
    if (proto === Object.prototype || proto === null)
      return this.#record(value as Record<string, unknown>);
    if (value instanceof Map) return this.#map(value);
    if (value instanceof Set) return this.#set(value);
    if (value instanceof Date) {
      if (Number.isNaN(value.getTime())) throw this.#refused("an invalid Date");
      return copyLeaf(value);
    }
    if (isBinary(value)) {
      this.#count(value.byteLength);
      return copyLeaf(value);
    }
    throw this.#refused(...describeInstance(value));
  }

  #array(value: readonly unknown[]): unknown[] {
    const copy: unknown[] = [];
    const { length } = value;
    let numbers = 0;
    for (let i = 0; i < length; i++) {
      const element = value[i];
      if (typeof element === "number") {
        copy.push(element);
        numbers++;
        continue;
      }
      this.#steps.push(i);
      if (element === undefined && !(i in value))
        throw this.#refused("a hole in an array", "arrays must be dense");
      copy.push(this.#value(element));
      this.#steps.pop();
    }
    this.#count(numbers);
    return copy;
  }

  #record(value: Readonly<Record<string, unknown>>): unknown {
    const keys = Object.keys(value);
    if (Object.getOwnPropertySymbols(value).length > 0)
      throw this.#refused("an object with a symbol for a key");
    if (keys.length > WIDE_RECORD_KEYS) {
      const entries = new Map(keys.map((key) => [key, this.#property(value, key)]));
      this.tables = true;
      return OrderedTable.of("record", entries);
    }
    const copy: Record<string, unknown> = {};
    for (const key of keys) copy[key] = this.#property(value, key);
    return copy;
  }

  #property(value: Readonly<Record<string, unknown>>, key: string): unknown {
    this.#steps.push(key);
    if (key === "__proto__") throw this.#refused("a property named __proto__");
    if (!key.isWellFormed())
      throw this.#refused("a property whose name has half of a surrogate pair");
    this.#count(1 + key.length);
    const copy = this.#value(value[key]);
    this.#steps.pop();
    return copy;
  }

  #map(value: ReadonlyMap<unknown, unknown>): OrderedTable {
    const entries = new Map<TableKey, unknown>();
    for (const [key, item] of value) {
      this.#steps.push(key);
      this.#primitive(key, "an entry of a Map whose key is not a primitive", "key it by an id");
      entries.set(key as TableKey, this.#value(item));
      this.#steps.pop();
    }
    this.tables = true;
    return OrderedTable.of("map", entries);
  }

  #set(value: ReadonlySet<unknown>): OrderedTable {
    const entries = new Map<TableKey, unknown>();
    for (const member of value) {
      this.#steps.push(member);
      this.#primitive(
        member,
        "a member of a Set that is not a primitive",
        "use a Map keyed by an id",
      );
      entries.set(member as TableKey, MEMBER);
      this.#steps.pop();
    }
    this.tables = true;
    return OrderedTable.of("set", entries);
  }

  /** Keys and members. Objects would be found by identity, which does not survive a restart. */
  #primitive(value: unknown, what: string, hint: string): void {
    if ((typeof value === "object" && value !== null) || typeof value === "function")
      throw this.#refused(what, hint);
    this.#value(value);
  }

  #count(bytes: number): void {
    this.#bytesMin += bytes;
    if (this.#bytesMin > STATE_BYTES_MAX) throw stateTooLarge(this.#bytesMin, false);
  }

  #refused(what: string, hint = ""): Error {
    return notSerializable(this.#pathDownTo(this.#steps.length), what, hint);
  }

  #pathDownTo(steps: number): string {
    let path = this.#path();
    for (let i = 0; i < steps; i++) path += stepInto(this.#above[i] as object, this.#steps[i]);
    return path;
  }
}

function stepInto(container: object, step: unknown): string {
  if (Array.isArray(container)) return `[${String(step)}]`;
  if (container instanceof Map) return `.get(${literalOf(step)})`;
  if (container instanceof Set) return `.has(${literalOf(step)})`;
  return propertyStep(String(step));
}

function literalOf(key: unknown): string {
  return typeof key === "object" || typeof key === "function" || typeof key === "symbol"
    ? "…"
    : literal(key);
}

function isTooLong(value: bigint): boolean {
  if (BigInt.asIntN(64, value) === value) return false;
  return BigInt.asIntN(BIGINT_BITS_MAX, value) !== value;
}

function describeInstance(value: object): [what: string, hint: string] {
  if (value instanceof Promise) return ["a promise", "await it first"];
  if (value instanceof Error) return ["an error object", "keep its message"];
  const { constructor } = value;
  const name =
    typeof constructor === "function" && constructor.name !== ""
      ? constructor.name
      : "an unnamed class";
  return [`an instance of ${name}`, "keep a plain object instead"];
}

/** The quick half of the checks, done when a value is assigned, so that the error's stack names the line. */
export function assertAssignable(value: unknown, path: () => string): void {
  if (typeof value === "function" || typeof value === "symbol")
    throw notSerializable(path(), `a ${typeof value}`);
  if (typeof value === "string") {
    if (!value.isWellFormed())
      throw notSerializable(path(), "a string with half of a surrogate pair");
    return;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return;
  const proto: unknown = Object.getPrototypeOf(value);
  if (proto === Object.prototype || proto === null) return;
  if (value instanceof Map || value instanceof Set || value instanceof Date || isBinary(value))
    return;
  throw notSerializable(path(), ...describeInstance(value));
}
