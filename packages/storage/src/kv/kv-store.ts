/**
 * An ordered, transactional key-value port: what the log's segment index and the state store keep their
 * metadata in. LMDB implements it for real, `SimKv` in memory with commits and flushes that a seeded crash can lose.
 *
 * I1 `commit` applies a batch atomically: after a crash all of it is there or none.
 * I2 commits become durable in order; `sync` resolves once every commit made before it is durable.
 *    A commit that was not synced may be lost, but never without the later ones.
 * I3 reads see the latest resolved commit. They never wait for a disk on the event loop: what is not in memory is
 *    brought in off the loop first.
 */

export interface KvWrite {
  readonly table: string;
  /** 1 to 1,900 bytes; ordered bytewise. */
  readonly key: Uint8Array;
  /** undefined deletes. */
  readonly value: Uint8Array | undefined;
}

export interface KvRange {
  /** Inclusive. */
  readonly from?: Uint8Array;
  /** Exclusive. */
  readonly to?: Uint8Array;
  readonly limit?: number;
  readonly reverse?: boolean;
}

export interface KvStore {
  get(table: string, key: Uint8Array): Promise<Uint8Array | undefined>;
  /** A bounded read: `limit` defaults to 1,000 entries. Returned bytes belong to the caller. */
  range(table: string, range: KvRange): Promise<{ key: Uint8Array; value: Uint8Array }[]>;
  /** @throws `disk-full`, `io-error` */
  commit(writes: readonly KvWrite[]): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}
