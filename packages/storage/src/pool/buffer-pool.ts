/**
 * The cache of pages that are not pinned: frames of 4 KiB under a fixed limit, filled through the `IoScheduler`, chosen by a `CachePolicy`, read
 * ahead by a `Prefetcher`. Pages are immutable here: a page that is written gets another key (copy on write), so nothing in the pool is ever dirty.
 *
 * State: which page is in which frame (frame-table.ts), the policy's lists, the reads that are running.
 *
 * B1 bytes are given out only after they were verified, and only verified pages are ever found.
 * B2 a page is read once however many ask for it at the same time.
 * B3 a frame that is in use is neither evicted nor moved. The policy may give up a page in use; its frame is free when it is released.
 * B4 the frames never take more than the limit, but for those in use when it was lowered; when all are in use, reads are refused (`overloaded`).
 * B5 who gives up waiting takes nothing with him: the read goes on for others, and is taken out of the queue when there are none.
 */
import {
  assert,
  isPinionError,
  noTelemetry,
  PinionError,
  type Clock,
  type Telemetry,
} from "@pinion/core";
import type { AdmissionHint, CachePolicy, MakePolicy, ReadHint } from "./cache-policy.ts";
import { FRAME_BYTES, SlabFrames, type FrameStore } from "./frame-store.ts";
import { FrameFlag, FrameTable, NO_FRAME } from "./frame-table.ts";
import type { IoClass, IoScheduler } from "./io-scheduler.ts";
import { givenUp, Load, unlessAborted, type PageSource, type StoredPage } from "./page-load.ts";
import { PoolMetrics, type BufferPoolStats } from "./pool-metrics.ts";
import { FrameLease, type PageLease } from "./page-lease.ts";
import { Prefetcher } from "./prefetcher.ts";
import { SteeredPolicy } from "./steered-policy.ts";

export interface BufferPoolOptions {
  /** Memory for pages; whole frames of it are used, at least one. */
  readonly capacityBytes: number;
  readonly source: PageSource;
  readonly io: IoScheduler;
  readonly clock: Clock;
  /** Default: slabs of ordinary memory. */
  readonly frames?: FrameStore;
  /** Default: `SteeredPolicy`. */
  readonly policy?: MakePolicy;
  /** Default true. */
  readonly prefetch?: boolean;
  readonly telemetry?: Telemetry;
}

export interface FetchOptions {
  /** Default `interactive`. */
  readonly hint?: ReadHint;
  /** Whom the read is for, default `user`. */
  readonly ioClass?: IoClass;
  /** Gives up waiting. */
  readonly signal?: AbortSignal;
}

/** 1 MiB. */
const RUN_PAGES_MAX = 256;
/** Reads on a guess at a time. */
const GUESSES_RUNNING_MAX = 64;

const NO_OPTIONS: FetchOptions = Object.freeze({});

const framesOf = (bytes: number): number => Math.max(1, Math.floor(bytes / FRAME_BYTES));

export class BufferPool {
  readonly #source: PageSource;
  readonly #io: IoScheduler;
  readonly #clock: Clock;
  readonly #table: FrameTable;
  readonly #policy: CachePolicy;
  readonly #metrics: PoolMetrics;
  readonly #prefetcher: Prefetcher | undefined;
  readonly #framesMax: number;
  /** The reads that are running, by frame. */
  readonly #loads: (Load | undefined)[] = [];
  readonly #proposals: number[] = [];
  #guessesRunning = 0;

  constructor(options: BufferPoolOptions) {
    const { source, io, clock, frames = new SlabFrames(), prefetch = true } = options;
    this.#source = source;
    this.#io = io;
    this.#clock = clock;
    this.#framesMax = frames.framesMax;
    const limit = Math.min(framesOf(options.capacityBytes), frames.framesMax);
    this.#table = new FrameTable(frames, limit, (frame) =>
      this.invalidate(this.#table.keyOf(frame)),
    );
    const onEvict = (key: number): void => this.#evicted(key);
    this.#policy = options.policy?.(limit, onEvict) ?? new SteeredPolicy(limit, onEvict);
    this.#metrics = new PoolMetrics(options.telemetry ?? noTelemetry);
    this.#prefetcher = prefetch ? new Prefetcher() : undefined;
  }

  /**
   * The page's bytes if it is there. They are valid until the caller lets go of the event loop or calls the pool again: for longer, `use` it. A page
   * that is not there does not count as a miss: `fetch` follows.
   */
  get(key: number, hint: ReadHint = "interactive"): Uint8Array | undefined {
    const frame = this.#findResident(key);
    if (frame === NO_FRAME) return undefined;
    this.#hit(frame, key, hint);
    return this.#table.bytes(frame);
  }

  /** As `get`, for as long as the caller needs the page. */
  use(key: number, hint: ReadHint = "interactive"): PageLease | undefined {
    const frame = this.#findResident(key);
    if (frame === NO_FRAME) return undefined;
    const lease = this.#lease(frame, key);
    this.#hit(frame, key, hint);
    return lease;
  }

  /**
   * The page, from memory or from the disk; whoever gets it releases it.
   * @throws `not-found` for a page that does not exist, `overloaded` when all frames are in use or too many reads wait, `cancelled`, `io-error`, and what `verify` throws
   */
  fetch(key: number, options: FetchOptions = NO_OPTIONS): Promise<PageLease> {
    const lease = this.use(key, options.hint);
    if (lease !== undefined) return Promise.resolve(lease);
    this.#metrics.misses++;
    return this.#fetchMissing(key, options, this.#clock.nowMs());
  }

  /**
   * `count` pages from `first` on; those that are missing and lie side by side on the disk are one read. All or none. What is in a run is not
   * read ahead of: its reader knows better.
   * @param count at most 256
   * @throws as `fetch`
   */
  async fetchRun(first: number, count: number, options: FetchOptions = {}): Promise<PageLease[]> {
    assert(count <= RUN_PAGES_MAX, "a run is longer than one read may be");
    const { hint = "interactive", ioClass = "user" } = options;
    const wanted: Promise<PageLease[]>[] = [];
    for (let key = first; key < first + count;) {
      const missing = this.#missingFrom(key, first + count);
      if (missing.length < 2) {
        wanted.push(this.fetch(key++, options).then((lease) => [lease]));
        continue;
      }
      try {
        // There may be frames for some only.
        const load = this.#begin(key, missing, hint, ioClass, false);
        wanted.push(this.#leaseAll(load, options.signal));
        key += load.frames.length;
      } catch (e) {
        wanted.push(Promise.reject(e as Error));
        break;
      }
    }
    const results = await Promise.allSettled(wanted);
    const leases = results.flatMap((r) => (r.status === "fulfilled" ? r.value : []));
    const failed = results.find((r) => r.status === "rejected");
    if (failed === undefined) return leases;
    for (const lease of leases) lease.release();
    throw failed.reason as Error;
  }

  /** What a read brings that nobody takes out of the queue: all of it, or none. */
  async #leaseAll(load: Load, signal: AbortSignal | undefined): Promise<PageLease[]> {
    const { firstKey, frames } = load;
    const begunMs = this.#clock.nowMs();
    this.#metrics.misses += frames.length;
    for (const frame of frames) this.#table.reference(frame);
    await (signal === undefined ? load.ended : unlessAborted(load.ended, signal));
    const failure = signal?.aborted ? givenUp(signal) : load.failures?.values().next().value;
    if (failure === undefined) {
      this.#metrics.noteRead(this.#clock.nowMs() - begunMs);
      return frames.map(
        (frame, i) => new FrameLease(this.#table, frame, firstKey + i, load.bytes[i]!),
      );
    }
    for (const frame of frames) this.#table.release(frame);
    throw failure as Error;
  }

  #lease(frame: number, key: number): PageLease {
    this.#table.reference(frame);
    return new FrameLease(this.#table, frame, key, this.#table.bytes(frame));
  }

  /** Callbacks and no async function: see `Load.read`. */
  #fetchMissing(key: number, options: FetchOptions, begunMs: number): Promise<PageLease> {
    const { signal } = options;
    let load: Load | undefined;
    try {
      load = this.#loadOf(key, options);
    } catch (e) {
      return Promise.reject(e as Error);
    }
    // It came while the read before ours was taken out of the queue.
    if (load === undefined) return Promise.resolve(this.#lease(this.#table.find(key), key));
    const index = key - load.firstKey;
    const frame = load.frames[index]!;
    load.waiters++;
    this.#table.reference(frame);
    const ended = signal === undefined ? load.ended : unlessAborted(load.ended, signal);
    return ended.then(() => {
      const failure = this.#waited(load, frame, signal);
      if (failure === undefined) {
        this.#metrics.noteRead(this.#clock.nowMs() - begunMs);
        return new FrameLease(this.#table, frame, key, load.bytes[index]!);
      }
      // Somebody else's wish, or ours to have it sooner.
      if (isPinionError(failure, "cancelled")) return this.#fetchMissing(key, options, begunMs);
      throw failure as Error;
    });
  }

  /** The read that brings a page, begun if there is none; undefined: the page is there. @throws as `#begin`, `cancelled` */
  #loadOf(key: number, options: FetchOptions): Load | undefined {
    const { hint = "interactive", ioClass = "user", signal } = options;
    if (signal?.aborted) throw givenUp(signal);
    const found = this.#table.find(key);
    if (found !== NO_FRAME) {
      const running = this.#loads[found];
      if (running !== undefined) this.#join(running, found, key, hint, ioClass);
      return running;
    }
    const load = this.#begin(key, [this.#place(key)], hint, ioClass, signal !== undefined);
    this.#readAhead(key);
    return load;
  }

  /** @throws `not-found` */
  #place(key: number): StoredPage {
    const page = this.#source.locate(key);
    if (page === undefined)
      throw new PinionError("not-found", `there is no page ${key}`, { details: { page: key } });
    return page;
  }

  /** The page is no longer what its key means. Who has it keeps it. */
  invalidate(key: number): void {
    this.#policy.remove(key);
    const frame = this.#table.find(key);
    if (frame === NO_FRAME) return;
    this.#noteWastedGuess(frame);
    this.#table.hide(frame);
    this.#table.clear(frame, FrameFlag.kept);
    this.#table.settle(frame);
  }

  /**
   * As `invalidate`, of all keys from `from` on, below `to`. Resolves once no read of any of them runs any more: until then a read that has not begun
   * yet may still ask for their files. Reads that nobody waits for but a guess are taken out of the queue.
   */
  async invalidateRange(from: number, to: number): Promise<void> {
    for (const key of this.#table.keysIn(from, to)) this.invalidate(key);
    const running = new Set<Promise<void>>();
    for (const load of this.#loads) {
      if (load === undefined || load.firstKey < from || load.firstKey >= to) continue;
      if (load.waiters === 0) load.abort?.abort();
      running.add(load.ended);
    }
    await Promise.all(running);
  }

  /** @param bytes as `capacityBytes`; pages in use stay until they are released, even beyond it (B4) */
  resize(bytes: number): void {
    const limit = Math.min(framesOf(bytes), this.#framesMax);
    this.#policy.resize(limit);
    while (this.#table.occupied > limit && this.#policy.evict());
    this.#table.resize(limit);
  }

  /**
   * Lets go of a share of the pages that are not in use, and of their memory. The pool may fill up again: `resize` is for good.
   * @param share 0 … 1
   */
  evict(share: number): void {
    for (let pages = Math.ceil(this.#policy.size * share); pages > 0; pages--) this.#policy.evict();
    this.#table.compact(this.#table.occupied);
  }

  stats(): BufferPoolStats {
    const m = this.#metrics;
    return {
      totalFrames: this.#table.limit,
      usedFrames: this.#table.occupied,
      inUseFrames: this.#table.inUse,
      hits: m.hits,
      misses: m.misses,
      hitRate: m.hitRate,
      coalesced: m.coalesced,
      evictions: m.evictions,
      damaged: m.damaged,
      refused: m.refused,
      prefetchesIssued: m.prefetchesIssued,
      prefetchesUsed: m.prefetchesUsed,
      prefetchesWasted: m.prefetchesWasted,
      prefetchDepthMax: this.#prefetcher?.depthCap ?? 0,
      scansSeen: this.#prefetcher?.scansSeen ?? 0,
      ...this.#policy.sizes(),
      readLatencyUs: m.readLatencyUs,
    };
  }

  #findResident(key: number): number {
    const frame = this.#table.find(key);
    return frame !== NO_FRAME && this.#table.has(frame, FrameFlag.loading) ? NO_FRAME : frame;
  }

  #hit(frame: number, key: number, hint: ReadHint): void {
    this.#metrics.hits++;
    if (hint !== "analytics") this.#admit(frame, key, hint);
    this.#useGuess(frame, key);
  }

  /** The first reader of a page that was read ahead says where the run is now. */
  #useGuess(frame: number, key: number): void {
    if (!this.#table.has(frame, FrameFlag.guessed)) return;
    this.#table.clear(frame, FrameFlag.guessed);
    this.#metrics.prefetchesUsed++;
    this.#prefetcher?.noteUsed();
    this.#readAhead(key);
  }

  #admit(frame: number, key: number, hint: AdmissionHint): void {
    this.#policy.access(key, hint);
    this.#table.set(frame, FrameFlag.kept);
  }

  #evicted(key: number): void {
    const frame = this.#table.find(key);
    assert(frame !== NO_FRAME, "the policy keeps a page that is in no frame");
    this.#metrics.evictions++;
    this.#noteWastedGuess(frame);
    this.#table.clear(frame, FrameFlag.kept);
    this.#table.settle(frame);
  }

  #noteWastedGuess(frame: number): void {
    if (!this.#table.has(frame, FrameFlag.guessed)) return;
    this.#table.clear(frame, FrameFlag.guessed);
    this.#metrics.prefetchesWasted++;
    this.#prefetcher?.noteWasted();
  }

  /** Another reader of a page that is on its way. */
  #join(load: Load, frame: number, key: number, hint: ReadHint, ioClass: IoClass): void {
    this.#metrics.coalesced++;
    // Reads at the same time count as one, unless the first of them asked for less.
    const guessed = this.#table.has(frame, FrameFlag.guessed);
    if (hint !== "analytics" && (guessed || !this.#table.has(frame, FrameFlag.kept)))
      this.#admit(frame, key, hint);
    this.#useGuess(frame, key);
    // A guess may wait behind everything else; its first reader asks anew if it still does. Who waits for it would begin it again as it was.
    const isGuess = load.ioClass === "background" && load.waiters === 0;
    if (isGuess && ioClass !== "background") load.abort?.abort();
  }

  /** @returns what went wrong; undefined: the page is there and the caller has a reference. @throws `cancelled` */
  #waited(load: Load, frame: number, signal: AbortSignal | undefined): unknown {
    const givesUp = signal?.aborted === true;
    if (!givesUp && !load.failures?.has(frame)) return undefined;
    this.#table.release(frame);
    if (--load.waiters === 0) load.abort?.abort();
    if (givesUp) throw givenUp(signal);
    return load.failures?.get(frame);
  }

  /** The pages from `key` on, below `end`, that are not there, not on their way, and lie side by side on the disk. */
  #missingFrom(key: number, end: number): StoredPage[] {
    const pages: StoredPage[] = [];
    for (let next = key; next < end && this.#table.find(next) === NO_FRAME; next++) {
      const page = this.#source.locate(next);
      if (page === undefined) break;
      const { file, offset } = pages[0] ?? page;
      if (page.file !== file || page.offset !== offset + pages.length * FRAME_BYTES) break;
      pages.push(page);
    }
    return pages;
  }

  /**
   * Starts to read pages that follow one another, fewer if there are frames for fewer.
   * @throws `overloaded`
   */
  #begin(
    firstKey: number,
    pages: readonly StoredPage[],
    hint: ReadHint,
    ioClass: IoClass,
    cancellable: boolean,
  ): Load {
    if (pages.length > 1) this.#makeRoom(pages.length);
    const first = this.#take(firstKey, hint);
    if (first === NO_FRAME) {
      this.#metrics.refused++;
      throw new PinionError("overloaded", "every frame of the buffer pool is in use", {
        details: { frames: this.#table.limit },
      });
    }
    // Made with what is in them: an array that is pushed to makes room for seventeen.
    const frames = [first];
    const bytes = [this.#table.bytes(first)];
    for (let i = 1; i < pages.length; i++) {
      const frame = this.#take(firstKey + i, hint);
      if (frame === NO_FRAME) break;
      frames.push(frame);
      bytes.push(this.#table.bytes(frame));
    }
    const abort = cancellable ? new AbortController() : undefined;
    const begunMs = this.#clock.nowMs();
    const load = new Load(firstKey, frames, pages, bytes, ioClass, abort, begunMs);
    for (let i = 0; i < frames.length; i++) this.#loads[frames[i]!] = load;
    const pieces = frames.length === 1 ? bytes : this.#table.pieces(frames);
    load.ended = load.read(this.#io, pieces, () => this.#filled(load));
    return load;
  }

  /** For a run of pages, in frames that lie side by side if possible. */
  #makeRoom(count: number): void {
    while (this.#table.occupied + count > this.#table.limit && this.#policy.evict());
    this.#table.arrange(count);
  }

  /** A frame to read a page into, referenced; `NO_FRAME`: all are in use. */
  #take(key: number, hint: ReadHint): number {
    while (this.#table.occupied >= this.#table.limit) {
      if (!this.#policy.evict()) return NO_FRAME;
    }
    const frame = this.#table.take(key);
    if (frame === NO_FRAME) return NO_FRAME;
    this.#table.set(frame, FrameFlag.loading);
    this.#table.reference(frame);
    if (hint !== "analytics") this.#admit(frame, key, hint);
    return frame;
  }

  #filled(load: Load): void {
    const { firstKey, frames, begunMs } = load;
    // What was refused or given up says nothing about the disk.
    if (load.failures === undefined) this.#prefetcher?.noteRead(this.#clock.nowMs() - begunMs);
    this.#metrics.damaged += load.verify();
    for (let i = 0; i < frames.length; i++) {
      const frame = frames[i]!;
      if (load.failures?.has(frame)) this.#forget(frame, firstKey + i);
      this.#loads[frame] = undefined;
      this.#table.clear(frame, FrameFlag.loading);
      this.#table.release(frame);
    }
  }

  /** A page that did not come. Those who wait still refer to its frame. */
  #forget(frame: number, key: number): void {
    // Unless it was invalidated, and perhaps read again, meanwhile.
    if (this.#table.has(frame, FrameFlag.indexed)) this.#policy.remove(key);
    this.#table.hide(frame);
    this.#table.clear(frame, FrameFlag.kept | FrameFlag.guessed);
  }

  #readAhead(key: number): void {
    if (this.#prefetcher === undefined) return;
    this.#prefetcher.access(key, this.#clock.nowMs(), this.#proposals);
    for (let i = 0; i < this.#proposals.length; i++) {
      const proposal = this.#proposals[i]!;
      if (this.#guessesRunning >= GUESSES_RUNNING_MAX) return;
      if (this.#table.find(proposal) === NO_FRAME) this.#guess(proposal);
    }
  }

  /** What cannot be read ahead is left for its reader to find out. */
  #guess(key: number): void {
    const page = this.#source.locate(key);
    if (page === undefined || this.#table.inUse * 2 > this.#table.limit) return;
    const load = this.#begin(key, [page], "batch", "background", true);
    this.#table.set(load.frames[0]!, FrameFlag.guessed);
    this.#metrics.prefetchesIssued++;
    this.#guessesRunning++;
    void load.ended.then(() => this.#guessesRunning--);
  }
}
