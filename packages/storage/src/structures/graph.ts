/**
 * `graph`: one partition of a directed graph. Nodes are numbers from 0, in the order they were added, with a key each if one is wanted; edges lead
 * to nodes of the partition or through *portals* to nodes that other actors hold.
 *
 * Most edges lie in immutable blocks that are scanned at the speed of arrays; changes since lie in a tree (graph-format.ts). When they
 * are a quarter of the edges in blocks, `needsRebuild` says so, and `rebuild` puts them into blocks in steps that fit a turn.
 *
 * An edge is named by source, target and label: adding one that is there replaces its weight.
 */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { GROW_BYTES } from "../extent/growth.ts";
import { search, type BfsOptions, type BfsResult, type Portal } from "./graph-bfs.ts";
import { GraphEdges } from "./graph-edges.ts";
import {
  Change,
  changeValue,
  Counter,
  edgeKey,
  LABEL_MAX,
  NODES_MAX,
  numberKey,
  PORTAL,
  readBlockEntry,
  readChange,
  Table,
  TARGET_MAX,
  textKey,
  WITH_LABELS,
  WITH_WEIGHTS,
  type EdgeName,
  type GraphFields,
} from "./graph-format.ts";
import type { Neighbours } from "./graph-neighbours.ts";
import { initialize } from "./map-allocator.ts";
import { rebuildStep, STEP_CHANGES_ELSEWHERE, STEP_CHANGES_RESIDENT } from "./graph-rebuild.ts";
import type { TreeFormat } from "./map-header.ts";
import { KEY_BYTES_MAX, PAGE_BYTES, u32, type Bytes } from "./map-node.ts";
import { PageStore } from "./map-pages.ts";
import { verifyTree, type TreeReport } from "./map-verify.ts";
import {
  damagedStructure,
  resolveGrow,
  type MaybePromise,
  type StructureDefinition,
} from "./structure.ts";

const VERSION = 1;
/** storage.md: a quarter; below this many it is not worth the writes. */
const REBUILD_SHARE = 0.25;
const REBUILD_CHANGES_MIN = 1024;
/** A rebuild stops behind this many bytes: a quarter of what a turn may write. */
const REBUILD_BYTES = 4 * 2 ** 20;
const TEXT_BYTES_MAX = KEY_BYTES_MAX - 5;

export interface GraphOptions {
  /** Edges have an f32 each, else all weigh 1. Default false. */
  readonly weights?: boolean;
  /** Edges have a u16 each, which is part of their name. Default false. */
  readonly labels?: boolean;
  /** Bytes, or text such as "16MiB": 4 MiB … 128 MiB. Default 64 MiB. */
  readonly grow?: string | number;
}

export interface EdgeOptions {
  /** Default 1. */
  readonly weight?: number;
  /** Default 0. */
  readonly label?: number;
}

export interface GraphCounts {
  readonly nodes: number;
  readonly edges: number;
  readonly portals: number;
  /** Immutable blocks, and the edges in them. */
  readonly blocks: number;
  readonly blockEdges: number;
  /** Edges that were added, replaced or removed since. */
  readonly changes: number;
}

/** A graph during one turn. All methods throw `corruption` and `io-error`; those that change something `readonly-violation` and `write-set-too-large`. */
export interface GraphHandle {
  counts(): MaybePromise<GraphCounts>;
  /**
   * @param key a name of the node; adding a key again gives the node that has it
   * @returns the node's number @throws `invalid-argument` for more than 2^31 − 1 nodes, or a key of more than 1,019 bytes
   */
  addNode(key?: string): Promise<number>;
  nodeOf(key: string): Promise<number | undefined>;
  keyOf(node: number): MaybePromise<string | undefined>;
  /**
   * @param to a node, or a node of another partition
   * @returns whether the edge is new @throws `invalid-argument` for nodes that there are not
   */
  addEdge(from: number, to: number | Portal, options?: EdgeOptions): Promise<boolean>;
  /** @returns whether there was one */
  removeEdge(from: number, to: number | Portal, label?: number): Promise<boolean>;
  hasEdge(from: number, to: number | Portal, label?: number): Promise<boolean>;
  /** Where a portal leads. @throws `not-found` */
  portal(number: number): MaybePromise<Portal>;
  /** Edges that leave a node, at once. @throws `not-resident` when a page of them is not in memory: `readNeighbours` */
  neighbours(node: number): Neighbours;
  /** As `neighbours`, and brings in what is missing. */
  readNeighbours(node: number): MaybePromise<Neighbours>;
  degree(node: number): MaybePromise<number>;
  /** Breadth-first search: see graph-bfs.ts. */
  bfs(start: number | readonly number[], options?: BfsOptions): Promise<BfsResult>;
  /** Whether changes are a quarter of the edges in blocks. */
  needsRebuild(): Promise<boolean>;
  /**
   * Puts changes into blocks. Leaves the graph whole wherever it stops, and its edges the same.
   * @param bytesMax stops behind this many written bytes; default 4 MiB
   * @returns whether all are in blocks; else call again, in another turn
   */
  rebuild(bytesMax?: number): Promise<boolean>;
  /** Reads everything and checks it. @throws `corruption` */
  verify(): Promise<TreeReport>;
}

/** Declares a partition of a graph. @throws `config-invalid` */
export function graph(options: GraphOptions = {}): StructureDefinition<GraphHandle> {
  const { weights = false, labels = false } = options;
  const fields: GraphFields = { weights, labels };
  const flags = (weights ? WITH_WEIGHTS : 0) | (labels ? WITH_LABELS : 0);
  const format: TreeFormat = { kind: "graph", version: VERSION, flavour: [flags, 0] };
  const cap = resolveGrow(options.grow, GROW_BYTES.default, {
    min: GROW_BYTES.graphMin,
    max: GROW_BYTES.graphMax,
  });
  return {
    kind: "graph",
    version: VERSION,
    options: Object.freeze({ ...cap, weights, labels }),
    open: (extent) => new Graph(extent, format, fields),
  };
}

function textOf(text: string, what: string): Bytes {
  if (typeof text !== "string" || !text.isWellFormed() || Buffer.byteLength(text) > TEXT_BYTES_MAX)
    throw new PinionError("invalid-argument", `${what} is text of at most ${TEXT_BYTES_MAX} bytes`);
  return new Uint8Array(Buffer.from(text, "utf8"));
}

const readText = (bytes: Bytes, start: number, end: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("utf8");

function numberValue(number: number): Bytes {
  const value = new Uint8Array(4);
  new DataView(value.buffer).setUint32(0, number, true);
  return value;
}

class Graph implements GraphHandle {
  readonly #store: PageStore;
  readonly #edges: GraphEdges;

  constructor(extent: ExtentAccess, format: TreeFormat, fields: GraphFields) {
    this.#store = new PageStore(extent, format);
    this.#edges = new GraphEdges(this.#store, fields);
  }

  get announces(): boolean {
    return !this.#store.extent.resident;
  }

  counts(): MaybePromise<GraphCounts> {
    return this.#store.read(() => ({
      nodes: this.#count(Counter.nodes),
      edges: this.#count(Counter.edges),
      portals: this.#count(Counter.portals),
      blocks: this.#count(Counter.blocks),
      blockEdges: this.#count(Counter.blockEdges),
      changes: this.#count(Counter.changes),
    }));
  }

  #count(counter: number): number {
    const count = this.#store.header.counters[counter] as number;
    const isNumbered = counter === Counter.nodes || counter === Counter.portals;
    if (isNumbered && count > NODES_MAX)
      throw damagedStructure("graph", `its header counts ${count} nodes or portals`, 0);
    return count;
  }

  #add(counter: number, count: number): void {
    // A header alone would be cut off with the pages that there are not.
    if (this.#store.header.pages === 0) initialize(this.#store);
    const { counters } = this.#store.touchHeader();
    // A damaged header may count less than there is.
    counters[counter] = Math.max(0, (counters[counter] as number) + count);
  }

  async addNode(key?: string): Promise<number> {
    const text = key === undefined ? undefined : textOf(key, "a node's key");
    return this.#store.update(() => {
      const known = text && this.#numberAt(textKey(Table.nodeByKey, text));
      if (known !== undefined) return known;
      const node = this.#count(Counter.nodes);
      if (node >= NODES_MAX)
        throw new PinionError("invalid-argument", `more than ${NODES_MAX} nodes`);
      this.#add(Counter.nodes, 1);
      if (text !== undefined) {
        this.#set(textKey(Table.nodeByKey, text), numberValue(node));
        this.#set(numberKey(Table.keyOfNode, node), text);
      }
      return node;
    });
  }

  async nodeOf(key: string): Promise<number | undefined> {
    const stored = textKey(Table.nodeByKey, textOf(key, "a node's key"));
    return this.#store.read(() => this.#numberAt(stored));
  }

  keyOf(node: number): MaybePromise<string | undefined> {
    return this.#store.read(() => {
      const { tree } = this.#edges;
      const key = numberKey(Table.keyOfNode, node);
      if (!tree.find(key, key.length)) return undefined;
      return readText(tree.value, tree.valueStart, tree.valueEnd);
    });
  }

  #set(key: Bytes, value: Bytes): void {
    this.#edges.tree.set(key, key.length, value);
  }

  #numberAt(key: Bytes): number | undefined {
    const { tree } = this.#edges;
    if (!tree.find(key, key.length)) return undefined;
    if (tree.valueEnd - tree.valueStart !== 4)
      throw damagedStructure("graph", "a number that is none", 0);
    return u32(tree.value, tree.valueStart);
  }

  async addEdge(from: number, to: number | Portal, options: EdgeOptions = {}): Promise<boolean> {
    const { weight = 1, label = 0 } = options;
    this.#checkFields(weight, label);
    const place = typeof to === "number" ? undefined : textOf(to.actor, "an actor's key");
    return this.#store.update(() => {
      this.#checkNode(from);
      if (typeof to === "number") this.#checkNode(to);
      const target =
        typeof to === "number" ? to : PORTAL + this.#openPortal(to.node, place as Bytes);
      return this.#putEdge({ source: from, target, label }, weight);
    });
  }

  #putEdge(edge: EdgeName, weight: number): boolean {
    const key = edgeKey(Table.change, edge.source, edge.target, edge.label);
    const change = this.#edges.findChange(key);
    const inBlock = change === undefined ? this.#edges.findInBlock(edge) : undefined;
    if (inBlock !== undefined && inBlock.weight === Math.fround(weight)) return false;
    const isInBlock = change === undefined ? inBlock !== undefined : change.op !== Change.added;
    const isNew = change === undefined ? inBlock === undefined : change.op === Change.removed;
    this.#set(key, changeValue(isInBlock ? Change.replaced : Change.added, weight));
    if (change === undefined) this.#add(Counter.changes, 1);
    if (isNew) this.#add(Counter.edges, 1);
    return isNew;
  }

  async removeEdge(from: number, to: number | Portal, label = 0): Promise<boolean> {
    const name = this.#namer(from, to, label);
    return this.#store.update(() => {
      const edge = name();
      if (edge === undefined) return false;
      const key = edgeKey(Table.change, edge.source, edge.target, edge.label);
      const change = this.#edges.findChange(key);
      if (change === undefined) {
        if (this.#edges.findInBlock(edge) === undefined) return false;
        this.#set(key, changeValue(Change.removed, 0));
        this.#add(Counter.changes, 1);
      } else if (change.op === Change.removed) {
        return false;
      } else if (change.op === Change.replaced) {
        this.#set(key, changeValue(Change.removed, 0));
      } else {
        this.#edges.tree.delete(key, key.length);
        this.#add(Counter.changes, -1);
      }
      this.#add(Counter.edges, -1);
      return true;
    });
  }

  async hasEdge(from: number, to: number | Portal, label = 0): Promise<boolean> {
    const name = this.#namer(from, to, label);
    return this.#store.read(() => {
      const edge = name();
      if (edge === undefined) return false;
      const change = this.#edges.findChange(
        edgeKey(Table.change, edge.source, edge.target, edge.label),
      );
      if (change !== undefined) return change.op !== Change.removed;
      return this.#edges.findInBlock(edge) !== undefined;
    });
  }

  /** What names an edge, inside an operation; undefined: there is no such portal. */
  #namer(from: number, to: number | Portal, label: number): () => EdgeName | undefined {
    this.#checkFields(1, label);
    const place = typeof to === "number" ? undefined : textOf(to.actor, "an actor's key");
    return () => {
      this.#checkNode(from);
      if (typeof to === "number") {
        this.#checkNode(to);
        return { source: from, target: to, label };
      }
      const portal = this.#numberAt(numberKey(Table.place, to.node, place));
      return portal === undefined ? undefined : { source: from, target: PORTAL + portal, label };
    };
  }

  #openPortal(node: number, actor: Bytes): number {
    if (node >>> 0 !== node || node > NODES_MAX)
      throw new PinionError("invalid-argument", `a portal to node ${node}`);
    const place = numberKey(Table.place, node, actor);
    const known = this.#numberAt(place);
    if (known !== undefined) return known;
    const portal = this.#count(Counter.portals);
    if (portal >= NODES_MAX)
      throw new PinionError("invalid-argument", `more than ${NODES_MAX} portals`);
    const value = new Uint8Array(4 + actor.length);
    value.set(numberValue(node));
    value.set(actor, 4);
    this.#set(place, numberValue(portal));
    this.#set(numberKey(Table.portal, portal), value);
    this.#add(Counter.portals, 1);
    return portal;
  }

  portal(number: number): MaybePromise<Portal> {
    return this.#store.read(() => {
      const { tree } = this.#edges;
      const key = numberKey(Table.portal, number);
      if (!tree.find(key, key.length))
        throw new PinionError("not-found", `there is no portal ${number}`);
      if (tree.valueEnd - tree.valueStart < 4)
        throw damagedStructure("graph", `portal ${number} is none`, 0);
      return {
        actor: readText(tree.value, tree.valueStart + 4, tree.valueEnd),
        node: u32(tree.value, tree.valueStart),
      };
    });
  }

  #checkNode(node: number): void {
    const nodes = this.#count(Counter.nodes);
    if (node >>> 0 !== node || node >= nodes)
      throw new PinionError("invalid-argument", `node ${node} of ${nodes}`);
  }

  #checkFields(weight: number, label: number): void {
    const { weights, labels } = this.#edges.fields;
    if (typeof weight !== "number" || (weight !== 1 && !weights))
      throw new PinionError(
        "invalid-argument",
        `weight ${weight}: the graph has ${weights ? "numbers" : "none"}`,
      );
    if (label >>> 0 !== label || label > (labels ? LABEL_MAX : 0))
      throw new PinionError(
        "invalid-argument",
        `label ${label}: the graph has ${labels ? "0 to 65,535" : "none"}`,
      );
  }

  neighbours(node: number): Neighbours {
    return this.#store.readNow(() => {
      this.#checkNode(node);
      return this.#edges.neighbours(node);
    });
  }

  readNeighbours(node: number): MaybePromise<Neighbours> {
    return this.#store.read(() => {
      this.#checkNode(node);
      return this.#edges.neighbours(node);
    });
  }

  degree(node: number): MaybePromise<number> {
    return this.#store.read(() => {
      this.#checkNode(node);
      return this.#edges.degree(node);
    });
  }

  bfs(start: number | readonly number[], options: BfsOptions = {}): Promise<BfsResult> {
    return search(this, start, options);
  }

  targetsOf(node: number): MaybePromise<Uint32Array> {
    return this.#store.read(() => {
      this.#checkNode(node);
      const found = this.#edges.neighbours(node);
      const out = new Uint32Array(found.length);
      for (let i = 0; i < out.length; i++)
        out[i] = found.target(i) + (found.isPortal(i) ? PORTAL : 0);
      return out;
    });
  }

  async announce(nodes: Uint32Array): Promise<void> {
    let announced = -1;
    for (const node of nodes) {
      const entry = await this.#store.read(() => this.#edges.entryOf(node, TARGET_MAX, LABEL_MAX));
      if (entry === undefined || entry.page === announced) continue;
      announced = entry.page;
      this.#store.prefetch(entry.page, entry.bytes);
    }
  }

  async needsRebuild(): Promise<boolean> {
    const { changes, blockEdges } = await this.counts();
    return changes >= Math.max(REBUILD_CHANGES_MIN, blockEdges * REBUILD_SHARE);
  }

  async rebuild(bytesMax = REBUILD_BYTES): Promise<boolean> {
    const store = this.#store;
    const countMax = store.extent.resident ? STEP_CHANGES_RESIDENT : STEP_CHANGES_ELSEWHERE;
    if ((await this.counts()).changes === 0) return true;
    const start = store.writtenBytes;
    while (store.writtenBytes - start < bytesMax) {
      const isMore = await store.update(() => rebuildStep(this.#edges, countMax));
      if (!isMore) return true;
    }
    return false;
  }

  async verify(): Promise<TreeReport> {
    let edges = 0;
    let changes = 0;
    const entries: { key: Bytes; value: Bytes }[] = [];
    const report = await verifyTree(this.#store, (key, value) => {
      if (key[0] === Table.change && value !== undefined) {
        const { op } = readChange(value);
        changes++;
        if (op === Change.added) edges++;
        else if (op === Change.removed) edges--;
      }
      if (key[0] !== Table.block || value === undefined) return undefined;
      const { page, bytes } = readBlockEntry(key, value);
      entries.push({ key, value });
      return { first: page, pages: Math.ceil(bytes / PAGE_BYTES) };
    });
    let blockEdges = 0;
    for (const { key, value } of entries) {
      const entry = readBlockEntry(key, value);
      blockEdges += await this.#store.read(() => this.#edges.block(entry).targets.length);
    }
    const counts = await this.counts();
    const isRight =
      counts.edges === edges + blockEdges &&
      counts.changes === changes &&
      counts.blocks === entries.length &&
      counts.blockEdges === blockEdges;
    if (!isRight)
      throw damagedStructure("graph", "its header counts other edges than there are", 0);
    return report;
  }
}
