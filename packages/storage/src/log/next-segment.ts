/**
 * Gets the next segment ready before the current one is full, so that no append waits for a file to be created.
 *
 * I1 segments are made one after the other, in order. One is kept ready; once that came too late, four, and the next is begun as
 *    soon as one is taken: a disk that is busy with full segments takes longer for a new one than the writer for filling one.
 * I2 a failure here is not the log's end: nothing was promised yet. A full disk means backpressure; it is tried again with
 *    growing pauses, and room that comes back is noticed.
 */
import { fromSystemError, type Clock, type PinionError, type Timer } from "@pinion/core";
import type { SegmentSource } from "./log-writer.ts";
import type { WritableSegment } from "./staging-buffer.ts";

const READY_WHEN_LATE = 4;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5000;

export class NextSegment implements SegmentSource {
  readonly #create: () => Promise<WritableSegment>;
  readonly #clock: Clock;
  readonly #onReady: () => void;
  readonly #ready: WritableSegment[] = [];
  #wanted = 1;
  #creating: Promise<void> | undefined;
  #retry: Timer | undefined;
  #retryMs = RETRY_MS_MIN;
  #error: PinionError | undefined;
  #stopped = false;

  /** @param create makes the segment that follows the last one made */
  constructor(create: () => Promise<WritableSegment>, clock: Clock, onReady: () => void) {
    this.#create = create;
    this.#clock = clock;
    this.#onReady = onReady;
  }

  /** Why there is none ready and the last attempt failed; undefined when that is not so. */
  get error(): PinionError | undefined {
    return this.#ready.length === 0 ? this.#error : undefined;
  }

  take(): WritableSegment | undefined {
    const segment = this.#ready.shift();
    // Late because it takes long, not because it cannot be made.
    if (segment === undefined && this.#error === undefined) this.#wanted = READY_WHEN_LATE;
    if (segment === undefined || this.#wanted > 1) this.prepare();
    return segment;
  }

  prepare(): void {
    if (this.#ready.length >= this.#wanted || this.#creating || this.#retry || this.#stopped)
      return;
    this.#creating = this.#attempt().finally(() => {
      this.#creating = undefined;
      if (this.#wanted > 1) this.prepare();
    });
  }

  /** Makes nothing more. @returns what was prepared and never used, in order; the caller's from now on */
  async stop(): Promise<WritableSegment[]> {
    this.#stopped = true;
    this.#retry?.cancel();
    await this.#creating;
    return this.#ready.splice(0);
  }

  async #attempt(): Promise<void> {
    try {
      this.#ready.push(await this.#create());
      this.#error = undefined;
      this.#retryMs = RETRY_MS_MIN;
    } catch (e) {
      this.#error = fromSystemError(e, "preparing the next log segment");
      // What is scarce is not hoarded.
      this.#wanted = 1;
      if (this.#stopped || this.#ready.length > 0) return;
      const again = (): void => {
        this.#retry = undefined;
        this.prepare();
      };
      // Appends wait for it.
      this.#retry = this.#clock.setTimer(this.#retryMs, again, true);
      this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
      return;
    }
    this.#onReady();
  }
}
