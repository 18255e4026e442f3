/**
 * Leaves of a tree in order, one at a time; outside of operations a copy of each, so that the tree may change between two of them.
 * Whoever walks goes down from the root for every leaf, with the bound of the last one.
 *
 * C1 a walk ends, whatever the bytes say: bounds only move forwards, and no leaf but the first may have nothing to show.
 */
import { copyOf } from "../extent/copies.ts";
import {
  cellAt,
  childAt,
  childSlot,
  damagedNode,
  findSlot,
  isInRun,
  keyAt,
  slotCount,
  u32,
  valueAt,
  valueLength,
  type Bytes,
} from "./map-node.ts";
import type { PageStore } from "./map-pages.ts";
import { runAt } from "./map-tree.ts";

export interface KeyRange {
  /** Inclusive. */
  readonly from: Bytes;
  /** Exclusive; undefined: to the end. */
  readonly to: Bytes | undefined;
}

/** Slots `from … to` of a leaf, or of a copy of it. */
export interface LeafPart {
  readonly bytes: Bytes;
  readonly from: number;
  readonly to: number;
  /** What is left of the range behind this leaf, or before it in reverse; undefined: nothing. */
  readonly rest: KeyRange | undefined;
}

/** The first slot whose key is not below `key`. */
function lowerBound(b: Bytes, key: Bytes): number {
  const slot = findSlot(b, key, key.length);
  return slot >= 0 ? slot : -1 - slot;
}

/** The leaf that the range begins in. Part of an operation. @throws `corruption` */
function firstLeaf(store: PageStore, range: KeyRange): LeafPart | undefined {
  const { from, to } = range;
  const { header } = store;
  if (header.height === 0 || (to !== undefined && Buffer.compare(from, to) >= 0)) return undefined;
  let page = header.root;
  let next: Bytes | undefined;
  for (let level = header.height - 1; level > 0; level--) {
    const node = store.node(page, level);
    const slot = childSlot(node, from, from.length);
    if (slot + 1 < slotCount(node)) next = keyAt(node, slot + 1);
    page = childAt(node, slot);
  }
  const bytes = store.node(page, 0);
  const count = slotCount(bytes);
  const end = to === undefined ? count : lowerBound(bytes, to);
  if (next !== undefined) {
    const isBeyond = count > 0 && Buffer.compare(keyAt(bytes, count - 1), next) >= 0;
    if (isBeyond || Buffer.compare(next, from) <= 0)
      throw damagedNode(page, "keys beyond its bound");
  }
  const goesOn = next !== undefined && (to === undefined || Buffer.compare(next, to) < 0);
  return {
    bytes,
    from: lowerBound(bytes, from),
    to: end,
    rest: goesOn ? { from: next as Bytes, to } : undefined,
  };
}

/** The leaf that the range ends in. Part of an operation. @throws `corruption` */
function lastLeaf(store: PageStore, range: KeyRange): LeafPart | undefined {
  const { from, to } = range;
  const { header } = store;
  if (header.height === 0 || (to !== undefined && Buffer.compare(from, to) >= 0)) return undefined;
  let page = header.root;
  let before: Bytes | undefined;
  for (let level = header.height - 1; level > 0; level--) {
    const node = store.node(page, level);
    const slot = (to === undefined ? slotCount(node) : lowerBound(node, to)) - 1;
    if (slot >= 0) before = keyAt(node, slot);
    page = childAt(node, slot);
  }
  const bytes = store.node(page, 0);
  const count = slotCount(bytes);
  if (before !== undefined) {
    const isBelow = count > 0 && Buffer.compare(keyAt(bytes, 0), before) < 0;
    if (isBelow || (to !== undefined && Buffer.compare(before, to) >= 0))
      throw damagedNode(page, "keys below its bound");
  }
  const goesOn = before !== undefined && Buffer.compare(from, before) < 0;
  return {
    bytes,
    from: lowerBound(bytes, from),
    to: to === undefined ? count : lowerBound(bytes, to),
    rest: goesOn ? { from, to: before } : undefined,
  };
}

/** Leaves of a range one after the other; `leaf` is undefined at the end. */
export class LeafWalk {
  readonly #store: PageStore;
  readonly #reverse: boolean;
  #rest: KeyRange | undefined;
  #leaves = 0;
  #generation = -1;

  constructor(store: PageStore, range: KeyRange, reverse: boolean) {
    this.#store = store;
    this.#rest = range;
    this.#reverse = reverse;
  }

  /** The next leaf that shows something. @throws `corruption` */
  async next(): Promise<LeafPart | undefined> {
    while (this.#rest !== undefined) {
      const range = this.#rest;
      const leaf = await this.#store.read(() => {
        const found = this.#look(range);
        return found && { ...found, bytes: copyOf(found.bytes) };
      });
      if (this.#accept(leaf)) return leaf;
    }
    return undefined;
  }

  /** `next` inside an operation; what it returns is good until the operation changes something. */
  nextNow(): LeafPart | undefined {
    while (this.#rest !== undefined) {
      const leaf = this.#look(this.#rest);
      if (this.#accept(leaf)) return leaf;
    }
    return undefined;
  }

  #look(range: KeyRange): LeafPart | undefined {
    return this.#reverse ? lastLeaf(this.#store, range) : firstLeaf(this.#store, range);
  }

  #accept(leaf: LeafPart | undefined): leaf is LeafPart {
    this.#rest = leaf?.rest;
    const { generation } = this.#store.extent;
    // Where the tree has changed, a bound may lie anywhere in a leaf.
    if (generation !== this.#generation) this.#leaves = 0;
    this.#generation = generation;
    if (leaf === undefined) return false;
    const isEmpty = leaf.from >= leaf.to;
    // C1: only where the range begins may a leaf lie before all of it; the last may lie behind it.
    if (isEmpty && this.#leaves > 0 && leaf.rest !== undefined)
      throw damagedNode(u32(leaf.bytes, 0), "an empty leaf");
    this.#leaves++;
    return !isEmpty;
  }
}

/** A value in a leaf's copy: where it lies there, or the run that holds it. */
export interface StoredValue {
  readonly start: number;
  readonly end: number;
  readonly run: { readonly first: number; readonly byteCount: number } | undefined;
}

export function storedValue(bytes: Bytes, slot: number): StoredValue {
  const start = valueAt(bytes, cellAt(bytes, slot));
  const run = isInRun(bytes, start) ? runAt(bytes, start) : undefined;
  return { start, end: start + valueLength(bytes, start), run };
}

/** The highest entry from `from` on that is not above `key`. Part of an operation. @throws `corruption` */
export function floorEntry(
  store: PageStore,
  key: Bytes,
  from: Bytes,
): { readonly leaf: Bytes; readonly slot: number } | undefined {
  // The key itself is in the range, so its end is the key's successor: one zero byte more.
  const to = new Uint8Array(key.length + 1);
  to.set(key);
  const leaf = new LeafWalk(store, { from, to }, true).nextNow();
  return leaf === undefined ? undefined : { leaf: leaf.bytes, slot: leaf.to - 1 };
}
