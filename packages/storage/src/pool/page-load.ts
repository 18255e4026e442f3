/** One read on its way into frames: what it is, how it is made, what can go wrong with it. */
import { isPinionError, PinionError } from "@pinion/core";
import { FRAME_BYTES } from "./frame-store.ts";
import type { IoClass, IoScheduler } from "./io-scheduler.ts";

/** A page as it was when a read of it began: what its source knows of others by the time the read ends does not matter. */
export interface StoredPage {
  readonly file: number;
  readonly offset: number;
  /** Called once the page was read, before anybody sees it. @throws what the reader is to see, `corruption` */
  verify(bytes: Uint8Array): void;
}

/** Where pages come from. Keys are safe integers ≥ 0; neighbours on the disk should be neighbours in number. */
export interface PageSource {
  /** Undefined: there is no such page. */
  locate(key: number): StoredPage | undefined;
}

const NOT_BEGUN = Promise.resolve();

/** A read that fills frames with pages that follow one another. It holds a reference to each. */
export class Load {
  readonly firstKey: number;
  readonly frames: readonly number[];
  /** Of each frame. */
  readonly pages: readonly StoredPage[];
  readonly bytes: readonly Uint8Array[];
  readonly ioClass: IoClass;
  /** Takes the read out of the queue; only where somebody may want that. */
  readonly abort: AbortController | undefined;
  readonly begunMs: number;
  waiters = 0;
  /** What went wrong, by frame; undefined while nothing has. */
  failures: Map<number, unknown> | undefined;
  /** Never rejects. */
  ended: Promise<void> = NOT_BEGUN;

  constructor(
    firstKey: number,
    frames: readonly number[],
    pages: readonly StoredPage[],
    bytes: readonly Uint8Array[],
    ioClass: IoClass,
    abort: AbortController | undefined,
    begunMs: number,
  ) {
    this.firstKey = firstKey;
    this.frames = frames;
    this.pages = pages;
    this.bytes = bytes;
    this.ioClass = ioClass;
    this.abort = abort;
    this.begunMs = begunMs;
  }

  /**
   * Fills `pieces`, which are the frames' bytes, and notes what cannot be read. Never rejects, unless `whenRead` throws. One promise and two functions:
   * what each of thousands of waiting reads leaves to the collector holds the event loop.
   */
  read(io: IoScheduler, pieces: readonly Uint8Array[], whenRead: () => void): Promise<void> {
    const { file, offset } = this.pages[0]!;
    return io
      .read(file, offset, pieces, this.ioClass, this.abort?.signal)
      .then(whenRead, (reason: unknown) => this.#readEach(io, reason).then(whenRead));
  }

  /** One page that cannot be read must not fail its neighbours. */
  async #readEach(io: IoScheduler, reason: unknown): Promise<void> {
    const { frames, ioClass } = this;
    const notRead = isPinionError(reason, "cancelled") || isPinionError(reason, "overloaded");
    if (notRead || frames.length === 1) {
      for (const frame of frames) this.#fail(frame, reason);
      return;
    }
    const { file, offset } = this.pages[0]!;
    const each = await Promise.allSettled(
      this.bytes.map((bytes, i) => io.read(file, offset + i * FRAME_BYTES, [bytes], ioClass)),
    );
    for (const [i, result] of each.entries())
      if (result.status === "rejected") this.#fail(frames[i]!, result.reason);
  }

  /** Notes which of the pages that were read are not what they should be. @returns how many */
  verify(): number {
    const { frames, pages, bytes } = this;
    let damaged = 0;
    for (let i = 0; i < frames.length; i++) {
      if (this.failures?.has(frames[i]!)) continue;
      try {
        pages[i]!.verify(bytes[i]!);
      } catch (e) {
        damaged++;
        this.#fail(frames[i]!, e);
      }
    }
    return damaged;
  }

  #fail(frame: number, reason: unknown): void {
    (this.failures ??= new Map()).set(frame, reason);
  }
}

export function givenUp(signal: AbortSignal): PinionError {
  return new PinionError("cancelled", "nobody waits for the page any more", {
    cause: signal.reason,
  });
}

/** Resolves when either comes. */
export function unlessAborted(ended: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const onEnd = (): void => {
      signal.removeEventListener("abort", onEnd);
      resolve();
    };
    signal.addEventListener("abort", onEnd);
    void ended.then(onEnd);
  });
}
