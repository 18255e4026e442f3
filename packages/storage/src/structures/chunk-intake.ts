/**
 * From parts of a stream to chunks that are hashed, in order. Of a long part the hashes are computed off the event loop, batch by batch,
 * while the batches before are stored and those behind are cut.
 *
 * State: the chunk that goes on in the next part; within an operation batches that wait for their hashes.
 *
 * N1 a part is read until `take` has ended, on the event loop only; what other threads read are copies.
 */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { CdcChunker } from "./cdc-chunker.ts";
import { ChunkBatch } from "./chunk-batch.ts";
import type { ChunkKernels } from "./chunk-kernels.ts";
import type { Steps } from "./structure.ts";

/** A shorter part is hashed at once: to hand it over and wait takes longer. */
const LATER_FROM_BYTES = 128 * 1024;
/** Being hashed or waiting for it, besides the one that is filled. */
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

  constructor(kernels: ChunkKernels, extent: ExtentAccess, store: StoreChunk) {
    this.#kernels = kernels;
    this.#extent = extent;
    this.#chunker = new CdcChunker(kernels);
    this.#store = store;
  }

  /**
   * Stores the chunks that end in this part.
   * @param last it is the last one: what is left of it is a chunk, too
   * @throws `invalid-argument` when its memory is taken away meanwhile
   */
  *take(part: Uint8Array, last: boolean): Steps<void> {
    const { length } = part;
    const later = length >= LATER_FROM_BYTES;
    const hashing: Hashing[] = [];
    let batch: ChunkBatch | undefined;
    this.#chunker.push(part, last);
    for (let chunk; (chunk = this.#chunker.next()) !== undefined;) {
      batch ??= ChunkBatch.take();
      if (batch.add(chunk)) continue;
      hashing.push({ batch, done: batch.hash(this.#kernels, later) });
      batch = ChunkBatch.take();
      batch.add(chunk);
      if (hashing.length <= HASHING_MAX) continue;
      yield* this.#storeBatch(hashing.shift()!);
      if (part.length !== length) {
        throw new PinionError(
          "invalid-argument",
          "bytes of a blob were taken away while they were written: leave them until the write is done",
        );
      }
    }
    if (batch !== undefined) hashing.push({ batch, done: batch.hash(this.#kernels, later) });
    for (let next; (next = hashing.shift()) !== undefined;) yield* this.#storeBatch(next);
  }

  /** The stream ends here: stores what is left of it. */
  *finish(): Steps<void> {
    const rest = this.#chunker.finish();
    if (rest === undefined) return;
    const batch = ChunkBatch.take();
    batch.add(rest);
    yield* this.#storeBatch({ batch, done: batch.hash(this.#kernels, false) });
  }

  *#storeBatch({ batch, done }: Hashing): Steps<void> {
    if (done !== undefined) yield this.#extent.waitFor(done);
    for (let i = 0; i < batch.count; i++) yield* this.#store(batch, i);
    batch.giveBack();
  }
}
