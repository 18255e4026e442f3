/**
 * Breadth-first search within one partition, a level at a time, and in parts: what it has not followed yet is a *frontier* of plain
 * values, which a later call (in a later turn, maybe with nodes that other partitions' portals led to) goes on from.
 *
 * A search across partitions stays in order when all of them have followed depth d before one follows d + 1: call each with
 * `depthMax` d + 1, then hand what its portals lead to, at depth d + 1, to the partitions they name.
 *
 * B1 a node is found once, at the depth it was found first; so is a portal.
 * B2 nodes of a level are followed in the order of their numbers, so that blocks are read one after the other, and announced ahead of that.
 */
import type { MaybePromise } from "./structure.ts";
import { PinionError } from "@pinion/core";
import { PORTAL } from "./graph-format.ts";

/** Blocks of this many nodes ahead are announced to an extent that is not in memory. */
const NODES_AHEAD = 64;
const LIMIT = 10_000;

/** Where a portal leads. */
export interface Portal {
  /** Key of the actor that holds the other partition. */
  readonly actor: string;
  /** Node there. */
  readonly node: number;
}

/** What a search needs of a graph. */
export interface SearchedGraph {
  counts(): MaybePromise<{ readonly nodes: number; readonly portals: number }>;
  /** Targets; portals are above PORTAL. */
  targetsOf(node: number): MaybePromise<Uint32Array>;
  portal(number: number): MaybePromise<Portal>;
  /** Whether it pays to announce what is read soon. */
  readonly announces: boolean;
  /** A hint that the edges of these nodes are read soon. */
  announce(nodes: Uint32Array): Promise<void>;
}

export interface PortalHit extends Portal {
  readonly portal: number;
  /** Node here that the portal was found from first. */
  readonly from: number;
}

export interface BfsHop {
  readonly depth: number;
  /** Found at this depth by this call, in no order. */
  readonly nodes: Uint32Array;
  /** Leading to nodes elsewhere that have this depth, seen from here. */
  readonly portals: readonly PortalHit[];
}

/** Which of the numbers from `first` on were found. */
export interface VisitedChunk {
  readonly first: number;
  readonly bits: Uint8Array;
}

/** Where a search stands, as plain values: the nodes to follow, and which were found. */
export interface BfsFrontier {
  readonly levels: readonly { readonly depth: number; readonly nodes: Uint32Array }[];
  readonly visited: readonly VisitedChunk[];
  readonly visitedPortals: readonly VisitedChunk[];
}

export interface BfsOptions {
  /** Nodes at this depth are found, not followed. Default: no bound. */
  readonly depthMax?: number;
  /** Stops behind the node with which this many are found. Default 10,000. */
  readonly limit?: number;
  /** Depth of the nodes to start from. Default 0. */
  readonly depth?: number;
  /** Goes on from here, with the nodes to start from added. */
  readonly frontier?: BfsFrontier;
  /** Called for each portal when it is found: time to tell its actor what comes. */
  readonly onPortal?: (hit: PortalHit, depth: number) => void;
}

export interface BfsResult {
  /** In order of depth. */
  readonly hops: readonly BfsHop[];
  readonly frontier: BfsFrontier;
  /** Nothing is left to follow, at any depth. */
  readonly done: boolean;
}

/** Bits of a chunk: 4 KiB, so that a search pays for the neighbourhoods it comes through, not for the whole graph. */
const CHUNK_BITS = 32_768;

/** A set of numbers, in chunks. */
class Bits {
  readonly #chunks = new Map<number, Uint8Array>();

  constructor(chunks: readonly VisitedChunk[]) {
    for (const { first, bits } of chunks) this.#chunks.set(first, bits.slice());
  }

  get chunks(): VisitedChunk[] {
    return [...this.#chunks].map(([first, bits]) => ({ first, bits }));
  }

  /** @returns whether it was clear */
  set(number: number): boolean {
    const at = number % CHUNK_BITS;
    let bits = this.#chunks.get(number - at);
    if (bits === undefined) this.#chunks.set(number - at, (bits = new Uint8Array(CHUNK_BITS / 8)));
    const byte = bits[at >>> 3] as number;
    const bit = 1 << (at & 7);
    bits[at >>> 3] = byte | bit;
    return (byte & bit) === 0;
  }
}

interface OpenHop {
  readonly nodes: number[];
  readonly portals: PortalHit[];
}

/** @throws `invalid-argument` for nodes that there are not, `corruption`, `io-error` */
export async function search(
  graph: SearchedGraph,
  start: number | readonly number[],
  options: BfsOptions,
): Promise<BfsResult> {
  const { depthMax = Infinity, limit = LIMIT, depth: startDepth = 0, frontier } = options;
  const { nodes: nodeCount, portals: portalCount } = await graph.counts();
  const visited = new Bits(frontier?.visited ?? []);
  const visitedPortals = new Bits(frontier?.visitedPortals ?? []);
  const levels = new Map<number, number[]>();
  const hops = new Map<number, OpenHop>();
  let found = 0;

  const hop = (depth: number): OpenHop => {
    let open = hops.get(depth);
    if (open === undefined) hops.set(depth, (open = { nodes: [], portals: [] }));
    return open;
  };
  const find = (node: number, depth: number): void => {
    if (!visited.set(node)) return; // B1
    let level = levels.get(depth);
    if (level === undefined) levels.set(depth, (level = []));
    level.push(node);
    hop(depth).nodes.push(node);
    found++;
  };

  for (const level of frontier?.levels ?? []) levels.set(level.depth, [...level.nodes]);
  for (const node of typeof start === "number" ? [start] : start) {
    if (node >>> 0 !== node || node >= nodeCount)
      throw new PinionError("invalid-argument", `node ${node} of ${nodeCount}`);
    find(node, startDepth);
  }

  while (found < limit) {
    const depth = Math.min(...levels.keys());
    if (depth >= depthMax || levels.size === 0) break;
    const level = Uint32Array.from(levels.get(depth) as number[]).sort(); // B2
    levels.delete(depth);
    let at = 0;
    for (; at < level.length && found < limit; at++) {
      if (graph.announces && at % NODES_AHEAD === 0)
        await graph.announce(level.subarray(at === 0 ? 0 : at + NODES_AHEAD, at + 2 * NODES_AHEAD));
      const node = level[at] as number;
      const came = graph.targetsOf(node);
      const targets = came instanceof Promise ? await came : came;
      const reached: number[] = [];
      for (const raw of targets) {
        const isPortal = raw >= PORTAL;
        const target = isPortal ? raw - PORTAL : raw;
        if (target >= (isPortal ? portalCount : nodeCount)) {
          throw new PinionError(
            "corruption",
            `node ${node} has an edge to ${target}: there is none`,
            {
              details: { node, target },
            },
          );
        }
        if (!isPortal) find(target, depth + 1);
        else if (visitedPortals.set(target)) reached.push(target);
      }
      for (const portal of reached) {
        const hit = { portal, from: node, ...(await graph.portal(portal)) };
        hop(depth + 1).portals.push(hit);
        options.onPortal?.(hit, depth + 1);
      }
    }
    if (at < level.length) levels.set(depth, [...level.subarray(at)]);
  }
  const inOrder = <T>(map: ReadonlyMap<number, T>): [number, T][] =>
    [...map].toSorted(([a], [b]) => a - b);
  return {
    hops: inOrder(hops).map(([depth, { nodes, portals }]) => ({
      depth,
      nodes: Uint32Array.from(nodes),
      portals,
    })),
    frontier: {
      levels: inOrder(levels).map(([depth, nodes]) => ({ depth, nodes: Uint32Array.from(nodes) })),
      visited: visited.chunks,
      visitedPortals: visitedPortals.chunks,
    },
    done: levels.size === 0,
  };
}
