/**
 * One extent of every structure, a model of each in plain JavaScript, and what operations on both need: random values, and comparisons that may be
 * collected, so that several operations are under way at once.
 */
import { deepStrictEqual } from "node:assert/strict";
import { isPinionError, type Rng } from "@pinion/core";
import {
  blob,
  bytes,
  column,
  graph,
  log,
  map,
  type ExtentDeclarations,
  type ExtentsTurn,
} from "@pinion/storage";

export const STRUCTURES = {
  bytes: bytes({ grow: 65_536 }),
  values: map<unknown>({ key: "string" }),
  binaries: map({ key: "i64", value: "bytes" }),
  log: log<unknown>(),
  numbers: column("f64"),
  texts: column("string"),
  graph: graph({ weights: true, labels: true }),
  blobs: blob(),
};

export type Name = keyof typeof STRUCTURES;
export const NAMES = Object.keys(STRUCTURES) as Name[];

export const DECLARED: ExtentDeclarations = Object.fromEntries(
  NAMES.map((name) => {
    const { kind, version, options } = STRUCTURES[name];
    return [name, { kind, version, options }];
  }),
);

export type Handles = { readonly [N in Name]: ReturnType<(typeof STRUCTURES)[N]["open"]> };

export function handlesOf(turn: ExtentsTurn): Handles {
  const entries = NAMES.map((name) => [name, STRUCTURES[name].open(turn.extent(name))]);
  return Object.fromEntries(entries) as Handles;
}

/** By "target,label": the weight. */
export type Edges = Map<string, number>;

export interface Model {
  bytes: Uint8Array;
  readonly values: Map<string, unknown>;
  readonly binaries: Map<bigint, Uint8Array>;
  readonly log: { first: number; timeMs: number; readonly entries: unknown[] };
  readonly numbers: number[];
  readonly texts: string[];
  readonly graph: {
    nodes: number;
    readonly keys: Map<string, number>;
    readonly edges: Map<number, Edges>;
  };
  readonly blobs: Map<string, Uint8Array>;
}

export const emptyModel = (): Model => ({
  bytes: new Uint8Array(0),
  values: new Map(),
  binaries: new Map(),
  log: { first: 0, timeMs: 0, entries: [] },
  numbers: [],
  texts: [],
  graph: { nodes: 0, keys: new Map(), edges: new Map() },
  blobs: new Map(),
});

/** For a turn to change. Values are never changed where they are. */
export const copyModel = (model: Model): Model => ({
  bytes: model.bytes,
  values: new Map(model.values),
  binaries: new Map(model.binaries),
  log: { ...model.log, entries: [...model.log.entries] },
  numbers: [...model.numbers],
  texts: [...model.texts],
  graph: {
    nodes: model.graph.nodes,
    keys: new Map(model.graph.keys),
    edges: new Map([...model.graph.edges].map(([node, edges]) => [node, new Map(edges)])),
  },
  blobs: new Map(model.blobs),
});

/** What operations know of the machine they run on. */
export interface Bench {
  /** Something may happen to memory or checkpoints. @param likely the extent it then most often happens to */
  poke(likely: Name): void;
  isResident(name: Name): boolean;
  /** A view says that its extent is not in memory any more, as it may. @throws everything else */
  allowNotResident(error: unknown): void;
}

/** Operations on one structure and its model, and the comparison of all that they hold. */
export interface Exercise {
  change(bench: Bench, handles: Handles, model: Model, rng: Rng): Promise<void>;
  verify(handles: Handles, model: Model, rng: Rng): Promise<void>;
}

export const isNotResident = (error: unknown): boolean => isPinionError(error, "not-resident");

const nextRound = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Some microtasks, or a round of the event loop. */
export async function pause(rng: Rng): Promise<void> {
  if (rng.below(3) === 0) return nextRound();
  for (let left = rng.below(6); left > 0; left--) await Promise.resolve();
}

// ---------------------------------------------------------------- comparisons

export function same(what: string, found: unknown, expected: unknown): void {
  if (found instanceof Uint8Array && expected instanceof Uint8Array)
    return sameBytes(what, found, expected);
  deepStrictEqual({ what, found: plain(found) }, { what, found: plain(expected) });
}

/** As `same`, without printing all of them. */
export function sameBytes(what: string, found: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(found, expected) === 0) return;
  let at = 0;
  while (at < expected.length && found[at] === expected[at]) at++;
  throw new Error(
    `${what}: ${found.length} bytes, not ${expected.length}; byte ${at} is ${found[at]}, not ${expected[at]}`,
  );
}

export function sameRows<T>(what: string, found: readonly T[], expected: readonly T[]): void {
  const wrong = found.findIndex((value, row) => value !== expected[row]);
  const of = (rows: readonly T[]): unknown => ({ count: rows.length, wrong, value: rows[wrong] });
  same(what, of(found), of(expected));
}

/** A Buffer is as good as any other Uint8Array. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value);
  return Array.isArray(value) ? value.map((each) => plain(each)) : value;
}

/** Results of operations that nobody has awaited yet. */
export class Comparisons {
  #pending: Promise<void>[] = [];

  /** @param expected as of now: of a read that waits, what it was before the writes behind it */
  add<T>(what: string, operation: () => T | Promise<T>, expected: unknown): void {
    const compared = this.#compare(what, operation, expected);
    compared.catch(() => {});
    this.#pending.push(compared);
  }

  async #compare(what: string, operation: () => unknown, expected: unknown): Promise<void> {
    same(what, await operation(), expected);
  }

  /** @throws what the first wrong one throws, when all of them are there */
  async done(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    for (const ended of await Promise.allSettled(pending))
      if (ended.status === "rejected") throw ended.reason;
  }
}

// ---------------------------------------------------------------- random values

export function textOf(rng: Rng, lengthMax: number): string {
  const length = 1 + rng.below(lengthMax);
  return Array.from({ length }, () => "abcdefghij"[rng.below(10)]).join("");
}

/** Most of them small; some fill pages of their own. */
export function valueOf(rng: Rng): unknown {
  switch (rng.below(6)) {
    case 0:
      return rng.below(1000);
    case 1:
      return { n: rng.below(100), text: textOf(rng, 30) };
    case 2:
      return textOf(rng, 10).repeat(1 + rng.below(200));
    case 3:
      return null;
    case 4:
      return rng.below(8) === 0 ? textOf(rng, 10).repeat(3000) : textOf(rng, 12);
    default:
      return [rng.below(5), textOf(rng, 12)];
  }
}

export function bytesOf(rng: Rng, lengthMax: number): Uint8Array {
  const out = new Uint8Array(rng.below(lengthMax));
  let x = rng.uint32();
  for (let i = 0; i < out.length; i++) {
    x = Math.imul(x, 1_664_525) + 1_013_904_223;
    out[i] = x >>> 24;
  }
  return out;
}

/** `bytes` with `more` at an offset, which may lie behind their end. */
export function withBytes(bytes: Uint8Array, offset: number, more: Uint8Array): Uint8Array {
  const out = new Uint8Array(Math.max(bytes.length, offset + more.length));
  out.set(bytes);
  out.set(more, offset);
  return out;
}
