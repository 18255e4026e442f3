/** The words of pinning: classes, what is pinned, what comes of it. */
import type { PinionError } from "@pinion/core";
import type { LockDenial, RangePlacement } from "../memory/memory-door.ts";
import type { DataKind } from "./numa-policy.ts";
import type { PageUse } from "./page-size.ts";
import type { Placing } from "./placer.ts";

/** Names an extent on this worker, such as `airport/JFK#delays`. */
export type PinKey = string;

/** Most important first. `none`: in memory while there is room to spare, not locked, first to go. */
export const PIN_PRIORITIES = Object.freeze([
  "tail-latency-critical",
  "query-critical",
  "background",
  "none",
] as const);

export type PinPriority = (typeof PIN_PRIORITIES)[number];

/** Memory profiles of actor types. */
export type MemoryProfile = "hot" | "warm" | "cold";

export const PRIORITY_OF_PROFILE: Readonly<Record<MemoryProfile, PinPriority>> = Object.freeze({
  hot: "tail-latency-critical",
  warm: "query-critical",
  cold: "background",
});

/** 0 is the most important. */
export function rankOf(priority: PinPriority): number {
  return PIN_PRIORITIES.indexOf(priority);
}

export function higherOf(a: PinPriority, b: PinPriority): PinPriority {
  return rankOf(a) <= rankOf(b) ? a : b;
}

/** The next class up; the first stays. */
export function raised(priority: PinPriority): PinPriority {
  return PIN_PRIORITIES[Math.max(rankOf(priority) - 1, 0)] as PinPriority;
}

/** The next class down; `none` stays. */
export function sunk(priority: PinPriority): PinPriority {
  return PIN_PRIORITIES[Math.min(rankOf(priority) + 1, PIN_PRIORITIES.length - 1)] as PinPriority;
}

/**
 * When a pin ends without `unpin`. `ephemeral`: as soon as nothing references the extent. `session`: `ttlMs` after its last
 * renewal, 60 s if not given. `task`: when its task ends. `long-lived`: never. A `ttlMs` counts for all of them.
 */
export type PinLifetime = "ephemeral" | "session" | "task" | "long-lived";

export interface PinOptions {
  readonly priority: PinPriority;
  /** The NUMA node its memory is wanted on. Default: the manager's own. */
  readonly numaPrefer?: number;
  /** Asks for 2 MiB pages. Default: extents from 2 MiB on. */
  readonly hugePages?: boolean;
  /** Locks pages as they are touched first, instead of all at once: for private file mappings. Default false. */
  readonly onFault?: boolean;
  /** Default `long-lived`. */
  readonly lifetime?: PinLifetime;
  /** Neighbours to bring in, unpinned, while there is room: 0 … 64. Default 0. */
  readonly prefetchAdjacent?: number;
  /** ms, from the last renewal. */
  readonly ttlMs?: number;
  /** Which task a `task` pin ends with. */
  readonly task?: string;
}

export interface LoadRequest {
  /** In which pages, and on which nodes. */
  readonly placing: Placing;
  readonly onFault: boolean;
}

/** What a load did not get, and why. */
export interface LoadReport {
  readonly numaShortfall?: string | undefined;
  readonly pageShortfall?: string | undefined;
}

/**
 * One extent, as the pin manager drives it. The manager calls one of `load`, `lock` and `drop` at a time.
 *
 * T0 `load` is the only one that may reject.
 * T1 `load` either brings all of it in, or rejects and leaves no memory behind.
 * T2 after `drop` was called no turn gets a new reference; it waits for those that exist, detaches the views, gives the memory
 *    back.
 */
export interface PinTarget {
  /** Memory it takes while it is resident; read once per load. What changes later goes through `PinManager.resize`. */
  readonly bytes: number;
  /** The actor it belongs to, for lists. */
  readonly owner: string;
  /** How it is read, for the nodes and pages it is put on. */
  readonly dataKind: DataKind;
  readonly pageUse: PageUse;
  /** Its actor type, where that may have a bound of its own. */
  readonly type?: string;
  /** Turns, native operations and reader threads that may be looking at it now. */
  readonly references: number;
  /** Absent → resident. Rejects with `io-error`, `corruption`, `overloaded`, or anything once `signal` has aborted. */
  load(request: LoadRequest, signal: AbortSignal): Promise<LoadReport>;
  /** Undefined: locked. */
  lock(onFault: boolean): Promise<LockDenial | undefined>;
  /** Why what it has grown into since `lock` is not locked; undefined: all of it is. */
  readonly unlockedGrowth?: LockDenial | undefined;
  unlock(): void;
  /** Resident → draining → detached → absent (T2). */
  drop(): Promise<void>;
  /** Where a resident extent is, as measured off the event loop; undefined where nobody can tell, or when it has gone meanwhile. */
  measure(): Promise<RangePlacement | undefined>;
  /**
   * Moves the memory of a resident extent to a node, off the event loop, as long as nothing references it.
   * @returns bytes that are there now; undefined where memory cannot be moved
   */
  move(node: number): Promise<number | undefined>;
  /** Up to `count` extents that are likely to be read next. */
  adjacent(count: number): Iterable<{ readonly key: PinKey; readonly target: PinTarget }>;
}

/**
 * Why an extent is not resident although it was asked for. `budget`: no room, and nothing that had to make room for it; `type-budget`: its actor
 * type has as much as its own bound allows; `too-large`: larger than the whole budget; `pressure`: memory is short on this host; `draining`: turns held what had to make room for too long; `evicted`: it was, and had to go; `no-memory`,
 * `io-error`, `corruption`: its load failed; `unpinned`, `expired`, `stopped`: nobody wanted it any more before it was in.
 */
export type DegradedReason =
  | "budget"
  | "type-budget"
  | "too-large"
  | "pressure"
  | "draining"
  | "evicted"
  | "no-memory"
  | "io-error"
  | "corruption"
  | "unpinned"
  | "expired"
  | "stopped";

export type PinOutcome =
  | { readonly kind: "locked" }
  /** In memory, and the system may page it out. `not-asked`: its priority is `none`. */
  | { readonly kind: "resident"; readonly notLocked: LockDenial | "not-asked" }
  | {
      readonly kind: "degraded";
      readonly reason: DegradedReason;
      /** What the load failed with. */
      readonly error: PinionError | undefined;
    };

/** Why a resident extent went. */
export type EvictionReason =
  | "budget"
  | "type-budget"
  | "pressure"
  | "adaptive"
  | "rebalance"
  | "expired"
  | "unpinned"
  | "stopped";

export const EVICTION_REASONS: readonly EvictionReason[] = Object.freeze([
  "budget",
  "type-budget",
  "pressure",
  "adaptive",
  "rebalance",
  "expired",
  "unpinned",
  "stopped",
]);

/** Bytes that pins may take, counted together with the other workers of the host (budget-counter.ts). */
export interface PinBudget {
  readonly limitBytes: number;
  /** All workers together. */
  readonly usedBytes: number;
  /** This worker's part of the limit: what the shares of the classes are measured against. */
  readonly fairBytes: number;
  /** Bytes above the limit, after it was lowered. */
  readonly overBytes: number;
  /** Takes as much of `byteCount` as there is room for. @returns what was taken */
  reserveUpTo(byteCount: number): number;
  release(byteCount: number): void;
  /** Tells the other workers what this one lacks within its fair part; 0: nothing any more. */
  want(byteCount: number): void;
  /** What this worker has beyond its fair part and others want. */
  readonly owedBytes: number;
}
