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

/** A read that fills frames with pages that follow one another. It holds a reference to each. */
export interface Load {
  readonly firstKey: number;
  readonly frames: readonly number[];
  /** Of each frame. */
  readonly pages: readonly StoredPage[];
  readonly ioClass: IoClass;
  /** Takes the read out of the queue; only where somebody may want that. */
  readonly abort: AbortController | undefined;
  waiters: number;
  /** What went wrong, by frame; undefined while nothing has. */
  failures: Map<number, unknown> | undefined;
  /** Never rejects. */
  ended: Promise<void>;
}

/** Fills `into`, a buffer for each page, and notes what cannot be read. Never rejects. */
export function readPages(io: IoScheduler, load: Load, into: readonly Uint8Array[]): Promise<void> {
  const { file, offset } = load.pages[0]!;
  const reading = io.read(file, offset, into, load.ioClass, load.abort?.signal);
  return reading.catch(async (e: unknown) => {
    const { frames, ioClass } = load;
    const notRead = isPinionError(e, "cancelled") || isPinionError(e, "overloaded");
    if (notRead || frames.length === 1) {
      for (const frame of frames) fail(load, frame, e);
      return;
    }
    // One page that cannot be read must not fail its neighbours.
    const each = await Promise.allSettled(
      into.map((bytes, i) => io.read(file, offset + i * FRAME_BYTES, [bytes], ioClass)),
    );
    for (const [i, result] of each.entries())
      if (result.status === "rejected") fail(load, frames[i]!, result.reason);
  });
}

function fail(load: Load, frame: number, reason: unknown): void {
  (load.failures ??= new Map()).set(frame, reason);
}

/** Notes which of the pages that were read are not what they should be. @returns how many */
export function verifyPages(load: Load, bytes: readonly Uint8Array[]): number {
  const { frames, pages } = load;
  let damaged = 0;
  for (let i = 0; i < frames.length; i++) {
    if (load.failures?.has(frames[i]!)) continue;
    try {
      pages[i]!.verify(bytes[i]!);
    } catch (e) {
      damaged++;
      fail(load, frames[i]!, e);
    }
  }
  return damaged;
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
