/**
 * How a turn's changes of the state value are tracked, and what the ways cost: docs/decisions/0002-state-tracking.md.
 *
 *     node --conditions=source test/bench/state-tracking.ts [--rounds 5] [--only REGEX] [--json] [--quick]
 *
 * A turn = open the state, run the method, make what is logged. Four ways to do it:
 *   pinion    copy-on-write views over our own tree: whole value up to 4 KiB, else a patch
 *   immer     produceWithPatches with auto-freeze; the same rule for what is logged
 *   mutative  likewise
 *   live      the method writes the live object; it is encoded whole, and decoded again after a throw
 * The rounds interleave the ways; a figure is the median round, in nanoseconds a turn.
 */
import { decodeValue, encodeValue } from "@pinion/core";
import { enableMapSet, enablePatches, produceWithPatches } from "immer";
import { create } from "mutative";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    only: { type: "string", default: "" },
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
  },
});

// State of any shape, and methods written as users write them.
type State = Record<string, ReturnType<typeof JSON.parse>>;
type Method = (state: State, i: number) => unknown;

/** The folder is internal to the runtime, so it has no package entry. */
interface StateValueModule {
  readonly freezeState: (value: unknown) => object;
  StateDraft: new (version: object) => {
    readonly root: State;
    finish(): { readonly base: object; readonly delta: Uint8Array | undefined };
    revoke(): void;
  };
  StateView: new (version: object) => { readonly root: State; close(): void };
}
const { freezeState, StateDraft, StateView } = (await import(
  new URL("../../packages/runtime/src/state-value/index.ts", import.meta.url).href
)) as StateValueModule;

enableMapSet();
enablePatches();

const WHOLE_BYTES_MAX = 4 * 1024;

interface Way {
  readonly name: string;
  open(initial: State): {
    turn(method: Method, i: number): number;
    read(method: Method, i: number): unknown;
  };
}

/** A library that gives the next value and patches of it. */
function drafting(
  name: string,
  run: (state: State, change: (draft: State) => void) => [State, unknown],
): Way {
  return {
    name,
    open(initial) {
      let [state] = run(initial, () => {});
      const small = encodeValue(initial).length <= WHOLE_BYTES_MAX;
      return {
        turn(method, i) {
          const [next, patches] = run(state, (draft) => void method(draft, i));
          if (next === state) return 0;
          state = next;
          return encodeValue(small ? next : patches).length;
        },
        read: (method, i) => method(state, i),
      };
    },
  };
}

const ways: Way[] = [
  {
    name: "pinion",
    open(initial) {
      let version = freezeState(initial);
      return {
        turn(method, i) {
          const draft = new StateDraft(version);
          try {
            method(draft.root, i);
            const { base, delta } = draft.finish();
            version = base;
            return delta?.length ?? 0;
          } finally {
            draft.revoke();
          }
        },
        read(method, i) {
          const view = new StateView(version);
          const result = method(view.root, i);
          view.close();
          return result;
        },
      };
    },
  },
  drafting("immer", (state, change) => {
    const [next, patches] = produceWithPatches(state, change);
    return [next, patches];
  }),
  drafting("mutative", (state, change) => {
    const [next, patches] = create(state, change, { enablePatches: true, enableAutoFreeze: true });
    return [next, patches];
  }),
  {
    name: "live",
    open(initial) {
      let state = decodeValue(encodeValue(initial)) as State;
      let bytes = encodeValue(state);
      return {
        turn(method, i) {
          try {
            method(state, i);
          } catch (error) {
            state = decodeValue(bytes) as State;
            throw error;
          }
          bytes = encodeValue(state);
          return bytes.length;
        },
        read: (method, i) => method(state, i),
      };
    },
  },
];

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const row = (i: number): State => ({
  id: i,
  name: `name ${i}`,
  tags: ["a", "b"],
  at: 1.5 * i,
  ok: true,
  text: "about fifty bytes of text, as in a row of a table",
});
const wide = (n: number): State => Object.fromEntries(range(n).map((i) => [`key${i}`, { v: i }]));
const mapOf = (n: number): Map<string, { v: number }> =>
  new Map(range(n).map((i) => [`key${i}`, { v: i }]));
const spread = (i: number, n: number): number => (i * 7919) % n;

interface Case {
  readonly name: string;
  readonly turns: number;
  readonly kind: "turn" | "read";
  readonly initial: () => State;
  readonly method: Method;
}

const kase = (
  name: string,
  turns: number,
  initial: () => State,
  method: Method,
  kind: "turn" | "read" = "turn",
): Case => ({ name, turns, kind, initial, method });

const boom = new Error("boom");
const cases: Case[] = [
  kase(
    "n += 1 of {n}",
    100_000,
    () => ({ n: 0 }),
    (s) => (s["n"] += 1),
  ),
  kase(
    "n += 1 of 5 fields",
    100_000,
    () => ({ n: 0, a: "x", b: 1.5, c: null, d: "yy" }),
    (s) => (s["n"] += 1),
  ),
  kase(
    "three levels down",
    100_000,
    () => ({ a: { b: { c: 0 } }, n: 1 }),
    (s) => (s["a"].b.c += 1),
  ),
  kase(
    "Map of 3",
    50_000,
    () => ({ m: mapOf(3) }),
    (s) => s["m"].get("key1").v++,
  ),
  kase(
    "push to a list of 20, shift",
    50_000,
    () => ({ list: range(20) }),
    (s, i) => (s["list"].push(i), s["list"].shift()),
  ),
  kase(
    "a turn that only reads",
    100_000,
    () => ({ n: 0, a: "x" }),
    (s) => s["n"],
  ),
  kase(
    "a turn that throws",
    50_000,
    () => ({ n: 0, a: { b: 1 } }),
    (s) => {
      s["a"].b = 2;
      throw boom;
    },
  ),
  kase(
    "a throw over 100 KiB",
    500,
    () => ({ rows: range(800).map(row), n: 0 }),
    (s) => {
      s["n"]++;
      throw boom;
    },
  ),
  kase(
    "100 KiB of rows: n += 1",
    2_000,
    () => ({ rows: range(800).map(row), n: 0 }),
    (s) => (s["n"] += 1),
  ),
  kase(
    "100 KiB of rows: one field",
    2_000,
    () => ({ rows: range(800).map(row) }),
    (s, i) => (s["rows"][spread(i, 800)].at += 1),
  ),
  kase(
    "100 KiB of rows: push, shift",
    2_000,
    () => ({ rows: range(800).map(row) }),
    (s, i) => (s["rows"].push(row(i)), s["rows"].shift()),
  ),
  kase(
    "100 KiB of rows: find, change",
    500,
    () => ({ rows: range(800).map(row) }),
    (s) => s["rows"].find((r: State) => r["id"] === 400).at++,
  ),
  kase(
    "object of 1,000 keys: one value",
    1_000,
    () => ({ o: wide(1_000) }),
    (s, i) => s["o"][`key${spread(i, 1_000)}`].v++,
  ),
  kase(
    "object of 10,000 keys: one value",
    200,
    () => ({ o: wide(10_000) }),
    (s, i) => s["o"][`key${spread(i, 10_000)}`].v++,
  ),
  kase(
    "Map of 10,000: one value",
    200,
    () => ({ m: mapOf(10_000) }),
    (s, i) => s["m"].get(`key${spread(i, 10_000)}`).v++,
  ),
  kase(
    "Map of 10,000: add, remove",
    200,
    () => ({ m: mapOf(10_000) }),
    (s, i) => (s["m"].set(`new${i}`, { v: i }), s["m"].delete(`new${i - 50}`)),
  ),
  kase(
    "10,000 numbers: one",
    500,
    () => ({ list: range(10_000).map((i) => i + 0.5) }),
    (s, i) => (s["list"][spread(i, 10_000)] += 1),
  ),
  kase(
    "10,000 numbers: push, shift",
    500,
    () => ({ list: range(10_000).map((i) => i + 0.5) }),
    (s, i) => (s["list"].push(i), s["list"].shift()),
  ),
  kase(
    "readonly: one field",
    200_000,
    () => ({ n: 0, a: "x" }),
    (s) => s["n"],
    "read",
  ),
  kase(
    "readonly: sum over 800 rows",
    500,
    () => ({ rows: range(800).map(row) }),
    (s) => s["rows"].reduce((sum: number, r: State) => sum + Number(r["at"]), 0),
    "read",
  ),
  kase(
    "readonly: sum over 10,000 numbers",
    500,
    () => ({ list: range(10_000).map((i) => i + 0.5) }),
    (s) => s["list"].reduce((sum: number, n: number) => sum + n, 0),
    "read",
  ),
  kase(
    "readonly: Map of 10,000, one get",
    20_000,
    () => ({ m: mapOf(10_000) }),
    (s, i) => s["m"].get(`key${spread(i, 10_000)}`).v,
    "read",
  ),
];

let sink: unknown;

function measure(c: Case, way: Way, turns: number): { nsPerTurn: number; bytes: number } {
  const actor = way.open(c.initial());
  let bytes = 0;
  const once = (i: number): void => {
    try {
      if (c.kind === "read") sink = actor.read(c.method, i);
      else bytes = actor.turn(c.method, i);
    } catch (error) {
      if (error !== boom) throw error;
    }
  };
  for (let i = 0; i < Math.min(turns, 2_000); i++) once(i);
  const start = process.hrtime.bigint();
  for (let i = 0; i < turns; i++) once(i + 2_000);
  return { nsPerTurn: Number(process.hrtime.bigint() - start) / turns, bytes };
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[numbers.length >> 1] as number;
const show = (ns: number): string =>
  ns < 1_000
    ? `${ns.toFixed(0)} ns`
    : ns < 1e6
      ? `${(ns / 1e3).toFixed(1)} µs`
      : `${(ns / 1e6).toFixed(2)} ms`;

if (!options.json)
  console.log(
    `${"case".padEnd(36)}${ways.map((way) => way.name.padStart(12)).join("")}   bytes logged`,
  );
for (const c of cases.filter(({ name }) => new RegExp(options.only).test(name))) {
  const turns = options.quick ? Math.max(20, c.turns / 10) : c.turns;
  const rounds = ways.map(() => [] as number[]);
  const bytes: number[] = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    ways.forEach((way, w) => {
      const result = measure(c, way, turns);
      (rounds[w] as number[]).push(result.nsPerTurn);
      bytes[w] = result.bytes;
    });
  }
  const medians = rounds.map(median);
  if (!options.json) {
    console.log(
      c.name.padEnd(36) +
        medians.map((ns) => show(ns).padStart(12)).join("") +
        `   ${bytes.join(" / ")}`,
    );
    continue;
  }
  ways.forEach((way, w) => {
    console.log(
      JSON.stringify({
        suite: "state-tracking",
        case: `${c.name}: ${way.name}`,
        unit: "ns",
        better: "lower",
        value: medians[w],
        rounds: rounds[w],
        bytes: bytes[w],
      }),
    );
  });
}
void sink;
