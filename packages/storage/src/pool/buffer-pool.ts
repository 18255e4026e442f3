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
import { assert, noTelemetry, PinionError, type Clock, type Telemetry } from "@pinion/core";
import type { AdmissionHint, CachePolicy, MakePolicy, ReadHint } from "./cache-policy.ts";
import { FRAME_BYTES, SlabFrames, type FrameStore } from "./frame-store.ts";
import { FrameFlag, FrameTable, NO_FRAME } from "./frame-table.ts";
import type { IoClass, IoScheduler } from "./io-scheduler.ts";
import { PoolMetrics, type BufferPoolStats } from "./pool-metrics.ts";
import { Prefetcher } from "./prefetcher.ts";
import { SteeredPolicy } from "./steered-policy.ts";

/** Where pages come from. Keys are safe integers ≥ 0; neighbours on the disk should be neighbours in number. */
export interface PageSource {
  /** Undefined: there is no such page. */
  locate(key: number): { readonly file: number; readonly offset: number } | undefined;
  /** Called once for each page that was read, before anybody sees it. @throws what the reader is to see, `corruption` */
  verify(key: number, bytes: Uint8Array): void;
}

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

/** A page that stays where it is until it is released. Its bytes must not be changed. */
export interface PageLease {
  readonly key: number;
  readonly bytes: Uint8Array;
  /** Exactly once; the bytes are somebody else's afterwards. */
  release(): void;
}

class FrameLease implements PageLease {
  readonly key: number;
  readonly bytes: Uint8Array;
  readonly #table: FrameTable;
  #frame: number;

  /** Takes over a reference. */
  constructor(table: FrameTable, frame: number, key: number) {
    this.#table = table;
    this.#frame = frame;
    this.key = key;
    this.bytes = table.bytes(frame);
  }

  release(): void {
    assert(this.#frame !== NO_FRAME, "a page was released twice");
    this.#table.release(this.#frame);
    this.#frame = NO_FRAME;
  }
}

/** A read that fills a frame. It holds a reference of its own. */
interface Load {
  readonly key: number;
  readonly frame: number;
  readonly ioClass: IoClass;
  /** Takes the read out of the queue; only where somebody may want that. */
  readonly abort: AbortController | undefined;
  waiters: number;
  /** Resolves to what went wrong, undefined when the page is there. Never rejects. */
  ended: Promise<unknown>;
}

/** Reads on a guess at a time. */
const GUESSES_RUNNING_MAX = 64;

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
  /** By frame. */
  readonly #loads = new Map<number, Load>();
  readonly #proposals: number[] = [];
  #guessesRunning = 0;

  constructor(options: BufferPoolOptions) {
    const { source, io, clock, frames = new SlabFrames(), prefetch = true } = options;
    this.#source = source;
    this.#io = io;
    this.#clock = clock;
    this.#framesMax = frames.framesMax;
    const limit = Math.min(framesOf(options.capacityBytes), frames.framesMax);
    this.#table = new FrameTable(frames, limit);
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
    this.#table.reference(frame);
    this.#hit(frame, key, hint);
    return new FrameLease(this.#table, frame, key);
  }

  /**
   * The page, from memory or from the disk; whoever gets it releases it.
   * @throws `not-found` for a page that does not exist, `overloaded` when all frames are in use or too many reads wait, `cancelled`, `io-error`, and what `verify` throws
   */
  async fetch(key: number, options: FetchOptions = {}): Promise<PageLease> {
    const { hint = "interactive", ioClass = "user", signal } = options;
    const lease = this.use(key, hint);
    if (lease !== undefined) return lease;
    this.#metrics.misses++;
    const begunMs = this.#clock.nowMs();
    for (;;) {
      if (signal?.aborted) throw givenUp(signal);
      const frame = this.#table.find(key);
      const running = frame === NO_FRAME ? undefined : this.#loads.get(frame);
      if (running === undefined && frame !== NO_FRAME) {
        // It came while the read before ours was taken out of the queue.
        this.#table.reference(frame);
        return new FrameLease(this.#table, frame, key);
      }
      if (running !== undefined) this.#join(running, ioClass);
      const load = running ?? this.#begin(key, hint, ioClass, signal !== undefined);
      if (running === undefined) this.#readAhead(key);
      const failure = await this.#wait(load, signal);
      if (failure === undefined) {
        this.#metrics.noteRead(this.#clock.nowMs() - begunMs);
        return new FrameLease(this.#table, load.frame, key);
      }
      // Somebody else's wish, or ours to have it sooner.
      if (!isCancelled(failure)) throw failure as Error;
    }
  }

  /** Several pages at once, in order; neighbours are read together. All or none. @throws as `fetch` */
  async fetchAll(keys: readonly number[], options: FetchOptions = {}): Promise<PageLease[]> {
    const results = await Promise.allSettled(keys.map((key) => this.fetch(key, options)));
    const leases = results.flatMap((r) => (r.status === "fulfilled" ? [r.value] : []));
    const failed = results.find((r) => r.status === "rejected");
    if (failed === undefined) return leases;
    for (const lease of leases) lease.release();
    throw failed.reason as Error;
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

  /** @param bytes as `capacityBytes`; pages in use stay until they are released, even beyond it (B4) */
  resize(bytes: number): void {
    const limit = Math.min(framesOf(bytes), this.#framesMax);
    this.#policy.resize(limit);
    this.#table.resize(limit, (frame) => this.invalidate(this.#table.keyOf(frame)));
  }

  /**
   * Lets go of a share of the pages that are not in use, and of their memory. The pool may fill up again: `resize` is for good.
   * @param share 0 … 1
   */
  evict(share: number): void {
    for (let pages = Math.ceil(this.#policy.size * share); pages > 0; pages--) this.#policy.evict();
    this.#table.compact(this.#table.occupied, (frame) => this.invalidate(this.#table.keyOf(frame)));
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
  #join(load: Load, ioClass: IoClass): void {
    this.#metrics.coalesced++;
    this.#useGuess(load.frame, load.key);
    // A guess may wait behind everything else; its first reader asks anew if it still does.
    if (load.ioClass === "background" && ioClass !== "background") load.abort?.abort();
  }

  /** @returns what went wrong; undefined: the page is there and the caller has a reference. @throws `cancelled` */
  async #wait(load: Load, signal: AbortSignal | undefined): Promise<unknown> {
    load.waiters++;
    this.#table.reference(load.frame);
    const leave = (): void => {
      this.#table.release(load.frame);
      if (--load.waiters === 0) load.abort?.abort();
    };
    const failure = await (signal === undefined ? load.ended : unlessAborted(load.ended, signal));
    if (failure === undefined) return undefined;
    leave();
    if (signal?.aborted) throw givenUp(signal);
    return failure;
  }

  /** @throws `not-found`, `overloaded` */
  #begin(key: number, hint: ReadHint, ioClass: IoClass, cancellable: boolean): Load {
    const place = this.#source.locate(key);
    if (place === undefined) {
      throw new PinionError("not-found", `there is no page ${key}`, { details: { page: key } });
    }
    const frame = this.#take(key);
    if (frame === NO_FRAME) {
      this.#metrics.refused++;
      throw new PinionError("overloaded", "every frame of the buffer pool is in use", {
        details: { frames: this.#table.limit },
      });
    }
    this.#table.set(frame, FrameFlag.loading);
    this.#table.reference(frame);
    if (hint !== "analytics") this.#admit(frame, key, hint);
    const abort = cancellable ? new AbortController() : undefined;
    const load: Load = { key, frame, ioClass, abort, waiters: 0, ended: Promise.resolve() };
    this.#loads.set(frame, load);
    load.ended = this.#fill(load, place.file, place.offset);
    return load;
  }

  #take(key: number): number {
    while (this.#table.occupied >= this.#table.limit) {
      if (!this.#policy.evict()) return NO_FRAME;
    }
    return this.#table.take(key);
  }

  async #fill(load: Load, file: number, offset: number): Promise<unknown> {
    const { key, frame, ioClass, abort } = load;
    const bytes = this.#table.bytes(frame);
    const begunMs = this.#clock.nowMs();
    let failure: unknown;
    try {
      await this.#io.read(file, offset, bytes, ioClass, abort?.signal);
      this.#prefetcher?.noteRead(this.#clock.nowMs() - begunMs);
      this.#verify(key, bytes);
    } catch (e) {
      failure = e;
      // Unless it was invalidated, and perhaps read again, meanwhile.
      if (this.#table.has(frame, FrameFlag.indexed)) this.#policy.remove(key);
      this.#table.hide(frame);
      this.#table.clear(frame, FrameFlag.kept | FrameFlag.guessed);
    }
    this.#loads.delete(frame);
    this.#table.clear(frame, FrameFlag.loading);
    this.#table.release(frame);
    return failure;
  }

  #verify(key: number, bytes: Uint8Array): void {
    try {
      this.#source.verify(key, bytes);
    } catch (e) {
      this.#metrics.damaged++;
      throw e;
    }
  }

  #readAhead(key: number): void {
    if (this.#prefetcher === undefined) return;
    this.#prefetcher.access(key, this.#clock.nowMs(), this.#proposals);
    for (const proposal of this.#proposals) {
      if (this.#guessesRunning >= GUESSES_RUNNING_MAX) return;
      if (this.#table.find(proposal) === NO_FRAME) this.#guess(proposal);
    }
  }

  /** What cannot be read ahead is left for its reader to find out. */
  #guess(key: number): void {
    if (this.#source.locate(key) === undefined || this.#table.inUse * 2 > this.#table.limit) return;
    const load = this.#begin(key, "batch", "background", true);
    this.#table.set(load.frame, FrameFlag.guessed);
    this.#metrics.prefetchesIssued++;
    this.#guessesRunning++;
    void load.ended.then(() => this.#guessesRunning--);
  }
}

const isCancelled = (e: unknown): boolean => e instanceof PinionError && e.code === "cancelled";

function givenUp(signal: AbortSignal): PinionError {
  return new PinionError("cancelled", "nobody waits for the page any more", {
    cause: signal.reason,
  });
}

/** Resolves to the signal's reason if it comes first. */
function unlessAborted(ended: Promise<unknown>, signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    const onAbort = (): void => resolve(givenUp(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    void ended.then((failure) => {
      signal.removeEventListener("abort", onAbort);
      resolve(failure);
    });
  });
}
