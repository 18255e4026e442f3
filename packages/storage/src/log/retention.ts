/**
 * Lets go of segments nobody needs, and of space that does not count.
 *
 * Consumers say from where on they need the log: the checkpoint, a backup, a replica. Their claims are kept in the index, so
 * that after a restart nothing is removed before its owner has spoken again. Where the index was lost, so were the claims:
 * then whoever registers first decides alone, and the others must register before they rely on it.
 *
 * I1 without a consumer nothing is removed. The segment the flushed log ends in never is, nor one that is pinned, nor one the
 *    archive lacks: a power cut must find a segment that states where it stands.
 * I2 the index forgets a segment durably before its file goes.
 * I3 one job at a time; a failed one is reported and tried again with the next.
 */
import { fromSystemError, PinionError } from "@pinion/core";
import type { LogIndex, SegmentEntry } from "./log-index.ts";
import type { LogPosition } from "./log.ts";
import { comparePositions } from "./position.ts";
import type { SegmentCatalog } from "./segment-catalog.ts";
import type { SegmentFiles } from "./segment-files.ts";
import type { SegmentHandles } from "./segment-handles.ts";

/** A closed segment is rewritten without its unused space when that is more than this share of the file. */
const SHRINK_FROM_SHARE = 0.25;

export interface RetentionParts {
  readonly index: LogIndex;
  readonly catalog: SegmentCatalog;
  readonly handles: SegmentHandles;
  readonly files: SegmentFiles;
  readonly consumers: Map<string, LogPosition>;
  /** Where the next record goes: nobody can claim more. */
  readonly position: () => LogPosition;
  readonly flushed: () => LogPosition;
  /** Segments below this are in the archive; Infinity without one. */
  readonly archivedBelow: () => number;
}

export class Retention {
  readonly #parts: RetentionParts;
  readonly #consumers: Map<string, LogPosition>;
  #jobs: Promise<void> = Promise.resolve();
  #collecting: Promise<void> | undefined;
  #failure: PinionError | undefined;
  #stopped = false;
  #removed = 0;

  constructor(parts: RetentionParts) {
    this.#parts = parts;
    this.#consumers = parts.consumers;
  }

  /** Why the last removal failed; undefined when it did not. */
  get failure(): PinionError | undefined {
    return this.#failure;
  }

  get removedSegments(): number {
    return this.#removed;
  }

  get consumers(): ReadonlyMap<string, LogPosition> {
    return this.#consumers;
  }

  async retain(consumer: string, position: LogPosition | undefined): Promise<void> {
    const { index } = this.#parts;
    const write = index.putConsumer(consumer, position);
    if (
      position &&
      !(
        position.segment >= 1 &&
        position.offset >= 0 &&
        comparePositions(position, this.#parts.position()) <= 0
      )
    ) {
      throw new PinionError(
        "invalid-argument",
        `consumer ${consumer}: segment ${position.segment} offset ${position.offset} is not a position of this log`,
      );
    }
    const isNew = !this.#consumers.has(consumer);
    if (position) this.#consumers.set(consumer, position);
    else this.#consumers.delete(consumer);
    await index.commit([write]);
    // A claim that moves may be lost, the older one retains more; a first one must not be.
    if (isNew) await index.sync();
    await this.collect();
  }

  /** Removes what may go. Never rejects. */
  collect(): Promise<void> {
    this.#collecting ??= this.#queue(async () => {
      this.#collecting = undefined;
      await this.#collect();
    });
    return this.#collecting;
  }

  /** Frees the space of a segment's file that does not count, if it is worth the copy. Never rejects. */
  shrink(entry: SegmentEntry): Promise<void> {
    const { sequence, end, fileBytes } = entry;
    if (fileBytes - end < fileBytes * SHRINK_FROM_SHARE) return Promise.resolve();
    return this.#queue(async () => {
      const { files, catalog, handles } = this.#parts;
      if (sequence < catalog.first) return;
      await files.rewrite(sequence, end);
      await handles.forget(sequence);
      await catalog.update(sequence, { fileBytes: end });
    });
  }

  /** Waits for the job that runs; takes no more. */
  stop(): Promise<void> {
    this.#stopped = true;
    return this.#jobs;
  }

  async #collect(): Promise<void> {
    const { catalog, handles, files } = this.#parts;
    const from = catalog.first;
    const below = this.#floor(from);
    if (below <= from) return;
    const going: SegmentEntry[] = [];
    for (let sequence = from; sequence < below; sequence++)
      going.push(await catalog.entry(sequence));
    // Somebody may have pinned one of them meanwhile; from here to `forgetBelow` nothing can.
    const still = this.#floor(from);
    await catalog.forgetBelow(still);
    for (const { sequence, fileBytes } of going) {
      if (sequence >= still) break;
      await handles.forget(sequence);
      await files.recycle(sequence, fileBytes);
      this.#removed++;
    }
  }

  /** The lowest sequence that has to stay (I1). */
  #floor(from: number): number {
    if (this.#consumers.size === 0) return from;
    const { handles, archivedBelow, flushed } = this.#parts;
    let floor = Math.min(flushed().segment, archivedBelow());
    for (const { segment } of this.#consumers.values()) floor = Math.min(floor, segment);
    for (let sequence = from; sequence < floor; sequence++)
      if (handles.isPinned(sequence)) return sequence;
    return Math.max(from, floor);
  }

  #queue(job: () => Promise<void>): Promise<void> {
    this.#jobs = this.#jobs.then(async () => {
      if (this.#stopped) return;
      try {
        await job();
        this.#failure = undefined;
      } catch (e) {
        this.#failure = fromSystemError(e, "removing log segments");
      }
    });
    return this.#jobs;
  }
}
