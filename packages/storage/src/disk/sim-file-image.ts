/**
 * The bytes of one simulated file, twice: as the page cache has them and as the platter has them.
 *
 * State: `pages` hold the cache's view, sparsely. `stale` maps a sector to what the platter holds where that differs.
 * A stale sector in `dirty` may still reach the platter; one that is not (its sync failed) will not: the kernel has
 * dropped the mark, so later syncs succeed without it.
 *
 * I1 dirty ⊆ stale.
 * I2 the platter may get any earlier version of a dirty sector at any time, and at a crash any subset of the
 *    newest ones, each whole, torn at a byte, or not at all.
 */
import type { Rng } from "@pinion/core";

export const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;
const ZERO_SECTOR = new Uint8Array(SECTOR_BYTES);
/** Chance that the kernel had already written a dirty sector back when it is written again. */
const WRITE_BACK_CHANCE = 0.125;

/** How much of what was not synced outlives a crash. */
export interface SurvivalPlan {
  readonly rng: Rng;
  /** Chance that an unsynced sector (name, size) survives, 0 … 1. */
  readonly rate: number;
  /** Chance that a surviving sector is torn. */
  readonly tornRate: number;
}

export class SimFileImage {
  #size = 0;
  #durableSize = 0;
  #allocatedBytes = 0;
  readonly #pages = new Map<number, Uint8Array>();
  /** Pages this image may write to; the others are shared with the image it was copied from, or with a copy of it. */
  readonly #owned = new Set<number>();
  readonly #stale = new Map<number, Uint8Array>();
  readonly #dirty = new Set<number>();

  get size(): number {
    return this.#size;
  }

  /** Space the file takes: what was reserved, or its size if that is more. */
  get allocatedBytes(): number {
    return Math.max(this.#allocatedBytes, this.#size);
  }

  /** Reserves space and extends the file with zeros, as fallocate does. */
  allocate(byteCount: number): void {
    this.#allocatedBytes = Math.max(this.#allocatedBytes, byteCount);
    this.#size = Math.max(this.#size, byteCount);
  }

  read(offset: number, into: Uint8Array): number {
    const length = Math.max(0, Math.min(into.length, this.#size - offset));
    for (let done = 0; done < length;) {
      const at = (offset + done) % PAGE_BYTES;
      const part = Math.min(PAGE_BYTES - at, length - done);
      const page = this.#pages.get((offset + done - at) / PAGE_BYTES);
      if (page) into.set(page.subarray(at, at + part), done);
      else into.fill(0, done, done + part);
      done += part;
    }
    return length;
  }

  write(offset: number, bytes: Uint8Array, rng: Rng): void {
    if (bytes.length === 0) return;
    const last = Math.floor((offset + bytes.length - 1) / SECTOR_BYTES);
    for (let sector = Math.floor(offset / SECTOR_BYTES); sector <= last; sector++)
      this.#soil(sector, rng);
    this.#put(offset, bytes);
    this.#size = Math.max(this.#size, offset + bytes.length);
  }

  sync(): void {
    for (const sector of this.#dirty) this.#stale.delete(sector);
    this.#dirty.clear();
    this.#durableSize = this.#size;
  }

  /** A sync that failed: part of it was written, the rest is marked clean and never will be. */
  failSync(rng: Rng): void {
    for (const sector of this.#dirty) {
      if (rng.chance(0.5)) this.#stale.delete(sector);
    }
    this.#dirty.clear();
    if (rng.chance(0.5)) this.#durableSize = this.#size;
  }

  /** Flips one bit in the cache and on the platter. */
  flipBit(bit: number): void {
    const offset = Math.floor(bit / 8);
    const mask = 1 << (bit % 8);
    const page = this.#ownPage(Math.floor(offset / PAGE_BYTES));
    page[offset % PAGE_BYTES] = (page[offset % PAGE_BYTES] as number) ^ mask;
    const onPlatter = this.#stale.get(Math.floor(offset / SECTOR_BYTES));
    if (!onPlatter) return;
    const flipped = onPlatter.slice();
    flipped[offset % SECTOR_BYTES] = (flipped[offset % SECTOR_BYTES] as number) ^ mask;
    this.#stale.set(Math.floor(offset / SECTOR_BYTES), flipped);
  }

  /** The same file, cache and platter, sharing unchanged pages. */
  copy(): SimFileImage {
    const copy = new SimFileImage();
    this.#copyTo(copy);
    for (const [sector, bytes] of this.#stale) copy.#stale.set(sector, bytes);
    for (const sector of this.#dirty) copy.#dirty.add(sector);
    return copy;
  }

  /** The file after a power cut (I2). Everything in it is durable. */
  afterCrash(plan: SurvivalPlan): SimFileImage {
    const { rng, rate, tornRate } = plan;
    const image = new SimFileImage();
    this.#copyTo(image);
    let survivingEnd = this.#durableSize;
    for (const [sector, onPlatter] of this.#stale) {
      if (this.#dirty.has(sector) && rng.chance(rate)) {
        survivingEnd = Math.max(survivingEnd, (sector + 1) * SECTOR_BYTES);
        if (rng.chance(tornRate)) {
          // The head of the sector is new and its tail old, or the reverse.
          const cut = 1 + rng.below(SECTOR_BYTES - 1);
          const at = sector * SECTOR_BYTES;
          if (rng.chance(0.5)) image.#put(at + cut, onPlatter.subarray(cut));
          else image.#put(at, onPlatter.subarray(0, cut));
        }
      } else {
        image.#put(sector * SECTOR_BYTES, onPlatter);
      }
    }
    // The size is metadata of its own: as it was, as it should have become, or as far as surviving data reaches.
    const sizes = [this.#durableSize, Math.min(this.#size, survivingEnd), this.#size];
    image.#truncate(rate === 0 ? this.#durableSize : rate === 1 ? this.#size : rng.pick(sizes));
    image.#durableSize = image.#size;
    return image;
  }

  #soil(sector: number, rng: Rng): void {
    if (!this.#dirty.has(sector)) {
      this.#dirty.add(sector);
      if (!this.#stale.has(sector)) this.#stale.set(sector, this.#sector(sector));
    } else if (rng.chance(WRITE_BACK_CHANCE)) {
      this.#stale.set(sector, this.#sector(sector));
    }
  }

  #sector(sector: number): Uint8Array {
    const offset = sector * SECTOR_BYTES;
    const page = this.#pages.get(Math.floor(offset / PAGE_BYTES));
    return page
      ? page.slice(offset % PAGE_BYTES, (offset % PAGE_BYTES) + SECTOR_BYTES)
      : ZERO_SECTOR;
  }

  #put(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const at = (offset + done) % PAGE_BYTES;
      const part = Math.min(PAGE_BYTES - at, bytes.length - done);
      this.#ownPage((offset + done - at) / PAGE_BYTES).set(bytes.subarray(done, done + part), at);
      done += part;
    }
  }

  #ownPage(pageNo: number): Uint8Array {
    const page = this.#pages.get(pageNo);
    if (page && this.#owned.has(pageNo)) return page;
    const own = page ? page.slice() : new Uint8Array(PAGE_BYTES);
    this.#pages.set(pageNo, own);
    this.#owned.add(pageNo);
    return own;
  }

  #copyTo(copy: SimFileImage): void {
    this.#owned.clear();
    for (const [pageNo, page] of this.#pages) copy.#pages.set(pageNo, page);
    copy.#size = this.#size;
    copy.#durableSize = this.#durableSize;
    copy.#allocatedBytes = this.#allocatedBytes;
  }

  /** Cuts the file; what a later extension uncovers reads as zeros. */
  #truncate(size: number): void {
    this.#size = size;
    this.#allocatedBytes = Math.min(this.#allocatedBytes, size);
    for (const pageNo of this.#pages.keys()) {
      const keep = size - pageNo * PAGE_BYTES;
      if (keep <= 0) this.#pages.delete(pageNo);
      else if (keep < PAGE_BYTES) this.#ownPage(pageNo).fill(0, keep);
    }
  }
}
