/**
 * Finds work on structures that an update has started and not awaited: a `set` that waits for a page when its update returns has done half of
 * what it does, and half of a change must not be committed.
 *
 * A structure waits only for its extent, and after each wait goes on at once. So what is still at work shows as a wait that has not ended,
 * or as another one begun within one turn of the event loop.
 */
import { PinionError, type Clock } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";

export class UnawaitedWork {
  readonly #clock: Clock;
  #begun = 0;
  #ended = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Something had to wait: `check` tells whether it was awaited. */
  get happened(): boolean {
    return this.#begun > 0;
  }

  /** Over an extent in memory nothing waits. */
  watch(extent: ExtentAccess): ExtentAccess {
    return extent.resident ? extent : new WatchedExtent(extent, (wait) => this.#count(wait));
  }

  #count<T>(wait: Promise<T>): Promise<T> {
    this.#begun++;
    return wait.finally(() => this.#ended++);
  }

  /** @throws `invalid-argument` */
  async check(volume: string): Promise<void> {
    const before = this.#begun;
    await new Promise<void>((resolve) => this.#clock.defer(resolve));
    if (this.#begun === before && this.#ended === before) return; // all it had begun, and no more
    throw new PinionError(
      "invalid-argument",
      `an update of volume "${volume}" returned before what it had begun was done: is an await missing?`,
      { details: { volume } },
    );
  }
}

class WatchedExtent implements ExtentAccess {
  readonly #extent: ExtentAccess;
  readonly #count: <T>(wait: Promise<T>) => Promise<T>;

  constructor(extent: ExtentAccess, count: <T>(wait: Promise<T>) => Promise<T>) {
    this.#extent = extent;
    this.#count = count;
  }

  get lengthBytes(): number {
    return this.#extent.lengthBytes;
  }

  get readonly(): boolean {
    return this.#extent.readonly;
  }

  get resident(): boolean {
    return this.#extent.resident;
  }

  get ended(): boolean {
    return this.#extent.ended;
  }

  get generation(): number {
    return this.#extent.generation;
  }

  peek(offset: number, byteCount: number): Uint8Array | undefined {
    return this.#extent.peek(offset, byteCount);
  }

  read(offset: number, byteCount: number): Promise<Uint8Array> {
    return this.#count(this.#extent.read(offset, byteCount));
  }

  write(offset: number, bytes: Uint8Array): Promise<void> | undefined {
    const wait = this.#extent.write(offset, bytes);
    return wait && this.#count(wait);
  }

  append(bytes: Uint8Array): number {
    return this.#extent.append(bytes);
  }

  resize(lengthBytes: number): Promise<void> | undefined {
    const wait = this.#extent.resize(lengthBytes);
    return wait && this.#count(wait);
  }

  prefetch(offset: number, byteCount: number): void {
    this.#extent.prefetch(offset, byteCount);
  }
}
