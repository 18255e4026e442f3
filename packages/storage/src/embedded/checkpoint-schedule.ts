/**
 * When a checkpoint is taken: one at a time; after the oldest change is `dirtyMs` old, or at once when somebody wants it; after a failure
 * later and later. Nothing runs while nothing has changed.
 *
 * K1 whoever asks by `now` gets a checkpoint that begins after the call; who asks meanwhile shares it.
 * K2 a failure is reported and tried again after a pause of `RETRY_MS_MIN`, doubled each time up to `RETRY_MS_MAX`.
 */
import type { Clock, Timer } from "@pinion/core";

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 30_000;

export interface CheckpointScheduleOptions {
  readonly clock: Clock;
  /** Longest time a change waits, ms. */
  readonly dirtyMs: number;
  /** Takes a checkpoint of everything. */
  readonly run: () => Promise<void>;
  readonly failed: (error: unknown, retryMs: number) => void;
}

export class CheckpointSchedule {
  readonly #options: CheckpointScheduleOptions;
  #timer: Timer | undefined;
  #timerDueMs = Infinity;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #retryMs = 0;
  #stopped = false;

  constructor(options: CheckpointScheduleOptions) {
    this.#options = options;
  }

  /** The last one failed, and the next waits. */
  get isRetrying(): boolean {
    return this.#retryMs > 0;
  }

  /** There is something to checkpoint. Cheap: called for every change. */
  changed(): void {
    if (this.#timer === undefined) this.#arm(this.#options.dirtyMs);
  }

  /** Soon; while the last has failed, when it is tried again. */
  want(): void {
    if (this.#retryMs === 0) this.#arm(0);
  }

  /** One checkpoint, from now on (K1). Rejects if it fails. */
  now(): Promise<void> {
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        this.#running = this.#run();
        return this.#running;
      });
    return this.#next;
  }

  /** Takes no further ones by itself; waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#disarm();
    await (this.#next ?? this.#running).catch(() => {});
  }

  async #run(): Promise<void> {
    this.#disarm();
    try {
      await this.#options.run();
      this.#retryMs = 0;
    } catch (e) {
      this.#retryMs = Math.min(RETRY_MS_MAX, Math.max(RETRY_MS_MIN, this.#retryMs * 2));
      this.#options.failed(e, this.#retryMs);
      this.#disarm();
      this.#arm(this.#retryMs);
      throw e;
    }
  }

  #arm(delayMs: number): void {
    const { clock } = this.#options;
    const dueMs = clock.nowMs() + delayMs;
    if (this.#stopped || dueMs >= this.#timerDueMs) return;
    this.#disarm();
    this.#timerDueMs = dueMs;
    // What fails is reported by `failed`.
    this.#timer = clock.setTimer(delayMs, () => void this.now().catch(() => {}));
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerDueMs = Infinity;
  }
}
