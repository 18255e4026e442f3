/**
 * The port that decides when a record is committed. With one replica the majority is this disk alone (`MajorityOfOne`);
 * replica groups come behind the same port.
 *
 * I1 `committed(shard)` never exceeds what a majority of the shard's replica group has flushed, except where the flush policy says
 *    that replies do not wait: then it is what was appended.
 * I2 `onCommitted` listeners run after `committed` moved, on the event loop; not where an append alone moves it: whoever
 *    appends looks itself.
 */
import type { Lsn, ShardId } from "@pinion/core";
import type { Log } from "@pinion/storage";

export interface Replication {
  /** A record was appended on the primary. */
  appended(shard: ShardId, lsn: Lsn): void;
  committed(shard: ShardId): Lsn;
  onCommitted(listener: () => void): () => void;
}

/** One replica: flushed is committed. */
export class MajorityOfOne implements Replication {
  readonly #log: Log;
  readonly #listeners = new Set<() => void>();

  constructor(log: Log) {
    this.#log = log;
    log.onFlushed(() => {
      for (const listener of this.#listeners) listener();
    });
  }

  appended(): void {
    // Nobody else has to hear of it.
  }

  committed(shard: ShardId): Lsn {
    return this.#log.policy.replyWaits ? this.#log.flushed(shard) : this.#log.appended(shard);
  }

  onCommitted(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
