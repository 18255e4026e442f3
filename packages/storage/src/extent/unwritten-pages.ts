/**
 * What a worker's extents have changed and no checkpoint has written yet: how many pages, and how much memory is spent on copies of them. A start
 * would have to apply it all again, page by page, so it has to have an end: at half of a bound a checkpoint is wanted, at the bound
 * nothing that could change more may begin (storage.md, "Turn": when staging is full, admission is slowed, never a turn).
 *
 * U1 what began ends: turns under way may go beyond the bound, by one write set each.
 * U2 whoever waits goes on once there is room, or when a checkpoint has failed: then it is told why.
 */
import { isPinionError, messageOf, PinionError } from "@pinion/core";
import { PAGE_BYTES } from "./extent-pages.ts";

export interface UnwrittenBounds {
  /** Bytes of changed pages, wherever they are. */
  readonly bytesMax: number;
  /** Bytes of pages that are kept besides: changed ones of extents that are not resident, and copies for the checkpoint under way. */
  readonly copiedBytesMax: number;
}

/** @param dirtyBytes changed pages at which a checkpoint is wanted */
export function unwrittenBounds(dirtyBytes: number): UnwrittenBounds {
  return { bytesMax: 2 * dirtyBytes, copiedBytesMax: dirtyBytes / 2 };
}

/** Pages of one extent. */
export interface UnwrittenCount {
  /** Changed since the last freeze. */
  readonly dirty: number;
  /** Of the checkpoint under way. */
  readonly frozen: number;
  /** Of both, those that are pages of their own. */
  readonly copied: number;
}

export const NOTHING_UNWRITTEN: UnwrittenCount = Object.freeze({ dirty: 0, frozen: 0, copied: 0 });

export class UnwrittenPages {
  readonly #bounds: UnwrittenBounds;
  readonly #wantCheckpoint: () => void;
  #dirty = 0;
  #frozen = 0;
  #copied = 0;
  readonly #waiting = new Set<() => void>();
  #failure: PinionError | undefined;

  /** @param wantCheckpoint called with every change while there is more than half of what may be; cheap */
  constructor(bounds: UnwrittenBounds, wantCheckpoint: () => void) {
    this.#bounds = bounds;
    this.#wantCheckpoint = wantCheckpoint;
  }

  get bytes(): number {
    return (this.#dirty + this.#frozen) * PAGE_BYTES;
  }

  get copiedBytes(): number {
    return this.#copied * PAGE_BYTES;
  }

  get isFull(): boolean {
    const { bytesMax, copiedBytesMax } = this.#bounds;
    return this.bytes > bytesMax || this.copiedBytes > copiedBytesMax;
  }

  /** It is no use to wait for room. @param leftBytes changed pages that the last checkpoint had to leave */
  isFullOf(leftBytes: number): boolean {
    return this.isFull && leftBytes > this.#bounds.copiedBytesMax / 2;
  }

  /** Why the last checkpoint has written nothing. */
  get failure(): PinionError | undefined {
    return this.#failure;
  }

  wantCheckpoint(): void {
    this.#wantCheckpoint();
  }

  changed(before: UnwrittenCount, now: UnwrittenCount): void {
    this.#dirty += now.dirty - before.dirty;
    this.#frozen += now.frozen - before.frozen;
    this.#copied += now.copied - before.copied;
    const { bytesMax, copiedBytesMax } = this.#bounds;
    // What is frozen is being written.
    if (
      this.#dirty * PAGE_BYTES > bytesMax / 2 ||
      Math.min(this.#copied, this.#dirty) * PAGE_BYTES > copiedBytesMax / 2
    )
      this.#wantCheckpoint();
    this.#wake();
  }

  /** Calls back once, when `isFull` may be over or a checkpoint has failed. @returns gives up waiting */
  whenRoom(resume: () => void): () => void {
    const waiting = (): void => resume();
    this.#waiting.add(waiting);
    this.#wantCheckpoint();
    return () => void this.#waiting.delete(waiting);
  }

  /** @param failure undefined: it has succeeded */
  checkpointed(failure: PinionError | undefined): void {
    this.#failure = failure;
    this.#wake();
    // It may have begun before what fills this could be part of it.
    if (this.#waiting.size > 0 && failure === undefined) this.#wantCheckpoint();
  }

  #wake(): void {
    if (this.#waiting.size === 0 || (this.isFull && this.#failure === undefined)) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resume of waiting) resume();
  }
}

/** What calls are told that may not change more before a checkpoint succeeds. @param retryAfterMs when the next is tried */
export function unwrittenFailure(cause: unknown, retryAfterMs: number): PinionError {
  const code = isPinionError(cause, "disk-full") ? "disk-full" : "overloaded";
  return new PinionError(
    code,
    `too many changed pages wait for a checkpoint, and the last one failed: ${messageOf(cause)}`,
    { cause, retryAfterMs },
  );
}
