/**
 * From parts of a stream to chunks that are hashed, in order. Chunks are collected in batches; full ones are hashed off the event loop, while
 * those before are stored and those behind are cut, also across parts. What is left at the end is hashed at once.
 *
 * State: the chunk that goes on in the next part; the batch that is filled, and those that wait for their hashes.
 *
 * N1 a part is read until `take` has ended, on the event loop only; what other threads read are copies.
 * N2 between operations an intake keeps no more than `HASHING_MAX` + 1 batches, and none while a thread has many (`ChunkBatch.areMany`).
 */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { CdcChunker } from "./cdc-chunker.ts";
import { ChunkBatch } from "./chunk-batch.ts";
import type { ChunkKernels } from "./chunk-kernels.ts";
import type { Steps } from "./structure.ts";

/** Being hashed or waiting for it: while one is stored the other is worked on. */
const HASHING_MAX = 2;

/** Where chunks go. */
export type StoreChunk = (batch: ChunkBatch, index: number) => Steps<void>;

interface Hashing {
  readonly batch: ChunkBatch;
  readonly done: Promise<void> | undefined;
}

export class ChunkIntake {
  readonly #kernels: ChunkKernels;
  readonly #extent: ExtentAccess;
  readonly #chunker: CdcChunker;
  readonly #store: StoreChunk;
  readonly #hashing: Hashing[] = [];
  #filling: ChunkBatch | undefined;

  constructor(kernels: ChunkKernels, extent: ExtentAccess, store: StoreChunk) {
    this.#kernels = kernels;
    this.#extent = extent;
    this.#chunker = new CdcChunker(kernels);
    this.#store = store;
  }

  /**
   * Takes a part in. What cannot be written may come out later, at the latest with `finish`.
   * @param last it is the last one: what is left of it is a chunk, too
   * @throws `invalid-argument` when its memory is taken away meanwhile
   */
  *take(part: Uint8Array, last: boolean): Steps<void> {
    const { length } = part;
    this.#chunker.push(part, last);
    for (let chunk; (chunk = this.#chunker.next()) !== undefined;) {
      const filling = (this.#filling ??= ChunkBatch.take());
      if (filling.add(chunk)) continue;
      this.#hashing.push({ batch: filling, done: filling.hashLater(this.#kernels) });
      this.#filling = ChunkBatch.take();
      this.#filling.add(chunk);
      if (this.#hashing.length <= HASHING_MAX) continue;
      yield* this.#storeNext();
      if (part.length !== length) {
        throw new PinionError(
          "invalid-argument",
          "bytes of a blob were taken away while they were written: leave them until the write is done",
        );
      }
    }
    if (!last && ChunkBatch.areMany) yield* this.#drain();
  }

  /** The stream ends here: stores all that is left of it. */
  *finish(): Steps<void> {
    const rest = this.#chunker.finish();
    if (rest !== undefined && !(this.#filling ??= ChunkBatch.take()).add(rest)) {
      yield* this.#drain();
      this.#filling = ChunkBatch.take();
      this.#filling.add(rest);
    }
    yield* this.#drain();
  }

  *#drain(): Steps<void> {
    const batch = this.#filling;
    this.#filling = undefined;
    if (batch !== undefined) {
      batch.hash(this.#kernels); // while others are at those before
      this.#hashing.push({ batch, done: undefined });
    }
    while (this.#hashing.length > 0) yield* this.#storeNext();
  }

  *#storeNext(): Steps<void> {
    const { batch, done } = this.#hashing.shift()!;
    if (done !== undefined && !batch.hashNow(this.#kernels)) yield this.#extent.waitFor(done);
    for (let i = 0; i < batch.count; i++) yield* this.#store(batch, i);
    batch.giveBack();
  }
}
