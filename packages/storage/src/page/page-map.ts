/**
 * The page map of one volume: page number → where its newest version lies. A copy-on-write radix tree of 4 KiB nodes with 256
 * entries each, kept in the segments like the pages themselves. An entry holds its child's checksum, so the root's entry
 * vouches for every byte of the volume (a Merkle tree), and a copy of the root is a fork of the volume.
 *
 * State: nodes in memory, each as of the last published root. They come in through `readNode` when they are needed.
 *
 * M1 nodes of the published map are never changed: a writer works on copies, and `publish` puts them in place at once.
 * M2 a writer that is given up leaves no trace.
 * M3 a volume of up to 256^h pages has a map of height h; it grows by putting a root on top, and never shrinks.
 */
import { assert } from "@pinion/core";
import {
  ENTRY_BYTES,
  getEntry,
  PAGE_BYTES,
  PageKind,
  putEntry,
  type MapRoot,
  type PageEntry,
  type PageName,
  SEGMENT_PAGES,
} from "../segment/page-entry.ts";
import type { CheckpointWriter } from "../segment/checkpoint-writer.ts";
import type { LiveChanges } from "../segment/live-pages.ts";

const FANOUT = PAGE_BYTES / ENTRY_BYTES;
/** 256^6 pages are 2^60 bytes. */
const HEIGHT_MAX = 6;

export const EMPTY_MAP: MapRoot = Object.freeze({ height: 0, entry: undefined });

/** Brings in a node's 4,096 bytes, verified. */
export type ReadNode = (level: number, index: number, entry: PageEntry) => Promise<Uint8Array>;

class MapNode {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, PAGE_BYTES);
  }

  get(slot: number): PageEntry | undefined {
    return getEntry(this.view, slot * ENTRY_BYTES);
  }

  /** As `get`, for a look at the place alone. */
  isAt(slot: number, segment: number, page: number): boolean {
    const at = slot * ENTRY_BYTES;
    return (
      this.view.getUint32(at, true) === segment &&
      (this.view.getUint16(at + 4, true) & (SEGMENT_PAGES - 1)) === page
    );
  }

  set(slot: number, entry: PageEntry | undefined): void {
    putEntry(this.view, slot * ENTRY_BYTES, entry);
  }
}

const keyOf = (level: number, index: number): number => index * 8 + level;
const slotOf = (index: number): number => index % FANOUT;
const parentOf = (index: number): number => Math.floor(index / FANOUT);

/** The first page below a node. */
export const firstPageBelow = (level: number, index: number): number =>
  index * FANOUT ** (level + 1);

/** Where `page` belongs at `level`. */
function indexAt(page: number, level: number): number {
  return Math.floor(page / FANOUT ** (level + 1));
}

export class PageMap {
  readonly #readNode: ReadNode;
  #root: MapRoot;
  /** Published nodes in memory (M1); 4 KiB for each 256 pages that were looked at. */
  readonly #nodes = new Map<number, MapNode>();
  readonly #loading = new Map<number, Promise<MapNode>>();
  #version = 0;

  constructor(readNode: ReadNode, root: MapRoot = EMPTY_MAP) {
    assert(root.height <= HEIGHT_MAX, `a page map of height ${root.height}`);
    this.#readNode = readNode;
    this.#root = root;
  }

  get root(): MapRoot {
    return this.#root;
  }

  /** Grows with every `publish`: who reads several pages compares it to know that they belong together. */
  get version(): number {
    return this.#version;
  }

  /** The entry of `page`; undefined if the volume has no such page. @throws `corruption`, `io-error` */
  async lookup(page: number): Promise<PageEntry | undefined> {
    const leaf = await this.#leafOf(page);
    return leaf?.get(slotOf(page));
  }

  /** The entry of one of the map's own nodes. */
  async entryOfNode(level: number, index: number): Promise<PageEntry | undefined> {
    const { height, entry } = this.#root;
    if (level === height - 1) return index === 0 ? entry : undefined;
    const parent = await this.nodeAt(level + 1, parentOf(index));
    return parent?.get(slotOf(index));
  }

  /** Whether a page, or one of the map's own nodes, is at this place; undefined when what leads to it is not in memory. */
  isAt({ kind, level, index }: PageName, segment: number, page: number): boolean | undefined {
    const { height, entry } = this.#root;
    const own = kind === PageKind.map ? level : -1;
    if (own >= height || index >= FANOUT ** (height - 1 - own)) return false;
    if (own === height - 1) return entry?.segment === segment && entry.page === page;
    const parent = this.#nodes.get(keyOf(own + 1, parentOf(index)));
    return parent?.isAt(slotOf(index), segment, page);
  }

  #covers(page: number): boolean {
    return page < FANOUT ** this.#root.height;
  }

  /** Undefined where the published map has none. */
  async #leafOf(page: number): Promise<MapNode | undefined> {
    if (!this.#covers(page)) return undefined;
    return this.nodeAt(0, indexAt(page, 0));
  }

  /** A published node, brought in with those above it as needed. For `MapWriter`. */
  async nodeAt(level: number, index: number): Promise<MapNode | undefined> {
    for (;;) {
      const { height, entry: rootEntry } = this.#root;
      if (level >= height || index >= FANOUT ** (height - 1 - level)) return undefined;
      const key = keyOf(level, index);
      const known = this.#nodes.get(key);
      if (known !== undefined) return known;
      const version = this.#version;
      let entry = rootEntry;
      if (level < height - 1) {
        const parent = await this.nodeAt(level + 1, parentOf(index));
        if (this.#version !== version) continue;
        entry = parent?.get(slotOf(index));
      }
      if (entry === undefined) return undefined;
      const node = await this.#load(key, level, index, entry);
      // What was read may have been replaced meanwhile.
      if (this.#version === version) return node;
    }
  }

  #load(key: number, level: number, index: number, entry: PageEntry): Promise<MapNode> {
    const loading = this.#loading.get(key);
    if (loading !== undefined) return loading;
    const version = this.#version;
    const load = this.#readNode(level, index, entry)
      .then((bytes) => {
        const node = new MapNode(bytes);
        if (this.#version === version) this.#nodes.set(key, node);
        return node;
      })
      .finally(() => this.#loading.delete(key));
    this.#loading.set(key, load);
    return load;
  }

  /** The entry of `page`, if what leads to it is in memory. */
  peek(page: number): PageEntry | undefined {
    return this.#nodes.get(keyOf(0, indexAt(page, 0)))?.get(slotOf(page));
  }

  /** The first page behind the leaf that `page` is in. */
  nextLeaf(page: number): number {
    return (indexAt(page, 0) + 1) * FANOUT;
  }

  /** The entries of pages `from` … `to − 1`, which lie in one leaf. */
  async leafEntries(from: number, to: number): Promise<(PageEntry | undefined)[]> {
    const leaf = await this.#leafOf(from);
    return Array.from({ length: to - from }, (_, i) => leaf?.get(slotOf(from + i)));
  }

  /**
   * The pages from `from` on, in order, as of one version: whoever may be overtaken by a `publish` compares `version`.
   * @param onNode told of the map's nodes on the way
   */
  async *entries(
    from = 0,
    onNode?: (entry: PageEntry) => void,
  ): AsyncGenerator<[page: number, entry: PageEntry]> {
    const { height, entry } = this.#root;
    if (entry !== undefined) yield* this.#below(height - 1, 0, entry, from, onNode);
  }

  async *#below(
    level: number,
    index: number,
    entry: PageEntry,
    from: number,
    onNode: ((entry: PageEntry) => void) | undefined,
  ): AsyncGenerator<[number, PageEntry]> {
    onNode?.(entry);
    const node = await this.nodeAt(level, index);
    if (node === undefined) return;
    const first = index * FANOUT;
    for (let slot = Math.max(0, indexAt(from, level - 1) - first); slot < FANOUT; slot++) {
      const child = node.get(slot);
      if (child === undefined) continue;
      if (level === 0) yield [first + slot, child];
      else yield* this.#below(level - 1, first + slot, child, from, onNode);
    }
  }

  /** For `MapWriter.publish`. */
  adopt(root: MapRoot, nodes: ReadonlyMap<number, MapNode>): void {
    this.#root = root;
    for (const [key, node] of nodes) this.#nodes.set(key, node);
    this.#loading.clear();
    this.#version++;
  }
}

/** One set of changes on their way into a map (M1, M2). */
export class MapWriter {
  readonly #map: PageMap;
  readonly #copies = new Map<number, MapNode>();
  #height: number;

  constructor(map: PageMap) {
    this.#map = map;
    this.#height = map.root.height;
  }

  /** Has the leaf of `page`, and all above it, written again. `set` needs it. @returns undefined if that was so before */
  touch(page: number): Promise<void> | undefined {
    const isCopied = this.#copies.has(keyOf(0, indexAt(page, 0)));
    return isCopied ? undefined : this.#touch(page);
  }

  async #touch(page: number): Promise<void> {
    while (this.#height === 0 || page >= FANOUT ** this.#height) await this.#grow();
    const copied: number[] = [];
    try {
      for (let level = 0; level < this.#height; level++) {
        if (!(await this.#copy(level, indexAt(page, level)))) return;
        copied.push(keyOf(level, indexAt(page, level)));
      }
    } catch (e) {
      // A node whose parents cannot be read has no place.
      for (const key of copied) this.#copies.delete(key);
      throw e;
    }
  }

  /** Once `touch` has resolved. @returns the entry before */
  set(page: number, entry: PageEntry | undefined): PageEntry | undefined {
    const leaf = this.#copies.get(keyOf(0, indexAt(page, 0)));
    assert(leaf !== undefined, `page ${page} is set before its leaf was touched`);
    const before = leaf.get(slotOf(page));
    leaf.set(slotOf(page), entry);
    return before;
  }

  /** Once `touch` has resolved. */
  get(page: number): PageEntry | undefined {
    return this.#copies.get(keyOf(0, indexAt(page, 0)))?.get(slotOf(page));
  }

  /** A new root above the old one, which becomes its first child. */
  async #grow(): Promise<void> {
    const level = this.#height++;
    assert(this.#height <= HEIGHT_MAX, "a volume has outgrown its page map");
    const root = new MapNode(new Uint8Array(PAGE_BYTES));
    this.#copies.set(keyOf(level, 0), root);
    if (level === 0) return;
    // The old root may be a copy already; else its entry stands. Above a root that is itself new, that one comes there with its place.
    if (level === this.#map.root.height) root.set(0, this.#map.root.entry);
    await this.#copy(level - 1, 0);
  }

  /** @returns false when it had been copied before */
  async #copy(level: number, index: number): Promise<boolean> {
    const key = keyOf(level, index);
    if (this.#copies.has(key)) return false;
    const published = await this.#map.nodeAt(level, index);
    // Somebody else may have copied it while it was read.
    if (this.#copies.has(key)) return false;
    this.#copies.set(
      key,
      new MapNode(published ? published.bytes.slice() : new Uint8Array(PAGE_BYTES)),
    );
    return true;
  }

  /**
   * Writes the copied nodes, leaves first.
   * @param breathe called between nodes; a promise lets the event loop go on
   * @returns the new root, not published yet
   */
  async finish(
    volume: number,
    checkpoint: CheckpointWriter,
    live: LiveChanges,
    breathe: () => Promise<void> | undefined,
  ): Promise<MapRoot> {
    const keys = [...this.#copies.keys()];
    let root = this.#map.root.entry;
    for (let level = 0; level < this.#height; level++) {
      const indexes = keys.filter((key) => key % 8 === level).map((key) => (key - level) / 8);
      for (const index of Float64Array.from(indexes).sort()) {
        const node = this.#copies.get(keyOf(level, index)) as MapNode;
        const entry = checkpoint.add({ volume, kind: PageKind.map, level, index }, node.bytes);
        live.added(entry);
        const pause = checkpoint.drain() ?? breathe();
        if (pause !== undefined) await pause;
        let before: PageEntry | undefined;
        if (level === this.#height - 1) {
          before = this.#height === this.#map.root.height ? root : undefined;
          root = entry;
        } else {
          const parent = this.#copies.get(keyOf(level + 1, parentOf(index)));
          assert(parent !== undefined, "a copied map node has a parent that was not copied");
          before = parent.get(slotOf(index));
          parent.set(slotOf(index), entry);
        }
        if (before !== undefined) live.replaced(before);
      }
    }
    return { height: this.#height, entry: root };
  }

  /** From now on readers see `root`, which `finish` has returned and which is durable. */
  publish(root: MapRoot): void {
    this.#map.adopt(root, this.#copies);
  }
}
