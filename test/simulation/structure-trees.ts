/** Operations on maps and graphs, many at once: theirs may overlap, writes as well. */
import type { Rng } from "@pinion/core";
import {
  bytesOf,
  Comparisons,
  pause,
  same,
  valueOf,
  type Bench,
  type Edges,
  type Exercise,
  type Handles,
  type Model,
} from "./structure-model.ts";

const keyOf = (rng: Rng): string =>
  (rng.below(3) === 0 ? "k" : "key-with-a-prefix-") +
  rng
    .below(60)
    .toString(36)
    .repeat(1 + rng.below(3));

const sortedValues = (model: Model): [string, unknown][] =>
  [...model.values].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

const sortedBinaries = (model: Model): [bigint, Uint8Array][] =>
  [...model.binaries].sort(([a], [b]) => (a < b ? -1 : 1));

export const VALUES: Exercise = {
  async change(bench: Bench, { values }: Handles, model: Model, rng: Rng): Promise<void> {
    const results = new Comparisons();
    const expected = model.values;
    for (let left = 1 + rng.below(12); left > 0; left--) {
      if (rng.below(3) === 0) bench.poke("values");
      const key = keyOf(rng);
      switch (rng.below(9)) {
        case 0:
        case 1:
        case 2: {
          const value = valueOf(rng);
          results.add(`set ${key}`, () => values.set(key, value), undefined);
          expected.set(key, value);
          break;
        }
        case 3:
          results.add(`delete ${key}`, () => values.delete(key), expected.delete(key));
          break;
        case 4: {
          const before = expected.get(key);
          const after = rng.below(4) === 0 ? undefined : { was: before ?? "none", n: rng.below(9) };
          const change = (old: unknown): unknown => {
            same(`update ${key}`, old, before);
            return after;
          };
          results.add(`update ${key}`, () => values.update(key, change), after);
          if (after === undefined) expected.delete(key);
          else expected.set(key, after);
          break;
        }
        case 5:
          results.add(`has ${key}`, () => values.has(key), expected.has(key));
          break;
        case 6:
          results.add("size", () => values.size(), expected.size);
          break;
        case 7: {
          if (rng.below(3) > 0) break;
          await results.done();
          const reverse = rng.below(2) === 0;
          const found: unknown[] = [];
          for await (const entry of values.range({ reverse })) {
            found.push(entry);
            if (rng.below(8) > 0) continue;
            bench.poke("values");
            await pause(rng);
          }
          const all = sortedValues(model);
          same("range", found, reverse ? all.reverse() : all);
          break;
        }
        default:
          results.add(`get ${key}`, () => values.get(key), expected.get(key));
      }
    }
    await results.done();
  },

  async verify({ values }: Handles, model: Model, rng: Rng): Promise<void> {
    const found: unknown[] = [];
    for await (const entry of values) {
      found.push(entry);
      if (rng.below(15) === 0) await pause(rng);
    }
    same("values", found, sortedValues(model));
    if (rng.below(3) === 0) await values.verify();
  },
};

export const BINARIES: Exercise = {
  async change(bench: Bench, { binaries }: Handles, model: Model, rng: Rng): Promise<void> {
    const results = new Comparisons();
    const expected = model.binaries;
    /** What a caller does with its bytes once a call has returned is its own affair. */
    const reused = new Uint8Array(5_000);
    const give = (value: Uint8Array): Uint8Array => {
      reused.set(value);
      return reused.subarray(0, value.length);
    };
    for (let left = 1 + rng.below(10); left > 0; left--) {
      if (rng.below(3) === 0) bench.poke("binaries");
      const key = BigInt(rng.below(400)) - 200n;
      switch (rng.below(6)) {
        case 0:
        case 1:
        case 2: {
          const value = bytesOf(rng, rng.below(6) === 0 ? 5_000 : 300);
          results.add(`set ${key}`, () => binaries.set(key, give(value)), undefined);
          reused.fill(0xcc);
          expected.set(key, value);
          break;
        }
        case 3:
          results.add(`delete ${key}`, () => binaries.delete(key), expected.delete(key));
          break;
        case 4: {
          const before = expected.get(key);
          const after = bytesOf(rng, 400);
          const change = (old: Uint8Array | undefined): Uint8Array => {
            same(`update ${key}`, old, before);
            return give(after);
          };
          const update = async (): Promise<void> => void (await binaries.update(key, change));
          results.add(`update ${key}`, update, undefined);
          expected.set(key, after);
          break;
        }
        default:
          results.add(`get ${key}`, () => binaries.get(key), expected.get(key));
      }
    }
    await results.done();
  },

  async verify({ binaries }: Handles, model: Model, rng: Rng): Promise<void> {
    const found: unknown[] = [];
    for await (const entry of binaries) {
      found.push(entry);
      if (rng.below(15) === 0) await pause(rng);
    }
    const all = sortedBinaries(model);
    same("binaries", found, all);
    const results = new Comparisons();
    for (let left = 5; left > 0 && all.length > 0; left--) {
      const [key, value] = rng.pick(all);
      results.add(`get ${key}`, () => binaries.get(key), value);
    }
    await results.done();
  },
};

type Graph = Handles["graph"];
type Neighbours = Awaited<ReturnType<Graph["readNeighbours"]>>;

function sortedEdges(edges: Edges | undefined): number[][] {
  const rows = [...(edges ?? [])].map(([id, weight]) => [...id.split(",").map(Number), weight]);
  return rows.sort((a, b) => a[0]! - b[0]! || a[1]! - b[1]!);
}

const rowsOf = (neighbours: Neighbours): unknown[] =>
  [...neighbours].map(({ target, label, weight }) => [target, label, weight]);

async function readEdges(graph: Graph, node: number): Promise<unknown[]> {
  const came = graph.readNeighbours(node);
  // What lies in memory is good until the next write, so it is looked at before anything else happens.
  return rowsOf(came instanceof Promise ? await came : came);
}

function reachable(edges: ReadonlyMap<number, Edges>, start: number): Set<number> {
  const seen = new Set([start]);
  // A set grows while it is gone through.
  for (const node of seen) for (const [target] of sortedEdges(edges.get(node))) seen.add(target!);
  return seen;
}

export const GRAPH: Exercise = {
  async change(bench: Bench, { graph }: Handles, model: Model, rng: Rng): Promise<void> {
    const results = new Comparisons();
    const expected = model.graph;
    const edgesOf = (node: number): Edges => {
      const edges: Edges = expected.edges.get(node) ?? new Map<string, number>();
      expected.edges.set(node, edges);
      return edges;
    };
    for (let left = 1 + rng.below(14); left > 0; left--) {
      if (rng.below(3) === 0) bench.poke("graph");
      const from = rng.below(Math.max(1, expected.nodes));
      const to = rng.below(Math.max(1, expected.nodes));
      const label = rng.below(3);
      const id = `${to},${label}`;
      switch (expected.nodes < 5 ? 0 : rng.below(12)) {
        case 0:
        case 1: {
          const key = rng.below(2) === 0 ? undefined : `node${rng.below(200)}`;
          const known = key === undefined ? undefined : expected.keys.get(key);
          const number = known ?? expected.nodes;
          results.add(`addNode ${key}`, () => graph.addNode(key), number);
          if (known !== undefined) break;
          expected.nodes++;
          if (key !== undefined) expected.keys.set(key, number);
          break;
        }
        case 2:
        case 3:
        case 4:
        case 5: {
          const weight = rng.below(100) / 4;
          const edges = edgesOf(from);
          const add = (): unknown => graph.addEdge(from, to, { weight, label });
          results.add(`addEdge ${from}-${id}`, add, !edges.has(id));
          edges.set(id, weight);
          break;
        }
        case 6: {
          const remove = (): unknown => graph.removeEdge(from, to, label);
          results.add(`removeEdge ${from}-${id}`, remove, edgesOf(from).delete(id));
          break;
        }
        case 7: {
          const has = (): unknown => graph.hasEdge(from, to, label);
          results.add(`hasEdge ${from}-${id}`, has, edgesOf(from).has(id));
          break;
        }
        case 8:
          results.add(`degree ${from}`, () => graph.degree(from), edgesOf(from).size);
          break;
        case 9: {
          await results.done();
          const search = graph.bfs(from);
          if (rng.below(2) === 0) bench.poke("graph");
          const found = (await search).hops.flatMap((hop) => [...hop.nodes]);
          const all = [...reachable(expected.edges, from)];
          const byNumber = (nodes: number[]): number[] => nodes.sort((a, b) => a - b);
          same(`bfs ${from}`, byNumber(found), byNumber(all));
          break;
        }
        case 10: {
          await results.done();
          if (rng.below(4) > 0) break;
          const limit = rng.below(2) === 0 ? 2_000 : undefined;
          while (!(await graph.rebuild(limit))) if (rng.below(2) === 0) bench.poke("graph");
          break;
        }
        default: {
          const edges = sortedEdges(expected.edges.get(from));
          if (rng.below(2) === 0)
            results.add(`readNeighbours ${from}`, () => readEdges(graph, from), edges);
          await results.done();
          try {
            same(`neighbours ${from}`, rowsOf(graph.neighbours(from)), edges);
          } catch (e) {
            bench.allowNotResident(e);
          }
        }
      }
    }
    await results.done();
  },

  async verify({ graph }: Handles, model: Model, rng: Rng): Promise<void> {
    const { nodes, edges } = await graph.counts();
    const expected = [...model.graph.edges.values()].reduce((sum, { size }) => sum + size, 0);
    same("counts", { nodes, edges }, { nodes: model.graph.nodes, edges: expected });
    for (let node = 0; node < nodes; node += 1 + rng.below(3)) {
      const found = await readEdges(graph, node);
      same(`readNeighbours ${node}`, found, sortedEdges(model.graph.edges.get(node)));
      if (rng.below(15) === 0) await pause(rng);
    }
    if (rng.below(3) === 0) await graph.verify();
  },
};
