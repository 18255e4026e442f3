import { isPinionError } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { freezeState, plainState, StateDraft } from "./index.ts";

class Money {
  readonly cents = 1;
}

const cyclic: Record<string, unknown> = { a: { b: [] as unknown[] } };
(cyclic["a"] as { b: unknown[] }).b.push(cyclic);

function nested(levels: number): unknown {
  return levels === 0 ? 0 : [nested(levels - 1)];
}

const sparse: unknown[] = [1];
sparse[2] = 3;

const REFUSED: [string, unknown, string, RegExp][] = [
  ["a function", { f: () => 1 }, "state.f", /a function/],
  ["a symbol", [Symbol("s")], "state[0]", /a symbol/],
  [
    "a class instance",
    { list: [{ price: new Money() }] },
    "state.list[0].price",
    /instance of Money/,
  ],
  ["a promise", { p: Promise.resolve() }, "state.p", /a promise.*await it/],
  ["an error", { e: new Error("x") }, "state.e", /error object/],
  ["a WeakMap", { w: new WeakMap() }, "state.w", /WeakMap/],
  ["a regular expression", { r: /x/ }, "state.r", /RegExp/],
  ["a cycle", cyclic, "state.a.b[0]", /cycle back to state/],
  ["too many levels", nested(97), `state${"[0]".repeat(96)}`, /more than 96 levels/],
  ["a hole", { list: sparse }, "state.list[1]", /hole/],
  ["a symbol key", { o: { [Symbol("k")]: 1 } }, "state.o", /symbol for a key/],
  ["__proto__", { o: JSON.parse('{"__proto__": 1}') as unknown }, "state.o.__proto__", /__proto__/],
  ["an invalid date", { d: new Date(NaN) }, "state.d", /invalid Date/],
  ["half a character", { "odd key": "\ud800" }, 'state["odd key"]', /surrogate/],
  ["a name with half a character", { o: { "\ud800": 1 } }, 'state.o["\\ud800"]', /surrogate/],
  [
    "an object as Map key",
    { m: new Map([[{}, 1]]) },
    "state.m.get(…)",
    /not a primitive.*key it by an id/,
  ],
  ["an object in a Set", { s: new Set([{}]) }, "state.s.has(…)", /not a primitive/],
  ["a function in a Map", new Map([["k", { f: () => 1 }]]), 'state.get("k").f', /a function/],
  ["a huge bigint", { n: 2n ** 70_000n }, "state.n", /bigint/],
];

describe("a value that cannot be kept is refused with its place", () => {
  test.each(REFUSED)("at the start: %s", (_, value, path, message) => {
    const error = thrown(() => freezeState(value));
    expect(error.message).toMatch(message);
    expect(error.details["path"]).toBe(path);
  });

  test.each(REFUSED)("when a turn ends: %s", (_, value, path, message) => {
    const draft = new StateDraft(freezeState<{ o: { list: unknown[] } }>({ o: { list: [] } }));
    const error = thrown(() => {
      draft.root.o.list.push(value);
      draft.finish();
    });
    expect(error.message).toMatch(message);
    const depthCounts = _ === "too many levels";
    if (!depthCounts) expect(error.details["path"]).toBe(path.replace("state", "state.o.list[0]"));
  });

  test.each<[string, unknown]>([
    ["a function", () => 1],
    ["a class instance", new Money()],
    ["half a character", "\udc00"],
  ])("on the line that assigns it, when it is plain to see: %s", (_, value) => {
    const state = new StateDraft(freezeState<Record<string, unknown>>({ m: new Map(), list: [] }))
      .root;
    expect(thrown(() => (state["x"] = value)).details["path"]).toBe("state.x");
    expect(thrown(() => (state["m"] as Map<string, unknown>).set("k", value)).details["path"]).toBe(
      'state.m.get("k")',
    );
    expect(thrown(() => (state["list"] as unknown[]).push(value)).details["path"]).toBe(
      "state.list[0]",
    );
  });

  test.each<[string, (s: Record<string, unknown>) => unknown]>([
    ["an accessor", (s) => Object.defineProperty(s, "x", { get: () => 1 })],
    [
      "a hidden property",
      (s) => Object.defineProperty(s, "x", { value: 1, writable: true, configurable: true }),
    ],
    ["a prototype", (s) => Reflect.setPrototypeOf(s, {})],
    ["freezing", (s) => Object.freeze(s)],
    ["a symbol key", (s) => ((s as Record<symbol, unknown>)[Symbol("x")] = 1)],
    ["__proto__", (s) => (s["__proto__"] = {})],
    ["a name on an array", (s) => ((s["list"] as unknown as Record<string, unknown>)["name"] = 1)],
    ["an accessor on an array", (s) => Object.defineProperty(s["list"], 0, { get: () => 1 })],
    ["freezing an array", (s) => Object.freeze(s["list"])],
    ["an object as Map key", (s) => (s["m"] as Map<unknown, unknown>).set({}, 1)],
    ["an object in a Set", (s) => (s["s"] as Set<unknown>).add({})],
  ])("when it cannot be written to a state at all: %s", (_, act) => {
    const draft = new StateDraft(
      freezeState<Record<string, unknown>>({ list: [1], m: new Map(), s: new Set() }),
    );
    thrown(() => act(draft.root));
    expect(draft.finish().delta).toBeUndefined();
  });

  test.each<[string, (list: unknown[]) => unknown]>([
    ["an index beyond the end", (list) => (list[5] = 1)],
    ["a longer length", (list) => (list.length = 5)],
    ["delete", (list) => Reflect.deleteProperty(list, 0)],
  ])("a hole left by %s", (_, act) => {
    const draft = new StateDraft(freezeState<{ list: unknown[] }>({ list: [1, 2] }));
    act(draft.root.list);
    expect(thrown(() => draft.finish()).message).toMatch(/hole/);
  });
});

test("a hole that is filled before the turn ends is fine", () => {
  const draft = new StateDraft(freezeState<{ list: number[] }>({ list: [] }));
  for (let i = 3; i >= 0; i--) draft.root.list[i] = i;
  expect(plainState(draft.finish().base)).toEqual({ list: [0, 1, 2, 3] });
});

test("a cycle that closes through a draft is refused", () => {
  const draft = new StateDraft(freezeState<{ a: Record<string, unknown> }>({ a: {} }));
  draft.root.a["self"] = draft.root.a;
  expect(thrown(() => draft.finish()).message).toMatch(/cycle/);
});

test("a value may be as deep as the bound, by way of a patch too", () => {
  const version = freezeState<unknown[]>(["x".repeat(5_000), 0]);
  const draft = new StateDraft(version);
  draft.root[1] = nested(95);
  expect(plainState(draft.finish().base)).toEqual(["x".repeat(5_000), nested(95)]);
});

test("what is kept is what comes back", () => {
  const value = {
    undefined: undefined,
    null: null,
    numbers: [0, -0, 1.5, NaN, Infinity, 2 ** 53],
    bigints: [0n, -(2n ** 64n)],
    text: "é€😀\0",
    dates: [new Date(0), new Date(-1)],
    binary: [
      new Uint8Array([1]),
      new Float64Array([0.5]),
      new BigInt64Array([-1n]),
      new Uint8Array([2]).buffer,
      new DataView(new ArrayBuffer(2)),
    ],
    map: new Map<unknown, unknown>([
      [1, { a: [] }],
      ["1", new Map()],
      [null, 0],
      [undefined, 0],
      [NaN, 0],
      [1n, 0],
      [true, 0],
    ]),
    set: new Set([1, "1", null, undefined, NaN, 1n, false]),
    "": { constructor: 1, toString: 2, length: 3 },
    bare: Object.assign(Object.create(null) as object, { x: 1 }),
  };
  expect(plainState(freezeState(value))).toEqual(value);
});

function thrown(act: () => unknown): {
  message: string;
  details: Readonly<Record<string, unknown>>;
} {
  try {
    act();
  } catch (e) {
    if (isPinionError(e, "not-serializable")) return e;
    throw e;
  }
  throw new Error("nothing was thrown");
}
