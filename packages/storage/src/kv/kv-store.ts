/**
 * An ordered, transactional key-value port: what the log's segment index and the state store keep their
 * metadata in. LMDB implements it for real (`LmdbKv`), `SimKv` in memory with commits and flushes that a seeded crash
 * can lose. Both pass one conformance suite.
 *
 * I1 `commit` applies a batch atomically: after a crash all of it is there or none. Later writes of a batch to the same
 *    key win over earlier ones.
 * I2 commits become durable in order; `sync` resolves once every commit made before it is durable.
 *    A commit that was not synced may be lost, but never without the later ones.
 * I3 reads see the latest resolved commit. They never wait for a disk on the event loop: what is not in memory is
 *    brought in off the loop first.
 * I4 a failed commit other than `disk-full`, and a failed sync, end the store: nobody knows any more what is durable. Everything
 *    but `close` rejects from then on with the first error as its cause; the owner reopens or stops.
 * I5 a batch is read when `commit` is called, or a slice when it is yielded; its bytes may be reused afterwards. Bytes returned by reads belong to the caller.
 *
 * Errors are `PinionError`s: `disk-full`, `disk-read-only`, `io-error`, `corruption` (the file is not a store), and
 * `invalid-argument` for a key or table out of bounds.
 */

export interface KvWrite {
  /** A name of 1 to 64 ASCII letters, digits and `-`. Tables come into being with their first write; at most 12 of them. */
  readonly table: string;
  /** 1 to 1,900 bytes; ordered bytewise. */
  readonly key: Uint8Array;
  /** undefined deletes. */
  readonly value: Uint8Array | undefined;
}

export type KvBatch = readonly KvWrite[] | AsyncIterable<readonly KvWrite[]>;

export interface KvRead {
  readonly table: string;
  readonly key: Uint8Array;
}

export interface KvRange {
  /** Inclusive. */
  readonly from?: Uint8Array;
  /** Exclusive. */
  readonly to?: Uint8Array;
  readonly limit?: number;
  /** From the last key before `to` downwards. */
  readonly reverse?: boolean;
}

export interface KvEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export const KV_KEY_BYTES_MAX = 1_900;
export const KV_TABLES_MAX = 12;
export const KV_RANGE_LIMIT_DEFAULT = 1_000;

export interface KvStore {
  get(table: string, key: Uint8Array): Promise<Uint8Array | undefined>;
  /** Several values, also of different tables, as of one commit, in the order of `reads`. */
  getMany(reads: readonly KvRead[]): Promise<(Uint8Array | undefined)[]>;
  /** A bounded read as of one commit: `limit` defaults to 1,000 entries. */
  range(table: string, range: KvRange): Promise<KvEntry[]>;
  /** A large batch may come in slices, so that nobody has to build it in one go; it takes its place when the last has come. */
  commit(writes: KvBatch): Promise<void>;
  sync(): Promise<void>;
  /** Waits for commits under way. Harmless when repeated; anything else afterwards is a mistake of ours (`internal`). */
  close(): Promise<void>;
}
