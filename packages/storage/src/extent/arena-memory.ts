/**
 * Resident extents in an arena: a block for each, filled by the native door off the event loop.
 *
 * B1 an extent grows within its block; memory is put behind the part it grows into before it gets there, and locked if the
 *    rest is; where that is refused, `unlockedGrowth` says so.
 * B2 one that outgrows a large block is not copied on the event loop: it goes back to its pages, and comes in again with the next pin.
 */
import { isPinionError, PinionError } from "@pinion/core";
import {
  CHUNK_BYTES,
  type LockDenial,
  type LoadRun,
  type NumaPolicy,
} from "../memory/memory-door.ts";
import type { Placing } from "../residency/placer.ts";
import type { ExtentPages } from "../state/state-store.ts";
import type { Arena, ArenaBlock } from "./arena.ts";
import type { ExtentMemory } from "./extent-memory.ts";
import { fillPages, PAGE_BYTES } from "./extent-pages.ts";

/** Larger blocks have room for four times what is in them. */
const SMALL_BYTES = CHUNK_BYTES;
/** Copying so much holds the event loop for about 10 ms. */
const COPIED_BYTES_MAX = 64 * 1024 * 1024;
const RESERVE = 4;
const RESERVED_BYTES_MAX = 2 ** 33;
/** Pages whose places are looked up at once: 4 MiB. */
const WINDOW_PAGES = 1_024;
/** Windows that are read at once. */
const WINDOWS_AT_ONCE = 4;

/** Memory that an extent of this length takes: what a pin reserves. */
export function arenaBytesFor(lengthBytes: number): number {
  if (lengthBytes <= SMALL_BYTES / 2) return blockBytesFor(lengthBytes, false);
  return (Math.floor(lengthBytes / CHUNK_BYTES) + 1) * CHUNK_BYTES;
}

function blockBytesFor(lengthBytes: number, isSparse: boolean): number {
  if (lengthBytes <= SMALL_BYTES / 2)
    return 2 ** Math.max(16, Math.ceil(Math.log2(lengthBytes + 1)));
  const room = isSparse ? Math.min(RESERVE * lengthBytes, RESERVED_BYTES_MAX) : 0;
  return Math.max(lengthBytes + CHUNK_BYTES, room);
}

/** What of `Placing` is the arena's business. */
export type ArenaPlacing = Pick<Placing, "numa" | "hugePages" | "reservedPageBytes" | "hasRoom">;

/** Reserved pages are set aside, but not on one node: who bound them would end by SIGBUS. */
function soft(numa: NumaPolicy): NumaPolicy {
  return numa.kind === "bind" ? { kind: "preferred", nodes: numa.nodes } : numa;
}

/** Without pages that are reserved: huge ones that the system makes. */
function ordinary(placing: ArenaPlacing): ArenaPlacing {
  if (placing.reservedPageBytes === undefined) return placing;
  return { ...placing, reservedPageBytes: undefined, hugePages: true };
}

export class ArenaMemory implements ExtentMemory {
  readonly #arena: Arena;
  readonly #block: ArenaBlock;
  readonly #placing: ArenaPlacing;
  #wantsLock = false;
  #growing: Promise<void> | undefined;
  /** Why what it has grown into is not locked, where the rest is. */
  unlockedGrowth: LockDenial | undefined;
  #grownTo = 0;

  private constructor(arena: Arena, block: ArenaBlock, placing: ArenaPlacing) {
    this.#arena = arena;
    this.#block = block;
    this.#placing = placing;
  }

  /** @throws `overloaded` when there is no address space, or no memory */
  static async allocate(
    arena: Arena,
    lengthBytes: number,
    wanted: ArenaPlacing,
  ): Promise<ArenaMemory> {
    const { numa, reservedPageBytes } = wanted;
    const reserved =
      reservedPageBytes === undefined
        ? undefined
        : arena.allocate(arenaBytesFor(lengthBytes), { numa: soft(numa), reservedPageBytes });
    const block = reserved ?? arena.allocate(blockBytesFor(lengthBytes, arena.isSparse), { numa });
    if (block === undefined) throw new PinionError("overloaded", "no address space for an extent");
    const memory = new ArenaMemory(
      arena,
      block,
      reserved === undefined ? ordinary(wanted) : wanted,
    );
    try {
      await memory.#commit(arenaBytesFor(lengthBytes));
    } catch (e) {
      block.release();
      throw e;
    }
    return memory;
  }

  /** It is made of pages that the machine has reserved. */
  get isReserved(): boolean {
    return this.#placing.reservedPageBytes !== undefined;
  }

  get block(): ArenaBlock {
    return this.#block;
  }

  get bytes(): Uint8Array {
    return this.#block.bytes;
  }

  async lock(): Promise<LockDenial | undefined> {
    this.#wantsLock = true;
    this.unlockedGrowth = undefined;
    const denial = await this.#block.lock();
    if (denial !== undefined) this.#wantsLock = false;
    return denial;
  }

  unlock(): void {
    this.#wantsLock = false;
    this.unlockedGrowth = undefined;
    this.#block.unlock();
  }

  larger(byteCount: number): ExtentMemory | undefined {
    if (this.#block.committedBytes > COPIED_BYTES_MAX) return undefined;
    const { numa } = this.#placing;
    const block = this.#arena.allocate(blockBytesFor(byteCount, this.#arena.isSparse), { numa });
    if (block === undefined) return undefined;
    const memory = new ArenaMemory(this.#arena, block, ordinary(this.#placing));
    memory.#wantsLock = this.#wantsLock;
    memory.grown(byteCount);
    return memory;
  }

  /** B1. What fails here costs page faults later, and nothing else. */
  grown(lengthBytes: number): void {
    this.#grownTo = Math.max(this.#grownTo, lengthBytes);
    const { committedBytes, byteCount } = this.#block;
    const wanted = Math.min(arenaBytesFor(lengthBytes + CHUNK_BYTES / 2), byteCount);
    if (wanted <= committedBytes || this.#growing !== undefined) return;
    this.#growing = this.#commit(wanted)
      .then(async () => {
        if (this.#wantsLock) this.unlockedGrowth = await this.#block.lock();
      })
      .catch((e: unknown) => {
        if (!isPinionError(e, "overloaded")) throw e;
      })
      .finally(() => {
        this.#growing = undefined;
        if (this.#grownTo > lengthBytes) this.grown(this.#grownTo);
      });
  }

  release(): void {
    this.#block.release();
  }

  /** What it grows into is bound only while its node has room: else memory comes from elsewhere, as a mapping of its own. */
  #commit(byteCount: number): Promise<void> {
    const { numa, hugePages, hasRoom } = this.#placing;
    const { committedBytes } = this.#block;
    const full = committedBytes > 0 && !hasRoom(byteCount - committedBytes);
    return this.#block.commit(byteCount, { hugePages, ...(full ? { numa: soft(numa) } : {}) });
  }

  /** As `FillPages`: by native reads where the store has files, and page by page what they cannot bring. */
  async fill(stored: ExtentPages, pageCount: number, signal?: AbortSignal): Promise<void> {
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < pageCount) {
        const from = next;
        next = Math.min(from + WINDOW_PAGES, pageCount);
        try {
          signal?.throwIfAborted();
          await this.#fillWindow(stored, from, next);
        } catch (e) {
          next = pageCount; // the others end with what they are at
          throw e;
        }
      }
    };
    // All of them have ended before the memory may go.
    const ended = await Promise.allSettled(Array.from({ length: WINDOWS_AT_ONCE }, work));
    for (const result of ended) if (result.status === "rejected") throw result.reason;
  }

  /** @returns pages that did not come as they should */
  async #loadRuns(runs: readonly LoadRun[]): Promise<number[]> {
    try {
      const { damaged, short } = await this.#block.load(runs);
      return [...damaged, ...short].map((offset) => Math.floor(offset / PAGE_BYTES));
    } catch (e) {
      if (!isPinionError(e, "io-error")) throw e;
      return runs.flatMap(({ regionOffset, byteCount }) =>
        Array.from(
          { length: byteCount / PAGE_BYTES },
          (_, i) => Math.floor(regionOffset / PAGE_BYTES) + i,
        ),
      );
    }
  }

  async #fillWindow(stored: ExtentPages, from: number, to: number): Promise<void> {
    const native: LoadRun[] = [];
    const missed: number[] = [];
    for (const run of await stored.runs(from, to)) {
      const fd = await stored.file(run.segment);
      if (fd === undefined) {
        for (let i = 0; i < run.count; i++) missed.push(run.page + i);
        continue;
      }
      native.push({
        fd,
        fileOffset: run.offset,
        regionOffset: run.page * PAGE_BYTES,
        byteCount: run.count * PAGE_BYTES,
        checks: run.checks,
      });
    }
    if (native.length > 0) {
      // A checkpoint may have moved a page, or removed its file, meanwhile; if not, reading it says what is wrong with it.
      for (const page of await this.#loadRuns(native)) missed.push(page);
    }
    if (missed.length > 0) await fillPages(this.bytes, stored, missed);
  }
}
