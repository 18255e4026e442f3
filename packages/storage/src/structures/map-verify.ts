/**
 * Walks a whole tree and the bitmaps of its extent: for tests and for whoever has reason to doubt. Memory: one bit a page.
 *
 * V1 every page is the header, a bitmap, reachable exactly once, or free; and the header counts them right.
 */
import { copyOf } from "../extent/copies.ts";
import { bitmapPage, GROUP_PAGES, groupOf, isSet } from "./map-allocator.ts";
import { storedValue } from "./map-cursor.ts";
import { ENTRIES } from "./map-header.ts";
import {
  cellsOf,
  childAt,
  damagedNode,
  fullCellBytes,
  keyAt,
  NODE_ROOM_BYTES,
  PAGE_BYTES,
  prefixBytesOf,
  slotCount,
  usedBytes,
  type Bytes,
} from "./map-node.ts";
import type { PageStore } from "./map-pages.ts";

export interface TreeReport {
  readonly entries: number;
  readonly height: number;
  readonly pages: number;
  readonly freePages: number;
  readonly bitmapPages: number;
  readonly leaves: number;
  readonly innerNodes: number;
  /** Pages of long values, and of a graph's blocks. */
  readonly runPages: number;
  /** Mean share of a leaf that is in use, 0 … 1. */
  readonly leafFill: number;
}

export interface PageRun {
  readonly first: number;
  readonly pages: number;
}

/** Looks at an entry and names the pages that its value refers to. */
export type EntryCheck = (key: Bytes, value: Bytes | undefined) => PageRun | undefined;

class Walk {
  readonly #store: PageStore;
  readonly #check: EntryCheck;
  readonly #reached: Uint8Array;
  entries = 0;
  leaves = 0;
  innerNodes = 0;
  runPages = 0;
  leafBytes = 0;

  constructor(store: PageStore, check: EntryCheck) {
    this.#store = store;
    this.#check = check;
    this.#reached = new Uint8Array(Math.ceil(store.header.pages / 8));
  }

  reach(page: number): void {
    const bit = 1 << (page & 7);
    const byte = this.#reached[page >>> 3];
    if (byte === undefined) throw damagedNode(page, `there are ${this.#store.header.pages} pages`);
    if ((byte & bit) !== 0) throw damagedNode(page, "it is reached twice");
    this.#reached[page >>> 3] = byte | bit;
  }

  isReached(page: number): boolean {
    return ((this.#reached[page >>> 3] as number) & (1 << (page & 7))) !== 0;
  }

  /** @param low inclusive @param high exclusive: bounds of all below `page` (T1) */
  async node(page: number, level: number, low: Bytes, high: Bytes | undefined): Promise<void> {
    this.reach(page);
    const bytes = await this.#store.read(() => copyOf(this.#store.node(page, level)));
    const cells = cellsOf(bytes);
    let used = prefixBytesOf(bytes);
    let last = low;
    for (const [i, cell] of cells.entries()) {
      used += fullCellBytes(cell) - prefixBytesOf(bytes);
      const order = Buffer.compare(last, cell.key);
      if (order > 0 || (order === 0 && i > 0)) throw damagedNode(page, `key ${i} is not in order`);
      last = cell.key;
    }
    if (high !== undefined && cells.length > 0 && Buffer.compare(last, high) >= 0)
      throw damagedNode(page, "keys beyond its bound");
    if (used !== usedBytes(bytes))
      throw damagedNode(page, `${usedBytes(bytes)} bytes are in use, its cells take ${used}`);
    if (level === 0) return this.#leaf(page, bytes);
    this.innerNodes++;
    for (let slot = -1; slot < cells.length; slot++) {
      const from = slot < 0 ? low : (cells[slot]?.key as Bytes);
      await this.node(childAt(bytes, slot), level - 1, from, cells[slot + 1]?.key ?? high);
    }
  }

  #leaf(page: number, bytes: Bytes): void {
    const count = slotCount(bytes);
    if (count === 0) throw damagedNode(page, "an empty leaf");
    this.leaves++;
    this.leafBytes += usedBytes(bytes);
    this.entries += count;
    for (let slot = 0; slot < count; slot++) {
      const { start, end, run } = storedValue(bytes, slot);
      if (run !== undefined)
        this.#run({ first: run.first, pages: Math.ceil(run.byteCount / PAGE_BYTES) });
      const own = this.#check(
        keyAt(bytes, slot),
        run === undefined ? bytes.subarray(start, end) : undefined,
      );
      if (own !== undefined) this.#run(own);
    }
  }

  #run({ first, pages }: PageRun): void {
    for (let i = 0; i < pages; i++) this.reach(first + i);
    this.runPages += pages;
  }
}

/** @throws `corruption` naming the page where something is wrong */
export async function verifyTree(
  store: PageStore,
  check: EntryCheck = () => undefined,
): Promise<TreeReport> {
  await store.read(() => {});
  const { header } = store;
  const walk = new Walk(store, check);
  let bitmapPages = 0;
  let freePages = 0;
  if (header.pages > 0) walk.reach(0);
  for (let group = 0; group * GROUP_PAGES < header.pages; group++) {
    walk.reach(bitmapPage(group));
    bitmapPages++;
  }
  if (header.height > 0)
    await walk.node(header.root, header.height - 1, new Uint8Array(0), undefined);
  for (let page = 0; page < header.pages;) {
    const group = groupOf(page);
    const bitmap = await store.read(() => copyOf(store.page(bitmapPage(group))));
    for (const end = (group + 1) * GROUP_PAGES; page < end; page++) {
      const inUse = isSet(bitmap, page);
      if (page >= header.pages ? inUse : inUse !== walk.isReached(page))
        throw damagedNode(page, inUse ? "in use, but nothing refers to it" : "reached, but free");
      if (page < header.pages && !inUse) {
        freePages++;
        if (page < header.firstFree) throw damagedNode(page, "a free page below the first");
      }
    }
  }
  if (freePages !== header.freePages || walk.entries !== header.counters[ENTRIES]) {
    throw damagedNode(
      0,
      `${freePages} free pages and ${walk.entries} entries, counted were ${header.freePages} and ${header.counters[ENTRIES]}`,
    );
  }
  return {
    entries: walk.entries,
    height: header.height,
    pages: header.pages,
    freePages,
    bitmapPages,
    leaves: walk.leaves,
    innerNodes: walk.innerNodes,
    runPages: walk.runPages,
    leafFill: walk.leaves === 0 ? 0 : walk.leafBytes / (walk.leaves * NODE_ROOM_BYTES),
  };
}
