/**
 * What one shard has on disk: an ordered table of keys and values (a B+tree in volume 1, the directory) and any number of volumes of pages,
 * checkpointed together into the shard's segments. A commit writes the changed pages, the way to them in their maps, and a root
 * record, and flushes once; it is durable when it resolves.
 *
 * State: the segments (durable), the published tree, how many pages of each segment are live.
 *
 * S1 commits run one after the other. Readers see the last that has resolved, whole.
 * S2 a commit that fails leaves nothing behind that is referred to, and the next may succeed, also after an I/O error (KvStore I4
 *    would allow the store to end): pages that count are never written over.
 * S3 each commit empties a little of the segment with the fewest live pages once too much space is dead, at most as much as it writes itself or
 *    `CLEANED_PAGES_MIN`: space stays in proportion to what is live, and no commit pays for all of it.
 * S4 the directory says which volumes there are: a page of another volume is dead.
 */
import { assert, systemClock, type Clock } from "@pinion/core";
import type { Disk } from "../disk/disk.ts";
import { checkPlaces, checkTable } from "../kv/kv-check.ts";
import {
  KV_RANGE_LIMIT_DEFAULT,
  type KvBatch,
  type KvEntry,
  type KvRange,
  type KvRead,
  type KvStore,
  type KvWrite,
} from "../kv/kv-store.ts";
import { BTree } from "../page/b-tree.ts";
import type { TreeWrite } from "../page/b-tree-writer.ts";
import { Volume } from "../page/volume.ts";
import type { CheckpointPlace } from "../segment/checkpoint-search.ts";
import { LivePages } from "../segment/live-pages.ts";
import { SEGMENT_PAGES } from "../segment/page-entry.ts";
import { ShardSegments, type SegmentsReport } from "../segment/shard-segments.ts";
import { OpenVolumes } from "./open-volumes.ts";
import { DIRECTORY_VOLUME, endOf, placeOf, VOLUMES_TABLE, volumeKey } from "./places.ts";
import type { PagePool, ShardPages } from "./page-pool.ts";
import { ShardCommit, type CommitResult, type VolumeWrite } from "./shard-commit.ts";

const CACHED_PAGES_DEFAULT = 4_096;

export interface ShardStoreOptions {
  readonly disk: Disk;
  /** Folder of this store alone; created if need be. */
  readonly dir: string;
  readonly shard?: number;
  readonly newGeneration: () => number;
  readonly clock?: Clock;
  /** Pages of the directory of 4 KiB that are kept in memory; default 4,096. */
  readonly cachedPagesMax?: number;
  /** Pages of a segment; default 16,384 (64 MiB). */
  readonly segmentPages?: number;
  /** Where pages of volumes are read through; default: each is read from its file. */
  readonly pool?: PagePool;
  /** As `newest` was when a commit had resolved: opening an older state is refused, and nothing before it has to be looked at. */
  readonly durable?: CheckpointPlace;
}

export interface ShardStoreStats {
  readonly segments: number;
  /** Pages that the newest checkpoint refers to. */
  readonly livePages: number;
  /** Of the newest checkpoint; 0 before the first. */
  readonly sequence: number;
  /** Since it was opened. */
  readonly commits: number;
  readonly writtenPages: number;
  readonly cleanedPages: number;
  readonly opening: SegmentsReport;
}

/** What a commit changes besides keys and values. */
export interface VolumeChanges {
  readonly writes: readonly VolumeWrite[];
  /** Volumes that go, with all their pages. */
  readonly removed: readonly number[];
}

const NO_VOLUMES: VolumeChanges = Object.freeze({ writes: [], removed: [] });

export class ShardStore implements KvStore {
  readonly #segments: ShardSegments;
  readonly #directory: Volume;
  readonly #tree: BTree;
  readonly #clock: Clock;
  readonly #volumes: OpenVolumes;
  readonly #pages: ShardPages | undefined;
  #live: LivePages;
  /** Page numbers of the directory without a page; counted before the first commit. */
  #free: number[] | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;
  #commits = 0;
  #writtenPages = 0;
  #cleanedPages = 0;

  private constructor(segments: ShardSegments, options: ShardStoreOptions) {
    this.#segments = segments;
    this.#clock = options.clock ?? systemClock;
    this.#live = new LivePages(
      options.segmentPages ?? SEGMENT_PAGES,
      segments.root?.live ?? new Map(),
    );
    this.#directory = new Volume({
      segments,
      volume: DIRECTORY_VOLUME,
      root: segments.root?.volumes.find(({ volume }) => volume === DIRECTORY_VOLUME),
      cachedPagesMax: options.cachedPagesMax ?? CACHED_PAGES_DEFAULT,
    });
    this.#tree = new BTree(this.#directory);
    this.#pages = options.pool?.attach(segments);
    this.#volumes = new OpenVolumes(this.#pages ?? segments, (volume) =>
      this.#tree.get(placeOf(VOLUMES_TABLE, volumeKey(volume))),
    );
  }

  /** @throws `corruption`, `format-too-new`, `io-error` */
  static async open(options: ShardStoreOptions): Promise<ShardStore> {
    return new ShardStore(await ShardSegments.open({ shard: 0, ...options }), options);
  }

  /** Where the newest checkpoint is; undefined before the first. */
  get newest(): CheckpointPlace | undefined {
    return this.#segments.newest;
  }

  stats(): ShardStoreStats {
    return {
      segments: this.#segments.ids.length,
      livePages: this.#live.total,
      sequence: this.newest?.sequence ?? 0,
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

  /** A volume's pages as last committed; undefined if there is none. Ends with `releaseVolume`. @throws `corruption`, `io-error` */
  holdVolume(volume: number): Promise<Volume | undefined> {
    this.#check("open a volume");
    return this.#volumes.hold(volume);
  }

  releaseVolume(volume: Volume): void {
    this.#volumes.release(volume);
  }

  /** The descriptor of a segment's file, for the native door; undefined where files are not real ones. */
  segmentFile(segment: number): Promise<number | undefined> {
    return this.#segments.fileDescriptor(segment);
  }

  /** @param volumes their pages are asked for while the commit runs, one at a time */
  async commit(batch: KvBatch, volumes: VolumeChanges = NO_VOLUMES): Promise<void> {
    this.#check("commit");
    const writes: TreeWrite[] = [];
    const take = (slice: readonly KvWrite[]): void => {
      checkPlaces(slice);
      // Copies from the pool of buffers: memory of its own for each small value is what the collector spends its time on.
      for (const { table, key, value } of slice)
        writes.push({ key: placeOf(table, key), value: value && Buffer.from(value) });
    };
    if (Symbol.asyncIterator in batch) for await (const slice of batch) take(slice);
    else take(batch);
    this.#check("commit");
    const committed = this.#last.then(() => this.#commit(writes, volumes));
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
    this.#pages?.detach();
    await this.#segments.close();
  }

  #check(doing: string): void {
    assert(!this.#closed, `${doing} after close`);
  }

  async #commit(writes: TreeWrite[], volumes: VolumeChanges): Promise<void> {
    if (writes.length === 0 && volumes.writes.length === 0 && volumes.removed.length === 0) return;
    this.#free ??= await this.#freePages();
    const commit = new ShardCommit({
      segments: this.#segments,
      directory: this.#directory,
      volumes: this.#volumes,
      live: this.#live,
      free: [...this.#free],
      clock: this.#clock,
    });
    const result: CommitResult = await commit.run(writes, volumes.writes, volumes.removed);
    this.#live = result.live;
    this.#free = result.free;
    this.#commits++;
    this.#writtenPages += result.writtenPages;
    this.#cleanedPages += result.cleanedPages;
    const { ids, activeSegment } = this.#segments;
    for (const id of this.#live.dead(ids, activeSegment)) await this.#segments.remove(id);
  }

  /** Reads the whole map of the directory: one node for each 256 pages of it. */
  async #freePages(): Promise<number[]> {
    const free: number[] = [];
    let next = 1;
    for await (const [page] of this.#directory.map.entries()) {
      while (next < page) free.push(next++);
      next = page + 1;
    }
    while (next < this.#directory.pageCount) free.push(next++);
    return free.reverse();
  }
}

const NOTHING = new Uint8Array(0);
