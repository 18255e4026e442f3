/**
 * How much of each segment is still referred to, and which one is worth emptying. The counts are in every checkpoint's root record.
 *
 * L1 a segment of which nothing is referred to may go; the one with the newest root record, and what is written behind it, may not.
 * L2 emptying begins when less than `LIVE_SHARE_MIN` of all pages are live, with the segment that gives back the most space for
 *    the least writing (Rosenblum and Ousterhout, "The Design and Implementation of a Log-Structured File System", 1991, without the
 *    age: checkpoints spread their writes evenly).
 */
import { assert } from "@pinion/core";
import type { PageEntry } from "./page-entry.ts";

/** Below this share of live pages segments are emptied. */
const LIVE_SHARE_MIN = 0.75;
/** A segment with more live pages than this share is not worth it. */
const VICTIM_SHARE_MAX = 0.9;

/** What a checkpoint changes in the counts: a number for each segment, however many pages there are. */
export class LiveChanges {
  readonly #pages = new Map<number, number>();

  added({ segment }: PageEntry): void {
    this.#add(segment, 1);
  }

  replaced({ segment }: PageEntry): void {
    this.#add(segment, -1);
  }

  addAll(others: LiveChanges): void {
    for (const [segment, pages] of others.#pages) this.#add(segment, pages);
  }

  [Symbol.iterator](): IterableIterator<[segment: number, pages: number]> {
    return this.#pages[Symbol.iterator]();
  }

  #add(segment: number, pages: number): void {
    this.#pages.set(segment, (this.#pages.get(segment) ?? 0) + pages);
  }
}

export class LivePages {
  readonly #segmentPages: number;
  readonly #live: Map<number, number>;
  #total = 0;

  constructor(segmentPages: number, counts: ReadonlyMap<number, number>) {
    this.#segmentPages = segmentPages;
    this.#live = new Map(counts);
    for (const count of counts.values()) this.#total += count;
  }

  /** For the next root record: segments with live pages. */
  get counts(): ReadonlyMap<number, number> {
    return this.#live;
  }

  /** As they will be once a checkpoint counts. */
  with(changes: LiveChanges): LivePages {
    const next = new LivePages(this.#segmentPages, this.#live);
    for (const [segment, pages] of changes) next.#add(segment, pages);
    return next;
  }

  /** Pages that are referred to. */
  get total(): number {
    return this.#total;
  }

  of(segment: number): number {
    return this.#live.get(segment) ?? 0;
  }

  #add(segment: number, pages: number): void {
    const count = this.of(segment) + pages;
    assert(count >= 0, `segment ${segment} has ${count} live pages`);
    if (count === 0) this.#live.delete(segment);
    else this.#live.set(segment, count);
    this.#total += pages;
  }

  /** Segments without a live page (L1). */
  dead(ids: readonly number[], active: number): number[] {
    return ids.filter((id) => id < active && this.of(id) === 0);
  }

  /** The segments to empty next, the emptiest first (L2). */
  victims(ids: readonly number[], active: number): number[] {
    const full = ids.filter((id) => id < active);
    if (this.#total >= LIVE_SHARE_MIN * full.length * this.#segmentPages) return [];
    return full
      .filter((id) => this.of(id) > 0 && this.of(id) <= VICTIM_SHARE_MAX * this.#segmentPages)
      .sort((a, b) => this.of(a) - this.of(b));
  }
}
