/**
 * A B+tree over the pages of a volume: byte strings in order. Nodes refer to each other by page number, so a changed leaf changes nothing above it
 * (the page map knows where its new version lies). Comer, "The Ubiquitous B-Tree", 1979; keys share a prefix per node (Bayer and
 * Unterauer, "Prefix B-Trees", 1977). Cells are described in tree-cells.ts, changes in b-tree-writer.ts; this reads.
 *
 * T1 a reader that meets another version of the volume on its way starts again: it never mixes two.
 * T2 several keys go down together: each node is read once for all of them.
 */
import { PinionError } from "@pinion/core";
import { PAGE_BYTES } from "../segment/page-entry.ts";
import { nodeAt, runOf, sharesOf, type ReadPage } from "./tree-cells.ts";
import type { Volume } from "./volume.ts";

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

interface Wanted {
  readonly key: Uint8Array;
  /** Its place in the answer. */
  readonly at: number;
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

  /** Several values as of one version, in the order of `keys`; each node on the way is read once. @throws as `get` */
  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const inOrder = keys.map((key, at) => ({ key, at }));
    inOrder.sort((a, b) => Buffer.compare(a.key, b.key));
    return this.#atOneVersion(async (read) => {
      const found = new Array<Uint8Array | undefined>(keys.length).fill(undefined);
      const { treeRoot } = this.#volume;
      if (treeRoot !== 0) await this.#findMany(read, treeRoot, inOrder, found);
      return found;
    });
  }

  async #find(read: ReadPage, key: Uint8Array): Promise<Uint8Array | undefined> {
    let page = this.#volume.treeRoot;
    if (page === 0) return undefined;
    for (;;) {
      const node = await nodeAt(read, page);
      if (node.inner) {
        page = node.child(node.slotBelow(key));
        continue;
      }
      const slot = node.find(key);
      return slot < 0 ? undefined : this.#value(read, node.value(slot));
    }
  }

  /** @param wanted in order of key; all of them belong below `page` */
  async #findMany(
    read: ReadPage,
    page: number,
    wanted: readonly Wanted[],
    found: (Uint8Array | undefined)[],
  ): Promise<void> {
    const node = await nodeAt(read, page);
    if (node.inner) {
      const below: Promise<void>[] = [];
      for (const { slot, from, to } of sharesOf(node, wanted, 0, wanted.length)) {
        const child = node.child(slot);
        below.push(this.#findMany(read, child, wanted.slice(from, to), found));
      }
      await Promise.all(below);
      return;
    }
    for (const { key, at } of wanted) {
      const slot = node.find(key);
      if (slot >= 0) found[at] = await this.#value(read, node.value(slot));
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
    const start = node.inner ? node.slotBelow(from) : node.lowerBound(from);
    let end = to === undefined ? node.count : node.lowerBound(to);
    if (node.inner && end === 0 && node.count > 0) end = 1;
    for (let i = 0; i < end - start && found.length < limit; i++) {
      const slot = reverse ? end - 1 - i : start + i;
      if (node.inner) await this.#collect(read, node.child(slot), range, found);
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
        if (e !== moved && volume.version === version) throw e; // T1
      }
    }
  }
}
