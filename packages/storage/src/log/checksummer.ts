/**
 * Sums finished segments in the background, so that the index can say what a file should hold. It works only while the log
 * rests, a piece every few milliseconds: 3 % of the event loop, and nothing of the disk while anybody else wants it.
 *
 * I1 it pins nothing: a segment that is let go while it is read stays without a checksum, and a sum that may have seen the next
 *    life of the file is dropped.
 */
import { isPinionError, PinionError, sleep, type Clock } from "@pinion/core";
import type { SegmentCatalog } from "./segment-catalog.ts";
import { segmentChecksum } from "./segment-content.ts";
import type { SegmentFiles } from "./segment-files.ts";

const PAUSE_MS = 5;
/** How long the log must have rested. */
const REST_MS = 50;

export interface ChecksummerParts {
  readonly catalog: SegmentCatalog;
  readonly files: SegmentFiles;
  readonly clock: Clock;
  /** When the log wrote last, on the clock. */
  readonly lastWriteMs: () => number;
}

export class Checksummer {
  readonly #parts: ChecksummerParts;
  readonly #catalog: SegmentCatalog;
  readonly #stop = new AbortController();
  #next: number;
  #finishedUpTo: number;
  #running: Promise<void> | undefined;
  #failure: PinionError | undefined;

  constructor(parts: ChecksummerParts) {
    this.#parts = parts;
    this.#catalog = parts.catalog;
    this.#next = parts.catalog.last;
    this.#finishedUpTo = parts.catalog.last - 1;
  }

  /** Why a segment could not be read; it has no checksum then. */
  get failure(): PinionError | undefined {
    return this.#failure;
  }

  finished(sequence: number): void {
    this.#finishedUpTo = sequence;
    this.#running ??= this.#run().finally(() => (this.#running = undefined));
  }

  async stop(): Promise<void> {
    this.#stop.abort(new PinionError("log-closed", "the log was closed"));
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#next <= this.#finishedUpTo && !this.#stop.signal.aborted) {
      const sequence = this.#next++;
      try {
        await this.#sum(sequence);
      } catch (e) {
        if (this.#stop.signal.aborted || sequence < this.#catalog.first) continue;
        this.#failure = isPinionError(e)
          ? e
          : new PinionError("io-error", "summing a log segment", { cause: e });
      }
    }
  }

  async #sum(sequence: number): Promise<void> {
    if (sequence < this.#catalog.first) return;
    const { end, checksum: known } = await this.#catalog.entry(sequence);
    if (known !== undefined) return;
    const { files } = this.#parts;
    await this.#rest();
    const file = await files.disk.open(files.segmentPath(sequence), { readOnly: true });
    try {
      const checksum = await segmentChecksum(file, end, () => this.#rest());
      // I1: `update` does nothing for a segment that was let go.
      await this.#catalog.update(sequence, { checksum });
    } finally {
      await file.close();
    }
  }

  async #rest(): Promise<void> {
    const { clock, lastWriteMs } = this.#parts;
    const { signal } = this.#stop;
    await sleep(clock, PAUSE_MS, signal);
    for (;;) {
      const leftMs = lastWriteMs() + REST_MS - clock.nowMs();
      if (leftMs <= 0) return;
      await sleep(clock, leftMs, signal);
    }
  }
}
