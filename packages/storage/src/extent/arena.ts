/**
 * Memory for resident extents: address space in regions, given out in blocks of a power of two by the buddy system (Knowlton, "A fast
 * storage allocator", CACM 1965). Memory is behind it, and locked, in chunks of 2 MiB: small blocks share a chunk, larger ones own theirs. So the
 * number of mappings does not grow with the number of extents (storage.md, "Memory" 1 to 3). For the same reason a region has one NUMA policy: blocks
 * of different policies lie in different regions. A block of pages that the machine has reserved has a region to itself.
 *
 * State: which blocks are free; for each chunk with memory how many blocks lie in it and how many want it locked.
 *
 * A1 blocks never overlap, and a block that was given back is not given out before its buffer was detached.
 * A2 a chunk has memory from the first `commit` of a block in it until the last block in it has gone.
 * A3 a block begins as zeros.
 * A4 a block that is given back while memory is put behind it, or locked, goes when that has ended: nothing of it stays behind.
 * A5 a block is locked only where the system has locked all its chunks, also where another block has asked for one of them first.
 */
import { assert, isPinionError } from "@pinion/core";
import {
  CHUNK_BYTES,
  type LoadResult,
  type LoadRun,
  type LockDenial,
  type MemoryDoor,
  type NumaPolicy,
  type PopulateOptions,
  type RangePlacement,
  type Region,
  type RegionOptions,
} from "../memory/memory-door.ts";

const ORDER_MIN = 16; // 64 KiB
const REGION_BYTES_MIN = 16 * 1024 ** 3;
const REGIONS_MAX = 64;
/** Of one block each: as many mappings. */
const SINGLES_MAX = 1_024;
const LOCAL: NumaPolicy = { kind: "local" };
/** No other block may lie in such a region. */
const SINGLE = "single";

const kindOf = (numa: NumaPolicy): string =>
  numa.kind === "local" ? numa.kind : `${numa.kind} ${numa.nodes.join(",")}`;

/** Which memory a block is made of. */
export interface BlockOptions {
  /** Default `local`. */
  readonly numa?: NumaPolicy;
  /** As `RegionOptions`. Default: ordinary memory. */
  readonly reservedPageBytes?: number | undefined;
}

export interface ArenaStats {
  /** Address space. */
  readonly reservedBytes: number;
  readonly committedBytes: number;
  /** Asked for by those who hold blocks. */
  readonly usedBytes: number;
  /** Part of the committed memory that nobody asked for: 0 … 1. */
  readonly fragmentation: number;
}

interface Chunk {
  blocks: number;
  committed: boolean;
  locks: number;
  /** What the system said to the first of them, and will to the others (A5). */
  answer: Promise<LockDenial | undefined> | undefined;
  /** A block in it has gone while others stayed: what it has left is still there (A3). */
  used: boolean;
}

class ArenaRegion {
  readonly region: Region;
  readonly order: number;
  /** Blocks of one region are of one kind. */
  readonly kind: string;
  /** All of it is one block, and goes with it. */
  readonly single: boolean;
  /** By order: offsets of free blocks. */
  readonly #free: Set<number>[] = [];
  readonly #chunks = new Map<number, Chunk>();
  /** Chunks that nobody wants locked any more and that the system could not unlock: that may take mappings, of which there were none. */
  readonly #stillLocked = new Set<number>();
  #closed = false;

  /** @param byteCount a power of two, unless the pages are reserved */
  constructor(door: MemoryDoor, byteCount: number, kind: string, options: RegionOptions) {
    this.region = door.reserve(byteCount, options);
    this.order = Math.ceil(Math.log2(byteCount));
    this.kind = kind;
    this.single = options.reservedPageBytes !== undefined;
    for (let i = 0; i <= this.order; i++) this.#free.push(new Set());
    this.#free[this.order]?.add(0);
  }

  /** @returns an offset; undefined when there is no room */
  take(order: number): number | undefined {
    let from = order;
    while (from <= this.order && (this.#free[from] as Set<number>).size === 0) from++;
    if (from > this.order) return undefined;
    const blocks = this.#free[from] as Set<number>;
    const [offset] = blocks as Iterable<number> as unknown as [number];
    blocks.delete(offset);
    // What is split off is the upper half each time.
    while (from > order) this.#free[--from]?.add(offset + 2 ** from);
    for (const chunk of this.#chunksOf(offset, 2 ** order)) chunk.blocks++;
    return offset;
  }

  /** Whether a block of this region may hold what another one has left. */
  isUsed(offset: number): boolean {
    return this.#chunks.get(Math.floor(offset / CHUNK_BYTES))?.used ?? false;
  }

  get reservedBytes(): number {
    return this.region.byteCount;
  }

  /** Gives everything back; what is still at work with a block finds that it is gone. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.region.release();
  }

  give(offset: number, order: number): void {
    if (this.#closed) return;
    let first = -1;
    let end = -1;
    for (const [at, chunk] of this.#chunkEntries(offset, 2 ** order)) {
      chunk.used = true;
      if (--chunk.blocks > 0) continue;
      this.#chunks.delete(at);
      if (first === -1) first = at;
      end = at + 1;
    }
    // Reserved pages go as wholes, with the region.
    if (this.single) return this.close();
    // Also where nothing was committed: what was written beyond that is there, too (A3).
    if (first !== -1) this.region.discard(first * CHUNK_BYTES, (end - first) * CHUNK_BYTES);
    let block = offset;
    let of = order;
    for (; of < this.order; of++) {
      const buddy = block % 2 ** (of + 1) === 0 ? block + 2 ** of : block - 2 ** of;
      if (!this.#free[of]?.delete(buddy)) break;
      block = Math.min(block, buddy);
    }
    this.#free[of]?.add(block);
  }

  /** Chunks that a range of a block needs and that have no memory yet, as runs. */
  uncommitted(offset: number, byteCount: number): { offset: number; byteCount: number }[] {
    const runs: { offset: number; byteCount: number }[] = [];
    for (const [at, chunk] of this.#chunkEntries(offset, byteCount)) {
      if (chunk.committed) continue;
      const last = runs.at(-1);
      if (last && last.offset + last.byteCount === at * CHUNK_BYTES) last.byteCount += CHUNK_BYTES;
      else runs.push({ offset: at * CHUNK_BYTES, byteCount: CHUNK_BYTES });
    }
    return runs;
  }

  committed(offset: number, byteCount: number): void {
    for (const chunk of this.#chunksOf(offset, byteCount)) chunk.committed = true;
  }

  /** One block more wants this locked. @returns undefined: it is (A5), until `unlock` */
  async lock(offset: number, byteCount: number): Promise<LockDenial | undefined> {
    for (const run of this.#relock(offset, byteCount, 1)) {
      const answer = this.region.lock(run.offset, run.byteCount);
      for (const chunk of this.#chunksOf(run.offset, run.byteCount)) chunk.answer = answer;
    }
    const answers = new Set<Promise<LockDenial | undefined>>();
    for (const { answer } of this.#chunksOf(offset, byteCount))
      if (answer !== undefined) answers.add(answer);
    const denial = (await Promise.all(answers)).find((said) => said !== undefined);
    if (denial !== undefined) this.unlock(offset, byteCount);
    return denial;
  }

  unlock(offset: number, byteCount: number): void {
    // With the arena everything went, locks too.
    if (this.#closed) return;
    for (const run of this.#relock(offset, byteCount, -1))
      if (!this.#unlockRun(run.offset, run.byteCount))
        for (const [at] of this.#chunkEntries(run.offset, run.byteCount)) this.#stillLocked.add(at);
      else this.#unlockRest();
  }

  #unlockRun(offset: number, byteCount: number): boolean {
    try {
      this.region.unlock(offset, byteCount);
      return true;
    } catch (e) {
      if (!isPinionError(e, "overloaded")) throw e;
      return false;
    }
  }

  #unlockRest(): void {
    for (const at of this.#stillLocked) {
      const isWanted = (this.#chunks.get(at)?.locks ?? 0) > 0;
      if (isWanted || this.#unlockRun(at * CHUNK_BYTES, CHUNK_BYTES)) this.#stillLocked.delete(at);
    }
  }

  /** @param by 1 or −1 @returns runs of chunks that are to be locked or unlocked by this */
  #relock(offset: number, byteCount: number, by: 1 | -1): { offset: number; byteCount: number }[] {
    const runs: { offset: number; byteCount: number }[] = [];
    for (const [at, chunk] of this.#chunkEntries(offset, byteCount)) {
      chunk.locks += by;
      if (chunk.locks !== (by === 1 ? 1 : 0)) continue;
      const last = runs.at(-1);
      if (last && last.offset + last.byteCount === at * CHUNK_BYTES) last.byteCount += CHUNK_BYTES;
      else runs.push({ offset: at * CHUNK_BYTES, byteCount: CHUNK_BYTES });
    }
    return runs;
  }

  get committedBytes(): number {
    let chunks = 0;
    for (const { committed } of this.#chunks.values()) if (committed) chunks++;
    return chunks * CHUNK_BYTES;
  }

  *#chunksOf(offset: number, byteCount: number): Iterable<Chunk> {
    for (const [, chunk] of this.#chunkEntries(offset, byteCount)) yield chunk;
  }

  *#chunkEntries(offset: number, byteCount: number): Iterable<[number, Chunk]> {
    const last = Math.floor((offset + Math.max(1, byteCount) - 1) / CHUNK_BYTES);
    for (let at = Math.floor(offset / CHUNK_BYTES); at <= last; at++) {
      let chunk = this.#chunks.get(at);
      if (chunk === undefined) {
        chunk = { blocks: 0, committed: false, locks: 0, answer: undefined, used: false };
        this.#chunks.set(at, chunk);
      }
      yield [at, chunk];
    }
  }
}

export class Arena {
  readonly #door: MemoryDoor;
  readonly #regions: ArenaRegion[] = [];
  readonly #blocks = new Set<ArenaBlock>();

  constructor(door: MemoryDoor) {
    this.#door = door;
  }

  /** Address space costs nothing here: blocks may be larger than what is in them. */
  get isSparse(): boolean {
    return this.#door.kind === "addon";
  }

  /**
   * A block of address space for at least `byteCount` bytes, zeros, without memory until `commit`.
   * @returns undefined when the address space is used up, or too few pages are reserved
   */
  allocate(byteCount: number, options: BlockOptions = {}): ArenaBlock | undefined {
    const { numa = LOCAL, reservedPageBytes } = options;
    if (reservedPageBytes !== undefined) return this.#single(byteCount, numa, reservedPageBytes);
    const order = Math.max(ORDER_MIN, Math.ceil(Math.log2(byteCount)));
    const kind = kindOf(numa);
    for (const region of this.#regions) {
      if (region.kind !== kind || region.order < order) continue;
      const offset = region.take(order);
      if (offset !== undefined) return this.#block(region, offset, order);
    }
    if (this.#regions.length - this.#singles >= REGIONS_MAX) return undefined;
    const regionBytes = 2 ** Math.max(order, Math.log2(REGION_BYTES_MIN));
    const region = new ArenaRegion(this.#door, regionBytes, kind, { numa });
    this.#regions.push(region);
    const offset = region.take(order);
    assert(offset !== undefined, "a new region has no room");
    return this.#block(region, offset, order);
  }

  get #singles(): number {
    return this.#regions.reduce((count, { single }) => count + Number(single), 0);
  }

  #single(byteCount: number, numa: NumaPolicy, reservedPageBytes: number): ArenaBlock | undefined {
    if (this.#singles >= SINGLES_MAX) return undefined;
    const whole = Math.ceil(byteCount / reservedPageBytes) * reservedPageBytes;
    try {
      const region = new ArenaRegion(this.#door, whole, SINGLE, { numa, reservedPageBytes });
      this.#regions.push(region);
      region.take(region.order);
      return this.#block(region, 0, region.order);
    } catch (e) {
      if (isPinionError(e, "overloaded")) return undefined;
      throw e;
    }
  }

  #block(region: ArenaRegion, offset: number, order: number): ArenaBlock {
    const block = new ArenaBlock(region, offset, order, () => {
      this.#blocks.delete(block);
      const at = region.single ? this.#regions.indexOf(region) : -1;
      if (at !== -1) this.#regions.splice(at, 1);
    });
    this.#blocks.add(block);
    return block;
  }

  stats(): ArenaStats {
    let reservedBytes = 0;
    let committedBytes = 0;
    let usedBytes = 0;
    for (const region of this.#regions) {
      reservedBytes += region.reservedBytes;
      committedBytes += region.committedBytes;
    }
    for (const block of this.#blocks) usedBytes += block.committedBytes;
    const fragmentation = committedBytes === 0 ? 0 : Math.max(0, 1 - usedBytes / committedBytes);
    return { reservedBytes, committedBytes, usedBytes, fragmentation };
  }

  /** Gives everything back; blocks that are left are detached. */
  close(): void {
    for (const block of [...this.#blocks]) block.release();
    for (const region of this.#regions.splice(0)) region.close();
  }
}

export class ArenaBlock {
  readonly #region: ArenaRegion;
  readonly #offset: number;
  readonly #order: number;
  readonly #onRelease: () => void;
  #wantsLock = false;
  #locking: Promise<LockDenial | undefined> | undefined;
  #bytes: Uint8Array | undefined;
  #committed = 0;
  #locked = 0;
  #released = false;
  /** Commits and locks under way (A4). */
  #working = 0;
  #given = false;
  /** Its bytes may be those of another block, and have to be zeros first (A3). */
  #used: boolean;

  constructor(region: ArenaRegion, offset: number, order: number, onRelease: () => void) {
    this.#region = region;
    this.#offset = offset;
    this.#order = order;
    this.#onRelease = onRelease;
    this.#used = 2 ** order < CHUNK_BYTES && region.isUsed(offset);
  }

  /** Of its address space. */
  get byteCount(): number {
    return Math.min(2 ** this.#order, this.#region.reservedBytes - this.#offset);
  }

  /** From its beginning on, with memory behind it. */
  get committedBytes(): number {
    return this.#committed;
  }

  get lockedBytes(): number {
    return this.#locked;
  }

  /** All of its address space; touching what is not committed costs a page fault, though never one that waits for a disk. */
  get bytes(): Uint8Array {
    assert(!this.#released, "a block is used after it was given back");
    this.#bytes ??= new Uint8Array(this.#region.region.view(this.#offset, this.byteCount));
    if (this.#used) this.#bytes.fill(0);
    this.#used = false;
    return this.#bytes;
  }

  /** Puts memory behind the first `byteCount` bytes, off the event loop. @throws `overloaded` when there is none */
  async commit(byteCount: number, options: PopulateOptions): Promise<void> {
    const count = Math.min(byteCount, this.byteCount);
    if (count <= this.#committed || this.#released) return;
    if (this.#used) void this.bytes;
    await this.#work(async () => {
      for (const { offset, byteCount: length } of this.#region.uncommitted(this.#offset, count)) {
        await this.#region.region.populate(offset, length, options);
        this.#region.committed(offset, length);
      }
    });
    if (!this.#released) this.#committed = Math.max(this.#committed, count);
  }

  /** Locks what is committed, also what is while it waits. @returns undefined: it is locked, unless it was unlocked meanwhile */
  lock(): Promise<LockDenial | undefined> {
    if (this.#released) return Promise.resolve(undefined);
    this.#wantsLock = true;
    this.#locking ??= this.#work(() => this.#lockAll());
    return this.#locking;
  }

  /** One at a time: two would count the same chunks twice. */
  async #lockAll(): Promise<LockDenial | undefined> {
    // `locking` is set when this goes on.
    await Promise.resolve();
    let denial: LockDenial | undefined;
    while (this.#wantsLock && this.#locked < this.#committed && !this.#released) {
      const count = this.#committed;
      // A chunk counts once for a block, however often the block grows.
      const from = Math.ceil(this.#locked / CHUNK_BYTES) * CHUNK_BYTES;
      if (from < count) denial = await this.#region.lock(this.#offset + from, count - from);
      if (denial !== undefined) break;
      this.#locked = count;
    }
    this.#locking = undefined;
    if (!this.#wantsLock) this.#unlockAll();
    return denial;
  }

  unlock(): void {
    this.#wantsLock = false;
    if (this.#locking === undefined) this.#unlockAll();
  }

  #unlockAll(): void {
    if (this.#locked > 0) this.#region.unlock(this.#offset, this.#locked);
    this.#locked = 0;
  }

  /** As `Region.load`, with offsets in the block. */
  async load(runs: readonly LoadRun[]): Promise<LoadResult> {
    assert(!this.#released, "a load into a block that was given back");
    const at = this.#offset;
    const { damaged, short } = await this.#region.region.load(
      runs.map((run) => ({ ...run, regionOffset: run.regionOffset + at })),
    );
    return { damaged: damaged.map((o) => o - at), short: short.map((o) => o - at) };
  }

  residentBytes(): number | undefined {
    return this.#region.region.residentBytes(this.#offset, this.#committed);
  }

  /** Why the system did not take the NUMA policy; undefined when it did. */
  get policyDenied(): string | undefined {
    return this.#region.region.policyDenied;
  }

  /** Where what is committed is; undefined when it was given back, or nobody can tell. */
  async measure(): Promise<RangePlacement | undefined> {
    if (this.#released || this.#committed === 0) return undefined;
    return this.#work(() => this.#region.region.measure(this.#offset, this.#committed));
  }

  /** As `Region.moveTo`, of a part of what is committed. */
  async moveTo(offset: number, byteCount: number, node: number): Promise<number | undefined> {
    if (this.#released) return undefined;
    const count = Math.min(byteCount, this.#committed - offset);
    return this.#work(() => this.#region.region.moveTo(this.#offset + offset, count, node));
  }

  /** Views of it read as empty from now on. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    if (this.#bytes !== undefined) this.#region.region.detach(this.#bytes.buffer as ArrayBuffer);
    this.#onRelease();
    if (this.#working === 0) this.#giveBack();
  }

  async #work<T>(work: () => Promise<T>): Promise<T> {
    this.#working++;
    try {
      return await work();
    } finally {
      if (--this.#working === 0 && this.#released) this.#giveBack();
    }
  }

  #giveBack(): void {
    if (this.#given) return;
    this.#given = true;
    this.#unlockAll();
    this.#region.give(this.#offset, this.#order);
  }
}
