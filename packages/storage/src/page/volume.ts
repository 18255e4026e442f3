/**
 * A volume: numbered pages that are written copy-on-write. Reads see the last published checkpoint; one writer at a time collects
 * the pages of the next and publishes them together with the map that leads to them.
 *
 * V1 published pages do not change; who has read one may keep it.
 * V2 a writer that is given up leaves no trace (volume-writer.ts; pages-writer.ts).
 * V3 pages in memory are bounded by `cachedPagesMax` (page-cache.ts).
 * V4 `version` grows with every publish. Who follows references over several pages and finds it changed starts again.
 */
import type { VolumeRoot } from "../segment/batch-format.ts";
import type { LiveChanges } from "../segment/live-pages.ts";
import {
  PAGE_BYTES,
  CHECK_BYTES,
  putPageCheck,
  PageKind,
  type PageEntry,
  type PageName,
} from "../segment/page-entry.ts";
import { PageCache } from "./page-cache.ts";
import { EMPTY_MAP, PageMap } from "./page-map.ts";

/** As deep as the pool reads ahead at most. */
const AHEAD_PAGES = 32;

/** Stored pages that lie next to each other in a segment. */
export interface PageRun {
  /** The first. */
  readonly page: number;
  readonly count: number;
  readonly segment: number;
  /** Bytes in the segment's file. */
  readonly offset: number;
  /** What each must look like: 32 bytes a page (page-entry.ts, `putPageCheck`). */
  readonly checks: Uint8Array;
}

/** Where a volume's pages come from. */
export interface PageReader {
  /** A page's 4,096 bytes, the reader's own. @throws `corruption` naming the page, `io-error` */
  read(name: PageName, entry: PageEntry): Promise<Uint8Array>;
  /** As `read`, into memory of the caller's. @returns `into` */
  readInto?(name: PageName, entry: PageEntry, into: Uint8Array): Promise<Uint8Array>;
  /** As `readInto`, if it needs no wait: else false. */
  readNow?(name: PageName, entry: PageEntry, into: Uint8Array): boolean;
  /** As `read`, if it is in memory. */
  peek?(entry: PageEntry): Uint8Array | undefined;
  /** The page may be read soon. */
  expect?(name: PageName, entry: PageEntry): void;
}

export interface VolumeOptions {
  readonly segments: PageReader;
  readonly volume: number;
  readonly root: VolumeRoot | undefined;
  readonly cachedPagesMax: number;
}

export class Volume {
  readonly id: number;
  readonly map: PageMap;
  readonly #segments: PageReader;
  readonly #cache: PageCache;
  #pageCount: number;
  #treeRoot: number;
  /** Memory for the next page that is read without a wait. */
  #spare: Uint8Array | undefined;

  constructor({ segments, volume, root, cachedPagesMax }: VolumeOptions) {
    this.id = volume;
    this.#segments = segments;
    this.#cache = new PageCache(cachedPagesMax);
    this.#pageCount = root?.pageCount ?? 1;
    this.#treeRoot = root?.treeRoot ?? 0;
    this.map = new PageMap(
      (level, index, entry) => segments.read(this.#name(PageKind.map, level, index), entry),
      root?.map ?? EMPTY_MAP,
    );
  }

  get version(): number {
    return this.map.version;
  }

  /** Page numbers below this have been given out; 0 never is. */
  get pageCount(): number {
    return this.#pageCount;
  }

  get treeRoot(): number {
    return this.#treeRoot;
  }

  /** A published page if it can be had without waiting. */
  peek(page: number): Uint8Array | undefined {
    const cached = this.#cache.get(page);
    if (cached !== undefined) return cached;
    const entry = this.map.peek(page);
    return entry && this.#segments.peek?.(entry);
  }

  /** What follows a page that had to be read may be read ahead. */
  #announce(page: number): void {
    if (this.#segments.expect === undefined) return;
    for (let next = page + 1; next <= page + AHEAD_PAGES; next++) {
      const entry = this.map.peek(next);
      if (entry !== undefined) this.#segments.expect(this.#name(PageKind.data, 0, next), entry);
    }
  }

  /** A published page; undefined if there is none. @throws `corruption`, `io-error` */
  async read(page: number): Promise<Uint8Array | undefined> {
    const cached = this.#cache.get(page);
    if (cached !== undefined) return cached;
    if (this.#segments.readNow !== undefined) {
      const bytes = this.#spare ?? new Uint8Array(PAGE_BYTES);
      const isRead = this.#readNow(page, bytes);
      this.#spare = isRead ? undefined : bytes;
      if (isRead) {
        this.#cache.keep(page, bytes);
        return bytes;
      }
    }
    for (;;) {
      const version = this.version;
      const entry = this.map.peek(page) ?? (await this.map.lookup(page));
      if (entry === undefined) return undefined;
      this.#announce(page);
      let bytes: Uint8Array;
      try {
        bytes = await this.#segments.read(this.#name(PageKind.data, 0, page), entry);
      } catch (e) {
        // Its segment may have been cleaned away meanwhile.
        if (this.version !== version) continue;
        throw e;
      }
      if (this.version !== version) continue;
      this.#cache.keep(page, bytes);
      return bytes;
    }
  }

  /** As `readOnce`, if that needs no wait: else undefined, also for a page that there is not. */
  readOnceNow(page: number, into: Uint8Array): Uint8Array | undefined {
    const cached = this.#cache.get(page);
    if (cached !== undefined) return cached;
    return this.#readNow(page, into) ? into : undefined;
  }

  #readNow(page: number, into: Uint8Array): boolean {
    const entry = this.map.peek(page);
    if (entry === undefined) return false;
    return this.#segments.readNow?.(this.#name(PageKind.data, 0, page), entry, into) === true;
  }

  /** For the writer, who alone publishes: a page that is not in memory comes into `into`, or into memory of its own, and is not kept. */
  async readOnce(page: number, into: Uint8Array): Promise<Uint8Array | undefined> {
    const entry = this.map.peek(page) ?? (await this.map.lookup(page));
    if (entry === undefined) return undefined;
    const name = this.#name(PageKind.data, 0, page);
    return this.#segments.readInto?.(name, entry, into) ?? this.#segments.read(name, entry);
  }

  /** Whether readers have the page in memory. */
  has(page: number): boolean {
    return this.#cache.has(page);
  }

  /** A published page, for readers. @param bytes the volume's from now on */
  keep(page: number, bytes: Uint8Array): void {
    this.#cache.keep(page, bytes);
  }

  /** Where the pages `from` … `to − 1` lie, as of one version: those that lie next to each other together. */
  async runs(from: number, to: number): Promise<PageRun[]> {
    for (;;) {
      const { version } = this;
      const runs: PageRun[] = [];
      for (let page = from; page < to; page = this.map.nextLeaf(page))
        await this.#runsOfLeaf(page, Math.min(to, this.map.nextLeaf(page)), runs);
      if (this.version === version) return runs;
    }
  }

  async #runsOfLeaf(from: number, to: number, runs: PageRun[]): Promise<void> {
    const entries = await this.map.leafEntries(from, to);
    const checks = new Uint8Array((to - from) * CHECK_BYTES);
    let first = from;
    const end = (page: number): void => {
      const entry = entries[first - from];
      if (entry === undefined || page === first) return;
      runs.push({
        page: first,
        count: page - first,
        segment: entry.segment,
        offset: entry.page * PAGE_BYTES,
        checks: checks.subarray((first - from) * CHECK_BYTES, (page - from) * CHECK_BYTES),
      });
    };
    for (let page = from; page < to; page++) {
      const entry = entries[page - from];
      const before = page === first ? undefined : entries[page - 1 - from];
      const continues =
        before !== undefined && entry?.segment === before.segment && entry.page === before.page + 1;
      if (!continues) {
        end(page);
        first = page;
      }
      if (entry !== undefined)
        putPageCheck(
          checks,
          (page - from) * CHECK_BYTES,
          this.#name(PageKind.data, 0, page),
          entry,
        );
    }
    end(to);
  }

  #name(kind: PageName["kind"], level: number, index: number): PageName {
    return { volume: this.id, kind, level, index };
  }

  /** For `publish`. @param pages what readers have in memory of them is replaced; undefined: forgotten */
  adopt(root: VolumeRoot, pages: Iterable<readonly [number, Uint8Array | undefined]>): void {
    this.#pageCount = root.pageCount;
    this.#treeRoot = root.treeRoot;
    for (const [page, bytes] of pages) {
      if (bytes === undefined) this.#cache.delete(page);
      else this.#cache.keep(page, bytes);
    }
  }
}

/** What a finished writer has changed, for whoever counts live pages. */
export interface VolumeChange {
  readonly root: VolumeRoot;
  readonly live: LiveChanges;
}
