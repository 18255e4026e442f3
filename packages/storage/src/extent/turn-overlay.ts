/**
 * What one turn has written of an extent: copies of the pages, and which ranges.
 *
 * State: a shadow of every page the turn has written to, the ranges it has written. Of a turn that has written once and little: what it wrote.
 *
 * O1 shadows are complete: what the turn did not write in them is as it was.
 * O2 shadows together are bounded by the turn's budget.
 * O3 a shadow that somebody may still look at is not used again.
 */
import { assert } from "@pinion/core";
import { keptCopy } from "./copies.ts";
import type { DeltaRange } from "./extent-delta.ts";
import { PAGE_BYTES, pageOf, ZERO_PAGE } from "./extent-pages.ts";
import { sparePage, takeSparePage } from "./spare-pages.ts";
import type { WriteBudget } from "./write-budget.ts";
import { coalesced } from "./write-ranges.ts";

/** Writes are coalesced when so many have come, so that their list stays short. */
const RANGES_COALESCED_AT = 4_096;
/** 256 KiB. */
const SLAB_PAGES_MAX = 64;
const NO_BYTES = new Uint8Array(0);
/** What most turns have: a map, even one that is only cleared, costs more than the rest of a small turn's bookkeeping. */
const NO_SHADOWS = new Map<number, Uint8Array>();
/** What a write has at most that is kept as it is. */
const PATCH_BYTES_MAX = 1_024;

/** A range that is not yet part of a shadow. */
interface Patch extends DeltaRange {
  readonly parts: [Uint8Array];
  readonly page: number;
  /** Of the extent, when it was made. */
  readonly memory: Uint8Array;
  /** The bytes are nobody else's. */
  isOwn: boolean;
}

type PageBefore = (page: number) => Uint8Array | undefined;

export class TurnOverlay {
  readonly #budget: WriteBudget;
  #shadows = NO_SHADOWS;
  /** Pairs of first and behind last byte, in the order they were written. */
  #ranges: number[] = [];
  /** The only write so far: its page need not be copied. */
  #patch: Patch | undefined;
  /** What is left of the last piece of memory for shadows. */
  #slab: Uint8Array = NO_BYTES;
  /** Somebody was given a view of a shadow. */
  isShown = false;

  constructor(budget: WriteBudget) {
    this.#budget = budget;
  }

  /** The shadow of a page. */
  get(page: number): Uint8Array | undefined {
    if (this.#patch?.page === page) this.#unpatch();
    return this.#shadows.get(page);
  }

  /** Whether one of the pages has a shadow. */
  overlaps(first: number, last: number): boolean {
    const patch = this.#patch;
    if (patch !== undefined && patch.page >= first && patch.page <= last) this.#unpatch();
    if (this.#shadows.size === 0) return false;
    for (let page = first; page <= last; page++) if (this.#shadows.has(page)) return true;
    return false;
  }

  /**
   * Keeps the first write of a turn as it is, if it is short and within a page.
   * @param isGiven its bytes need not be copied
   * @param memory of the extent, which has all of the page and keeps it as it is until the turn ends
   */
  patch(offset: number, bytes: Uint8Array, isGiven: boolean, memory: Uint8Array): boolean {
    const page = pageOf(offset);
    const byteCount = bytes.length;
    if (byteCount > PATCH_BYTES_MAX || pageOf(offset + byteCount - 1) !== page) return false;
    // As much as its page would: when that is needed, at the commit for one, it must not be refused.
    this.#budget.take(PAGE_BYTES);
    // What may become shorter meanwhile cannot be recorded.
    const isShared = isGiven && !(bytes.buffer instanceof ArrayBuffer && bytes.buffer.resizable);
    const parts: [Uint8Array] = [isShared ? bytes : keptCopy(bytes)];
    this.#patch = { offset, byteCount, parts, page, memory, isOwn: !isShared };
    return true;
  }

  /** What `ranges` gave has been recorded, and is to be as it was until it counts: bytes that were given might be changed meanwhile. */
  keep(): void {
    const patch = this.#patch;
    if (patch === undefined || patch.isOwn) return;
    patch.parts[0] = keptCopy(patch.parts[0]);
    patch.isOwn = true;
  }

  /** Something else than the one write is wanted: its page becomes a shadow like others. */
  #unpatch(): void {
    const patch = this.#patch;
    if (patch === undefined) return;
    this.#patch = undefined;
    const { offset, parts, page, memory } = patch;
    const [bytes] = parts;
    const start = page * PAGE_BYTES;
    const shadow = this.#newShadow(page);
    shadow.set(memory.subarray(start, start + PAGE_BYTES));
    shadow.set(bytes, offset - start);
    this.#wrote(offset, offset + bytes.length);
  }

  /** @param before the page as the turn sees it; asked for pages without a shadow that are written in part */
  write(offset: number, bytes: Uint8Array, before: PageBefore): void {
    this.#unpatch();
    const end = offset + bytes.length;
    const last = pageOf(end - 1);
    for (let page = pageOf(offset); page <= last; page++) {
      const start = page * PAGE_BYTES;
      const shadow = this.#shadow(page, start >= offset && start + PAGE_BYTES <= end, before);
      const from = Math.max(0, start - offset);
      const to = Math.min(bytes.length, start + PAGE_BYTES - offset);
      const part = to - from === bytes.length ? bytes : bytes.subarray(from, to);
      shadow.set(part, Math.max(0, offset - start));
    }
    this.#wrote(offset, end);
  }

  /** @param isWhole all of it is written: what was there does not matter */
  #shadow(page: number, isWhole: boolean, before: PageBefore): Uint8Array {
    const known = this.#shadows.get(page);
    if (known !== undefined) return known;
    const content = isWhole ? ZERO_PAGE : before(page);
    assert(content !== undefined, `page ${page} is changed in part and was not brought in`);
    this.#budget.take(PAGE_BYTES);
    const shadow = this.#newShadow(page);
    if (!isWhole) shadow.set(content);
    return shadow;
  }

  /** Its bytes are to be filled. Pages of a large write come from one piece of memory: each of its own would cost more than filling it. */
  #newShadow(page: number): Uint8Array {
    let shadow = takeSparePage();
    if (shadow === undefined) {
      if (this.#slab.length === 0) {
        const pages = Math.min(Math.max(1, this.#shadows.size), SLAB_PAGES_MAX);
        this.#slab = new Uint8Array(pages * PAGE_BYTES);
      }
      shadow = this.#slab.subarray(0, PAGE_BYTES);
      this.#slab = this.#slab.subarray(PAGE_BYTES);
    }
    if (this.#shadows === NO_SHADOWS) this.#shadows = new Map();
    this.#shadows.set(page, shadow);
    return shadow;
  }

  #wrote(offset: number, end: number): void {
    const ranges = this.#ranges;
    const last = ranges.length - 1;
    if (last > 0 && ranges[last] === offset) {
      ranges[last] = end;
      return;
    }
    ranges.push(offset, end);
    if (ranges.length >= 2 * RANGES_COALESCED_AT) this.#ranges = coalesced(ranges, Infinity);
  }

  /** Everything from `lengthBytes` on is gone. @param before as for `write` */
  cut(lengthBytes: number, before: PageBefore): void {
    this.#unpatch();
    const page = pageOf(lengthBytes);
    if (lengthBytes % PAGE_BYTES !== 0) {
      // Even where the cut is behind the committed end: E1 of the image wants zeros there.
      this.#shadow(page, false, before).fill(0, lengthBytes - page * PAGE_BYTES);
    }
    for (const shadowed of this.#shadows.keys())
      if (shadowed * PAGE_BYTES >= lengthBytes) this.#shadows.delete(shadowed);
    this.#ranges = coalesced(this.#ranges, lengthBytes);
  }

  /** What was written, in order. Its bytes are the overlay's. */
  ranges(lengthBytes: number): DeltaRange[] {
    if (this.#patch !== undefined) return [this.#patch];
    this.#ranges = coalesced(this.#ranges, lengthBytes);
    const ranges: DeltaRange[] = [];
    for (let i = 0; i < this.#ranges.length; i += 2) {
      const offset = this.#ranges[i] as number;
      const end = this.#ranges[i + 1] as number;
      const parts: Uint8Array[] = [];
      for (let page = pageOf(offset); page * PAGE_BYTES < end; page++) {
        const start = page * PAGE_BYTES;
        const shadow = this.#shadows.get(page) as Uint8Array;
        parts.push(shadow.subarray(Math.max(0, offset - start), Math.min(PAGE_BYTES, end - start)));
      }
      ranges.push({ offset, byteCount: end - offset, parts });
    }
    return ranges;
  }

  /** Forgets everything. @param isKept the extent has kept the shadows (O3) */
  clear(isKept: boolean): void {
    if (!isKept && !this.isShown) for (const shadow of this.#shadows.values()) sparePage(shadow);
    this.#shadows = NO_SHADOWS;
    this.#patch = undefined;
    this.isShown = false;
    if (this.#ranges.length > 0) this.#ranges = [];
  }
}
