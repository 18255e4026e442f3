/**
 * Sums finished segments in the background, one piece every few milliseconds, so that the index can say what a file
 * should hold. At most 200 MiB/s and 3 % of the event loop.
 */
import { isPinionError, PinionError, sleep, type Clock } from "@pinion/core";
import type { SegmentCatalog } from "./segment-catalog.ts";
import { segmentChecksum } from "./segment-content.ts";
import type { SegmentHandles } from "./segment-handles.ts";

const PAUSE_MS = 5;

export class Checksummer {
  readonly #catalog: SegmentCatalog;
  readonly #handles: SegmentHandles;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  #next: number;
  #finishedUpTo: number;
  #running: Promise<void> | undefined;
  #failure: PinionError | undefined;

  constructor(catalog: SegmentCatalog, handles: SegmentHandles, clock: Clock) {
    this.#catalog = catalog;
    this.#handles = handles;
    this.#clock = clock;
    this.#next = catalog.last;
    this.#finishedUpTo = catalog.last - 1;
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
    const { generation, end, checksum: known } = await this.#catalog.entry(sequence);
    if (known !== undefined) return;
    const lease = await this.#handles.acquire(sequence, generation);
    try {
      const checksum = await segmentChecksum(lease.file, end, () =>
        sleep(this.#clock, PAUSE_MS, this.#stop.signal),
      );
      await this.#catalog.update(sequence, { checksum });
    } finally {
      lease.release();
    }
  }
}
