import { encodeValue, isPinionError, type ErrorCode } from "@pinion/core";
import { describe, expect, test } from "vitest";
import {
  applyDelta,
  freezeState,
  plainState,
  STATE_BYTES_MAX,
  StateDraft,
  StateView,
  type FinishedState,
  type StateVersion,
} from "./index.ts";

/** Runs `method` as a turn. */
function turn<S>(version: StateVersion<S>, method: (state: S) => void): FinishedState<S> {
  const draft = new StateDraft(version);
  method(draft.root);
  const finished = draft.finish();
  draft.revoke();
  return finished;
}

/** What a turn makes of `value`. */
function after<S>(value: S, method: (state: S) => void): S {
  return plainState(turn(freezeState(value), method).base);
}

function thrownBy(act: () => unknown): {
  code: ErrorCode | undefined;
  message: string;
  details: unknown;
} {
  try {
    act();
  } catch (e) {
    if (!isPinionError(e)) return { code: undefined, message: String(e), details: undefined };
    return { code: e.code, message: e.message, details: e.details };
  }
  throw new Error("nothing was thrown");
}

/** Makes a value too large for whole deltas. */
const BALLAST = "x".repeat(5_000);

describe("a turn", () => {
  test("that only reads has no delta and keeps the version", () => {
    const version = freezeState({
      n: 1,
      list: [{ a: 1 }],
      m: new Map([["k", { v: 1 }]]),
      d: new Date(1),
      b: new Uint8Array(2),
    });
    const finished = turn(version, (s) => {
      expect([s.n, s.list[0]?.a, s.m.get("k")?.v, s.d.getTime(), s.b[0]]).toEqual([1, 1, 1, 1, 0]);
      expect(Object.keys(s)).toHaveLength(5);
    });
    expect(finished).toEqual({ base: version, delta: undefined, whole: false });
    expect(finished.base).toBe(version);
  });

  test("that writes what is already there has no delta", () => {
    const version = freezeState({
      n: 1,
      o: { a: 1 },
      list: [1],
      u: undefined,
      m: new Map([["k", 1]]),
      s: new Set([1]),
    });
    const { delta } = turn(version, (s) => {
      s.n = 1;
      const { o } = s;
      s.o = o;
      s.list[0] = 1;
      s.u = undefined;
      s.m.set("k", 1);
      s.s.add(1);
      delete (s as { missing?: number }).missing;
    });
    expect(delta).toBeUndefined();
  });

  test("that throws leaves the version as it was", () => {
    const version = freezeState({ n: 1, list: [{ a: 1 }], m: new Map([["k", { v: 1 }]]) });
    const draft = new StateDraft(version);
    draft.root.n = 9;
    draft.root.list[0]!.a = 9;
    draft.root.list.push({ a: 10 });
    draft.root.m.get("k")!.v = 9;
    draft.revoke();
    expect(plainState(version)).toEqual({ n: 1, list: [{ a: 1 }], m: new Map([["k", { v: 1 }]]) });
  });

  test("does not show in a readonly view of the version under it", () => {
    const version = freezeState({ n: 1, list: [1, 2] });
    const view = new StateView(version);
    const before = view.root.list;
    const draft = new StateDraft(version);
    draft.root.n = 2;
    draft.root.list.push(3);
    expect([view.root.n, [...view.root.list], [...before]]).toEqual([1, [1, 2], [1, 2]]);
    const { base } = draft.finish();
    expect([view.root.n, [...before]]).toEqual([1, [1, 2]]);
    expect([...new StateView(base).root.list]).toEqual([1, 2, 3]);
  });

  test("shares with the next version what it did not change", () => {
    const version = freezeState({ big: { text: BALLAST, inner: { a: 1 } }, n: 0 });
    const next = turn(version, (s) => void s.n++).base;
    const tree = (v: StateVersion<unknown>): Record<string, unknown> =>
      v.tree as Record<string, unknown>;
    expect(tree(next)["big"]).toBe(tree(version)["big"]);
  });

  test("may finish again after the log refused it, also with more changes", () => {
    const version = freezeState({
      n: 0,
      list: [{ a: 1 }],
      m: new Map([["k", 1]]),
      o: {} as Record<string, unknown>,
    });
    const draft = new StateDraft(version);
    draft.root.n = 1;
    draft.root.list[0]!.a = 2;
    draft.root.o["x"] = { y: 1 };
    const first = draft.finish();
    draft.root.n = 2;
    draft.root.list[0]!.a = 3;
    draft.root.list.push({ a: 4 });
    draft.root.m.set("k", 2);
    (draft.root.o["x"] as { y: number }).y = 2;
    const second = draft.finish();
    expect(plainState(first.base)).toEqual({
      n: 1,
      list: [{ a: 2 }],
      m: new Map([["k", 1]]),
      o: { x: { y: 1 } },
    });
    expect(plainState(second.base)).toEqual({
      n: 2,
      list: [{ a: 3 }, { a: 4 }],
      m: new Map([["k", 2]]),
      o: { x: { y: 2 } },
    });
    expect(plainState(version)).toEqual({ n: 0, list: [{ a: 1 }], m: new Map([["k", 1]]), o: {} });
  });

  test("cannot reach what it has finished through a date or bytes it kept", () => {
    const draft = new StateDraft(freezeState({ d: new Date(0), b: new Uint8Array(1) }));
    const { d, b } = draft.root;
    d.setTime(1);
    b[0] = 1;
    const { base } = draft.finish();
    draft.revoke();
    d.setTime(2);
    b[0] = 2;
    expect(plainState(base)).toEqual({ d: new Date(1), b: new Uint8Array([1]) });
  });

  test("may replace the whole value, by another kind too", () => {
    const version = freezeState<unknown>({ n: 1 });
    for (const value of [5, null, undefined, "text", [1, { a: 1 }], new Map([["k", 1]])]) {
      const draft = new StateDraft(version);
      draft.replace(value);
      expect(draft.root).toBe(value);
      const { base, delta, whole } = draft.finish();
      expect(whole).toBe(true);
      expect(plainState(base)).toEqual(value);
      expect(plainState(applyDelta(undefined, delta as Uint8Array))).toEqual(value);
    }
  });

  test("may build the whole value from parts of the old one", () => {
    const version = freezeState<{ a?: { n: number }; b?: { n: number } }>({ a: { n: 1 } });
    const draft = new StateDraft(version);
    const { a } = draft.root;
    draft.replace({ b: a! });
    a!.n = 2;
    expect(plainState(draft.finish().base)).toEqual({ b: { n: 2 } });
  });

  test("that assigns the state to itself changes nothing", () => {
    const version = freezeState({ n: 1 });
    const draft = new StateDraft(version);
    draft.replace(draft.root);
    expect(draft.finish().delta).toBeUndefined();
  });
});

describe("what a turn assigns", () => {
  test("is copied: the method's own object is not state, and stays writable", () => {
    const mine = { n: 1, inner: [1], map: new Map([["k", { v: 1 }]]) };
    const version = turn(freezeState<{ o?: typeof mine }>({}), (s) => (s.o = mine)).base;
    mine.n = 2;
    mine.inner.push(2);
    mine.map.get("k")!.v = 2;
    expect(plainState(version)).toEqual({
      o: { n: 1, inner: [1], map: new Map([["k", { v: 1 }]]) },
    });
  });

  test("is the same object until the turn ends, as in any program", () => {
    const mine = { n: 1 };
    const result = after<{ a?: { n: number }; b?: { n: number } }>({}, (s) => {
      s.a = mine;
      s.b = mine;
      expect(s.a).toBe(mine);
      s.a.n = 5;
      expect(s.b.n).toBe(5);
    });
    expect(result).toEqual({ a: { n: 5 }, b: { n: 5 } });
  });

  test("is two values afterwards, when it stands at two places", () => {
    const version = turn(freezeState<Record<string, { n: number }>>({ a: { n: 1 } }), (s) => {
      s["b"] = s["a"]!;
      s["b"].n = 2;
      expect(s["a"]?.n).toBe(2);
    }).base;
    const next = turn(version, (s) => void (s["a"]!.n = 3)).base;
    expect(plainState(next)).toEqual({ a: { n: 3 }, b: { n: 2 } });
  });

  test("may be a subtree that moves", () => {
    const result = after<{ from?: { list: { n: number }[] }; to?: unknown }>(
      { from: { list: [{ n: 1 }] } },
      (s) => {
        const moved = s.from!;
        delete s.from;
        s.to = moved;
        moved.list[0]!.n = 2;
        moved.list.push({ n: 3 });
      },
    );
    expect(result).toEqual({ to: { list: [{ n: 2 }, { n: 3 }] } });
  });

  test("may be a filtered or mapped copy of an array that stands in the state", () => {
    const result = after({ rows: [{ id: 1 }, { id: 2 }, { id: 3 }] }, (s) => {
      s.rows = s.rows.filter((row) => row.id !== 2);
      s.rows[1]!.id = 30;
    });
    expect(result).toEqual({ rows: [{ id: 1 }, { id: 30 }] });
  });

  test("does not follow an object that was taken out", () => {
    const result = after(
      { rows: [{ id: 1 }, { id: 2 }], o: { a: { n: 1 } } as { a?: { n: number } } },
      (s) => {
        const row = s.rows.shift()!;
        const { a } = s.o;
        delete s.o.a;
        row.id = 100;
        a!.n = 100;
      },
    );
    expect(result).toEqual({ rows: [{ id: 2 }], o: {} });
  });
});

describe("values of their own", () => {
  test("dates and bytes may be written in place", () => {
    const result = after(
      { d: new Date(0), b: new Uint8Array([1, 2]), f: new Float64Array(2), n: [new Date(1)] },
      (s) => {
        s.d.setUTCFullYear(2001);
        s.b[1] = 9;
        s.b.subarray(0, 1)[0] = 7;
        s.f[1] = 0.5;
        s.n[0]!.setTime(5);
        expect(s.d).toBe(s.d);
      },
    );
    expect(result).toEqual({
      d: new Date("2001-01-01"),
      b: new Uint8Array([7, 9]),
      f: new Float64Array([0, 0.5]),
      n: [new Date(5)],
    });
  });

  test("a change of a few bytes is sent as those bytes", () => {
    const version = freezeState({ b: new Uint8Array(100_000), f: [new Float32Array(10_000)] });
    const { delta, base } = turn(version, (s) => {
      s.b[5_000] = 1;
      s.b[5_003] = 2;
      s.f[0]![100] = 1.5;
    });
    expect(delta!.length).toBeLessThan(60);
    expect(plainState(applyDelta(version, delta!))).toEqual(plainState(base));
    expect((plainState(base).f[0] as Float32Array)[100]).toBe(1.5);
  });

  test("a Buffer becomes a Uint8Array, as it would be after a restart", () => {
    const result = after<{ b?: Uint8Array }>({}, (s) => (s.b = Buffer.from("hi")));
    expect(Object.getPrototypeOf(result.b)).toBe(Uint8Array.prototype);
    expect(result.b).toEqual(new Uint8Array([104, 105]));
  });
});

describe("the size of a state value", () => {
  test("over 1 MiB is refused with its size, and the turn has no effect", () => {
    const version = freezeState({ a: "x".repeat(600_000), b: "" });
    const error = thrownBy(() => turn(version, (s) => (s.b = "y".repeat(500_000))));
    expect(error).toMatchObject({ code: "state-too-large", details: { limit: STATE_BYTES_MAX } });
    expect((error.details as { bytes: number }).bytes).toBeGreaterThan(1_100_000);
    expect(plainState(version).b).toBe("");
  });

  test("is refused before a huge value is copied or encoded", () => {
    const huge = Array.from({ length: 200 }, () => "x".repeat(1_000_000));
    expect(thrownBy(() => freezeState(huge)).code).toBe("state-too-large");
    expect(thrownBy(() => turn(freezeState<unknown[]>([]), (s) => s.push(...huge))).code).toBe(
      "state-too-large",
    );
  });

  test("may reach the limit exactly", () => {
    const text = (n: number): string => "x".repeat(n);
    const empty = freezeState({ t: "" }).encode().length; // a long string's header takes 4 bytes more
    const fits = STATE_BYTES_MAX - empty - 4;
    expect(turn(freezeState({ t: "" }), (s) => (s.t = text(fits))).base.bytesAtMost).toBe(
      STATE_BYTES_MAX,
    );
    expect(thrownBy(() => turn(freezeState({ t: "" }), (s) => (s.t = text(fits + 1)))).code).toBe(
      "state-too-large",
    );
  });

  test("is never underestimated, and a state close to the limit goes on changing", () => {
    const row = (i: number) => ({ i, text: "x".repeat(9_020) });
    let version = freezeState({ rows: Array.from({ length: 116 }, (_, i) => row(i)) });
    const exact = (): number => encodeValue(plainState(version)).length;
    expect(STATE_BYTES_MAX - exact()).toBeLessThan(1_000);
    for (let i = 0; i < 100; i++) {
      version = turn(version, (s) => {
        s.rows.shift();
        s.rows.push(row(i));
      }).base;
      expect(version.bytesAtMost).toBeGreaterThanOrEqual(exact());
      expect(version.bytesAtMost).toBeLessThanOrEqual(STATE_BYTES_MAX);
    }
  });
});

describe("what is sent", () => {
  test("is the whole value while it is small", () => {
    const { delta, whole } = turn(freezeState({ n: 0 }), (s) => void s.n++);
    expect([whole, delta]).toEqual([true, Buffer.from([1, 0, 0x81, 0xa1, 0x6e, 1])]);
  });

  test("is the change alone when the value is large", () => {
    const version = freezeState({ n: 0, text: BALLAST, rows: [{ a: 1 }, { a: 2 }] });
    const { delta, whole } = turn(version, (s) => {
      s.n = 1;
      s.rows[1]!.a = 3;
    });
    expect(whole).toBe(false);
    expect(delta!.length).toBeLessThan(40);
  });

  test("is nothing when a large value is as it was again", () => {
    const version = freezeState({
      text: BALLAST,
      o: { a: 1 },
      list: [3, 1],
      m: new Map(Array.from({ length: 100 }, (_, i) => [i, i])),
    });
    const { delta, base } = turn(version, (s) => {
      for (const n of [2, 1]) s.o.a = n;
      s.list.reverse();
      s.list.reverse();
      for (const n of [0, 7]) s.m.set(7, n);
    });
    expect(delta).toBeUndefined();
    expect(base).toBe(version);
  });

  test("says once what became of an element that was changed and moved", () => {
    const version = freezeState({ text: BALLAST, list: [[3], [2], [1]] });
    const { delta, base } = turn(version, (s) => {
      s.list[2]!.push(0);
      s.list.sort((a, b) => a[0]! - b[0]!);
    });
    expect(plainState(base).list).toEqual([[1, 0], [2], [3]]);
    expect(plainState(applyDelta(version, delta!))).toEqual(plainState(base));
  });

  test("is the whole value when asked for, or when the change is larger", () => {
    const version = freezeState({ list: Array.from({ length: 5_000 }, (_, i) => i) });
    const draft = new StateDraft(version);
    draft.root.list[0] = 7;
    expect(draft.finish({ whole: true }).whole).toBe(true);
    expect(draft.finish().whole).toBe(false);
    const reversed = turn(version, (s) => {
      s.list = s.list.map((n) => -n);
    });
    expect(reversed.delta!.length).toBeLessThanOrEqual(reversed.base.encode().length + 16);
  });

  test.each<[string, number, (list: number[]) => void]>([
    ["push", 30, (list) => list.push(-1)],
    ["shift", 30, (list) => list.shift()],
    ["push and shift", 40, (list) => list.push(-1) && list.shift()],
    ["one element", 30, (list) => (list[5_000] = -1)],
    ["a splice in the middle", 40, (list) => list.splice(4_000, 2, -1, -2, -3)],
    ["many elements", 1_500, (list) => Array.from({ length: 100 }, (_, i) => (list[i * 97] = -1))],
    ["the first half dropped", 30, (list) => list.splice(0, 5_000)],
    ["a sort that moves one element", 40, (list) => (list.push(-1), list.sort((a, b) => a - b))],
  ])("is short for a long array: %s", (_, bytes, act) => {
    const version = freezeState({ list: Array.from({ length: 10_000 }, (_, i) => i) });
    const { delta, base } = turn(version, (s) => act(s.list));
    expect(delta!.length).toBeLessThan(bytes);
    expect(plainState(applyDelta(version, delta!))).toEqual(plainState(base));
  });
});
