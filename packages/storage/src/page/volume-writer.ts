/**
 * The pages of a tree on their way into the next checkpoint of its volume. For volumes that nobody comes back to, see `PagesWriter`.
 *
 * State: pages that may be read or written again, and memory for more of them.
 *
 * X1 a writer that is given up leaves no trace.
 * X2 a page that is `settled` has its place, and is not read or written again before the checkpoint is published. All others get theirs at the end.
 * X3 memory is used again: a checkpoint of many small changes goes through a few hundred pages of it, not through two for each leaf, which the
 *    collector would have to find. What readers keep is not used again.
 */
import { assert } from "@pinion/core";
import type { CheckpointWriter } from "../segment/checkpoint-writer.ts";
import { LiveChanges } from "../segment/live-pages.ts";
import { isDamage } from "../segment/damage.ts";
import { PAGE_BYTES, PageKind } from "../segment/page-entry.ts";
import { MapWriter } from "./page-map.ts";
import type { Volume, VolumeChange } from "./volume.ts";

const SPARE_PAGES_MAX = 512;

export class VolumeWriter {
  readonly #volume: Volume;
  readonly #checkpoint: CheckpointWriter;
  readonly #breathe: () => Promise<void> | undefined;
  readonly #map: MapWriter;
  readonly #live = new LiveChanges();
  /** Without a place yet. Undefined: given back. */
  readonly #pages = new Map<number, Uint8Array | undefined>();
  /** Their bytes where readers have them in memory. */
  readonly #settled = new Map<number, Uint8Array | undefined>();
  /** Numbers that were given back, by now or in earlier checkpoints. */
  readonly #free: number[];
  /** Memory that is this writer's (X3). */
  readonly #own = new Set<Uint8Array>();
  readonly #spare: Uint8Array[] = [];
  #pageCount: number;
  treeRoot: number;

  /**
   * @param free page numbers below `pageCount` that have no page; taken over
   * @param breathe called between pages; a promise lets the event loop go on
   */
  constructor(
    volume: Volume,
    free: number[],
    checkpoint: CheckpointWriter,
    breathe: () => Promise<void> | undefined,
  ) {
    this.#volume = volume;
    this.#checkpoint = checkpoint;
    this.#breathe = breathe;
    this.#map = new MapWriter(volume.map);
    this.#free = free;
    this.#pageCount = volume.pageCount;
    this.treeRoot = volume.treeRoot;
  }

  /** Memory for a page: 4,096 zeros. */
  memory(): Uint8Array {
    const spare = this.#spare.pop();
    if (spare !== undefined) return spare.fill(0);
    const bytes = new Uint8Array(PAGE_BYTES);
    this.#own.add(bytes);
    return bytes;
  }

  /** Nobody looks at a page's bytes any more; they may be those of `memory`, or not. */
  recycle(bytes: Uint8Array): void {
    if (!this.#own.has(bytes)) return;
    if (this.#spare.length < SPARE_PAGES_MAX) this.#spare.push(bytes);
    else this.#own.delete(bytes);
  }

  /** A page as this writer left it, or as published. */
  async read(page: number): Promise<Uint8Array | undefined> {
    assert(!this.#settled.has(page), `page ${page} is read after it got its place`);
    return this.#pages.has(page) ? this.#pages.get(page) : this.#volume.read(page);
  }

  /** As `read`, for one look: ends with `recycle` or `keep`. @returns no promise if it needs no wait */
  readOnce(page: number): Uint8Array | Promise<Uint8Array | undefined> {
    assert(!this.#pages.has(page), `page ${page} is read once after it was written`);
    const into = this.memory();
    const bytes = this.#volume.readOnceNow(page, into);
    if (bytes === undefined)
      return this.#volume.readOnce(page, into).then((read) => this.#unless(into, read));
    return this.#unless(into, bytes);
  }

  /** @returns `bytes`; `memory` may be used again unless it is theirs */
  #unless<T extends Uint8Array | undefined>(memory: Uint8Array, bytes: T): T {
    if (bytes !== memory) this.recycle(memory);
    return bytes;
  }

  /** A published page that readers will want, too. */
  keep(page: number, bytes: Uint8Array): void {
    if (!this.#own.delete(bytes) || this.#pages.has(page)) return;
    this.#volume.keep(page, bytes);
  }

  /** @param bytes 4,096, the writer's from now on */
  write(page: number, bytes: Uint8Array): void {
    assert(page > 0 && page < this.#pageCount, `page ${page} was never given out`);
    assert(!this.#settled.has(page), `page ${page} is written after it got its place`);
    this.#replace(page, bytes);
  }

  /** Who has looked at the bytes before may still do so: they are not used again. */
  #replace(page: number, bytes: Uint8Array | undefined): void {
    const before = this.#pages.get(page);
    if (before !== undefined) this.#own.delete(before);
    this.#pages.set(page, bytes);
  }

  /** A page number for a new page. */
  allocate(): number {
    return this.#free.pop() ?? this.#pageCount++;
  }

  /** `count` consecutive numbers: such pages are written next to each other. */
  allocateRun(count: number): number {
    const first = this.#pageCount;
    this.#pageCount += count;
    return first;
  }

  release(page: number): void {
    assert(!this.#settled.has(page), `page ${page} is given back after it got its place`);
    this.#replace(page, undefined);
    this.#free.push(page);
  }

  isSettled(page: number): boolean {
    return this.#settled.has(page);
  }

  /** Gives pages that were written their places now (X2). Others among them are passed over. */
  async settle(pages: Iterable<number>): Promise<void> {
    for (const page of pages) {
      const bytes = this.#pages.get(page);
      const placed = bytes && this.#place(page, bytes);
      if (placed !== undefined) await placed;
    }
  }

  /**
   * The page is written again as it is: to empty its segment. A damaged one stays where it is.
   * @returns undefined if there is nothing to wait for: what leads to it is copied, and the page is in memory
   */
  rewrite(page: number): Promise<void> | undefined {
    if (this.#pages.has(page) || this.#settled.has(page)) return undefined;
    const touched = this.#map.touch(page);
    if (touched !== undefined)
      return this.#rewriteRead(
        page,
        touched.then(() => this.readOnce(page)),
      );
    let bytes: Uint8Array | Promise<Uint8Array | undefined>;
    try {
      bytes = this.readOnce(page);
    } catch (e) {
      if (isDamage(e)) return undefined;
      throw e;
    }
    return bytes instanceof Promise ? this.#rewriteRead(page, bytes) : this.#place(page, bytes);
  }

  async #rewriteRead(page: number, reading: Promise<Uint8Array | undefined>): Promise<void> {
    let bytes: Uint8Array | undefined;
    try {
      bytes = await reading;
    } catch (e) {
      if (!isDamage(e)) throw e;
    }
    const placed = bytes && this.#place(page, bytes);
    if (placed !== undefined) await placed;
  }

  /** As `rewrite`, for the nodes of the map that lead to `page`. */
  async rewriteMap(page: number): Promise<void> {
    try {
      await this.#map.touch(page);
    } catch (e) {
      if (!isDamage(e)) throw e;
    }
  }

  /** Gives every page that has none its place, and then the nodes of the map. */
  async finish(): Promise<VolumeChange> {
    // A typed array sorts numbers without a comparator: ten times as fast, and this holds the loop.
    for (const page of Float64Array.from(this.#pages.keys()).sort()) {
      const placed = this.#place(page, this.#pages.get(page));
      if (placed !== undefined) await placed;
    }
    const { id } = this.#volume;
    const map = await this.#map.finish(id, this.#checkpoint, this.#live, this.#breathe);
    const root = { volume: id, map, pageCount: this.#pageCount, treeRoot: this.treeRoot };
    return { root, live: this.#live };
  }

  /** @returns undefined if there is nothing to wait for, as nearly always */
  #place(page: number, bytes: Uint8Array | undefined): Promise<void> | undefined {
    const touched = this.#map.touch(page);
    if (touched !== undefined) return this.#placeLater(touched, page, bytes);
    return this.#placeTouched(page, bytes);
  }

  async #placeLater(
    touched: Promise<void>,
    page: number,
    bytes: Uint8Array | undefined,
  ): Promise<void> {
    await touched;
    await this.#placeTouched(page, bytes);
  }

  #placeTouched(page: number, bytes: Uint8Array | undefined): Promise<void> | undefined {
    const name = { volume: this.#volume.id, kind: PageKind.data, level: 0, index: page };
    const entry = bytes && this.#checkpoint.add(name, bytes);
    const before = this.#map.set(page, entry);
    if (entry !== undefined) this.#live.added(entry);
    if (before !== undefined) this.#live.replaced(before);
    this.#pages.delete(page);
    const isRead = bytes !== undefined && this.#volume.has(page);
    this.#settled.set(page, isRead ? bytes : undefined);
    if (isRead) this.#own.delete(bytes);
    else if (bytes !== undefined) this.recycle(bytes);
    return this.#checkpoint.drain() ?? this.#breathe();
  }

  /** From now on readers see it: the checkpoint is durable. */
  publish({ root }: VolumeChange): void {
    this.#map.publish(root.map);
    this.#volume.adopt(root, this.#settled);
  }
}
