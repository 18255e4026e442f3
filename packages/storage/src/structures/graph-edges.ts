/**
 * Edges of a graph, from blocks and changes together. Everything here is part of an operation (map-pages.ts).
 *
 * G1 an edge is in at most one block: the last one whose first edge is not above it. Edges of one source lie in one block, or in
 *    several that follow each other.
 * G2 a change says of an edge what is true; its `op` says also whether a block has the edge.
 */
import {
  afterSource,
  Change,
  Counter,
  edgeKey,
  GraphBlock,
  readBlockEntry,
  readChange,
  readEdgeKey,
  Table,
  tableRange,
  type BlockEntry,
  type EdgeChange,
  type EdgeName,
  type GraphFields,
} from "./graph-format.ts";
import { Neighbours } from "./graph-neighbours.ts";
import { floorEntry, LeafWalk, storedValue } from "./map-cursor.ts";
import { damagedNode, keyAt, type Bytes } from "./map-node.ts";
import type { PageStore } from "./map-pages.ts";
import { MapTree } from "./map-tree.ts";

/** Edges of one source in one block. */
interface Piece {
  readonly block: GraphBlock;
  readonly start: number;
  readonly end: number;
}

export interface NamedChange extends EdgeName, EdgeChange {}

const NO_CHANGES: readonly NamedChange[] = [];

export class GraphEdges {
  readonly store: PageStore;
  readonly tree: MapTree;
  readonly fields: GraphFields;
  /** The block that was used last, as of a generation: neighbours of nodes in a row come from it. */
  #block: GraphBlock | undefined;
  #generation = -1;

  constructor(store: PageStore, fields: GraphFields) {
    this.store = store;
    this.tree = new MapTree(store);
    this.fields = fields;
  }

  /** The block that an edge is in, if it is in one (G1). */
  entryOf(source: number, target: number, label: number): BlockEntry | undefined {
    const found = floorEntry(
      this.store,
      edgeKey(Table.block, source, target, label),
      Uint8Array.of(Table.block),
    );
    if (found === undefined) return undefined;
    return entryAt(found.leaf, found.slot);
  }

  /** The first block whose first edge is not below `from`. */
  nextEntry(from: Bytes): BlockEntry | undefined {
    const { to } = tableRange(Table.block);
    const leaf = new LeafWalk(this.store, { from, to }, false).nextNow();
    return leaf === undefined ? undefined : entryAt(leaf.bytes, leaf.from);
  }

  block(entry: BlockEntry): GraphBlock {
    const block = new GraphBlock(entry.page, this.store.run(entry.page, entry.bytes), this.fields);
    const isAsSaid =
      block.firstSource === entry.first.source && block.lastSource === entry.lastSource;
    if (!isAsSaid) throw damagedNode(entry.page, "the block is not the one that its entry names");
    return block;
  }

  /** What is stored of an edge in a block. */
  findInBlock(edge: EdgeName): { readonly weight: number } | undefined {
    if (this.store.header.counters[Counter.blocks] === 0) return undefined;
    const entry = this.entryOf(edge.source, edge.target, edge.label);
    if (entry === undefined) return undefined;
    const block = this.block(entry);
    const place = block.find(edge);
    return place < 0 ? undefined : { weight: block.weightAt(place) };
  }

  /** The change of an edge that is not in a block yet. */
  findChange(key: Bytes): EdgeChange | undefined {
    const { tree } = this;
    if (!tree.find(key, key.length)) return undefined;
    return readChange(tree.value, tree.valueStart, tree.valueEnd);
  }

  /** Changes of one source in order, or of all, up to `countMax`. */
  changes(from: Bytes, to: Bytes, countMax = Infinity): NamedChange[] {
    const found: NamedChange[] = [];
    if (this.store.header.counters[Counter.changes] === 0) return found;
    const walk = new LeafWalk(this.store, { from, to }, false);
    for (let leaf = walk.nextNow(); leaf !== undefined; leaf = walk.nextNow()) {
      for (let slot = leaf.from; slot < leaf.to && found.length < countMax; slot++) {
        const { start, end } = storedValue(leaf.bytes, slot);
        found.push({
          ...readEdgeKey(keyAt(leaf.bytes, slot)),
          ...readChange(leaf.bytes, start, end),
        });
      }
      if (found.length >= countMax) break;
    }
    return found;
  }

  #changesOf(source: number): readonly NamedChange[] {
    if (this.store.header.counters[Counter.changes] === 0) return NO_CHANGES;
    return this.changes(edgeKey(Table.change, source, 0, 0), afterSource(Table.change, source));
  }

  degree(source: number): number {
    let degree = 0;
    for (const { start, end } of this.#pieces(source)) degree += end - start;
    for (const { op } of this.#changesOf(source)) {
      if (op === Change.added) degree++;
      else if (op === Change.removed) degree--;
    }
    return Math.max(0, degree);
  }

  neighbours(source: number): Neighbours {
    const { extent } = this.store;
    const changes = this.#changesOf(source);
    const block = this.#blockAround(source);
    if (changes.length === 0 && block !== undefined) {
      const index = block.indexOf(source);
      if (index < 0) return Neighbours.none(extent);
      return Neighbours.ofBlock(extent, block, block.startOf(index), block.endOf(index));
    }
    const pieces = this.#pieces(source);
    const [piece] = pieces;
    if (changes.length > 0 || pieces.length > 1) return this.#merged(pieces, changes);
    if (piece === undefined) return Neighbours.none(extent);
    return Neighbours.ofBlock(extent, piece.block, piece.start, piece.end);
  }

  /** The block that was used last, if the source is strictly inside: then no other has edges of it (G1). */
  #blockAround(source: number): GraphBlock | undefined {
    const block = this.#block;
    if (block === undefined || this.#generation !== this.store.extent.generation) return undefined;
    return source > block.firstSource && source < block.lastSource ? block : undefined;
  }

  #pieces(source: number): Piece[] {
    const pieces: Piece[] = [];
    if (this.store.header.counters[Counter.blocks] === 0) return pieces;
    const around = this.#blockAround(source);
    if (around !== undefined) {
      const index = around.indexOf(source);
      if (index >= 0)
        pieces.push({ block: around, start: around.startOf(index), end: around.endOf(index) });
      return pieces;
    }
    let entry = this.entryOf(source, 0, 0);
    // Without one before it, the first block may begin with this source.
    entry ??= this.nextEntry(edgeKey(Table.block, source, 0, 0));
    const blocks = this.store.header.counters[Counter.blocks] as number;
    for (let count = 0; entry !== undefined && entry.first.source <= source; count++) {
      if (count > blocks) throw damagedNode(entry.page, "more blocks than counted");
      if (entry.lastSource >= source) {
        const block = this.block(entry);
        this.#block = block;
        this.#generation = this.store.extent.generation;
        const index = block.indexOf(source);
        if (index >= 0)
          pieces.push({ block, start: block.startOf(index), end: block.endOf(index) });
      }
      if (entry.lastSource > source) break;
      const { first } = entry;
      const after = new Uint8Array(12); // the next key: one zero byte more
      after.set(edgeKey(Table.block, first.source, first.target, first.label));
      entry = this.nextEntry(after);
    }
    return pieces;
  }

  #merged(pieces: readonly Piece[], changes: readonly NamedChange[]): Neighbours {
    let count = changes.length;
    for (const { start, end } of pieces) count += end - start;
    const targets = new Uint32Array(count);
    const weights = this.fields.weights ? new Float32Array(count) : undefined;
    const labels = this.fields.labels ? new Uint16Array(count) : undefined;
    let length = 0;
    const add = (target: number, label: number, weight: number): void => {
      targets[length] = target;
      if (labels) labels[length] = label;
      if (weights) weights[length] = weight;
      length++;
    };
    let next = 0;
    /** Takes changes below an edge; one of the edge itself hides what the block says. */
    const takeChanges = (target: number, label: number): boolean => {
      let isHidden = false;
      for (; next < changes.length; next++) {
        const change = changes[next] as NamedChange;
        const order = change.target - target || change.label - label;
        if (order > 0) break;
        if (order === 0) isHidden = true;
        if (change.op !== Change.removed) add(change.target, change.label, change.weight);
      }
      return isHidden;
    };
    for (const { block, start, end } of pieces) {
      for (let place = start; place < end; place++) {
        const target = block.targets[place] as number;
        const label = block.labelAt(place);
        if (!takeChanges(target, label)) add(target, label, block.weightAt(place));
      }
    }
    takeChanges(Infinity, 0);
    return new Neighbours(undefined, targets, weights, labels, 0, length);
  }
}

function entryAt(leaf: Bytes, slot: number): BlockEntry {
  const { start, end } = storedValue(leaf, slot);
  return readBlockEntry(keyAt(leaf, slot), leaf.subarray(start, end));
}
