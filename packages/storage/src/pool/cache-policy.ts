/**
 * Decides which pages stay in a pool of fixed size. Pure: no pages, no clock, no input and output, no knowledge of who is using what. O(1)
 * per access on average.
 *
 * C1 never more than `capacity` keys are resident.
 * C2 a key becomes resident by `access` only, and stops by `remove` or by being named to `onEvict`, exactly once.
 */

/**
 * What a read is for, which says how much of the pool it may claim.
 * - `realtime`: admitted as if it had been read twice
 * - `interactive`: the default
 * - `batch`: admitted on probation only; leaves no trace and raises nobody's rank
 * - `analytics`: not admitted; a page that is there is used
 */
export type ReadHint = "realtime" | "interactive" | "batch" | "analytics";
export type AdmissionHint = Exclude<ReadHint, "analytics">;

/** Called during `access`, `evict` and `resize`, which it must not call. */
export type OnEvict = (key: number) => void;

export interface PolicySizes {
  /** Resident on probation, seen once. */
  readonly t1: number;
  /** Resident, seen more often. */
  readonly t2: number;
  /** Remembered after leaving `t1`. */
  readonly b1: number;
  /** Remembered after leaving `t2`. */
  readonly b2: number;
  /** Share of the pool that probation is meant to have, 0 … 1. */
  readonly t1Target: number;
}

export interface CachePolicy {
  readonly capacity: number;
  /** Resident keys. */
  readonly size: number;
  /** A read of `key`: it is resident afterwards. @returns whether it was before */
  access(key: number, hint?: AdmissionHint): boolean;
  has(key: number): boolean;
  /** Forgets a key: it is no longer resident, and nothing remembers it. */
  remove(key: number): void;
  /** Lets go of one key, by the same rule as to make room. @returns whether there was one */
  evict(): boolean;
  /** @param capacity pages, ≥ 1 */
  resize(capacity: number): void;
  sizes(): PolicySizes;
}

export type MakePolicy = (capacity: number, onEvict: OnEvict) => CachePolicy;
