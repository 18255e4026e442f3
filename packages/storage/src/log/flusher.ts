/**
 * Writes filled staging buffers to their segments and moves the log's progress (`LogWriter` decides when).
 *
 * I1 under a durable policy each region is written and flushed in one trip, in order: segment k is flushed before k + 1 begins.
 * I2 under `async` full segments are flushed beside the writes, in order. Writes wait while `UNFLUSHED_SEGMENTS_MAX` full ones are
 *    not flushed: that bounds what a power cut takes, and what is read and written again after it.
 * I3 a claim states what was flushed before its write was issued.
 */
import type { Clock } from "@pinion/core";
import type { FlushKind, LogMetrics } from "./log-metrics.ts";
import type { LogProgress } from "./log-progress.ts";
import type { Region, StagingBuffer, WritableSegment } from "./staging-buffer.ts";

/** Who is told what has reached the files, before `LogProgress` moves. */
export interface SegmentObserver {
  wrote(stage: StagingBuffer, region: Region): void;
  /** Everything of the segment, up to `end`, is flushed, and nothing more will be written to it. */
  finished(sequence: number, end: number): void;
}

/** Full segments that are not flushed yet. More than one, because writing is faster than most disks in a burst. */
const UNFLUSHED_SEGMENTS_MAX = 4;

export interface FlusherOptions {
  readonly clock: Clock;
  /** Every write is flushed. */
  readonly durable: boolean;
  readonly progress: LogProgress;
  readonly metrics: LogMetrics;
  readonly observer: SegmentObserver;
  readonly segment: WritableSegment;
  /** A sync beside the writes has failed. */
  readonly onFailure: (e: unknown) => void;
}

export class Flusher {
  readonly #options: FlusherOptions;
  /** The segment that was written last. */
  #segment: WritableSegment;
  /** Under `async`: syncs of full segments that have not ended, oldest first. None rejects. */
  readonly #fullSyncs: Promise<void>[] = [];
  #unsynced = false;
  #unvouched = false;

  constructor(options: FlusherOptions) {
    this.#options = options;
    this.#segment = options.segment;
  }

  /** Something is written that no sync covers. */
  get unsynced(): boolean {
    return this.#unsynced;
  }

  /** Records are flushed that no flushed claim covers. */
  get unvouched(): boolean {
    return this.#unvouched;
  }

  /** Rejects when a write or flush fails; the log is at its end then. */
  async write(stage: StagingBuffer, kind: FlushKind): Promise<void> {
    const { regions } = stage;
    const synced = this.#options.durable || kind === "forced" || kind === "idle";
    for (let i = 0; i < regions.length; i++) {
      const region = regions[i]!;
      if (region.opening) await this.#nextSegment(region.segment, region.opening.previous.end);
      // What is synced must not leave an older hole behind it.
      if (synced && this.#fullSyncs.length > 0) await this.settle();
      if (this.#options.progress.failure) throw this.#options.progress.failure;
      const endsSegment = regions[i + 1]?.opening !== undefined;
      await this.#writeRegion(stage, region, synced, endsSegment ? "segment-end" : kind);
    }
  }

  /** Flushes what was written without a flush. */
  async sync(kind: FlushKind): Promise<void> {
    await this.settle();
    const { clock, progress, metrics } = this.#options;
    // What lies behind a segment that could not be flushed never counts as flushed.
    if (progress.failure) throw progress.failure;
    const startMs = clock.nowMs();
    const mark = progress.mark();
    await this.#segment.file.sync();
    metrics.flushedEarlierWrites(kind, clock.nowMs() - startMs);
    this.#unsynced = false;
    this.#unvouched = true;
    progress.flushedUpTo(mark);
  }

  /** Waits for the syncs that run beside the writes, if any. */
  async settle(): Promise<void> {
    await this.#fullSyncs.at(-1);
  }

  async #writeRegion(
    stage: StagingBuffer,
    region: Region,
    synced: boolean,
    kind: FlushKind,
  ): Promise<void> {
    const { clock, progress, metrics, observer } = this.#options;
    const { segment, start, end, fileOffset, records } = region;
    stage.fillClaims(region, progress.flushedPosition);
    const startMs = clock.nowMs();
    await segment.file.writeRecords(fileOffset, stage.bytes.subarray(start, end), {
      sync: synced,
      generation: segment.generation,
    });
    if (synced) {
      metrics.flushed(kind, records, end - start, clock.nowMs() - startMs);
      this.#unvouched = records > 0 || this.#unsynced;
      this.#unsynced = false;
    } else {
      metrics.written(records, end - start);
      this.#unsynced = true;
    }
    observer.wrote(stage, region);
    stage.lastLsns(region, progress);
    progress.reached({ segment: segment.sequence, offset: fileOffset + end - start }, synced);
  }

  /** The first write to `next` is about to be issued. */
  async #nextSegment(next: WritableSegment, end: number): Promise<void> {
    const full = this.#segment;
    this.#segment = next;
    if (!this.#unsynced) {
      this.#options.observer.finished(full.sequence, end);
      return;
    }
    while (this.#fullSyncs.length >= UNFLUSHED_SEGMENTS_MAX) await this.#fullSyncs[0];
    this.#fullSyncs.push(this.#syncFull(full, end, this.#fullSyncs.at(-1)));
  }

  /** Flushes a segment that is written to its end, after the one before it. */
  async #syncFull(
    full: WritableSegment,
    end: number,
    before: Promise<void> | undefined,
  ): Promise<void> {
    const { clock, progress, metrics, observer } = this.#options;
    const mark = progress.lastingMark();
    try {
      await before;
      // What lies behind a segment that could not be flushed never counts as flushed.
      if (progress.failure) return;
      const startMs = clock.nowMs();
      await full.file.sync();
      metrics.flushedEarlierWrites("segment-end", clock.nowMs() - startMs);
      this.#unvouched = true;
      observer.finished(full.sequence, end);
      progress.flushedUpTo(mark);
    } catch (e) {
      this.#options.onFailure(e);
    } finally {
      void this.#fullSyncs.shift();
    }
  }
}
