/**
 * From parts of streams, one after the other, to chunks that are hashed, in order. Chunks are collected in batches, also those of several
 * short streams; full ones are hashed off the event loop, while those before are stored and those behind are cut, also across parts. What is
 * left at the end is hashed at once.
 *
 * State: the chunk that goes on in the next part; the batch that is filled, and those that wait for their hashes.
 *
 * N1 a part is read until `take` has ended, on the event loop only; what other threads read are copies.
 * N2 between operations an intake keeps no more than `HASHING_MAX` + 1 batches, and none while a thread has many (`ChunkBatch.areMany`).
 */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { CdcChunker } from "./cdc-chunker.ts";
import { ChunkBatch, type ChunkOwner } from "./chunk-batch.ts";
import type { ChunkKernels } from "./chunk-kernels.ts";
import type { Steps } from "./structure.ts";

/** Being hashed or waiting for it: while one is stored the other is worked on. */
const HASHING_MAX = 2;

interface Hashing {
  readonly batch: ChunkBatch;
  readonly done: Promise<void> | undefined;
}

export class ChunkIntake {
  readonly #kernels: ChunkKernels;
  readonly #extent: ExtentAccess;
  readonly #chunker: CdcChunker;
  readonly #hashing: Hashing[] = [];
  #filling: ChunkBatch | undefined;

  constructor(kernels: ChunkKernels, extent: ExtentAccess) {
    this.#kernels = kernels;
    this.#extent = extent;
    this.#chunker = new CdcChunker(kernels);
  }

  /**
   * Takes a part in. What cannot be written may come out later, at the latest with `finish`.
   * @param owner of the stream, whose parts follow each other
   * @param last it is the last one: what is left of it is a chunk, too, and the owner is told when that is stored
   * @throws `invalid-argument` when its memory is taken away meanwhile
   */
  *take(part: Uint8Array, owner: ChunkOwner, last: boolean): Steps<void> {
    const { length } = part;
    let isEnd = false;
    this.#chunker.push(part, last);
    for (let chunk; (chunk = this.#chunker.next()) !== undefined;) {
      isEnd = last && this.#chunker.isEmpty;
      const filling = (this.#filling ??= ChunkBatch.take());
      if (filling.add(chunk, owner, isEnd)) continue;
      this.#hashing.push({ batch: filling, done: filling.hashLater(this.#kernels) });
      this.#filling = ChunkBatch.take();
      this.#filling.add(chunk, owner, isEnd);
      if (this.#hashing.length <= HASHING_MAX) continue;
      yield* this.#storeNext();
      if (part.length !== length) {
        throw new PinionError(
          "invalid-argument",
          "bytes of a blob were taken away while they were written: leave them until the write is done",
        );
      }
    }
    if (last && !isEnd) {
      yield* this.drain(); // a stream without a chunk, in its order
      yield* owner.complete();
    }
    if (!last && ChunkBatch.areMany) yield* this.drain();
  }

  /** The stream of this owner ends here: stores all that is left, of it and of those before. */
  *finish(owner: ChunkOwner): Steps<void> {
    const rest = this.#chunker.finish();
    if (rest !== undefined && !(this.#filling ??= ChunkBatch.take()).add(rest, owner, false)) {
      yield* this.drain();
      this.#filling = ChunkBatch.take();
      this.#filling.add(rest, owner, false);
    }
    yield* this.drain();
  }

  /** Stores the chunks that were cut so far. */
  *drain(): Steps<void> {
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
    yield* batch.store();
    batch.giveBack();
  }
}
