/** Builds the sparse index of a segment that is being read: the first record of each shard in each block. */
import { INDEX_BLOCK_BYTES, SparseIndex } from "./sparse-index.ts";

export class BlockSampler {
  readonly index = new SparseIndex();
  readonly #seen = new Set<number>();
  #blockEnd = 0;

  record(shard: number, lsn: number, offset: number, timestamp: number): void {
    if (offset >= this.#blockEnd) {
      this.#seen.clear();
      this.#blockEnd = (Math.floor(offset / INDEX_BLOCK_BYTES) + 1) * INDEX_BLOCK_BYTES;
    }
    if (this.#seen.has(shard)) return;
    this.#seen.add(shard);
    this.index.add(shard, lsn, offset, timestamp);
  }
}
