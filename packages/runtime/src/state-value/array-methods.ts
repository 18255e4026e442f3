/**
 * The methods of Array on a draft's slots. Called through the Proxy, the built-in ones would cost two traps per element
 * (150 ns) and would describe a `shift` as a change of every element.
 *
 * Three groups: writers work on the slots; loops with a callback look at each element as they come to it, since the
 * callback may write the array; everything else runs the built-in method on a plain array of what a method sees.
 * What is not listed here goes through the Proxy, slower and equally right.
 */
import type { ArrayDraft } from "./array-draft.ts";
import { NODE } from "./draft-node.ts";

type Callback = (this: unknown, element: unknown, index: number, array: unknown) => unknown;
type Reducer = (sum: unknown, element: unknown, index: number, array: unknown) => unknown;
type Compare = (a: unknown, b: unknown) => number;

/** The draft of an array view. */
function draftOf(view: unknown): ArrayDraft {
  const node = (view as { readonly [NODE]?: ArrayDraft } | null | undefined)?.[NODE];
  if (node === undefined)
    throw new TypeError("this method of a state array was called on something else");
  return node;
}

/** A relative index as the Array methods read it: negative counts from the end, beyond either end is that end. */
function relativeIndex(value: unknown, length: number, missing: number): number {
  if (value === undefined) return missing;
  const index = Math.trunc(Number(value)) || 0;
  return index < 0 ? Math.max(0, length + index) : Math.min(index, length);
}

function splice(
  node: ArrayDraft,
  start: number,
  dropCount: number,
  values: readonly unknown[],
): unknown[] {
  const dropped: unknown[] = [];
  for (let i = 0; i < dropCount; i++) dropped.push(node.at(start + i));
  const slots = values.map((value, i) => node.admit(value, start + i));
  if (dropCount > 0 || slots.length > 0)
    node.writable(start, dropCount, slots.length).splice(start, dropCount, ...slots);
  return dropped;
}

const writers = {
  push(this: unknown, ...values: unknown[]): number {
    const node = draftOf(this);
    const start = node.slots.length;
    if (values.length === 1) {
      const slot = node.admit(values[0], start);
      return node.writable(start, 0, 1).push(slot);
    }
    splice(node, start, 0, values);
    return node.slots.length;
  },
  pop(this: unknown): unknown {
    const node = draftOf(this);
    const last = node.slots.length - 1;
    node.assertWritable();
    if (last < 0) return undefined;
    const element = node.at(last);
    node.writable(last, 1, 0).pop();
    return element;
  },
  shift(this: unknown): unknown {
    const node = draftOf(this);
    node.assertWritable();
    if (node.slots.length === 0) return undefined;
    const element = node.at(0);
    node.writable(0, 1, 0).shift();
    return element;
  },
  unshift(this: unknown, ...values: unknown[]): number {
    const node = draftOf(this);
    splice(node, 0, 0, values);
    return node.slots.length;
  },
  splice(this: unknown, ...args: unknown[]): unknown[] {
    const node = draftOf(this);
    node.assertWritable();
    const { length } = node.slots;
    const start = relativeIndex(args[0], length, 0);
    const most = length - start;
    let count = 0;
    if (args.length === 1) count = most;
    else if (args.length > 1) count = Math.min(Math.max(Math.trunc(Number(args[1])) || 0, 0), most);
    return splice(node, start, count, args.slice(2));
  },
  reverse(this: unknown): unknown {
    const node = draftOf(this);
    node.assertWritable();
    node.replaceAll(node.slots.toReversed());
    return this;
  },
  sort(this: unknown, compare?: Compare): unknown {
    if (compare !== undefined && typeof compare !== "function") {
      throw new TypeError("the comparison function of sort must be a function");
    }
    const node = draftOf(this);
    node.assertWritable();
    node.replaceAll(sorted(node, compare));
    return this;
  },
  fill(this: unknown, value: unknown, start?: unknown, end?: unknown): unknown {
    const node = draftOf(this);
    node.assertWritable();
    const { length } = node.slots;
    const to = relativeIndex(end, length, length);
    for (let i = relativeIndex(start, length, 0); i < to; i++) node.setAt(i, value);
    return this;
  },
  copyWithin(this: unknown, target: unknown, start: unknown, end?: unknown): unknown {
    const node = draftOf(this);
    node.assertWritable();
    const { length } = node.slots;
    const to = relativeIndex(target, length, 0);
    const from = relativeIndex(start, length, 0);
    const count = Math.min(relativeIndex(end, length, length) - from, length - to);
    if (count <= 0) return this;
    const moved = node.slots
      .slice(from, from + count)
      .map((slot, i) => node.admitAgain(slot, to + i));
    const slots = node.writable(to, count, count);
    for (let i = 0; i < count; i++) slots[to + i] = moved[i];
    return this;
  },
};

/** The slots in the order of what a method sees of them; undefined goes last and is not compared. */
function sorted(node: ArrayDraft, compare: Compare | undefined): unknown[] {
  const { slots } = node;
  const pairs = slots.map((slot, i) => ({ slot, element: node.at(i) }));
  const texts =
    compare === undefined ? new Map(pairs.map((pair) => [pair, String(pair.element)])) : undefined;
  const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return pairs
    .sort((a, b) => {
      if (a.element === undefined) return b.element === undefined ? 0 : 1;
      if (b.element === undefined) return -1;
      return compare === undefined
        ? byText(texts?.get(a) as string, texts?.get(b) as string)
        : compare(a.element, b.element);
    })
    .map((pair) => pair.slot);
}

/** Calls `visit` for each element there is, until it returns true. */
function visitEach(
  view: unknown,
  callback: unknown,
  visit: (element: unknown, index: number) => boolean,
): void {
  const node = draftOf(view);
  if (typeof callback !== "function") throw new TypeError(`${String(callback)} is not a function`);
  const { length } = node.slots;
  for (let i = 0; i < length; i++) {
    if (i < node.slots.length && visit(node.at(i), i)) return;
  }
}

const readers = {
  at(this: unknown, index: unknown): unknown {
    const node = draftOf(this);
    const at = Math.trunc(Number(index)) || 0;
    return node.at(at < 0 ? node.slots.length + at : at);
  },
  keys(this: unknown): ArrayIterator<number> {
    return draftOf(this).slots.keys();
  },
};

const loops = {
  forEach(this: unknown, callback: Callback, self?: unknown): void {
    visitEach(this, callback, (element, i) => (callback.call(self, element, i, this), false));
  },
  map(this: unknown, callback: Callback, self?: unknown): unknown[] {
    const results: unknown[] = [];
    results.length = draftOf(this).slots.length;
    visitEach(
      this,
      callback,
      (element, i) => ((results[i] = callback.call(self, element, i, this)), false),
    );
    return results;
  },
  filter(this: unknown, callback: Callback, self?: unknown): unknown[] {
    const results: unknown[] = [];
    visitEach(this, callback, (element, i) => {
      if (callback.call(self, element, i, this)) results.push(element);
      return false;
    });
    return results;
  },
  some(this: unknown, callback: Callback, self?: unknown): boolean {
    let found = false;
    visitEach(
      this,
      callback,
      (element, i) => (found = Boolean(callback.call(self, element, i, this))),
    );
    return found;
  },
  every(this: unknown, callback: Callback, self?: unknown): boolean {
    let all = true;
    visitEach(
      this,
      callback,
      (element, i) => !(all = Boolean(callback.call(self, element, i, this))),
    );
    return all;
  },
  find(this: unknown, callback: Callback, self?: unknown): unknown {
    let found: unknown;
    visitEach(this, callback, (element, i) => {
      const matches = Boolean(callback.call(self, element, i, this));
      if (matches) found = element;
      return matches;
    });
    return found;
  },
  findIndex(this: unknown, callback: Callback, self?: unknown): number {
    let found = -1;
    visitEach(this, callback, (element, i) => {
      const matches = Boolean(callback.call(self, element, i, this));
      if (matches) found = i;
      return matches;
    });
    return found;
  },
  reduce(this: unknown, callback: Reducer, ...initial: unknown[]): unknown {
    let sum = initial[0];
    let started = initial.length > 0;
    visitEach(this, callback, (element, i) => {
      sum = started ? callback(sum, element, i, this) : element;
      started = true;
      return false;
    });
    if (!started) throw new TypeError("Reduce of empty array with no initial value");
    return sum;
  },
};

function* values(this: unknown): Generator<unknown, undefined> {
  const node = draftOf(this);
  for (let i = 0; i < node.slots.length; i++) yield node.at(i);
  return undefined;
}

function* entries(this: unknown): Generator<[number, unknown], undefined> {
  const node = draftOf(this);
  for (let i = 0; i < node.slots.length; i++) yield [i, node.at(i)];
  return undefined;
}

type AnyMethod = (this: unknown, ...args: unknown[]) => unknown;

/** Built-in methods that neither write nor look again at the array they run on. */
const BUILT_IN = [
  "concat",
  "flat",
  "join",
  "slice",
  "toReversed",
  "toSorted",
  "toSpliced",
  "with",
] as const;
/** Built-in methods that search for a value: no element needs a view when it is a primitive. */
const SEARCHES = ["includes", "indexOf", "lastIndexOf"] as const;

function builtIn(
  name: (typeof BUILT_IN)[number] | (typeof SEARCHES)[number],
  searches: boolean,
): AnyMethod {
  const method = Array.prototype[name] as AnyMethod;
  return function (this: unknown, ...args: unknown[]): unknown {
    const node = draftOf(this);
    const primitive = typeof args[0] !== "object" || args[0] === null;
    return method.apply(searches && primitive ? node.slots : node.elements(), args);
  };
}

export const ARRAY_METHODS: Readonly<Record<string, unknown>> = Object.freeze({
  __proto__: null,
  ...writers,
  ...readers,
  ...loops,
  values,
  entries,
  ...Object.fromEntries(BUILT_IN.map((name) => [name, builtIn(name, false)])),
  ...Object.fromEntries(SEARCHES.map((name) => [name, builtIn(name, true)])),
});
