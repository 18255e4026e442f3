import { isPinionError, type ErrorCode } from "@pinion/core";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { freezeState, plainOf, plainState, StateDraft, StateView } from "./index.ts";

function thrownBy(act: () => unknown): { code: ErrorCode | undefined; message: string } {
  try {
    act();
  } catch (e) {
    return isPinionError(e) ? e : { code: undefined, message: String(e) };
  }
  throw new Error("nothing was thrown");
}

describe("views look like what they stand for", () => {
  const make = () => ({
    o: { a: 1, b: [1, 2] },
    list: [1, { x: 1 }],
    m: new Map<string, unknown>([["k", { v: 1 }]]),
    s: new Set([1, "two"]),
    d: new Date(5),
    b: new Uint8Array([1]),
  });

  test.each([
    ["a mutating turn", () => new StateDraft(freezeState(make())).root],
    ["a readonly turn", () => new StateView(freezeState(make())).root],
  ])("in %s", (_, open) => {
    const s = open();
    expect(Array.isArray(s.list)).toBe(true);
    expect(
      s.m instanceof Map && s.s instanceof Set && s.d instanceof Date && s.b instanceof Uint8Array,
    ).toBe(true);
    expect(s.m.constructor).toBe(Map);
    expect(s.o.constructor).toBe(Object);
    expect(Object.getPrototypeOf(s.o)).toBe(Object.prototype);
    expect(Object.prototype.toString.call(s.o)).toBe("[object Object]");
    expect(JSON.stringify(s.o)).toBe('{"a":1,"b":[1,2]}');
    expect(JSON.stringify(s.list)).toBe('[1,{"x":1}]');
    expect({ ...s.o }).toEqual({ a: 1, b: [1, 2] });
    expect([...s.list, ...s.m.keys(), ...s.s]).toEqual([1, { x: 1 }, "k", 1, "two"]);
    expect("a" in s.o && !("z" in s.o) && 0 in s.list && Object.hasOwn(s.o, "a")).toBe(true);
    expect(Object.entries(s.o)).toEqual([
      ["a", 1],
      ["b", [1, 2]],
    ]);
    expect(new Map(s.m)).toEqual(new Map([["k", { v: 1 }]]));
    expect(s.o).toEqual({ a: 1, b: [1, 2] });
    expect(s.m.get("k")).toBe(s.m.get("k"));
    expect(plainOf(s)).toEqual(make());
    expect(plainOf({ reply: [s.o, s.m] })).toEqual({ reply: [make().o, make().m] });
    expect(inspect(s, { depth: 4 })).toBe(inspect(make(), { depth: 4 }));
  });

  test.each(["o", "list", "m", "s"] as const)("and cannot be cloned unawares: %s", (part) => {
    const s = new StateDraft(freezeState(make())).root;
    expect(() => structuredClone(s[part])).toThrow(/could not be cloned/);
  });

  test.each([
    ["Map", () => new StateDraft(freezeState({ x: new Map() })).root.x, Map.prototype],
    ["Set", () => new StateDraft(freezeState({ x: new Set() })).root.x, Set.prototype],
  ])(
    "every method of %s is answered by the view itself, not by its empty inside",
    (_, open, prototype) => {
      const own = Object.getPrototypeOf(open()) as object;
      expect(
        Object.getOwnPropertyNames(prototype).filter((name) => !Object.hasOwn(own, name)),
      ).toEqual([]);
    },
  );
});

describe("a readonly turn", () => {
  test.each<[string, (s: ReturnType<typeof state>) => unknown, string]>([
    ["a property", (s) => (s.n = 1), "state.n"],
    ["the same value again", (s) => (s.n = 0), "state.n"],
    ["a nested property", (s) => (s.list[1]! as { x: number }).x++, "state.list[1].x"],
    ["an element", (s) => (s.list[0] = 5), "state.list[0]"],
    ["push", (s) => s.list.push(1), "state.list"],
    ["sort", (s) => s.list.sort(undefined), "state.list"],
    ["length", (s) => (s.list.length = 0), "state.list"],
    ["delete", (s) => delete (s as { n?: number }).n, "state.n"],
    ["Map.set", (s) => s.m.set("a", { v: 1 }), 'state.m.get("a")'],
    ["Map.delete of nothing", (s) => s.m.delete("zz"), 'state.m.get("zz")'],
    ["Map.clear", (s) => s.m.clear(), "state.m"],
    ["a value in a Map", (s) => (s.m.get("k")!.v = 2), 'state.m.get("k").v'],
    ["Set.add", (s) => s.s.add(1), "state.s"],
    ["Object.defineProperty", (s) => Object.defineProperty(s, "q", { value: 1 }), "state"],
    ["Object.freeze", (s) => Object.freeze(s), "state"],
    ["a wide object", (s) => (s.wide["k3"] = 9), "state.wide.k3"],
  ])("cannot write: %s", (_, act, path) => {
    const version = freezeState(state());
    const error = thrownBy(() => act(new StateView(version).root));
    expect(error).toMatchObject({ code: "readonly-violation", details: { path } });
    expect(error.message).toContain(path);
    expect(plainState(version)).toEqual(state());
  });

  function state() {
    return {
      n: 0,
      list: [1, { x: 1 }] as unknown[],
      m: new Map([["k", { v: 1 }]]),
      s: new Set<number>(),
      wide: Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, i])) as Record<
        string,
        number
      >,
    };
  }

  test.each<[string, (s: { at: Date; bytes: Uint8Array }) => void]>([
    ["a date", (s) => s.at.setTime(9)],
    ["bytes", (s) => (s.bytes[0] = 9)],
  ])("that wrote into its copy of %s is told when it ends", (_, act) => {
    const version = freezeState({ at: new Date(0), bytes: new Uint8Array(1) });
    const view = new StateView(version);
    act(view.root);
    expect(thrownBy(() => view.close()).code).toBe("readonly-violation");
    expect(plainState(version)).toEqual({ at: new Date(0), bytes: new Uint8Array(1) });
  });

  test("that wrote nothing ends in peace", () => {
    const view = new StateView(freezeState({ at: new Date(0) }));
    expect(view.root.at.getTime()).toBe(0);
    view.close();
    view.close();
    expect(thrownBy(() => view.root).code).toBe("interrupted");
  });
});

describe("the methods of Set and Map give what the built-in ones give", () => {
  const other = new Set([2, 3, 4]);

  test.each<[string, (s: Set<number>) => unknown]>([
    ["union", (s) => s.union(other)],
    ["intersection", (s) => s.intersection(other)],
    ["difference", (s) => s.difference(other)],
    ["symmetricDifference", (s) => s.symmetricDifference(other)],
    ["isSubsetOf", (s) => [s.isSubsetOf(other), s.isSubsetOf(new Set([1, 2, 3]))]],
    ["isSupersetOf", (s) => [s.isSupersetOf(other), s.isSupersetOf(new Set([1]))]],
    ["isDisjointFrom", (s) => [s.isDisjointFrom(other), s.isDisjointFrom(new Set([9]))]],
    ["being the argument", (s) => other.union(s)],
    ["entries", (s) => [...s.entries()]],
    ["keys and values", (s) => [...s.keys(), ...s.values()]],
    ["has", (s) => [s.has(1), s.has(9)]],
    ["adding NaN twice", (s) => s.add(NaN).add(NaN).size],
    ["clear", (s) => (s.clear(), s.add(7), [...s])],
    ["clear twice", (s) => (s.clear(), s.clear(), s.size)],
    [
      "forEach",
      (s) => {
        const seen: unknown[] = [];
        s.forEach((value, again, set) => seen.push(value, again, set === s));
        return seen;
      },
    ],
  ])("Set: %s", (_, act) => {
    const draft = new StateDraft(freezeState({ s: new Set([1, 2]) }));
    expect(act(draft.root.s)).toEqual(act(new Set([1, 2])));
  });

  test.each<[string, (m: Map<string, number>) => unknown]>([
    ["values", (m) => [...m.values()]],
    ["entries", (m) => [...m.entries()]],
    ["clear twice", (m) => (m.clear(), m.clear(), m.size)],
    [
      "forEach",
      (m) => {
        const seen: unknown[] = [];
        m.forEach((value, key, map) => seen.push(value, key, map === m));
        return seen;
      },
    ],
  ])("Map: %s", (_, act) => {
    const draft = new StateDraft(
      freezeState({
        m: new Map([
          ["a", 1],
          ["b", 2],
        ]),
      }),
    );
    expect(act(draft.root.m)).toEqual(
      act(
        new Map([
          ["a", 1],
          ["b", 2],
        ]),
      ),
    );
  });

  test("Map: getOrInsert and getOrInsertComputed, also where there are no built-in ones yet", () => {
    const { m } = new StateDraft(freezeState({ m: new Map([["a", 1]]) })).root;
    expect([m.getOrInsert("a", 9), m.getOrInsert("b", 2)]).toEqual([1, 2]);
    expect([
      m.getOrInsertComputed("a", () => 9),
      m.getOrInsertComputed("ccc", (key) => key.length),
    ]).toEqual([1, 3]);
    expect([...m]).toEqual([
      ["a", 1],
      ["b", 2],
      ["ccc", 3],
    ]);
  });
});

describe("a view outside its turn", () => {
  const make = () => ({ o: { n: 1 }, list: [1], m: new Map([["k", 1]]), s: new Set([1]) });

  test.each<[string, (s: ReturnType<typeof make>) => () => unknown]>([
    ["reading", (s) => () => s.o],
    ["writing", (s) => () => (s.o = { n: 1 })],
    ["enumerating", (s) => () => Object.keys(s)],
    [
      "a nested object",
      ({ o }) =>
        () =>
          o.n,
    ],
    [
      "writing a nested object",
      ({ o }) =>
        () =>
          (o.n = 2),
    ],
    [
      "an element",
      ({ list }) =>
        () =>
          list[0],
    ],
    [
      "an array's method",
      ({ list }) =>
        () =>
          list.push(1),
    ],
    [
      "an array's iteration",
      ({ list }) =>
        () => [...list],
    ],
    [
      "a Map",
      ({ m }) =>
        () =>
          m.get("k"),
    ],
    [
      "a Map's iteration",
      ({ m }) =>
        () => [...m],
    ],
    [
      "a Set",
      ({ s }) =>
        () =>
          s.add(2),
    ],
    [
      "a Set's size",
      ({ s }) =>
        () =>
          s.size,
    ],
  ])("throws: %s", (_, keep) => {
    for (const open of [
      () => new StateDraft(freezeState(make())),
      () => new StateView(freezeState(make())),
    ]) {
      const access = open();
      const late = keep(access.root);
      if (access instanceof StateDraft) access.revoke();
      else access.close();
      const { code, message } = thrownBy(late);
      expect(code).toBe("interrupted");
      expect(message).toContain("read ctx.state again");
    }
  });

  test("cannot be asked for either", () => {
    const draft = new StateDraft(freezeState({ n: 1 }));
    draft.revoke();
    expect(thrownBy(() => draft.root).code).toBe("interrupted");
    expect(thrownBy(() => draft.replace({ n: 2 })).code).toBe("interrupted");
  });

  test("prints as what it is", () => {
    const draft = new StateDraft(freezeState({ n: 1, list: [1], m: new Map() }));
    const { root } = draft;
    draft.revoke();
    expect(inspect(root)).toContain("turn that is over");
  });
});
