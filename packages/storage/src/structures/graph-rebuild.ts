/**
 * Puts changes of a graph into blocks, a block at a time: the first change in order, all that belong to the same block, the
 * block itself, and new blocks for what comes of it. After every step the graph is whole, so a rebuild may stop anywhere.
 *
 * R1 a step takes at most `changesMax` changes and two blocks, so it writes less than 1 MiB, and as much again of pages of the tree.
 * R2 a block that would be small takes in the next one.
 */
import type { GraphEdges, NamedChange } from "./graph-edges.ts";
import {
  BLOCK_BYTES_MAX,
  blockBytes,
  blockEntryValue,
  Change,
  Counter,
  edgeBytes,
  edgeKey,
  emptyEdges,
  encodeBlock,
  Table,
  tableRange,
  type BlockEntry,
  type EdgeList,
  type EdgeName,
  type GraphFields,
} from "./graph-format.ts";
import { allocatePages, releasePages } from "./map-allocator.ts";
import { damagedNode, PAGE_BYTES, type Bytes } from "./map-node.ts";

/** On extents that are in memory; elsewhere a step that waits for many pages would begin again for each. */
export const STEP_CHANGES_RESIDENT = 16_384;
export const STEP_CHANGES_ELSEWHERE = 1_024;
const SMALL_BLOCK_BYTES = BLOCK_BYTES_MAX / 4;

/** One step. Part of an operation. @returns whether there is more to do @throws `corruption` */
export function rebuildStep(edges: GraphEdges, changesMax: number): boolean {
  const { store, tree } = edges;
  const { from, to } = tableRange(Table.change);
  const waiting = edges.changes(from, to, changesMax);
  const [first] = waiting;
  const header = store.touchHeader();
  const { counters } = header;
  if (first === undefined) {
    counters[Counter.changes] = 0;
    return false;
  }
  const old = edges.entryOf(first.source, first.target, first.label);
  const next = edges.nextEntry(keyBehind(old?.first ?? first));
  const isBehind = (change: NamedChange): boolean =>
    next !== undefined && compareEdges(change, next.first) >= 0;
  const end = waiting.findIndex(isBehind);
  const changes = end < 0 ? waiting : waiting.slice(0, end);
  if (changes.length === 0) throw damagedNode(0, "blocks are not in their order");

  const before = emptyEdges();
  const replaced: BlockEntry[] = [];
  if (old !== undefined) {
    edges.block(old).addTo(before);
    replaced.push(old);
  }
  const after = mergeEdges(before, changes);
  let taken = before.sources.length;
  if (next !== undefined && after.sources.length * edgeBytes(edges.fields) < SMALL_BLOCK_BYTES) {
    const block = edges.block(next); // R2
    block.addTo(after);
    taken += block.targets.length;
    replaced.push(next);
  }

  for (const entry of replaced) {
    const key = keyOfEntry(entry.first);
    tree.delete(key, key.length);
    releasePages(store, entry.page, Math.ceil(entry.bytes / PAGE_BYTES));
  }
  for (const change of changes) {
    const key = edgeKey(Table.change, change.source, change.target, change.label);
    tree.delete(key, key.length);
  }
  let born = 0;
  for (const [start, stop] of cutBlocks(after, edges.fields)) {
    const bytes = encodeBlock(after, start, stop, edges.fields);
    const page = allocatePages(store, Math.ceil(bytes.length / PAGE_BYTES));
    store.writeRun(page, bytes);
    const key = edgeKey(
      Table.block,
      after.sources[start] as number,
      after.targets[start] as number,
      after.labels[start] as number,
    );
    tree.set(
      key,
      key.length,
      blockEntryValue(page, bytes.length, after.sources[stop - 1] as number),
    );
    born++;
  }
  counters[Counter.changes] = Math.max(0, (counters[Counter.changes] as number) - changes.length);
  counters[Counter.blocks] =
    Math.max(0, (counters[Counter.blocks] as number) - replaced.length) + born;
  counters[Counter.blockEdges] =
    Math.max(0, (counters[Counter.blockEdges] as number) - taken) + after.sources.length;
  return (counters[Counter.changes] as number) > 0;
}

const keyOfEntry = ({ source, target, label }: EdgeName): Bytes =>
  edgeKey(Table.block, source, target, label);

function keyBehind(edge: EdgeName): Bytes {
  const key = new Uint8Array(12);
  key.set(keyOfEntry(edge));
  return key;
}

const compareEdges = (a: EdgeName, b: EdgeName): number =>
  a.source - b.source || a.target - b.target || a.label - b.label;

/** Both in their order. */
function mergeEdges(before: EdgeList, changes: readonly NamedChange[]): EdgeList {
  const after = emptyEdges();
  const add = (edge: EdgeName, weight: number): void => {
    after.sources.push(edge.source);
    after.targets.push(edge.target);
    after.labels.push(edge.label);
    after.weights.push(weight);
  };
  let next = 0;
  const takeChanges = (edge: EdgeName | undefined): boolean => {
    let isHidden = false;
    for (; next < changes.length; next++) {
      const change = changes[next] as NamedChange;
      const order = edge === undefined ? -1 : compareEdges(change, edge);
      if (order > 0) break;
      if (order === 0) isHidden = true;
      if (change.op !== Change.removed) add(change, change.weight);
    }
    return isHidden;
  };
  for (let i = 0; i < before.sources.length; i++) {
    const edge = {
      source: before.sources[i] as number,
      target: before.targets[i] as number,
      label: before.labels[i] as number,
    };
    if (!takeChanges(edge)) add(edge, before.weights[i] as number);
  }
  takeChanges(undefined);
  return after;
}

/** Cuts edges into blocks of about the same size, between sources where that is possible. */
function cutBlocks(list: EdgeList, fields: GraphFields): [number, number][] {
  const { sources } = list;
  const perEdge = edgeBytes(fields);
  let total = sources.length * perEdge;
  for (let i = 0; i < sources.length; i++) if (sources[i] !== sources[i - 1]) total += 8;
  const share = total / Math.ceil(total / (BLOCK_BYTES_MAX - PAGE_BYTES));
  const blocks: [number, number][] = [];
  const none = blockBytes(0, 0, fields);
  let start = 0;
  let bytes = none;
  for (let i = 0; i < sources.length; i++) {
    const isNew = sources[i] !== sources[i - 1];
    const more = perEdge + (isNew || i === start ? 8 : 0);
    if (i > start && (bytes + more > BLOCK_BYTES_MAX || (isNew && bytes >= share))) {
      blocks.push([start, i]);
      start = i;
      bytes = none + perEdge + 8;
    } else bytes += more;
  }
  if (start < sources.length) blocks.push([start, sources.length]);
  return blocks;
}
