/**
 * A B+tree over the pages of a volume: byte strings in order. Nodes refer to each other by page number, so a changed leaf changes nothing above it
 * (the page map knows where its new version lies). Comer, "The Ubiquitous B-Tree", 1979; keys share a prefix per node (Bayer and
 * Unterauer, "Prefix B-Trees", 1977).
 *
 * A value too long for its cell (`CELL_BYTES_MAX`) lies in a run of consecutive pages. Cells of leaves: u8 0 and the value, or
 * u8 1, u32 length, u48 first page of the run. Cells of inner nodes: u48 page of the child.
 *
 * T1 changes are a batch in order of key, applied in one pass from the root: what no change belongs to is not read, but for
 *    the neighbour of a sparse node.
 * T2 all leaves lie at the same depth; a changed node that is less than a quarter full becomes one with its neighbour where both fit.
 * T3 the key of a child in its parent is a bound of all below it, but for the first child's: what is lower than all bounds belongs to
 *    the first.
 * T4 a reader that meets another version of the volume on its way starts again: it never mixes two.
 */
import { PinionError } from "@pinion/core";
import { getU48, PAGE_BYTES, putU48 } from "../segment/page-entry.ts";
import { cellBytes, encodeNode, NODE_ROOM_BYTES, NodeView, type Cell } from "./slotted-page.ts";
import type { Volume, VolumeWriter } from "./volume.ts";

/** At least two cells with such keys fit into a node. */
const TREE_KEY_BYTES_MAX = 2_000;
/** A cell beyond this has its value in a run, so that at least three cells fit into a node unless their keys are long. */
const CELL_BYTES_MAX = Math.floor(NODE_ROOM_BYTES / 3);
/** A node of a batch that is loaded in order is filled up to this, so that later changes find room. */
const FILLED_BYTES = Math.floor(NODE_ROOM_BYTES * 0.95);
const SPARSE_BYTES = NODE_ROOM_BYTES / 4;
const INLINE = 0;
const IN_RUN = 1;
const RUN_CELL_BYTES = 11;

export interface TreeWrite {
  readonly key: Uint8Array;
  /** Undefined deletes. */
  readonly value: Uint8Array | undefined;
}

export interface TreeRange {
  /** Inclusive. */
  readonly from: Uint8Array;
  /** Exclusive; without it to the end. */
  readonly to: Uint8Array | undefined;
  readonly limit: number;
  readonly reverse: boolean;
}

export interface TreeEntry {
  /** Memory of the reader's own, like the value's. */
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

type ReadPage = (page: number) => Promise<Uint8Array | undefined>;

function childOf(value: Uint8Array): number {
  return getU48(new DataView(value.buffer, value.byteOffset, value.length), 0);
}

function childValue(page: number): Uint8Array {
  const value = new Uint8Array(6);
  putU48(new DataView(value.buffer), 0, page);
  return value;
}

async function nodeAt(read: ReadPage, page: number): Promise<NodeView> {
  const bytes = await read(page);
  if (bytes === undefined) {
    throw new PinionError("corruption", `tree node in page ${page}: there is no such page`, {
      details: { page },
    });
  }
  return new NodeView(page, bytes);
}

/** The slot of the child under which `key` is, or would be. */
const slotBelow = (node: NodeView, key: Uint8Array): number => {
  const slot = node.lowerBound(key);
  if (slot < node.count && Buffer.compare(node.key(slot), key) === 0) return slot;
  return Math.max(0, slot - 1);
};

interface Run {
  readonly bytes: number;
  readonly first: number;
  readonly pages: number;
}

function runOf(cell: Uint8Array): Run | undefined {
  if (cell[0] !== IN_RUN) return undefined;
  const view = new DataView(cell.buffer, cell.byteOffset, cell.length);
  const bytes = view.getUint32(1, true);
  return { bytes, first: getU48(view, 5), pages: Math.ceil(bytes / PAGE_BYTES) };
}

/** The published tree. */
export class BTree {
  readonly #volume: Volume;

  constructor(volume: Volume) {
    this.#volume = volume;
  }

  /** @returns memory of the caller's own @throws `corruption`, `io-error` */
  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#atOneVersion((read) => this.#find(read, key));
  }

  /** Several values as of one version, in the order of `keys`. @throws as `get` */
  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    return this.#atOneVersion((read) => Promise.all(keys.map((key) => this.#find(read, key))));
  }

  async #find(read: ReadPage, key: Uint8Array): Promise<Uint8Array | undefined> {
    let page = this.#volume.treeRoot;
    if (page === 0) return undefined;
    for (;;) {
      const node = await nodeAt(read, page);
      if (node.inner) {
        page = childOf(node.value(slotBelow(node, key)));
        continue;
      }
      const slot = node.find(key);
      return slot < 0 ? undefined : this.#value(read, node.value(slot));
    }
  }

  /** Entries in order, or from the last before `to` downwards. @throws `corruption`, `io-error` */
  async range(range: TreeRange): Promise<TreeEntry[]> {
    return this.#atOneVersion(async (read) => {
      const found: TreeEntry[] = [];
      const { treeRoot } = this.#volume;
      if (treeRoot !== 0) await this.#collect(read, treeRoot, range, found);
      return found;
    });
  }

  async #collect(
    read: ReadPage,
    page: number,
    range: TreeRange,
    found: TreeEntry[],
  ): Promise<void> {
    const { from, to, limit, reverse } = range;
    const node = await nodeAt(read, page);
    // An inner node's first child may hold what is lower than its key (T3).
    const start = node.inner ? slotBelow(node, from) : node.lowerBound(from);
    let end = to === undefined ? node.count : node.lowerBound(to);
    if (node.inner && end === 0 && node.count > 0) end = 1;
    for (let i = 0; i < end - start && found.length < limit; i++) {
      const slot = reverse ? end - 1 - i : start + i;
      if (node.inner) await this.#collect(read, childOf(node.value(slot)), range, found);
      else
        found.push({
          key: node.key(slot).slice(),
          value: await this.#value(read, node.value(slot)),
        });
    }
  }

  async #value(read: ReadPage, cell: Uint8Array): Promise<Uint8Array> {
    const run = runOf(cell);
    if (run === undefined) return cell.slice(1);
    const value = new Uint8Array(run.pages * PAGE_BYTES);
    await Promise.all(
      Array.from({ length: run.pages }, async (_, i) => {
        const bytes = await read(run.first + i);
        if (bytes === undefined) {
          throw new PinionError("corruption", `page ${run.first + i} of a value is missing`, {
            details: { page: run.first + i },
          });
        }
        value.set(bytes, i * PAGE_BYTES);
      }),
    );
    return value.subarray(0, run.bytes);
  }

  async #atOneVersion<T>(look: (read: ReadPage) => Promise<T>): Promise<T> {
    const volume = this.#volume;
    const moved = Symbol("moved");
    for (;;) {
      const { version } = volume;
      const read: ReadPage = async (page) => {
        const bytes = await volume.read(page);
        if (volume.version !== version) throw moved;
        return bytes;
      };
      try {
        return await look(read);
      } catch (e) {
        if (e !== moved && volume.version === version) throw e; // T4
      }
    }
  }
}

/** What takes a child's place in its parent. */
interface Child {
  readonly key: Uint8Array;
  readonly page: number;
  /** Of its cells; unknown for a child that was not touched. */
  readonly bytes: number | undefined;
}

/** Applies a batch to the tree of a volume (T1). */
export class BTreeWriter {
  readonly #pages: VolumeWriter;
  readonly #lsn: number;
  readonly #breathe: () => Promise<void> | undefined;

  /** @param breathe called between nodes; a promise lets the event loop go on */
  constructor(pages: VolumeWriter, lsn: number, breathe: () => Promise<void> | undefined) {
    this.#pages = pages;
    this.#lsn = lsn;
    this.#breathe = breathe;
  }

  /** @param writes in order of key, each key once @throws `invalid-argument` for a key that is too long */
  async apply(writes: readonly TreeWrite[]): Promise<void> {
    if (writes.length === 0) return;
    const root = this.#pages.treeRoot;
    let children =
      root === 0
        ? await this.#writeLeaf(undefined, [], writes)
        : await this.#visit(root, writes, 0, writes.length);
    while (children.length > 1)
      children = this.#writeNodes(undefined, true, children.map(cellOfChild));
    let top = children[0]?.page ?? 0;
    // An inner root with one child is one level too many.
    while (top !== 0) {
      const node = await this.#node(top);
      if (!node.inner || node.count !== 1) break;
      this.#pages.release(top);
      top = childOf(node.value(0));
    }
    this.#pages.treeRoot = top;
  }

  #node(page: number): Promise<NodeView> {
    return nodeAt((n) => this.#pages.read(n), page);
  }

  /** Applies `writes[from … to)`, all of which belong below `page`. @returns what takes its place */
  async #visit(
    page: number,
    writes: readonly TreeWrite[],
    from: number,
    to: number,
  ): Promise<Child[]> {
    await this.#breathe();
    const node = await this.#node(page);
    if (!node.inner) return this.#writeLeaf(page, node.cells, writes.slice(from, to));
    const cells = node.cells;
    const children: Child[] = [];
    let at = from;
    for (let slot = 0; slot < cells.length; slot++) {
      const { key, value } = cells[slot] as Cell;
      const next = cells[slot + 1]?.key;
      const start = at;
      while (
        at < to &&
        (next === undefined || Buffer.compare((writes[at] as TreeWrite).key, next) < 0)
      )
        at++;
      if (at === start) children.push({ key, page: childOf(value), bytes: undefined });
      else children.push(...under(key, await this.#visit(childOf(value), writes, start, at)));
    }
    if (children.length === 0) {
      this.#pages.release(page);
      return [];
    }
    const merged = await this.#mergeSparse(children);
    return this.#writeNodes(page, true, merged.map(cellOfChild));
  }

  /** T2: neighbours of which one is nearly empty become one where both fit. */
  async #mergeSparse(children: readonly Child[]): Promise<Child[]> {
    const merged: Child[] = [];
    for (const child of children) {
      const left = merged.at(-1);
      const isSparse = (c: Child | undefined): boolean =>
        c?.bytes !== undefined && c.bytes < SPARSE_BYTES;
      if (left === undefined || !(isSparse(left) || isSparse(child))) {
        merged.push(child);
        continue;
      }
      const [a, b] = [await this.#node(left.page), await this.#node(child.page)];
      const [first, ...rest] = b.cells;
      const joint = first && a.inner ? { ...first, key: child.key } : first;
      const cells = [...a.cells, ...(joint ? [joint] : []), ...rest];
      if (cells.reduce((sum, cell) => sum + cellBytes(cell), 0) > FILLED_BYTES) {
        merged.push(child);
        continue;
      }
      this.#pages.release(child.page);
      merged.pop();
      merged.push(...under(left.key, this.#writeNodes(left.page, a.inner, cells)));
    }
    return merged;
  }

  async #writeLeaf(
    page: number | undefined,
    old: readonly Cell[],
    writes: readonly TreeWrite[],
  ): Promise<Child[]> {
    const cells: Cell[] = [];
    let i = 0;
    for (const { key, value } of writes) {
      while (i < old.length && Buffer.compare((old[i] as Cell).key, key) < 0)
        cells.push(old[i++] as Cell);
      if (i < old.length && Buffer.compare((old[i] as Cell).key, key) === 0)
        this.#releaseRun((old[i++] as Cell).value);
      if (value !== undefined) cells.push({ key, value: this.#valueCell(key, value) });
    }
    while (i < old.length) cells.push(old[i++] as Cell);
    return this.#writeNodes(page, false, cells);
  }

  #valueCell(key: Uint8Array, value: Uint8Array): Uint8Array {
    if (key.length > TREE_KEY_BYTES_MAX) {
      throw new PinionError(
        "invalid-argument",
        `a key of ${key.length} bytes; at most ${TREE_KEY_BYTES_MAX}`,
      );
    }
    if (cellBytes({ key, value }) + 1 <= CELL_BYTES_MAX) {
      const cell = new Uint8Array(1 + value.length);
      cell[0] = INLINE;
      cell.set(value, 1);
      return cell;
    }
    const pages = Math.ceil(value.length / PAGE_BYTES);
    const first = this.#pages.allocateRun(pages);
    for (let i = 0; i < pages; i++) {
      const bytes = new Uint8Array(PAGE_BYTES);
      bytes.set(value.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES));
      this.#pages.write(first + i, bytes);
    }
    const cell = new Uint8Array(RUN_CELL_BYTES);
    const view = new DataView(cell.buffer);
    cell[0] = IN_RUN;
    view.setUint32(1, value.length, true);
    putU48(view, 5, first);
    return cell;
  }

  #releaseRun(cell: Uint8Array): void {
    const run = runOf(cell);
    for (let i = 0; run !== undefined && i < run.pages; i++) this.#pages.release(run.first + i);
  }

  /** Puts cells into as few nodes as hold them, evenly; the first keeps `page`. @returns none for no cells */
  #writeNodes(page: number | undefined, inner: boolean, cells: readonly Cell[]): Child[] {
    if (cells.length === 0) {
      if (page !== undefined) this.#pages.release(page);
      return [];
    }
    const total = cells.reduce((sum, cell) => sum + cellBytes(cell), 0);
    const nodes = total <= NODE_ROOM_BYTES ? 1 : Math.ceil(total / FILLED_BYTES);
    const children: Child[] = [];
    let at = 0;
    let left = total;
    while (at < cells.length) {
      const share = left / Math.max(1, nodes - children.length);
      const first = at;
      let bytes = 0;
      do {
        bytes += cellBytes(cells[at++] as Cell);
      } while (
        at < cells.length &&
        bytes + cellBytes(cells[at] as Cell) <= NODE_ROOM_BYTES &&
        (bytes + cellBytes(cells[at] as Cell) / 2 <= share || children.length === nodes - 1)
      );
      left -= bytes;
      const own = children.length === 0 && page !== undefined ? page : this.#pages.allocate();
      const part = cells.slice(first, at);
      this.#pages.write(own, encodeNode(own, this.#lsn, { inner, cells: part }));
      children.push({ key: (part[0] as Cell).key.slice(), page: own, bytes });
    }
    return children;
  }
}

const cellOfChild = ({ key, page }: Child): Cell => ({ key, value: childValue(page) });

/** What takes the place of a child keeps its bound; a first child's may have to go down: its next one may begin with the old key (T3). */
function under(key: Uint8Array, [first, ...rest]: readonly Child[]): Child[] {
  if (first === undefined) return [];
  return [Buffer.compare(first.key, key) < 0 ? first : { ...first, key }, ...rest];
}
