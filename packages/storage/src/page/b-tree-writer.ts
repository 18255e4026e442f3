/**
 * Applies a batch of changes to the B+tree of a volume (b-tree.ts).
 *
 * W1 changes are in order of key and applied in one pass from the root: what no change belongs to is not read, but for the neighbour of a sparse
 *    node. An inner node is written only if what it says of its children has changed.
 * W2 all leaves lie at the same depth; a changed node that is less than a quarter full becomes one with its neighbour where both fit.
 * W3 the key of a child in its parent is a bound of all below it, but for the first child's: what is lower than all bounds belongs to
 *    the first.
 * W4 the leaves that come next are read ahead, `AHEAD` of them, so that a checkpoint does not wait for the disk once for each.
 * W5 leaves get their places when all below one parent are done: nobody reads them again.
 */
import { PinionError } from "@pinion/core";
import { PAGE_BYTES } from "../segment/page-entry.ts";
import {
  cellBytes,
  encodeNode,
  nodeBytes,
  NODE_ROOM_BYTES,
  patchNode,
  prefixBytesOf,
  NodeView,
  usedBytesOf,
  type Cell,
  type CellChange,
} from "./slotted-page.ts";
import {
  CELL_BYTES_MAX,
  childCell,
  inlineCell,
  nodeAt,
  nodeOf,
  runCell,
  runOf,
  sharesOf,
  TREE_KEY_BYTES_MAX,
  type Share,
} from "./tree-cells.ts";
import type { VolumeWriter } from "./volume-writer.ts";

/** A node of a batch that is loaded in order is filled up to this, so that later changes find room. */
const FILLED_BYTES = Math.floor(NODE_ROOM_BYTES * 0.95);
const SPARSE_BYTES = NODE_ROOM_BYTES / 4;
const AHEAD = 8;

export interface TreeWrite {
  readonly key: Uint8Array;
  /** Undefined deletes. */
  readonly value: Uint8Array | undefined;
}

/** What takes a child's place in its parent. */
interface Child {
  readonly key: Uint8Array;
  readonly page: number;
  /** Of its room; unknown for a child that was not touched. */
  readonly bytes: number | undefined;
}

const cellOfChild = ({ key, page }: Child): Cell => ({ key, value: childCell(page) });

const isSparse = ({ bytes }: Child): boolean => bytes !== undefined && bytes < SPARSE_BYTES;

/** What takes the place of a child keeps its bound; a first child's may have to go down: its next one may begin with the old key (W3). */
function under(key: Uint8Array, [first, ...rest]: readonly Child[]): Child[] {
  if (first === undefined) return [];
  return [Buffer.compare(first.key, key) < 0 ? first : { ...first, key }, ...rest];
}

export class BTreeWriter {
  readonly #pages: VolumeWriter;
  readonly #lsn: number;
  readonly #breathe: () => Promise<void> | undefined;
  /** Nodes that are read ahead. */
  readonly #ahead = new Map<number, Uint8Array | Promise<Uint8Array | undefined>>();
  /** Leaves, and pages of values, that are written and have no place yet. */
  readonly #leaves = new Set<number>();

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
        ? this.#writeNodes(undefined, false, this.#merged([], this.#changes(writes)))
        : await this.#visit(root, writes, 0, writes.length);
    if (children === undefined) return;
    while (children.length > 1)
      children = this.#writeNodes(undefined, true, children.map(cellOfChild));
    let top = children[0]?.page ?? 0;
    // An inner root with one child is one level too many.
    while (top !== 0 && !this.#pages.isSettled(top)) {
      const node = await this.#node(top);
      if (!node.inner || node.count !== 1) break;
      this.#pages.release(top);
      top = node.child(0);
    }
    this.#pages.treeRoot = top;
  }

  #node(page: number): Promise<NodeView> {
    return nodeAt((n) => this.#pages.read(n), page);
  }

  /**
   * Applies `writes[from … to)`, all of which belong below `page`. Without a wait where there is nothing to wait for, as at most leaves: of
   * promises for each a large checkpoint would make more garbage than of anything else.
   * @returns what takes its place; undefined when its parent has nothing to note
   */
  #visit(
    page: number,
    writes: readonly TreeWrite[],
    from: number,
    to: number,
  ): Child[] | undefined | Promise<Child[] | undefined> {
    const pause = this.#breathe();
    const bytes = this.#ahead.get(page) ?? this.#pages.readOnce(page);
    this.#ahead.delete(page);
    if (pause !== undefined || bytes instanceof Promise)
      return this.#visitLater(page, pause, bytes, writes, from, to);
    return this.#visitNode(nodeOf(page, bytes), writes, from, to);
  }

  async #visitLater(
    page: number,
    pause: Promise<void> | undefined,
    bytes: Uint8Array | Promise<Uint8Array | undefined>,
    writes: readonly TreeWrite[],
    from: number,
    to: number,
  ): Promise<Child[] | undefined> {
    const [read] = await Promise.all([bytes, pause]);
    return this.#visitNode(nodeOf(page, read), writes, from, to);
  }

  #visitNode(
    node: NodeView,
    writes: readonly TreeWrite[],
    from: number,
    to: number,
  ): Child[] | undefined | Promise<Child[] | undefined> {
    if (node.inner) return this.#visitInner(node, writes, from, to);
    const leaves = this.#writeLeaf(node, writes, from, to);
    this.#pages.recycle(node.bytes);
    return leaves;
  }

  async #visitInner(
    node: NodeView,
    writes: readonly TreeWrite[],
    from: number,
    to: number,
  ): Promise<Child[] | undefined> {
    this.#pages.keep(node.page, node.bytes);
    const shares = [...sharesOf(node, writes, from, to)];
    for (const share of shares.slice(1, AHEAD)) this.#readAhead(node, share);
    const replaced = new Map<number, Child[]>();
    for (let i = 0; i < shares.length; i++) {
      const share = shares[i] as Share;
      const next = shares[i + AHEAD];
      if (next !== undefined) this.#readAhead(node, next);
      const child = node.child(share.slot);
      const visit = this.#visit(child, writes, share.from, share.to);
      const found = visit instanceof Promise ? await visit : visit;
      if (found === undefined) continue;
      const bound = node.key(share.slot);
      const now = under(bound, found);
      if (now.length !== 1 || !isAsBefore(now[0] as Child, child, bound))
        replaced.set(share.slot, now);
    }
    const children = replaced.size === 0 ? undefined : await this.#writeInner(node, replaced);
    await this.#pages.settle(this.#leaves); // W5
    this.#leaves.clear();
    return children;
  }

  #readAhead(node: NodeView, share: Share): void {
    const page = node.child(share.slot);
    const reading = this.#pages.readOnce(page);
    // Whoever comes to it is told.
    if (reading instanceof Promise) reading.catch(() => {});
    this.#ahead.set(page, reading);
  }

  async #writeInner(
    node: NodeView,
    replaced: ReadonlyMap<number, readonly Child[]>,
  ): Promise<Child[]> {
    const children = node.cells.flatMap(
      ({ key }, slot): readonly Child[] =>
        replaced.get(slot) ?? [{ key, page: node.child(slot), bytes: undefined }],
    );
    if (children.length === 0) {
      this.#pages.release(node.page);
      return [];
    }
    const merged = await this.#mergeSparse(children);
    return this.#writeNodes(node.page, true, merged.map(cellOfChild));
  }

  /** W2: neighbours of which one is nearly empty become one where both fit. */
  async #mergeSparse(children: readonly Child[]): Promise<Child[]> {
    const merged: Child[] = [];
    for (const child of children) {
      const left = merged.at(-1);
      if (left === undefined || !(isSparse(left) || isSparse(child))) {
        merged.push(child);
        continue;
      }
      const [a, b] = [await this.#node(left.page), await this.#node(child.page)];
      const [first, ...rest] = b.cells;
      const joint = first && a.inner ? { ...first, key: child.key } : first;
      const cells = [...a.cells, ...(joint ? [joint] : []), ...rest];
      if (nodeBytes(cells) > FILLED_BYTES) {
        merged.push(child);
        continue;
      }
      this.#pages.release(child.page);
      merged.pop();
      merged.push(...under(left.key, this.#writeNodes(left.page, a.inner, cells)));
    }
    return merged;
  }

  /** @returns undefined when its parent has nothing to note */
  #writeLeaf(
    node: NodeView,
    writes: readonly TreeWrite[],
    from: number,
    to: number,
  ): Child[] | undefined {
    const changes: CellChange[] = [];
    for (let i = from; i < to; i++) {
      const { key, value } = writes[i] as TreeWrite;
      const slot = node.find(key);
      if (slot >= 0) this.#releaseRun(node.value(slot));
      if (slot >= 0 || value !== undefined)
        changes.push({ key, value: value && this.#valueCell(key, value) });
    }
    if (changes.length === 0) return undefined;
    const patched = patchNode(node, this.#lsn, changes, () => this.#pages.memory());
    if (patched === undefined)
      return this.#writeNodes(node.page, false, this.#merged(node.cells, changes));
    this.#pages.write(node.page, patched);
    this.#leaves.add(node.page);
    const { key } = changes[0] as CellChange;
    const bytes = usedBytesOf(patched);
    // Its bound stands, unless something came in before its first key.
    const isBefore = node.lowerBound(key) === 0 && !node.isKey(0, key);
    if (!isBefore && bytes >= SPARSE_BYTES) return undefined;
    return [{ key: new NodeView(node.page, patched).key(0).slice(), page: node.page, bytes }];
  }

  /** What the writes are in cells; long values go into their runs. */
  #changes(writes: readonly TreeWrite[]): CellChange[] {
    return writes.map(({ key, value }) => ({
      key,
      value: value && this.#valueCell(key, value),
    }));
  }

  #merged(old: readonly Cell[], changes: readonly CellChange[]): Cell[] {
    const cells: Cell[] = [];
    let i = 0;
    for (const { key, value } of changes) {
      while (i < old.length && Buffer.compare((old[i] as Cell).key, key) < 0)
        cells.push(old[i++] as Cell);
      if (i < old.length && Buffer.compare((old[i] as Cell).key, key) === 0) i++;
      if (value !== undefined) cells.push({ key, value });
    }
    while (i < old.length) cells.push(old[i++] as Cell);
    return cells;
  }

  #valueCell(key: Uint8Array, value: Uint8Array): Uint8Array {
    if (key.length > TREE_KEY_BYTES_MAX) {
      throw new PinionError(
        "invalid-argument",
        `a key of ${key.length} bytes; at most ${TREE_KEY_BYTES_MAX}`,
      );
    }
    if (cellBytes({ key, value }) + 1 <= CELL_BYTES_MAX) return inlineCell(value);
    const pages = Math.ceil(value.length / PAGE_BYTES);
    const first = this.#pages.allocateRun(pages);
    for (let i = 0; i < pages; i++) {
      const bytes = this.#pages.memory();
      bytes.set(value.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES));
      this.#pages.write(first + i, bytes);
      this.#leaves.add(first + i);
    }
    return runCell(value.length, first);
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
    // Each part shares at least what all of them do.
    const prefixBytes = prefixBytesOf(cells);
    const room = NODE_ROOM_BYTES - prefixBytes;
    const bytesOf = (at: number): number => cellBytes(cells[at] as Cell) - prefixBytes;
    let left = cells.reduce((sum, cell) => sum + cellBytes(cell) - prefixBytes, 0);
    const nodes = left <= room ? 1 : Math.ceil(left / (FILLED_BYTES - prefixBytes));
    const children: Child[] = [];
    let at = 0;
    while (at < cells.length) {
      const share = left / Math.max(1, nodes - children.length);
      const first = at;
      let bytes = 0;
      do {
        bytes += bytesOf(at++);
      } while (
        at < cells.length &&
        bytes + bytesOf(at) <= room &&
        (bytes + bytesOf(at) / 2 <= share || children.length === nodes - 1)
      );
      left -= bytes;
      const own = children.length === 0 && page !== undefined ? page : this.#pages.allocate();
      const part = cells.slice(first, at);
      const bytesOfNode = encodeNode(own, this.#lsn, { inner, cells: part }, this.#pages.memory());
      this.#pages.write(own, bytesOfNode);
      // A page that was given back may have been a leaf's.
      if (inner) this.#leaves.delete(own);
      else this.#leaves.add(own);
      children.push({ key: (part[0] as Cell).key.slice(), page: own, bytes: nodeBytes(part) });
    }
    return children;
  }
}

/** Whether its parent may go on saying what it says of a child. */
function isAsBefore(child: Child, page: number, bound: Uint8Array): boolean {
  return child.page === page && Buffer.compare(child.key, bound) === 0 && !isSparse(child);
}
