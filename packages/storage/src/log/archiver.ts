/**
 * Copies finished segments into the archive, oldest first, and slows the log down when it cannot keep up.
 *
 * I1 a segment counts as archived only after `put` has resolved and the index knows; until then it stays on this disk.
 * I2 the backlog is bounded in segments and in bytes: above either bound appends are refused, below `resumeAt` of both they
 *    are taken again.
 * I3 a failed copy is tried again for ever, with pauses from 1 s to 60 s; `health` says since when and why.
 */
import { fromSystemError, PinionError, sleep, type Clock } from "@pinion/core";
import type { SegmentCatalog } from "./segment-catalog.ts";
import { segmentChecksum, segmentContent } from "./segment-content.ts";
import type { SegmentHandles } from "./segment-handles.ts";
import type { ResolvedArchiveOptions } from "./log-options.ts";

const RETRY_MS_MIN = 1000;
const RETRY_MS_MAX = 60_000;

export interface ArchiveHealth {
  /** `behind`: appends are refused. `failing`: the last attempt failed. `off`: no archive is configured. */
  readonly state: "off" | "ok" | "failing" | "behind";
  readonly backlogSegments: number;
  readonly backlogBytes: number;
  /** Highest sequence that is in the archive, 0 for none. */
  readonly archivedUpTo: number;
  readonly error: PinionError | undefined;
  /** How long it has been failing; 0 when it is not. */
  readonly failingForMs: number;
}

export interface ArchiverParts {
  readonly options: ResolvedArchiveOptions;
  readonly worker: number;
  readonly catalog: SegmentCatalog;
  readonly handles: SegmentHandles;
  readonly clock: Clock;
  /** Appends are to be refused (true) or taken again. */
  readonly onGate: (closed: boolean) => void;
  readonly onArchived: () => void;
}

export class Archiver {
  readonly #parts: ArchiverParts;
  readonly #stop = new AbortController();
  /** The backlog: sequences above the one, up to the other. */
  #archivedUpTo: number;
  #finishedUpTo: number;
  #backlogBytes = 0;
  #gated = false;
  #error: PinionError | undefined;
  #failingSinceMs = 0;
  #running: Promise<void> | undefined;

  constructor(parts: ArchiverParts) {
    this.#parts = parts;
    this.#archivedUpTo = parts.catalog.first - 1;
    this.#finishedUpTo = this.#archivedUpTo;
  }

  /** Segments below this are in the archive. */
  get archivedBelow(): number {
    return this.#archivedUpTo + 1;
  }

  get health(): ArchiveHealth {
    const failing = this.#error !== undefined;
    return {
      state: this.#gated ? "behind" : failing ? "failing" : "ok",
      backlogSegments: this.#finishedUpTo - this.#archivedUpTo,
      backlogBytes: this.#backlogBytes,
      archivedUpTo: this.#archivedUpTo,
      error: this.#error,
      failingForMs: failing ? this.#parts.clock.nowMs() - this.#failingSinceMs : 0,
    };
  }

  /** Takes up what an earlier life left: finished segments down to the newest that is archived. */
  async start(): Promise<void> {
    const { catalog } = this.#parts;
    let sequence = catalog.last - 1;
    this.#finishedUpTo = sequence;
    for (; sequence >= catalog.first; sequence--) {
      const { status, end } = await catalog.entry(sequence);
      if (status === "archived") break;
      this.#backlogBytes += end;
    }
    this.#archivedUpTo = sequence;
    this.#update();
  }

  /** One more segment is flushed and complete. They come in order. */
  finished(sequence: number, bytes: number): void {
    this.#finishedUpTo = sequence;
    this.#backlogBytes += bytes;
    this.#update();
  }

  /** Breaks off the copy that runs; it starts afresh when the log is opened again. */
  async stop(): Promise<void> {
    this.#stop.abort(new PinionError("log-closed", "the log was closed"));
    await this.#running;
  }

  #update(): void {
    const { backlogSegmentsMax, backlogBytesMax, resumeAt } = this.#parts.options;
    const segments = this.#finishedUpTo - this.#archivedUpTo;
    const over = segments > backlogSegmentsMax || this.#backlogBytes > backlogBytesMax;
    const low =
      segments <= backlogSegmentsMax * resumeAt && this.#backlogBytes <= backlogBytesMax * resumeAt;
    if (this.#gated ? low : over) {
      this.#gated = !this.#gated;
      this.#parts.onGate(this.#gated);
    }
    if (segments > 0) this.#running ??= this.#run().finally(() => (this.#running = undefined));
  }

  async #run(): Promise<void> {
    const { clock, onArchived } = this.#parts;
    const { signal } = this.#stop;
    let pauseMs = RETRY_MS_MIN;
    while (this.#archivedUpTo < this.#finishedUpTo && !signal.aborted) {
      try {
        const bytes = await this.#archive(this.#archivedUpTo + 1);
        this.#backlogBytes -= bytes;
        this.#archivedUpTo++;
        this.#error = undefined;
        pauseMs = RETRY_MS_MIN;
        this.#update();
        onArchived();
      } catch (e) {
        if (signal.aborted) return;
        if (!this.#error) this.#failingSinceMs = clock.nowMs();
        this.#error = fromSystemError(e, "archiving a log segment");
        await sleep(clock, pauseMs, signal).catch(() => {});
        pauseMs = Math.min(RETRY_MS_MAX, pauseMs * 2);
      }
    }
  }

  /** @returns the bytes that are off the backlog */
  async #archive(sequence: number): Promise<number> {
    const { catalog, handles, worker, options } = this.#parts;
    const { generation, end, checksum: known } = await catalog.entry(sequence);
    const lease = await handles.acquire(sequence, generation);
    try {
      const checksum =
        known ??
        (await segmentChecksum(lease.file, end, async () => this.#stop.signal.throwIfAborted()));
      const segment = { worker, sequence, generation, bytes: end, checksum };
      await options.store.put(segment, segmentContent(lease.file, end), this.#stop.signal);
      await catalog.update(sequence, {
        status: "archived",
        checksum,
        archivedAtUs: this.#parts.clock.wallMs() * 1000,
      });
    } finally {
      lease.release();
    }
    return end;
  }
}
