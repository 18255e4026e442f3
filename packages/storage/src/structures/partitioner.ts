/**
 * Cuts a graph into parts of about the same size so that few edges lead from one to another, by label propagation: every node takes the label
 * that most of its neighbours have, as long as that label's group has room. First freely into many small groups, which are then packed
 * into parts, then among the parts. Pure: the same input and seed give the same parts.
 *
 * Raghavan, Albert and Kumara, "Near linear time algorithm to detect community structures", 2007; with bounded sizes: Meyerhenke, Sanders
 * and Schulz, "Partitioning complex networks via size-constrained clustering", 2014.
 *
 * L1 no part holds more than ceil(nodes / parts × balance) nodes.
 * L2 time and memory are linear in nodes and edges, times the rounds, which are bounded.
 */
import { PinionError, type Rng } from "@pinion/core";

const ROUNDS_MAX = 12;
/** Groups are at most a part's room divided by this, so that they pack well. */
const GROUPS_PER_PART = 8;
/** A round that moves less than this share of the nodes is the last. */
const MOVED_SHARE_MIN = 0.002;

/** Edge i leads from `sources[i]` to `targets[i]`; both directions weigh the same. */
export interface EdgeArrays {
  readonly nodes: number;
  readonly sources: Uint32Array;
  readonly targets: Uint32Array;
}

export interface PartitionOptions {
  readonly parts: number;
  /** The largest part, relative to nodes / parts: at least 1. Default 1.05. */
  readonly balance?: number;
  readonly rng: Rng;
}

export interface Partition {
  /** Of each node: 0 … parts − 1. */
  readonly partOf: Uint32Array;
  readonly sizes: Uint32Array;
  /** Edges between parts, and their share of all. */
  readonly cutEdges: number;
  readonly cutShare: number;
  /** Of the largest part, relative to nodes / parts. */
  readonly balance: number;
}

/** Neighbours of every node, in both directions. */
class Adjacency {
  readonly offsets: Uint32Array;
  readonly neighbours: Uint32Array;

  constructor({ nodes, sources, targets }: EdgeArrays) {
    const offsets = new Uint32Array(nodes + 1);
    for (const ends of [sources, targets]) for (const node of ends) (offsets[node + 1] as number)++;
    for (let node = 0; node < nodes; node++)
      (offsets[node + 1] as number) += offsets[node] as number;
    const next = offsets.slice(0, nodes);
    const neighbours = new Uint32Array(2 * sources.length);
    for (let i = 0; i < sources.length; i++) {
      const [a, b] = [sources[i] as number, targets[i] as number];
      neighbours[next[a]!++] = b;
      neighbours[next[b]!++] = a;
    }
    this.offsets = offsets;
    this.neighbours = neighbours;
  }
}

/** @throws `invalid-argument` */
export function partitionByLabelPropagation(
  edges: EdgeArrays,
  options: PartitionOptions,
): Partition {
  const { nodes, sources, targets } = edges;
  const { parts, balance = 1.05, rng } = options;
  if (parts >>> 0 !== parts || parts < 1 || !(balance >= 1) || sources.length !== targets.length)
    throw new PinionError("invalid-argument", `${parts} parts with a balance of ${balance}`);
  for (const ends of [sources, targets]) {
    const wrong = ends.find((node) => node >= nodes);
    if (wrong !== undefined) throw new PinionError("invalid-argument", `node ${wrong} of ${nodes}`);
  }
  const room = Math.ceil((nodes / parts) * balance); // L1
  const adjacency = new Adjacency(edges);

  const groups = Uint32Array.from({ length: nodes }, (_, node) => node);
  const groupSizes = new Uint32Array(nodes).fill(1);
  propagate(adjacency, groups, groupSizes, Math.max(1, Math.floor(room / GROUPS_PER_PART)), rng);

  const partOf = pack(adjacency, groups, groupSizes, parts, room);
  const sizes = new Uint32Array(parts);
  for (const part of partOf) (sizes[part] as number)++;
  propagate(adjacency, partOf, sizes, room, rng);
  return { partOf, ...measurePartition(edges, partOf, sizes) };
}

export function measurePartition(
  { nodes, sources, targets }: EdgeArrays,
  partOf: Uint32Array,
  sizes: Uint32Array,
): Omit<Partition, "partOf"> {
  let cutEdges = 0;
  for (let i = 0; i < sources.length; i++)
    if (partOf[sources[i] as number] !== partOf[targets[i] as number]) cutEdges++;
  const largest = sizes.reduce((a, b) => Math.max(a, b), 0);
  return {
    sizes,
    cutEdges,
    cutShare: sources.length === 0 ? 0 : cutEdges / sources.length,
    balance: nodes === 0 ? 1 : largest / (nodes / sizes.length),
  };
}

/** Moves nodes, in random order, to the label that most of their neighbours have and that has room; rounds of it until few move. */
function propagate(
  { offsets, neighbours }: Adjacency,
  labels: Uint32Array,
  sizes: Uint32Array,
  room: number,
  rng: Rng,
): void {
  const order = Uint32Array.from(labels.keys());
  const votes = new Uint32Array(sizes.length);
  for (let round = 0; round < ROUNDS_MAX; round++) {
    shuffle(order, rng);
    let moved = 0;
    for (const node of order) {
      const own = labels[node] as number;
      const [from, to] = [offsets[node] as number, offsets[node + 1] as number];
      for (let i = from; i < to; i++)
        (votes[labels[neighbours[i] as number] as number] as number)++;
      let best = own;
      let bestVotes = votes[own] as number;
      let ties = 1;
      for (let i = from; i < to; i++) {
        const label = labels[neighbours[i] as number] as number;
        const count = votes[label] as number;
        votes[label] = 0; // each label once, and all are clear afterwards
        if (label === own || count < bestVotes || count === 0 || (sizes[label] as number) >= room)
          continue;
        // Among equals chance decides, so that no label spreads for its number; staying is one of them.
        const isTie = count === bestVotes;
        ties = isTie ? ties + 1 : 1;
        if (isTie && rng.below(ties) !== 0) continue;
        best = label;
        bestVotes = count;
      }
      votes[own] = 0;
      if (best === own) continue;
      labels[node] = best;
      (sizes[own] as number)--;
      (sizes[best] as number)++;
      moved++;
    }
    if (moved < order.length * MOVED_SHARE_MIN) return;
  }
}

function shuffle(order: Uint32Array, rng: Rng): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = rng.below(i + 1);
    const swapped = order[i] as number;
    order[i] = order[j] as number;
    order[j] = swapped;
  }
}

/** Puts groups, large ones first, into the part that most of their edges lead to among those with room. */
function pack(
  { offsets, neighbours }: Adjacency,
  groups: Uint32Array,
  groupSizes: Uint32Array,
  parts: number,
  room: number,
): Uint32Array {
  const nodes = groups.length;
  const starts = new Uint32Array(nodes + 1);
  for (let group = 0; group < nodes; group++)
    starts[group + 1] = (starts[group] as number) + (groupSizes[group] as number);
  const members = new Uint32Array(nodes);
  const next = starts.slice(0, nodes);
  for (let node = 0; node < nodes; node++) members[next[groups[node] as number]!++] = node;
  const bySize = Uint32Array.from(groupSizes.keys())
    .filter((group) => (groupSizes[group] as number) > 0)
    .sort((a, b) => (groupSizes[b] as number) - (groupSizes[a] as number) || a - b);

  const none = parts;
  const partOf = new Uint32Array(nodes).fill(none);
  const loads = new Uint32Array(parts);
  const votes = new Uint32Array(parts + 1);
  for (const group of bySize) {
    const own = members.subarray(starts[group], starts[group + 1]);
    votes.fill(0);
    for (const node of own)
      for (let i = offsets[node] as number; i < (offsets[node + 1] as number); i++)
        (votes[partOf[neighbours[i] as number] as number] as number)++;
    const fits = (part: number): boolean => (loads[part] as number) + own.length <= room;
    let best = none;
    for (let part = 0; part < parts; part++) {
      if (!fits(part)) continue;
      const order = best === none ? 1 : (votes[part] as number) - (votes[best] as number);
      const isLighter = best !== none && (loads[part] as number) < (loads[best] as number);
      if (order > 0 || (order === 0 && isLighter)) best = part;
    }
    if (best !== none) {
      for (const node of own) partOf[node] = best;
      loads[best] = (loads[best] as number) + own.length;
    } else {
      // No part takes it whole; there is room for every node somewhere (L1).
      for (const node of own) {
        const part = loads.indexOf(loads.reduce((a, b) => Math.min(a, b)));
        partOf[node] = part;
        (loads[part] as number)++;
      }
    }
  }
  return partOf;
}
