/**
 * How much of each segment is still referred to, and which one is worth emptying. The counts are taken from the page map once, when the first
 * checkpoint needs them, and follow every checkpoint from then on.
 *
 * L1 a segment of which nothing is referred to may go; the one that is being written may not.
 * L2 emptying begins when less than `LIVE_SHARE_MIN` of all pages are live, with the segment that gives back the most space for
 *    the least writing (Rosenblum and Ousterhout, "The Design and Implementation of a Log-Structured File System", 1991, without the
 *    age: checkpoints spread their writes evenly).
 */
import type { PageEntry } from "./page-entry.ts";

/** Below this share of live pages segments are emptied. */
const LIVE_SHARE_MIN = 0.75;
/** A segment with more live pages than this share is not worth it. */
const VICTIM_SHARE_MAX = 0.9;

export class LivePages {
  readonly #segmentPages: number;
  readonly #live = new Map<number, number>();
  #total = 0;

  constructor(segmentPages: number) {
    this.#segmentPages = segmentPages;
  }

  /** Pages that are referred to. */
  get total(): number {
    return this.#total;
  }

  of(segment: number): number {
    return this.#live.get(segment) ?? 0;
  }

  add({ segment }: PageEntry): void {
    this.#live.set(segment, this.of(segment) + 1);
    this.#total++;
  }

  remove({ segment }: PageEntry): void {
    this.#live.set(segment, this.of(segment) - 1);
    this.#total--;
  }

  /** Segments without a live page (L1). */
  dead(ids: readonly number[], active: number): number[] {
    return ids.filter((id) => id < active && this.of(id) === 0);
  }

  /** The segment to empty next, if any (L2). */
  victim(ids: readonly number[], active: number): number | undefined {
    const full = ids.filter((id) => id < active);
    if (this.#total >= LIVE_SHARE_MIN * full.length * this.#segmentPages) return undefined;
    let best: number | undefined;
    for (const id of full) if (best === undefined || this.of(id) < this.of(best)) best = id;
    return best !== undefined && this.of(best) <= VICTIM_SHARE_MAX * this.#segmentPages
      ? best
      : undefined;
  }
}
