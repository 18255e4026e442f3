/**
 * A B+tree over the pages of a `PageStore`: byte strings in order, changed in place. All methods are parts of an operation (map-pages.ts):
 * they run synchronously and may run again from the start.
 *
 * Comer, "The Ubiquitous B-Tree", 1979; shortened separators: Bayer and Unterauer, "Prefix B-Trees", 1977.
 *
 * T1 all leaves are at level 0, a child is one level below its node. What lies under a slot of an inner node is not below the slot's key and
 *    below the next one's; keys of inner nodes are bounds, not copies of stored keys.
 * T2 a node is never empty, but an inner node may be left with the child below its first key alone.
 * T3 a node that a removal or another value leaves less than a quarter full becomes one with a neighbour under the same node, where
 *    both together fill no more than 90 %.
 * T4 a node that is full and gets a key behind its last one (or before its first) keeps all others, so that keys that come in order
 *    fill nodes entirely; all others are cut in halves.
 * T5 no walk from the root is longer than the header's height, which is bounded.
 */
import { allocatePages, releasePages, RUN_PAGES_MAX } from "./map-allocator.ts";
import { ENTRIES, HEIGHT_MAX } from "./map-header.ts";
import {
  CELL_BYTES_MAX,
  cellAt,
  cellsOf,
  childAt,
  childSlot,
  damagedNode,
  findSlot,
  insertSlot,
  IN_RUN,
  isInRun,
  keyAt,
  NODE_ROOM_BYTES,
  nodeBytes,
  PAGE_BYTES,
  putNode,
  putU16,
  putU32,
  removeSlot,
  RUN_POINTER_BYTES,
  sharedPrefix,
  SLOT_BYTES,
  slotCount,
  u32,
  usedBytes,
  valueAt,
  valueLength,
  fullCellBytes,
  type Bytes,
  type Cell,
} from "./map-node.ts";
import type { PageStore } from "./map-pages.ts";

const SPARSE_BYTES = NODE_ROOM_BYTES / 4;
const MERGED_BYTES_MAX = NODE_ROOM_BYTES * 0.9;
const NO_BYTES = new Uint8Array(0);

interface Run {
  readonly byteCount: number;
  readonly first: number;
  readonly pages: number;
}

/** What a pointer to a run says. */
export function runAt(b: Bytes, at: number): Run {
  const byteCount = u32(b, at);
  const pages = Math.ceil(byteCount / PAGE_BYTES);
  if (byteCount === 0 || pages > RUN_PAGES_MAX)
    throw damagedNode(u32(b, 0), `a value of ${byteCount} bytes in a run`);
  return { byteCount, first: u32(b, at + 4), pages };
}

/** Whether a value lies in the leaf, beside its key. */
const isInline = (keyBytes: number, valueBytes: number): boolean =>
  SLOT_BYTES + 2 + keyBytes + 2 + valueBytes <= CELL_BYTES_MAX;

/** A node that has come into being, and the bound of what is under it. */
interface NewChild {
  readonly key: Bytes;
  readonly page: number;
}

function childCell({ key, page }: NewChild): Cell {
  const payload = new Uint8Array(4);
  putU32(payload, 0, page);
  return { key, payload };
}

const childOf = (cell: Cell): number => u32(cell.payload, 0);

export class MapTree {
  readonly store: PageStore;
  /** The value that `find` found: `bytes[start … end)`, in memory of the extent. */
  value: Bytes = NO_BYTES;
  valueStart = 0;
  valueEnd = 0;
  /** By level: the pages from the root to the leaf of the last key looked for, and the slots that were taken. */
  readonly #pages = new Array<number>(HEIGHT_MAX + 1).fill(0);
  readonly #slots = new Array<number>(HEIGHT_MAX + 1).fill(0);

  /** Of the last key looked for: its leaf, and its slot or −1 − (the slot it would have). */
  #leaf: Bytes = NO_BYTES;
  #found = -1;

  constructor(store: PageStore) {
    this.store = store;
  }

  #seek(key: Bytes, length: number): Bytes {
    const leaf = this.#leafOf(key, length);
    this.#leaf = leaf;
    this.#found = findSlot(leaf, key, length);
    return leaf;
  }

  #leafOf(key: Bytes, length: number): Bytes {
    const { store } = this;
    let page = store.header.root;
    for (let level = store.header.height - 1; level > 0; level--) {
      const node = store.node(page, level);
      const slot = childSlot(node, key, length);
      this.#pages[level] = page;
      this.#slots[level] = slot;
      page = childAt(node, slot);
    }
    this.#pages[0] = page;
    return store.node(page, 0);
  }

  has(key: Bytes, length: number): boolean {
    if (this.store.header.height === 0) return false;
    return findSlot(this.#leafOf(key, length), key, length) >= 0;
  }

  /** Looks for `key[0 … length)`. @returns whether it is there; then `value` tells where */
  find(key: Bytes, length: number): boolean {
    if (this.store.header.height === 0) return false;
    const leaf = this.#seek(key, length);
    if (this.#found < 0) return false;
    const at = valueAt(leaf, cellAt(leaf, this.#found));
    if (isInRun(leaf, at)) {
      const { first, byteCount } = runAt(leaf, at);
      this.value = this.store.run(first, byteCount);
      this.valueStart = 0;
      this.valueEnd = byteCount;
    } else {
      this.value = leaf;
      this.valueStart = at;
      this.valueEnd = at + valueLength(leaf, at);
    }
    return true;
  }

  /** @param value kept until the operation ends @returns whether the key is new */
  set(key: Bytes, length: number, value: Bytes): boolean {
    if (this.store.header.height > 0) this.#seek(key, length);
    return this.put(key, length, value);
  }

  /** `set` of the key that was looked for last, when nothing has changed since: without going down again. */
  put(key: Bytes, length: number, value: Bytes): boolean {
    const { store } = this;
    if (store.header.height === 0) {
      this.#plant();
      this.#seek(key, length);
    }
    const leaf = this.#leaf;
    const page = this.#pages[0] as number;
    const found = this.#found;
    const inline = isInline(length, value.length);
    const slot = found >= 0 ? found : -1 - found;
    if (found >= 0) {
      const at = valueAt(leaf, cellAt(leaf, slot));
      if (inline && !isInRun(leaf, at) && valueLength(leaf, at) === value.length) {
        store.overwrite(page, at, value);
        return false;
      }
      this.#releaseRunAt(leaf, at);
      removeSlot(store.change(page), slot);
    }
    const isOneNode = this.#insert(slot, key, length, value, inline);
    if (found < 0) store.touchHeader().counters[ENTRIES]!++;
    else if (isOneNode) this.#settle(0); // the path is still what it was
    return found < 0;
  }

  /** @returns whether the leaf is still one node */
  #insert(slot: number, key: Bytes, length: number, value: Bytes, inline: boolean): boolean {
    const payloadBytes = 2 + (inline ? value.length : RUN_POINTER_BYTES);
    const leaf = this.store.change(this.#pages[0] as number);
    const at = insertSlot(leaf, slot, key, length, payloadBytes);
    if (at !== 0) {
      this.#putPayload(leaf.bytes, at, value, inline);
      return true;
    }
    const payload = new Uint8Array(payloadBytes);
    this.#putPayload(payload, 0, value, inline);
    const cells = cellsOf(leaf.bytes);
    cells.splice(slot, 0, { key: key.slice(0, length), payload });
    return this.#putCells(0, cells, 0, slot);
  }

  #putPayload(b: Bytes, at: number, value: Bytes, inline: boolean): void {
    putU16(b, at, inline ? value.length : IN_RUN);
    if (inline) {
      b.set(value, at + 2);
      return;
    }
    const first = allocatePages(this.store, Math.ceil(value.length / PAGE_BYTES));
    this.store.writeRun(first, value);
    putU32(b, at + 2, value.length);
    putU32(b, at + 6, first);
  }

  #releaseRunAt(leaf: Bytes, at: number): void {
    if (!isInRun(leaf, at)) return;
    const { first, pages } = runAt(leaf, at);
    releasePages(this.store, first, pages);
  }

  delete(key: Bytes, length: number): boolean {
    const { store } = this;
    if (store.header.height === 0) return false;
    const leaf = this.#leafOf(key, length);
    const slot = findSlot(leaf, key, length);
    if (slot < 0) return false;
    this.#releaseRunAt(leaf, valueAt(leaf, cellAt(leaf, slot)));
    const header = store.touchHeader();
    if (header.counters[ENTRIES] === 0) throw damagedNode(0, "more entries than counted");
    header.counters[ENTRIES]!--;
    removeSlot(store.change(this.#pages[0] as number), slot);
    this.#settle(0);
    return true;
  }

  #plant(): void {
    const page = allocatePages(this.store);
    putNode(this.store.replace(page).bytes, page, 0, []);
    const header = this.store.touchHeader();
    header.root = page;
    header.height = 1;
  }

  /**
   * Puts the cells of the node at `level` of the path into as many nodes as they need.
   * @param at the cell that is new; −1: several are
   * @returns whether one is enough
   */
  #putCells(level: number, cells: readonly Cell[], first: number, at: number): boolean {
    const { store } = this;
    let page = this.#pages[level] as number;
    const gap = level === 0 ? 0 : 1;
    const parts = cut(cells, gap, at, page);
    const born: NewChild[] = [];
    for (let i = 0; i < parts.length; i++) {
      const [from, to] = parts[i] as readonly [number, number];
      let firstChild = first;
      if (i > 0) {
        page = allocatePages(store);
        // An inner node's cell between two parts goes up: its key is the bound, its child comes first.
        const between = cells[from - 1] as Cell;
        if (gap === 1) firstChild = childOf(between);
        born.push({
          key: gap === 1 ? between.key : separator(between.key, (cells[from] as Cell).key),
          page,
        });
      }
      // T4: where the new cell alone goes elsewhere, the node is left as it is.
      if (i === 0 && level === 0 && to === at && to === cells.length - 1) continue;
      putNode(store.replace(page).bytes, page, level, cells.slice(from, to), firstChild);
    }
    if (born.length > 0) this.#addChildren(level + 1, born);
    return born.length === 0;
  }

  /** Puts nodes in behind the child that the path takes at `level`. */
  #addChildren(level: number, born: readonly NewChild[]): void {
    const { store } = this;
    if (level === store.header.height) this.#growRoot(level);
    const slot = (this.#slots[level] as number) + 1;
    const node = store.change(this.#pages[level] as number);
    if (born.length === 1) {
      const { key, page } = born[0] as NewChild;
      const at = insertSlot(node, slot, key, key.length, 4);
      if (at !== 0) {
        putU32(node.bytes, at, page);
        return;
      }
    }
    const cells = cellsOf(node.bytes);
    cells.splice(slot, 0, ...born.map(childCell));
    this.#putCells(level, cells, childAt(node.bytes, -1), born.length === 1 ? slot : -1);
  }

  #growRoot(level: number): void {
    const header = this.store.touchHeader();
    if (level === HEIGHT_MAX) throw damagedNode(header.root, `a tree of ${level} levels`);
    const page = allocatePages(this.store);
    putNode(this.store.replace(page).bytes, page, level, [], header.root);
    header.root = page;
    header.height = level + 1;
    this.#pages[level] = page;
    this.#slots[level] = -1;
  }

  /** T2, T3 for the node at `level` of the path, which may have become smaller. */
  #settle(level: number): void {
    const { store } = this;
    const { header } = store;
    const page = this.#pages[level] as number;
    const node = store.page(page);
    if (level === 0 && slotCount(node) === 0) {
      this.#removeNode(0);
    } else if (level === header.height - 1) {
      if (level > 0 && slotCount(node) === 0) this.#shrinkRoot();
    } else if (usedBytes(node) < SPARSE_BYTES) {
      const slot = this.#slots[level + 1] as number;
      const count = slotCount(store.node(this.#pages[level + 1] as number, level + 1));
      if (slot >= 0 && this.#merge(level, slot)) return;
      if (slot + 1 < count) this.#merge(level, slot + 1);
    }
  }

  /** Joins the children before and behind slot `slot` of the path's node above `level`, where both fit. */
  #merge(level: number, slot: number): boolean {
    const { store } = this;
    const above = this.#pages[level + 1] as number;
    const parent = store.page(above);
    const left = childAt(parent, slot - 1);
    const right = childAt(parent, slot);
    if (left === right) throw damagedNode(left, "it has one child twice");
    const a = store.node(left, level);
    const b = store.node(right, level);
    if (usedBytes(a) + usedBytes(b) > MERGED_BYTES_MAX) return false;
    const between =
      level === 0 ? [] : [childCell({ key: keyAt(parent, slot), page: childAt(b, -1) })];
    const cells = [...cellsOf(a), ...between, ...cellsOf(b)];
    if (nodeBytes(cells) > MERGED_BYTES_MAX) return false;
    putNode(store.replace(left).bytes, left, level, cells, firstChildOf(a, level));
    releasePages(store, right);
    removeSlot(store.change(above), slot);
    this.#settle(level + 1);
    return true;
  }

  /** Gives back the path's node at `level`, which has become empty, and takes it out of the one above. */
  #removeNode(level: number): void {
    const { store } = this;
    releasePages(store, this.#pages[level] as number);
    const up = level + 1;
    if (up === store.header.height) {
      const header = store.touchHeader();
      header.root = 0;
      header.height = 0;
      return;
    }
    const node = store.change(this.#pages[up] as number);
    const slot = this.#slots[up] as number;
    if (slot >= 0) {
      removeSlot(node, slot);
    } else if (slotCount(node.bytes) === 0) {
      this.#removeNode(up);
      return;
    } else {
      const first = childAt(node.bytes, 0);
      removeSlot(node, 0);
      putU32(node.bytes, 16, first);
      node.touch(16, 20);
    }
    this.#settle(up);
  }

  /** A root with one child is one level too many. */
  #shrinkRoot(): void {
    const { store } = this;
    const header = store.touchHeader();
    while (header.height > 1) {
      const node = store.node(header.root, header.height - 1);
      if (slotCount(node) > 0) return;
      const child = childAt(node, -1);
      releasePages(store, header.root);
      header.root = child;
      header.height--;
    }
  }
}

/** The child below the first key; 0 in a leaf. */
const firstChildOf = (b: Bytes, level: number): number => (level === 0 ? 0 : childAt(b, -1));

/** The shortest key above `low` that is not above `high`. */
function separator(low: Bytes, high: Bytes): Bytes {
  return high.slice(0, sharedPrefix(low, high) + 1);
}

/**
 * Cuts cells into parts that fit into a node each: one part if all do, else at the cell that is new when it is the first or the last (T4),
 * else in the middle. @param gap cells between two parts that are in neither
 */
function cut(
  cells: readonly Cell[],
  gap: number,
  at: number,
  page: number,
): readonly (readonly [number, number])[] {
  const parts: (readonly [number, number])[] = [];
  const part = (from: number, to: number, hint: number): void => {
    if (nodeBytes(cells, from, to) <= NODE_ROOM_BYTES) {
      parts.push([from, to]);
      return;
    }
    // N1 says that there are enough cells, unless they come from a damaged node.
    if (to - from < 2 + gap) throw damagedNode(page, "a cell of it is longer than cells are");
    const last = to - 1 - gap;
    let middle = hint === to - 1 ? last : from + 1;
    if (hint !== to - 1 && hint !== from) {
      let half = 0;
      for (let i = from; i < to; i++) half += fullCellBytes(cells[i] as Cell) / 2;
      for (let left = 0, i = from; i < last && left < half; i++) {
        left += fullCellBytes(cells[i] as Cell);
        middle = Math.min(last, i + 1);
      }
    }
    part(from, middle, -1);
    part(middle + gap, to, -1);
  };
  part(0, cells.length, at);
  return parts;
}
