/**
 * Drafts against the plain objects they imitate: the same random acts, read from one seed, run on a draft and on an ordinary
 * value, and everything either can show must agree, order included.
 */
import { seededRng, type Rng } from "@pinion/core";
import { expect, test } from "vitest";
import {
  applyDelta,
  decodeState,
  freezeState,
  plainOf,
  plainState,
  StateDraft,
  StateView,
  type StateVersion,
} from "./index.ts";

type Dict = Record<string, unknown>;
type Container = Dict | unknown[] | Map<unknown, unknown> | Set<unknown>;

/** A text that differs whenever two values differ in a way a program could see. */
function show(value: unknown): string {
  if (typeof value === "object" && value !== null) {
    if (Array.isArray(value)) return `[${[...value].map(show).join()}]`;
    if (value instanceof Map)
      return `Map{${[...value].map(([k, v]) => `${show(k)}=>${show(v)}`).join()}}`;
    if (value instanceof Set) return `Set{${[...value].map(show).join()}}`;
    if (value instanceof Date) return `Date(${value.getTime()})`;
    if (value instanceof Uint8Array) return `bytes(${[...value].join()})`;
    return `{${Object.keys(value)
      .map((k) => `${k}:${show((value as Dict)[k])}`)
      .join()}}`;
  }
  if (typeof value === "string")
    return value.length > 100 ? `text of ${value.length}` : JSON.stringify(value);
  return Object.is(value, -0) ? "-0" : `${typeof value}:${String(value)}`;
}

/** A deep copy that shares nothing, as a state value is after each turn. */
function treeCopy(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(treeCopy);
  if (value instanceof Map) return new Map([...value].map(([k, v]) => [k, treeCopy(v)]));
  if (value instanceof Set) return new Set(value);
  if (value instanceof Date) return new Date(value.getTime());
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, treeCopy(v)]));
}

const KEYS = ["a", "b", "c", "d", "10", "2", "constructor", "x y"];

function primitive(rng: Rng): unknown {
  return rng.pick([
    0,
    -0,
    1,
    1.5,
    NaN,
    -7,
    2 ** 40,
    "",
    "text",
    "é",
    true,
    false,
    null,
    undefined,
    12n,
    2n ** 70n,
  ]);
}

function fresh(rng: Rng, depth: number): unknown {
  if (depth <= 0 || rng.chance(0.4)) return primitive(rng);
  const several = Array.from({ length: rng.below(4) }, () => fresh(rng, depth - 1));
  switch (rng.below(8)) {
    case 0:
      return several;
    case 1:
      return new Map(several.map((value, i) => [rng.chance(0.5) ? rng.pick(KEYS) : i, value]));
    case 2:
      return new Set(several.map(() => primitive(rng)));
    case 3:
      return new Date(rng.below(1e9));
    case 4:
      return Uint8Array.from(several.map(() => rng.below(256)));
    case 5: // wider than what is kept as an object
      return Object.fromEntries(Array.from({ length: 60 + rng.below(20) }, (_, i) => [`w${i}`, i]));
    default:
      return Object.fromEntries(several.map((value) => [rng.pick(KEYS), value]));
  }
}

function isContainer(value: unknown): value is Container {
  return (
    typeof value === "object" &&
    value !== null &&
    !(value instanceof Date) &&
    !(value instanceof Uint8Array)
  );
}

function childrenOf(container: Container): unknown[] {
  if (container instanceof Map) return [...container.values()];
  return Array.isArray(container)
    ? [...container]
    : container instanceof Set
      ? []
      : Object.values(container);
}

function reaches(value: unknown, target: unknown): boolean {
  return (
    value === target ||
    (isContainer(value) && childrenOf(value).some((child) => reaches(child, target)))
  );
}

/** Runs acts on `root()`; what they return goes to `log`. Reads nothing but through the value itself. */
class Actor {
  readonly rng: Rng;
  readonly log: string[] = [];
  readonly #held: unknown[] = [];
  readonly #root: () => unknown;

  constructor(rng: Rng, root: () => unknown) {
    this.rng = rng;
    this.#root = root;
  }

  act(): void {
    let at =
      this.rng.chance(0.15) && this.#held.length > 0 ? this.rng.pick(this.#held) : this.#root();
    for (let step = 0; step < 4 && isContainer(at) && this.rng.chance(0.65); step++) {
      const inner = childrenOf(at).filter((child) => typeof child === "object" && child !== null);
      if (inner.length > 0) at = this.rng.pick(inner);
    }
    if (typeof at === "object" && at !== null && this.rng.chance(0.1)) this.#held.push(at);
    if (Array.isArray(at)) this.#onArray(at);
    else if (at instanceof Map) this.#onMap(at);
    else if (at instanceof Set) this.#onSet(at);
    else if (at instanceof Date) at.setTime(this.rng.below(1e6));
    else if (at instanceof Uint8Array) at[this.rng.below(at.length + 1)] = this.rng.below(256);
    else if (isContainer(at)) this.#onRecord(at as Dict);
  }

  /** A new value, or one that stands elsewhere too, but none that would close a cycle. */
  #value(target: Container): unknown {
    if (this.rng.chance(0.2) && this.#held.length > 0) {
      const held = this.rng.pick(this.#held);
      return reaches(held, target) ? 0 : held;
    }
    return fresh(this.rng, 3);
  }

  #onRecord(o: Dict): void {
    const keys = Object.keys(o);
    const key = this.rng.chance(0.6) && keys.length > 0 ? this.rng.pick(keys) : this.rng.pick(KEYS);
    switch (this.rng.below(7)) {
      case 0:
        this.log.push(`delete ${String(delete o[key])}`);
        break;
      case 1:
        this.log.push(keys.join(), String(key in o), show(Object.getOwnPropertyDescriptor(o, key)));
        break;
      case 2:
        Object.assign(o, { [key]: this.#value(o), z: 1 });
        break;
      case 3:
        if (typeof o[key] === "number") o[key]++;
        break;
      default:
        o[key] = this.#value(o);
    }
  }

  #onArray(a: unknown[]): void {
    const { rng } = this;
    const i = rng.below(a.length + 1);
    const say = (value: unknown): void => void this.log.push(show(value));
    const acts: (() => void)[] = [
      () => say(a.push(this.#value(a))),
      () => say(a.push(this.#value(a), this.#value(a))),
      () => say(a.pop()),
      () => say(a.shift()),
      () => say(a.unshift(this.#value(a))),
      () => say(a.splice(i, rng.below(3), ...(rng.chance(0.5) ? [this.#value(a)] : []))),
      () => say(a.splice(-2)),
      () => say(a.reverse().length),
      () => say(a.sort(undefined).length),
      () => say(a.sort((x, y) => show(x).length - show(y).length).length),
      () => say(a.fill(this.#value(a), i, i + 2).length),
      () => say(a.copyWithin(i, 0, 2).length),
      () => void (a[i] = this.#value(a)),
      () => void (a.length = i),
      () => say(a.map((x, n) => [n, x])),
      () => say(a.filter((x) => typeof x === "object")),
      () =>
        say([a.includes(1), a.indexOf(a[i]), a.lastIndexOf("text"), a.findIndex((x) => x === 1)]),
      () =>
        say(
          [a.at(-1), a.slice(1, 3), a.concat([1], 2), a.flat(), a.toReversed(), a.with(0, 5)].map(
            (x) => show(x),
          ),
        ),
      () => say([...a.entries(), ...a.keys()]),
      () =>
        say([
          a.some((x) => x === null),
          a.every((x) => x !== null),
          a.find((x) => typeof x === "object"),
        ]),
      () => say(a.reduce((n: number, x) => n + show(x).length, 0)),
      () => say(Object.keys(a).concat(String(i in a), String(Array.isArray(a)))),
      () => a.forEach((x, n) => n < 2 && typeof x === "number" && (a[n] = x + 1)),
    ];
    if (a.length > 0) rng.pick(acts)();
    else a.push(this.#value(a));
  }

  #onMap(m: Map<unknown, unknown>): void {
    const keys = [...m.keys()];
    const key =
      this.rng.chance(0.6) && keys.length > 0
        ? this.rng.pick(keys)
        : this.rng.pick([...KEYS, 1, 2, NaN, true, null]);
    switch (this.rng.below(7)) {
      case 0:
        this.log.push(`delete ${String(m.delete(key))}`);
        break;
      case 1:
        if (this.rng.chance(0.2)) m.clear();
        break;
      case 2: // writing while iterating
        for (const [k, v] of m) {
          this.log.push(show([k, v]));
          if (m.size < 12 && this.rng.chance(0.4)) m.set(`n${this.rng.below(20)}`, k);
          if (this.rng.chance(0.3)) m.delete(this.rng.pick(KEYS));
        }
        break;
      case 3:
        this.log.push(show([m.size, m.has(key), m.get(key)]));
        break;
      default:
        m.set(key, this.#value(m));
    }
  }

  #onSet(s: Set<unknown>): void {
    switch (this.rng.below(5)) {
      case 0:
        this.log.push(String(s.delete(this.rng.pick([...s, 1]))));
        break;
      case 1:
        if (this.rng.chance(0.2)) s.clear();
        break;
      case 2:
        for (const x of s) if (s.size < 9 && this.rng.chance(0.5)) s.add(`${String(x)}.`);
        this.log.push(show(s.union(new Set([1, 2]))));
        break;
      default:
        s.add(primitive(this.rng));
    }
  }
}

function holder(value: unknown): { root: unknown } {
  return { root: value };
}

/** Like `toBe` on what `show` gives, but the message is short. */
function verifySame(actual: unknown, wanted: string): void {
  const text = show(actual);
  let at = 0;
  while (at < wanted.length && text[at] === wanted[at]) at++;
  const around = (s: string): string => s.slice(Math.max(0, at - 150), at + 80);
  expect(around(text)).toBe(around(wanted));
  expect(text.length).toBe(wanted.length);
}

/** One turn on both; returns the next version and the next plain value. */
function verifyTurn(
  version: StateVersion,
  plain: unknown,
  seed: number,
  whole: boolean,
): [StateVersion, unknown] {
  const before = show(plainState(version));
  const draft = new StateDraft(version);
  const model = holder(treeCopy(plain));
  const onDraft = new Actor(seededRng(seed), () => draft.root);
  const onModel = new Actor(seededRng(seed), () => model.root);
  for (let i = 0; i < 12; i++) {
    onModel.act();
    onDraft.act();
    expect(onDraft.log).toEqual(onModel.log);
  }
  verifySame(draft.root, show(model.root));
  verifySame(plainOf(draft.root), show(model.root));
  const { base: next, delta } = draft.finish({ whole });
  verifySame(plainState(version), before);
  verifySame(plainState(next), show(model.root));
  verifySame(new StateView(next).root, show(model.root));
  const again = draft.finish({ whole });
  expect(again.delta).toEqual(delta);
  if (delta === undefined) verifySame(model.root, before);
  else {
    verifySame(plainState(applyDelta(version, delta)), show(model.root));
    expect(next.bytesAtMost).toBeGreaterThanOrEqual(next.encode().length);
  }
  draft.revoke();
  return [next, model.root];
}

/** Containers large enough for overlays, splice logs and patches. */
function wide(count: number): Dict {
  const keys = Array.from({ length: count }, (_, i) => i);
  return {
    list: keys.map((i) => (i % 3 === 0 ? { i } : i)),
    map: new Map(keys.map((i) => [i % 2 === 0 ? `k${i}` : i, i % 3 === 0 ? { i } : i])),
    record: Object.fromEntries(
      keys.map((i) => [i % 5 === 0 ? String(i) : `k${i}`, i % 3 === 0 ? [i] : i]),
    ),
    set: new Set(keys),
    bytes: new Uint8Array(count),
  };
}

test.each([
  ["small values, sent whole", 0, 120],
  ["large values, sent as patches", 300, 120],
])("random turns give what plain objects give: %s", (_, width, seeds) => {
  for (let seed = 1; seed <= seeds; seed++) {
    const rng = seededRng(seed);
    const initial = {
      wide: wide(width),
      list: Array.from({ length: rng.below(6) }, () => fresh(rng, 3)),
      map: new Map([
        ["a", fresh(rng, 3)],
        ["b", { deep: [{ n: 1 }] }],
      ] as [string, unknown][]),
      rest: fresh(rng, 4),
    };
    try {
      let version: StateVersion = freezeState(initial);
      let plain: unknown = treeCopy(initial);
      for (let turn = 0; turn < 5; turn++) {
        [version, plain] = verifyTurn(version, plain, rng.uint32(), false);
        if (rng.chance(0.3)) version = decodeState(version.encode());
      }
    } catch (e) {
      throw new Error(`seed ${seed}`, { cause: e });
    }
  }
});
