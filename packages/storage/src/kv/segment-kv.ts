/**
 * A key-value store in segments: one B+tree in one volume of copy-on-write pages. A commit writes the changed pages, the way to them in the page
 * map, and a root record, and flushes once; it is durable when it resolves.
 *
 * State: the segments (durable), the published tree, how many pages of each segment are live.
 *
 * S1 commits run one after the other. Readers see the last that has resolved, whole.
 * S2 a commit that fails leaves nothing behind that is referred to, and the next may succeed, also after an I/O error (KvStore I4
 *    would allow the store to end): pages that count are never written over.
 * S3 each commit empties a little of the segment with the fewest live pages once too much space is dead, at most as much as it writes itself or
 *    `CLEANED_PAGES_MIN`: space stays in proportion to what is live, and no commit pays for all of it.
 */
import { assert, systemClock, type Clock } from "@pinion/core";
import type { Disk } from "../disk/disk.ts";
import { BTree, BTreeWriter, type TreeWrite } from "../page/b-tree.ts";
import { PageKind, SEGMENT_PAGES, type PageEntry, type PageName } from "../segment/page-entry.ts";
import { firstPageBelow } from "../page/page-map.ts";
import { Volume, VolumeWriter } from "../page/volume.ts";
import { LivePages } from "../segment/live-pages.ts";
import { ShardSegments, type SegmentsReport } from "../segment/shard-segments.ts";
import { checkPlaces, checkTable } from "./kv-check.ts";
import {
  KV_RANGE_LIMIT_DEFAULT,
  type KvBatch,
  type KvEntry,
  type KvRange,
  type KvRead,
  type KvStore,
  type KvWrite,
} from "./kv-store.ts";

const VOLUME = 1;
const CACHED_PAGES_DEFAULT = 4_096;
const CLEANED_PAGES_MIN = 256;
/** How long a commit may hold the event loop. */
const SLICE_MS = 1;
/** Between two looks at the clock. */
const STEPS_PER_LOOK = 8;

export interface SegmentKvOptions {
  readonly disk: Disk;
  /** Folder of this store alone; created if need be. */
  readonly dir: string;
  readonly newGeneration: () => number;
  readonly clock?: Clock;
  /** Pages of 4 KiB that are kept in memory; default 4,096. */
  readonly cachedPagesMax?: number;
  /** Pages of a segment; default 16,384 (64 MiB). */
  readonly segmentPages?: number;
}

export interface SegmentKvStats {
  readonly segments: number;
  /** Pages that the tree and its map consist of; undefined before the first commit. */
  readonly livePages: number | undefined;
  /** Since it was opened. */
  readonly commits: number;
  readonly writtenPages: number;
  readonly cleanedPages: number;
  readonly opening: SegmentsReport;
}

interface Space {
  readonly live: LivePages;
  /** Page numbers without a page. */
  readonly free: number[];
}

export class SegmentKv implements KvStore {
  readonly #segments: ShardSegments;
  readonly #volume: Volume;
  readonly #tree: BTree;
  readonly #clock: Clock;
  readonly #segmentPages: number;
  #space: Space | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;
  #commits = 0;
  #writtenPages = 0;
  #cleanedPages = 0;

  private constructor(segments: ShardSegments, options: SegmentKvOptions) {
    this.#segments = segments;
    this.#clock = options.clock ?? systemClock;
    this.#segmentPages = options.segmentPages ?? SEGMENT_PAGES;
    this.#volume = new Volume({
      segments,
      volume: VOLUME,
      root: segments.root?.volumes.find(({ volume }) => volume === VOLUME),
      cachedPagesMax: options.cachedPagesMax ?? CACHED_PAGES_DEFAULT,
    });
    this.#tree = new BTree(this.#volume);
  }

  /** @throws `corruption`, `format-too-new`, `io-error` */
  static async open(options: SegmentKvOptions): Promise<SegmentKv> {
    return new SegmentKv(await ShardSegments.open({ ...options, shard: 0 }), options);
  }

  stats(): SegmentKvStats {
    return {
      segments: this.#segments.ids.length,
      livePages: this.#space?.live.total,
      commits: this.#commits,
      writtenPages: this.#writtenPages,
      cleanedPages: this.#cleanedPages,
      opening: this.#segments.report,
    };
  }

  async get(table: string, key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#check("get");
    checkPlaces([{ table, key }]);
    return this.#tree.get(placeOf(table, key));
  }

  async getMany(reads: readonly KvRead[]): Promise<(Uint8Array | undefined)[]> {
    this.#check("get");
    checkPlaces(reads);
    return this.#tree.getMany(reads.map(({ table, key }) => placeOf(table, key)));
  }

  async range(table: string, range: KvRange): Promise<KvEntry[]> {
    this.#check("range");
    checkTable(table);
    const { from, to, limit = KV_RANGE_LIMIT_DEFAULT, reverse = false } = range;
    const prefix = placeOf(table, NOTHING);
    const found = await this.#tree.range({
      from: from === undefined ? prefix : placeOf(table, from),
      to: to === undefined ? endOf(table) : placeOf(table, to),
      limit,
      reverse,
    });
    return found.map(({ key, value }) => ({ key: key.subarray(prefix.length), value }));
  }

  async commit(batch: KvBatch): Promise<void> {
    this.#check("commit");
    const writes = new Map<string, TreeWrite>();
    const take = (slice: readonly KvWrite[]): void => {
      checkPlaces(slice);
      for (const { table, key, value } of slice) {
        const place = placeOf(table, key);
        writes.set(place.toString("latin1"), { key: place, value: value?.slice() });
      }
    };
    if (Symbol.asyncIterator in batch) for await (const slice of batch) take(slice);
    else take(batch);
    this.#check("commit");
    const before = this.#last;
    const committed = before.then(() => this.#commit([...writes.values()]));
    this.#last = committed.catch(() => {});
    return committed;
  }

  async sync(): Promise<void> {
    this.#check("sync");
    await this.#last;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
    await this.#segments.close();
  }

  #check(doing: string): void {
    assert(!this.#closed, `${doing} after close`);
  }

  async #commit(writes: TreeWrite[]): Promise<void> {
    if (writes.length === 0) return;
    writes.sort((a, b) => Buffer.compare(a.key, b.key));
    const breathe = this.#breather();
    this.#space ??= await this.#takeStock();
    const { live, free } = this.#space;
    const stillFree = [...free];
    const sequence = (this.#segments.root?.sequence ?? 0) + 1;
    const writer = new VolumeWriter(this.#volume, stillFree);
    await new BTreeWriter(writer, sequence, breathe).apply(writes);
    const cleaned = await this.#clean(writer, live);
    const checkpoint = this.#segments.begin(sequence, 1);
    let placed: Awaited<ReturnType<VolumeWriter["place"]>>;
    try {
      placed = await writer.place(checkpoint, breathe);
    } catch (e) {
      checkpoint.abandon();
      throw e;
    }
    await checkpoint.finish([placed.root]);
    writer.publish(placed);
    for (const entry of placed.added) live.add(entry);
    for (const entry of placed.replaced) live.remove(entry);
    this.#space = { live, free: stillFree };
    this.#commits++;
    this.#writtenPages += checkpoint.pages;
    this.#cleanedPages += cleaned;
    const { ids, activeSegment } = this.#segments;
    for (const id of live.dead(ids, activeSegment)) await this.#segments.remove(id);
  }

  /** S3. @returns pages that are written again */
  async #clean(writer: VolumeWriter, live: LivePages): Promise<number> {
    const { ids, activeSegment } = this.#segments;
    const victim = live.victim(ids, activeSegment);
    if (victim === undefined) return 0;
    const budget = Math.max(CLEANED_PAGES_MIN, writer.changedPages);
    let cleaned = 0;
    for await (const { name, entry } of this.#segments.listed(victim)) {
      if (!(await this.#isCurrent(name, entry))) continue;
      if (name.kind === PageKind.data) await writer.rewrite(name.index);
      else await writer.rewriteMap(firstPageBelow(name.level, name.index));
      if (++cleaned >= budget) break;
    }
    return cleaned;
  }

  async #isCurrent(
    { kind, level, index }: PageName,
    { segment, page }: PageEntry,
  ): Promise<boolean> {
    const { map } = this.#volume;
    const current = await (kind === PageKind.data
      ? map.lookup(index)
      : map.entryOfNode(level, index));
    return current !== undefined && current.segment === segment && current.page === page;
  }

  /** Reads the whole map: what is live, and which page numbers are free. */
  async #takeStock(): Promise<Space> {
    const live = new LivePages(this.#segmentPages);
    const free: number[] = [];
    let next = 1;
    for await (const [page, entry] of this.#volume.map.entries((_, __, node) => live.add(node))) {
      live.add(entry);
      while (next < page) free.push(next++);
      next = page + 1;
    }
    while (next < this.#volume.pageCount) free.push(next++);
    return { live, free: free.reverse() };
  }

  #breather(): () => Promise<void> | undefined {
    const clock = this.#clock;
    let endMs = clock.nowMs() + SLICE_MS;
    let steps = 0;
    return () => {
      if (++steps % STEPS_PER_LOOK !== 0 || clock.nowMs() < endMs) return undefined;
      return new Promise<void>((resolve) =>
        clock.defer(() => {
          endMs = clock.nowMs() + SLICE_MS;
          resolve();
        }),
      );
    };
  }
}

const NOTHING = new Uint8Array(0);

/** Tables lie one after the other in the tree: the name and a NUL before each key. */
function placeOf(table: string, key: Uint8Array): Buffer {
  const place = Buffer.allocUnsafe(table.length + 1 + key.length);
  place.write(table, "latin1");
  place[table.length] = 0;
  place.set(key, table.length + 1);
  return place;
}

/** The first place behind a table. */
function endOf(table: string): Buffer {
  const end = placeOf(table, NOTHING);
  end[table.length] = 1;
  return end;
}
