/**
 * The buffer pool of a worker, for the pages of all its shards: what is not pinned is read through it.
 *
 * A key is a place: shard, segment and page in it. What is changed gets another place with the next checkpoint, so a page in the pool is never old, and
 * pages that were written together lie next to each other and are read ahead together.
 *
 * State: the pool; for places that were asked for lately, or may be read ahead, what must be found there; which part of the keys is whose.
 *
 * L1 only places that somebody has looked up are read: what is found elsewhere could not be verified.
 * L2 callers get copies: a frame is another page's as soon as the caller waits.
 * L3 a shard's part of the keys goes to another one only when no page of it is in the pool and no read of it runs: a key does not say which life of
 *    which shard it belongs to. Who still has the pages of a shard that has left gets nothing from here.
 */
import { assert, isPinionError, PinionError, type Clock, type Telemetry } from "@pinion/core";
import { BufferPool } from "../pool/buffer-pool.ts";
import type { ReadHint } from "../pool/cache-policy.ts";
import { IoScheduler } from "../pool/io-scheduler.ts";
import type { PageSource, StoredPage } from "../pool/page-load.ts";
import type { BufferPoolStats } from "../pool/pool-metrics.ts";
import {
  PAGE_BYTES,
  pageChecksum,
  SEGMENT_PAGES,
  type PageEntry,
  type PageName,
} from "../segment/page-entry.ts";

/** At a time, those that are leaving included. */
const SHARDS_MAX = 512;
/** Places that are remembered: 64 Ki of them take about 10 MiB. */
const PLACES_MAX = 65_536;
/** Segments of a shard that keys have room for. */
const SEGMENTS_MAX = 2 ** 53 / SHARDS_MAX / SEGMENT_PAGES;
const KEYS_PER_SHARD = SEGMENTS_MAX * SEGMENT_PAGES;

export interface PagePoolOptions {
  readonly capacityBytes: number;
  readonly clock: Clock;
  readonly telemetry?: Telemetry;
}

/** What the pool needs of a shard's segments. */
export interface PooledSegments {
  /** Fills `into` from a segment's file. Resolves to the bytes read. @throws `io-error` */
  readSegment(segment: number, offset: number, into: Uint8Array): Promise<number>;
  /** One page, verified. @throws `corruption`, `io-error` */
  read(name: PageName, entry: PageEntry): Promise<Uint8Array>;
  damaged(name: PageName, entry: PageEntry, what: string): PinionError;
}

/** What must be found at a place. */
class ExpectedPage implements StoredPage {
  readonly file: number;
  readonly #segments: PooledSegments;
  readonly #name: PageName;
  readonly #entry: PageEntry;

  constructor(file: number, segments: PooledSegments, name: PageName, entry: PageEntry) {
    this.file = file;
    this.#segments = segments;
    this.#name = name;
    this.#entry = entry;
  }

  get offset(): number {
    return this.#entry.page * PAGE_BYTES;
  }

  verify(bytes: Uint8Array): void {
    const { segment, page, birth, checksum } = this.#entry;
    if (pageChecksum(this.#name, segment, page, birth, bytes) !== checksum)
      throw this.#segments.damaged(this.#name, this.#entry, "it does not match its checksum");
  }
}

export class PagePool implements PageSource {
  readonly #pool: BufferPool;
  /** By part of the keys. */
  readonly #shards: (PooledSegments | "leaving" | undefined)[] = [];
  /** The one looked up longest ago first. */
  readonly #expected = new Map<number, ExpectedPage>();

  constructor({ capacityBytes, clock, telemetry }: PagePoolOptions) {
    const io = new IoScheduler((file, offset, into) => this.#read(file, offset, into));
    this.#pool = new BufferPool({
      capacityBytes,
      source: this,
      io,
      clock,
      ...(telemetry === undefined ? {} : { telemetry }),
    });
  }

  /** @returns what reads the pages of these segments from now on */
  attach(segments: PooledSegments): ShardPages {
    const free = this.#shards.indexOf(undefined);
    const slot = free === -1 ? this.#shards.length : free;
    assert(slot < SHARDS_MAX, "more shards than the keys of a pool have room for");
    this.#shards[slot] = segments;
    return new ShardPages(this, slot, segments);
  }

  /** For `ShardPages`. */
  detach(slot: number): void {
    this.#shards[slot] = "leaving";
    for (const key of this.#expected.keys()) if (shardOf(key) === slot) this.#expected.delete(key);
    const from = slot * KEYS_PER_SHARD;
    // Never rejects.
    void this.#pool.invalidateRange(from, from + KEYS_PER_SHARD).then(() => {
      this.#shards[slot] = undefined;
    });
  }

  stats(): BufferPoolStats {
    return this.#pool.stats();
  }

  /** Gives memory back; the pool may fill up again. @returns bytes */
  shrink(byteCount: number): number {
    const used = this.#pool.stats().usedFrames * PAGE_BYTES;
    if (used === 0) return 0;
    this.#pool.evict(Math.min(1, byteCount / used));
    return used - this.#pool.stats().usedFrames * PAGE_BYTES;
  }

  /** For `ShardPages`. */
  peek(key: number, hint: ReadHint): Uint8Array | undefined {
    return this.#pool.get(key, hint)?.slice();
  }

  /** For `ShardPages`. Undefined: all frames are in use by reads that run. */
  async read(key: number, hint: ReadHint): Promise<Uint8Array | undefined> {
    try {
      const lease = await this.#pool.fetch(key, { hint });
      const bytes = lease.bytes.slice();
      lease.release();
      return bytes;
    } catch (e) {
      if (isPinionError(e, "overloaded") && e.details["frames"] !== undefined) return undefined;
      throw e;
    }
  }

  /** For `ShardPages`: this is what must be found there. */
  expect(key: number, segments: PooledSegments, name: PageName, entry: PageEntry): void {
    const file = Math.floor(key / SEGMENT_PAGES);
    this.#expected.delete(key);
    this.#expected.set(key, new ExpectedPage(file, segments, name, entry));
    for (const oldest of this.#expected.keys()) {
      if (this.#expected.size <= PLACES_MAX) return;
      this.#expected.delete(oldest);
    }
  }

  // ---------------------------------------------------------------- PageSource

  locate(key: number): StoredPage | undefined {
    return this.#expected.get(key); // L1
  }

  async #read(file: number, offset: number, into: readonly Uint8Array[]): Promise<number> {
    const segments = this.#shards[Math.floor(file / SEGMENTS_MAX)];
    assert(segments !== undefined, "a read for a shard that nobody knows");
    if (segments === "leaving") throw hasLeft();
    const segment = file % SEGMENTS_MAX;
    const [only] = into;
    if (into.length === 1 && only !== undefined) return segments.readSegment(segment, offset, only);
    const total = into.reduce((sum, { length }) => sum + length, 0);
    const bytes = new Uint8Array(total);
    const read = await segments.readSegment(segment, offset, bytes);
    let at = 0;
    for (const piece of into) {
      piece.set(bytes.subarray(at, at + piece.length));
      at += piece.length;
    }
    return read;
  }
}

const shardOf = (key: number): number => Math.floor(key / KEYS_PER_SHARD);

const hasLeft = (): PinionError =>
  new PinionError("unavailable", "a page of a shard whose segments are closed was asked for");

/** The pages of one shard's segments, through the pool. */
export class ShardPages {
  readonly #pool: PagePool;
  readonly #slot: number;
  readonly #segments: PooledSegments;
  #isDetached = false;

  constructor(pool: PagePool, slot: number, segments: PooledSegments) {
    this.#pool = pool;
    this.#slot = slot;
    this.#segments = segments;
  }

  /** A copy of the page if it is in memory. */
  peek(entry: PageEntry, hint: ReadHint = "interactive"): Uint8Array | undefined {
    return this.#isDetached ? undefined : this.#pool.peek(this.#keyOf(entry), hint);
  }

  /** A copy of the page. @throws `corruption`, `io-error`, `overloaded` when too many reads wait, `unavailable` once it is detached */
  async read(
    name: PageName,
    entry: PageEntry,
    hint: ReadHint = "interactive",
  ): Promise<Uint8Array> {
    if (this.#isDetached) throw hasLeft();
    const key = this.#keyOf(entry);
    this.#pool.expect(key, this.#segments, name, entry);
    const bytes = await this.#pool.read(key, hint).catch((e: unknown) => {
      throw this.#isDetached ? hasLeft() : e;
    });
    // A small pool and many readers: then without it.
    return bytes ?? this.#segments.read(name, entry);
  }

  /** The page may be read ahead of its reader. */
  expect(name: PageName, entry: PageEntry): void {
    if (!this.#isDetached) this.#pool.expect(this.#keyOf(entry), this.#segments, name, entry);
  }

  /** The segments are closed. */
  detach(): void {
    this.#isDetached = true;
    this.#pool.detach(this.#slot);
  }

  #keyOf({ segment, page }: PageEntry): number {
    assert(segment < SEGMENTS_MAX, "a segment beyond what keys have room for");
    return (this.#slot * SEGMENTS_MAX + segment) * SEGMENT_PAGES + page;
  }
}
