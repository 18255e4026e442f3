/**
 * What a graph's extent holds besides what every tree does (map-header.ts, map-node.ts). Edges lie in *blocks*, immutable runs of pages in
 * compressed-sparse-row form, at most 64 KiB each; changes since the blocks were written lie in the tree, as do the blocks' directory, portals
 * and nodes' keys. Little endian, but for numbers in keys, which are big endian so that their order is that of numbers.
 *
 * An edge is (source, target, label), in this order. A target is a node of this partition below 2^31, or 2^31 + the number of a portal.
 *
 * | first byte of key | rest of key | value |
 * |---|---|---|
 * | 1 block | u32 source, u32 target, u16 label of its first edge | u32 first page, u32 bytes, u32 last source |
 * | 2 change | u32 source, u32 target, u16 label | u8 1 added (no block has it), 2 replaced, 3 removed; f32 weight |
 * | 3 portal | u32 number | u32 node there, the actor's key in UTF-8 |
 * | 4 portal by place | u32 node there, the actor's key | u32 number |
 * | 5 node by key | the node's key in UTF-8 | u32 node |
 * | 6 key of node | u32 node | the node's key |
 *
 * Block, s sources with m edges:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | s |
 * | 4 | 4 | m |
 * | 8 | 4 × s | sources, ascending |
 * | 8 + 4 s | 4 × (s + 1) | where the edges of each begin, and m |
 * | 12 + 8 s | 4 × m | targets |
 * | … | 4 × m | weights f32, where the graph has them |
 * | … | 2 × m | labels u16, where the graph has them |
 *
 * Counters of the header: 1 nodes, 2 edges, 3 edges in blocks, 4 changes, 5 portals, 6 blocks.
 */
import { copyOf } from "../extent/copies.ts";
import { damagedNode, type Bytes } from "./map-node.ts";

export const BLOCK_BYTES_MAX = 65_536;
export const NODES_MAX = 2 ** 31 - 1;
export const PORTAL = 2 ** 31;
export const LABEL_MAX = 0xffff;

export const Table = {
  block: 1,
  change: 2,
  portal: 3,
  place: 4,
  nodeByKey: 5,
  keyOfNode: 6,
} as const;
export const Change = { added: 1, replaced: 2, removed: 3 } as const;
export const Counter = {
  nodes: 1,
  edges: 2,
  blockEdges: 3,
  changes: 4,
  portals: 5,
  blocks: 6,
} as const;

/** Bit 1 of the header's byte 9. */
export const WITH_WEIGHTS = 1;
export const WITH_LABELS = 2;

export const TARGET_MAX = 2 ** 32 - 1;

/** What edges of a graph carry. */
export interface GraphFields {
  readonly weights: boolean;
  readonly labels: boolean;
}

/** Bytes of an edge in a block. */
export const edgeBytes = (fields: GraphFields): number =>
  4 + (fields.weights ? 4 : 0) + (fields.labels ? 2 : 0);

export const blockBytes = (sources: number, edges: number, fields: GraphFields): number =>
  12 + 8 * sources + edges * edgeBytes(fields);

// By hand: these keys are made and read for every edge that changes, and a DataView costs more than the key.
function putNumber(key: Bytes, at: number, number: number): void {
  key[at] = number >>> 24;
  key[at + 1] = number >>> 16;
  key[at + 2] = number >>> 8;
  key[at + 3] = number;
}

const numberAt = (key: Bytes, at: number): number =>
  (((key[at] as number) << 24) |
    ((key[at + 1] as number) << 16) |
    ((key[at + 2] as number) << 8) |
    (key[at + 3] as number)) >>>
  0;

/** Key of an edge in `Table.block` or `Table.change`. */
export function edgeKey(table: number, source: number, target: number, label: number): Bytes {
  const key = new Uint8Array(11);
  key[0] = table;
  putNumber(key, 1, source);
  putNumber(key, 5, target);
  key[9] = label >>> 8;
  key[10] = label;
  return key;
}

/** Above all edges of a source. */
export const afterSource = (table: number, source: number): Bytes => {
  const key = edgeKey(table, source, TARGET_MAX, LABEL_MAX);
  const after = new Uint8Array(12);
  after.set(key);
  return after;
};

export interface EdgeName {
  readonly source: number;
  readonly target: number;
  readonly label: number;
}

export function readEdgeKey(key: Bytes): EdgeName {
  if (key.length !== 11) throw damagedNode(0, `a key of ${key.length} bytes for an edge`);
  const label = ((key[9] as number) << 8) | (key[10] as number);
  return { source: numberAt(key, 1), target: numberAt(key, 5), label };
}

export function numberKey(table: number, number: number, text: Bytes = new Uint8Array(0)): Bytes {
  const key = new Uint8Array(5 + text.length);
  key[0] = table;
  putNumber(key, 1, number);
  key.set(text, 5);
  return key;
}

export function textKey(table: number, text: Bytes): Bytes {
  const key = new Uint8Array(1 + text.length);
  key[0] = table;
  key.set(text, 1);
  return key;
}

/** Everything in a table. */
export const tableRange = (table: number): { from: Bytes; to: Bytes } => ({
  from: Uint8Array.of(table),
  to: Uint8Array.of(table + 1),
});

/** Where a block lies, as the directory says it. */
export interface BlockEntry {
  readonly first: EdgeName;
  readonly page: number;
  readonly bytes: number;
  readonly lastSource: number;
}

export function readBlockEntry(key: Bytes, value: Bytes): BlockEntry {
  if (value.length !== 12) throw damagedNode(0, `an entry of ${value.length} bytes for a block`);
  const view = new DataView(value.buffer, value.byteOffset, 12);
  const bytes = view.getUint32(4, true);
  if (bytes === 0 || bytes > BLOCK_BYTES_MAX) throw damagedNode(0, `a block of ${bytes} bytes`);
  return {
    first: readEdgeKey(key),
    page: view.getUint32(0, true),
    bytes,
    lastSource: view.getUint32(8, true),
  };
}

export function blockEntryValue(page: number, bytes: number, lastSource: number): Bytes {
  const value = new Uint8Array(12);
  const view = new DataView(value.buffer);
  view.setUint32(0, page, true);
  view.setUint32(4, bytes, true);
  view.setUint32(8, lastSource, true);
  return value;
}

export interface EdgeChange {
  readonly op: number;
  readonly weight: number;
}

export function readChange(value: Bytes, start = 0, end = value.length): EdgeChange {
  const op = value[start] as number;
  if (end - start !== 5 || op < Change.added || op > Change.removed)
    throw damagedNode(0, "a change that is none");
  return {
    op,
    weight: weightAt(value, start + 1),
  };
}

const float = new Float32Array(1);
const floatBytes = new Uint8Array(float.buffer);

function weightAt(value: Bytes, at: number): number {
  for (let i = 0; i < 4; i++) floatBytes[i] = value[at + i] as number;
  return float[0] as number;
}

export function changeValue(op: number, weight: number): Bytes {
  const value = new Uint8Array(5);
  value[0] = op;
  float[0] = weight;
  value.set(floatBytes, 1);
  return value;
}

/** Edges in their order; weights and labels are there for graphs that have them. */
export interface EdgeList {
  readonly sources: number[];
  readonly targets: number[];
  readonly weights: number[];
  readonly labels: number[];
}

export const emptyEdges = (): EdgeList => ({ sources: [], targets: [], weights: [], labels: [] });

/** A block read where it lies. What indices say is checked by whoever follows them (`startOf`, `endOf`). */
export class GraphBlock {
  readonly sources: Uint32Array;
  readonly offsets: Uint32Array;
  readonly targets: Uint32Array;
  readonly weights: Float32Array | undefined;
  readonly labels: Uint16Array | undefined;
  /** The sources are consecutive: the place of one is known without looking. */
  readonly #isDense: boolean;

  /** @throws `corruption` */
  constructor(page: number, stored: Bytes, fields: GraphFields) {
    // Typed arrays need aligned memory; that of extents is, a copy need not be made.
    const bytes = stored.byteOffset % 4 === 0 ? stored : new Uint8Array(copyOf(stored));
    const { buffer, byteOffset } = bytes;
    const [s, m] = bytes.length < 12 ? [0, 0] : new Uint32Array(buffer, byteOffset, 2);
    const sources = s as number;
    const edges = m as number;
    if (sources === 0 || edges === 0 || blockBytes(sources, edges, fields) !== bytes.length)
      throw damagedNode(page, `a block of ${sources} sources and ${edges} edges`);
    let at = byteOffset + 8;
    this.sources = new Uint32Array(buffer, at, sources);
    this.offsets = new Uint32Array(buffer, (at += 4 * sources), sources + 1);
    this.targets = new Uint32Array(buffer, (at += 4 * (sources + 1)), edges);
    at += 4 * edges;
    this.weights = fields.weights ? new Float32Array(buffer, at, edges) : undefined;
    if (fields.weights) at += 4 * edges;
    this.labels = fields.labels ? new Uint16Array(buffer, at, edges) : undefined;
    this.#isDense = this.lastSource - this.firstSource === sources - 1;
  }

  get firstSource(): number {
    return this.sources[0] as number;
  }

  get lastSource(): number {
    return this.sources[this.sources.length - 1] as number;
  }

  /** Index of a source; −1: it has no edges here. */
  indexOf(source: number): number {
    const { sources } = this;
    if (this.#isDense) {
      const index = source - this.firstSource;
      return sources[index] === source ? index : -1;
    }
    let low = 0;
    let high = sources.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((sources[middle] as number) < source) low = middle + 1;
      else high = middle;
    }
    return sources[low] === source ? low : -1;
  }

  /** First and last + 1 edge of a source by its index. @throws `corruption` */
  startOf(index: number): number {
    const start = this.offsets[index] as number;
    if (start > this.targets.length) throw damagedNode(0, "edges outside of their block");
    return start;
  }

  endOf(index: number): number {
    const end = this.offsets[index + 1] as number;
    if (end > this.targets.length || end < (this.offsets[index] as number))
      throw damagedNode(0, "edges outside of their block");
    return end;
  }

  /** Place of an edge; −1: it is not here. */
  find(edge: EdgeName): number {
    const index = this.indexOf(edge.source);
    if (index < 0) return -1;
    let low = this.startOf(index);
    const end = this.endOf(index);
    let high = end;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const target = this.targets[middle] as number;
      const isBelow =
        target < edge.target || (target === edge.target && this.labelAt(middle) < edge.label);
      if (isBelow) low = middle + 1;
      else high = middle;
    }
    const isHere =
      low < end && this.targets[low] === edge.target && this.labelAt(low) === edge.label;
    return isHere ? low : -1;
  }

  labelAt(place: number): number {
    return this.labels?.[place] ?? 0;
  }

  weightAt(place: number): number {
    return this.weights?.[place] ?? 1;
  }

  /** All edges, behind those of `list`. */
  addTo(list: EdgeList): void {
    let last = 0;
    for (let index = 0; index < this.sources.length; index++) {
      if (this.startOf(index) !== last) throw damagedNode(0, "a block whose edges overlap");
      last = this.endOf(index);
      for (let place = this.startOf(index); place < last; place++) {
        list.sources.push(this.sources[index] as number);
        list.targets.push(this.targets[place] as number);
        list.weights.push(this.weightAt(place));
        list.labels.push(this.labelAt(place));
      }
    }
  }
}

/** Edges `from … to` of a list as a block. */
export function encodeBlock(list: EdgeList, from: number, to: number, fields: GraphFields): Bytes {
  let sources = 0;
  for (let i = from; i < to; i++)
    if (i === from || list.sources[i] !== list.sources[i - 1]) sources++;
  const edges = to - from;
  const bytes = new Uint8Array(blockBytes(sources, edges, fields));
  const words = new Uint32Array(bytes.buffer, 0, 3 + 2 * sources + edges);
  words[0] = sources;
  words[1] = edges;
  let index = -1;
  for (let i = from; i < to; i++) {
    if (i === from || list.sources[i] !== list.sources[i - 1]) {
      index++;
      words[2 + index] = list.sources[i] as number;
      words[2 + sources + index] = i - from;
    }
    words[3 + 2 * sources + i - from] = list.targets[i] as number;
  }
  words[2 + 2 * sources] = edges;
  let at = 4 * words.length;
  if (fields.weights) {
    new Float32Array(bytes.buffer, at, edges).set(list.weights.slice(from, to));
    at += 4 * edges;
  }
  if (fields.labels) new Uint16Array(bytes.buffer, at, edges).set(list.labels.slice(from, to));
  return bytes;
}
