import { seededRng, type Rng } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import type { BfsFrontier, PortalHit } from "./graph-bfs.ts";
import { graph, type GraphHandle } from "./graph.ts";
import { testSeed } from "./test-seed.test.fixture.ts";
import { partitionByLabelPropagation } from "./partitioner.ts";

const plain = graph();

interface Edges {
  readonly nodes: number;
  readonly sources: Uint32Array;
  readonly targets: Uint32Array;
}

/** Rings with chords, and few edges from ring to ring. */
function someEdges(rng: Rng, rings: number, ringNodes: number): Edges {
  const nodes = rings * ringNodes;
  const pairs: [number, number][] = [];
  for (let node = 0; node < nodes; node++) {
    const ring = Math.floor(node / ringNodes) * ringNodes;
    pairs.push([node, ring + ((node - ring + 1) % ringNodes)]);
    if (rng.chance(0.5)) pairs.push([node, ring + rng.below(ringNodes)]);
    if (rng.chance(0.05)) pairs.push([node, rng.below(nodes)]);
  }
  return {
    nodes,
    sources: Uint32Array.from(pairs, ([a]) => a),
    targets: Uint32Array.from(pairs, ([, b]) => b),
  };
}

/** Depth of every node that `start` leads to. */
function depthsFrom({ nodes, sources, targets }: Edges, start: number): Map<number, number> {
  const adjacency = Array.from({ length: nodes }, (): number[] => []);
  for (let i = 0; i < sources.length; i++)
    adjacency[sources[i] as number]?.push(targets[i] as number);
  const depths = new Map([[start, 0]]);
  for (let level = [start], depth = 1; level.length > 0; depth++) {
    const next: number[] = [];
    for (const node of level) {
      for (const target of adjacency[node] as number[]) {
        if (depths.has(target)) continue;
        depths.set(target, depth);
        next.push(target);
      }
    }
    level = next;
  }
  return depths;
}

async function load(edges: Edges, resident: boolean): Promise<MemoryExtent> {
  const extent = new MemoryExtent();
  const handle = plain.open(extent);
  for (let i = 0; i < edges.nodes; i++) await handle.addNode();
  for (let i = 0; i < edges.sources.length; i++) {
    await handle.addEdge(edges.sources[i] as number, edges.targets[i] as number);
    if (i === Math.floor(edges.sources.length / 2)) await handle.rebuild(); // some in blocks, some not
  }
  return new MemoryExtent({ bytes: extent.bytes, resident });
}

describe.each([{ resident: true }, { resident: false }])(
  "a search, resident: $resident",
  ({ resident }) => {
    test("finds every node at its depth, in whatever parts it is made", async () => {
      const seed = testSeed();
      const rng = seededRng(seed);
      const edges = someEdges(rng, 3, 200);
      const extent = await load(edges, resident);
      const expected = depthsFrom(edges, 5);
      for (const limit of [1, 10, 100_000]) {
        const found = new Map<number, number>();
        let result = await plain.open(extent).bfs(5, { limit });
        for (let turns = 0; ; turns++) {
          for (const { depth, nodes } of result.hops) {
            for (const node of nodes) {
              expect(found.has(node), `seed ${seed}`).toBe(false);
              found.set(node, depth);
            }
          }
          if (result.done) {
            expect(turns > 0, `seed ${seed}`).toBe(limit < 600);
            break;
          }
          result = await plain.open(extent).bfs([], { limit, frontier: result.frontier });
        }
        expect(found, `seed ${seed}`).toEqual(expected);
      }
      const near = await plain.open(extent).bfs(5, { depthMax: 2 });
      expect(near.hops.map(({ depth }) => depth)).toEqual([0, 1, 2]);
      const isNear = [...expected.values()].filter((depth) => depth <= 2).length;
      expect(near.hops.reduce((sum, { nodes }) => sum + nodes.length, 0)).toBe(isNear);
      expect(near.done).toBe(false);
    });

    test("goes across partitions level by level and finds what one partition would", async () => {
      const seed = testSeed();
      const rng = seededRng(seed);
      const edges = someEdges(rng, 4, 100);
      const { partOf } = partitionByLabelPropagation(edges, { parts: 4, rng });
      const { actors, places } = await spread(edges, partOf, resident);
      const found = await searchAcross(actors, places[5] as Place);
      const expected = depthsFrom(edges, 5);
      const asGlobal = new Map<number, number>();
      for (const [global, { actor, node }] of places.entries()) {
        const depth = found.get(actor)?.get(node);
        if (depth !== undefined) asGlobal.set(global, depth);
      }
      expect(
        [...asGlobal].toSorted(([a], [b]) => a - b),
        `seed ${seed}`,
      ).toEqual([...expected].toSorted(([a], [b]) => a - b));
    });
  },
);

interface Place {
  readonly actor: string;
  readonly node: number;
}

/** One extent an actor; edges between them lead through portals. */
async function spread(
  { nodes, sources, targets }: Edges,
  partOf: Uint32Array,
  resident: boolean,
): Promise<{ actors: Map<string, MemoryExtent>; places: Place[] }> {
  const extents = new Map<string, MemoryExtent>();
  const handles = new Map<string, GraphHandle>();
  const places: Place[] = [];
  for (let global = 0; global < nodes; global++) {
    const actor = `part/${partOf[global]}`;
    let handle = handles.get(actor);
    if (handle === undefined) {
      const extent = new MemoryExtent();
      extents.set(actor, extent);
      handles.set(actor, (handle = plain.open(extent)));
    }
    places.push({ actor, node: await handle.addNode() });
  }
  for (let i = 0; i < sources.length; i++) {
    const [from, to] = [
      places[sources[i] as number] as Place,
      places[targets[i] as number] as Place,
    ];
    const handle = handles.get(from.actor) as GraphHandle;
    await handle.addEdge(from.node, from.actor === to.actor ? to.node : to);
  }
  const actors = new Map<string, MemoryExtent>();
  for (const [actor, extent] of extents) {
    await (handles.get(actor) as GraphHandle).rebuild();
    actors.set(actor, new MemoryExtent({ bytes: extent.bytes, resident }));
  }
  return { actors, places };
}

/** What a runtime does: a call to each actor a level, each in a turn and with a handle of its own. */
async function searchAcross(
  actors: ReadonlyMap<string, MemoryExtent>,
  start: Place,
): Promise<Map<string, Map<number, number>>> {
  const found = new Map<string, Map<number, number>>();
  const frontiers = new Map<string, BfsFrontier>();
  const hits = new Set<string>();
  let arriving = new Map<string, number[]>([[start.actor, [start.node]]]);
  for (let depth = 0; depth < 1000; depth++) {
    const next = new Map<string, number[]>();
    let isDone = true;
    for (const [actor, extent] of actors) {
      const frontier = frontiers.get(actor);
      const seeds = arriving.get(actor) ?? [];
      if (frontier === undefined && seeds.length === 0) continue;
      const announced: PortalHit[] = [];
      const result = await plain.open(extent).bfs(seeds, {
        depth,
        depthMax: depth + 1,
        limit: Infinity,
        ...(frontier && { frontier }),
        onPortal: (hit) => announced.push(hit),
      });
      frontiers.set(actor, result.frontier);
      isDone &&= result.done;
      const depths = found.get(actor) ?? new Map<number, number>();
      found.set(actor, depths);
      for (const hop of result.hops) {
        for (const node of hop.nodes) {
          expect(depths.has(node)).toBe(false);
          depths.set(node, hop.depth);
        }
        for (const portal of hop.portals) {
          expect(hop.depth).toBe(depth + 1);
          expect(hits.has(`${actor} ${portal.portal}`)).toBe(false); // each is told of once
          hits.add(`${actor} ${portal.portal}`);
          next.set(portal.actor, [...(next.get(portal.actor) ?? []), portal.node]);
        }
      }
      expect(announced).toEqual(result.hops.flatMap((hop) => hop.portals));
    }
    if (isDone && next.size === 0) return found;
    arriving = next;
  }
  throw new Error("the search does not end");
}

test("a search announces blocks before it reads them", async () => {
  const seed = testSeed();
  const edges = someEdges(seededRng(seed), 1, 24_000);
  const whole = new MemoryExtent();
  const handle = plain.open(whole);
  for (let i = 0; i < edges.nodes; i++) await handle.addNode();
  for (let i = 0; i < edges.sources.length; i++)
    await handle.addEdge(edges.sources[i] as number, edges.targets[i] as number);
  await handle.rebuild();

  const log: string[] = [];
  class Cold extends MemoryExtent {
    override prefetch(offset = 0): void {
      log.push(`announced ${offset}`);
    }
    override read(offset: number, byteCount: number): Promise<Uint8Array> {
      if (byteCount > 4096) log.push(`read ${offset}`);
      return super.read(offset, byteCount);
    }
  }
  const cold = plain.open(new Cold({ bytes: whole.bytes, resident: false }));
  // From the node with the most edges: another one may reach nothing.
  const degrees = new Uint32Array(edges.nodes);
  for (const source of edges.sources) degrees[source] = (degrees[source] as number) + 1;
  const start = degrees.indexOf(Math.max(...degrees));
  await cold.bfs(start, { depthMax: 12, limit: 2_000 });
  const reads = [...new Set(log.filter((line) => line.startsWith("read ")))];
  expect(reads.length, `seed ${seed}`).toBeGreaterThan(2);
  for (const read of reads) {
    const announced = log.indexOf(read.replace("read", "announced"));
    expect(announced, `seed ${seed}: ${read}`).toBeGreaterThanOrEqual(0);
    expect(announced, `seed ${seed}: ${read}`).toBeLessThan(log.indexOf(read));
  }
});
