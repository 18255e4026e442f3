/**
 * The numbers a shard's history is addressed by, branded so that one is never passed for another.
 *
 * An LSN names a durability level where it is stored: `appendedLsn` (in the log's buffer),
 * `flushedLsn` (on this disk), `committedLsn` (may be answered), `appliedLsn` (in a checkpoint).
 */

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** Per-shard commit number, 1-based and without gaps; 0 means "before the first record". A safe integer. */
export type Lsn = Branded<number, "Lsn">;
/** Number of one primary's reign over one shard, from 1. */
export type Term = Branded<number, "Term">;
/** Index of a shard, 0 … shardCount − 1 (at most 65,535: two bytes in a record header). */
export type ShardId = Branded<number, "ShardId">;
/** Hybrid-logical-clock time: microseconds since the epoch, a safe integer. */
export type HlcTime = Branded<number, "HlcTime">;

export const lsn = (n: number): Lsn => n as Lsn;
export const term = (n: number): Term => n as Term;
export const shardId = (n: number): ShardId => n as ShardId;
export const hlcTime = (n: number): HlcTime => n as HlcTime;

export const NO_LSN: Lsn = lsn(0);
export const FIRST_TERM: Term = term(1);

/** Most shards a cluster can have: the record header keeps the shard in two bytes. */
export const SHARD_COUNT_MAX = 65_536;
