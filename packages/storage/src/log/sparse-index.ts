/**
 * Where in one segment a record is to be looked for: of every 128 KiB block of the file the first record of each shard.
 * A reader starts there and meets the record it wants within one block.
 *
 * Bound: a 64 MiB segment has 512 blocks, so 256 busy shards need at most 512 × 256 × 24 B = 3 MiB; only the active segment
 * and a few recently read ones keep theirs.
 *
 * I1 samples of a shard are added in the order of the file, which is the order of its LSNs.
 */

/** A multiple of the alignment of records. */
export const INDEX_BLOCK_BYTES = 128 * 1024;

interface ShardSamples {
  readonly lsns: number[];
  readonly offsets: number[];
  readonly timestamps: number[];
}

export class SparseIndex {
  readonly #shards = new Map<number, ShardSamples>();

  add(shard: number, lsn: number, offset: number, timestamp: number): void {
    let samples = this.#shards.get(shard);
    if (!samples) this.#shards.set(shard, (samples = { lsns: [], offsets: [], timestamps: [] }));
    samples.lsns.push(lsn);
    samples.offsets.push(offset);
    samples.timestamps.push(timestamp);
  }

  /** Offset of a record of the shard at or before `lsn`; undefined when the segment has none that early. */
  before(shard: number, lsn: number): number | undefined {
    const samples = this.#shards.get(shard);
    return samples && samples.offsets[lastAtMost(samples.lsns, lsn)];
  }

  /** Offset of a record of the shard that is not newer than `timestamp`; undefined when all of them are. */
  beforeTime(shard: number, timestamp: number): number | undefined {
    const samples = this.#shards.get(shard);
    return samples && samples.offsets[lastAtMost(samples.timestamps, timestamp)];
  }
}

/** Index of the last element ≤ `value` of an ascending list, −1 when there is none. */
export function lastAtMost(ascending: readonly number[], value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
