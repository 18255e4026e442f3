/** What pins look like from outside: statistics, and the list behind `pinion pins`. */
import type { PinionError } from "@pinion/core";
import { bestOf } from "./best-of.ts";
import { localShare } from "./numa-policy.ts";
import type { LockDenial } from "../memory/memory-door.ts";
import type { PinEntry, PinState } from "./pin-entry.ts";
import type { PinLedger } from "./pin-ledger.ts";
import { shareBytes } from "./pin-policy.ts";
import {
  EVICTION_REASONS,
  PIN_PRIORITIES,
  rankOf,
  type DegradedReason,
  type EvictionReason,
  type PinBudget,
  type PinKey,
  type PinLifetime,
  type PinPriority,
} from "./pin-types.ts";

export const NUMA_LOCAL_AIM = 0.8;
export const HUGE_PAGE_AIM = 0.6;
const HUGE_PAGE_BYTES = 2 * 1024 * 1024;

export interface PriorityStats {
  readonly count: number;
  readonly bytes: number;
  readonly lockedBytes: number;
  readonly shareBytes: number;
  /** Beyond its share. */
  readonly borrowedBytes: number;
  /** Resident extents of the class that went, for whatever reason. */
  readonly evictions: number;
  /** From resident to gone, of those that went from this class; 0 if none did. */
  readonly meanPinTimeMs: number;
}

/** How far an aim is reached, over the bytes of resident extents that were looked at. */
export interface AimStats {
  readonly bytes: number;
  /** Of the bytes that were measured; 1 when there are none, 0 when nobody can measure. */
  readonly share: number;
  readonly aim: number;
  readonly reached: boolean;
  /** Bytes that miss the aim, by reason; `not measured` are those that nobody has looked at yet. */
  readonly shortfallBytes: Readonly<Record<string, number>>;
}

export interface PinStats {
  /** All workers together. */
  readonly budgetBytes: number;
  readonly budgetUsedBytes: number;
  /** Reserved by this worker: resident, loading, draining, waiting. */
  readonly usedBytes: number;
  readonly pinnedCount: number;
  readonly pinnedBytes: number;
  readonly lockedBytes: number;
  readonly loadingBytes: number;
  readonly drainingBytes: number;
  readonly byPriority: Readonly<Record<PinPriority, PriorityStats>>;
  readonly huge: AimStats;
  readonly numaLocal: AimStats;
  /** Measured bytes on each NUMA node. */
  readonly bytesByNode: Readonly<Record<number, number>>;
  /** Extents whose memory was brought to the node it is wanted on, and how much of it. */
  readonly moved: { readonly extents: number; readonly bytes: number };
  readonly evictions: Readonly<Record<EvictionReason, number>>;
  readonly meanPinTimeMs: number;
  /** Resident and pinned, not locked, by what the system said. */
  readonly notLockedBytes: Readonly<Record<string, number>>;
  /** Pins that are not resident now, by reason. */
  readonly degraded: Readonly<Record<string, number>>;
  /** How often a pin degraded since the start, by reason. */
  readonly degradedTotal: Readonly<Record<string, number>>;
}

export interface PinListing {
  readonly key: PinKey;
  readonly owner: string;
  readonly state: PinState;
  readonly priority: PinPriority;
  readonly askedPriority: PinPriority;
  readonly lifetime: PinLifetime;
  readonly bytes: number;
  readonly locked: boolean;
  readonly notLocked: LockDenial | undefined;
  readonly heat: number;
  readonly references: number;
  /** The node with most of its memory. */
  readonly numaNode: number | undefined;
  /** Of its memory, on the node it is wanted on; undefined where nobody can tell. */
  readonly localShare: number | undefined;
  /** Where all of it is wanted; undefined: on several nodes. */
  readonly wantedNode: number | undefined;
  readonly hugeBytes: number | undefined;
  /** Since it was last used. */
  readonly idleMs: number;
  readonly residentMs: number | undefined;
  readonly degraded: DegradedReason | undefined;
  readonly error: PinionError | undefined;
}

export interface PinFilter {
  readonly priority?: PinPriority;
  readonly owner?: string;
  readonly numaNode?: number;
  /** Only those that are not resident although somebody wants them. */
  readonly degraded?: boolean;
  /** Default 100. */
  readonly limit?: number;
}

/** Counts what has gone by. */
export class PinHistory {
  readonly evictions = zeros(EVICTION_REASONS);
  readonly degraded = new Map<string, number>();
  movedExtents = 0;
  movedBytes = 0;
  readonly #gone = zeros(PIN_PRIORITIES);
  readonly #pinTimeMs = zeros(PIN_PRIORITIES);

  left(priority: PinPriority, reason: EvictionReason, pinTimeMs: number): void {
    this.evictions[reason]++;
    this.#gone[priority]++;
    this.#pinTimeMs[priority] += pinTimeMs;
  }

  degradedBy(reason: DegradedReason): void {
    addTo(this.degraded, reason, 1);
  }

  evictionsOf(priorities: readonly PinPriority[]): number {
    return priorities.reduce((sum, each) => sum + this.#gone[each], 0);
  }

  meanPinTimeMs(priorities: readonly PinPriority[]): number {
    const count = this.evictionsOf(priorities);
    const total = priorities.reduce((sum, each) => sum + this.#pinTimeMs[each], 0);
    return count === 0 ? 0 : total / count;
  }
}

export interface ReportParts {
  readonly budget: PinBudget;
  readonly ledger: PinLedger;
  readonly history: PinHistory;
  /** The node of the worker. */
  readonly home: number;
}

export function pinStats(entries: Iterable<PinEntry>, parts: ReportParts): PinStats {
  const { budget, ledger, history } = parts;
  const degraded = new Map<string, number>();
  const notLocked = new Map<string, number>();
  const huge = new Aim(HUGE_PAGE_AIM);
  const local = new Aim(NUMA_LOCAL_AIM);
  const byNode = new Map<number, number>();
  const lockedBytes = zeros(PIN_PRIORITIES);
  let loadingBytes = 0;
  for (const entry of entries) {
    const { state, bytes } = entry;
    if (state === "loading") loadingBytes += bytes;
    if (entry.degraded !== undefined) addTo(degraded, entry.degraded.reason, 1);
    if (state !== "resident") continue;
    const { isLocked, notLocked: denial } = entry;
    if (isLocked) lockedBytes[entry.priority] += bytes;
    else if (denial !== undefined) addTo(notLocked, denial, bytes);
    countHuge(entry, huge);
    countLocal(entry, local, parts.home);
    for (const [node, there] of entry.placement?.bytesByNode ?? [])
      byNode.set(node, (byNode.get(node) ?? 0) + there);
  }
  const byPriority = {} as Record<PinPriority, PriorityStats>;
  let pinnedCount = 0;
  let pinnedBytes = 0;
  for (const priority of PIN_PRIORITIES) {
    const residents = ledger.residents(priority);
    const used = ledger.usedBytes[priority];
    const share = shareBytes(priority, budget.fairBytes);
    let bytes = 0;
    for (const entry of residents) bytes += entry.bytes;
    byPriority[priority] = {
      count: residents.size,
      bytes,
      lockedBytes: lockedBytes[priority],
      shareBytes: share,
      borrowedBytes: Math.max(0, used - share),
      evictions: history.evictionsOf([priority]),
      meanPinTimeMs: history.meanPinTimeMs([priority]),
    };
    if (priority === "none") continue;
    pinnedCount += residents.size;
    pinnedBytes += bytes;
  }
  return {
    budgetBytes: budget.limitBytes,
    budgetUsedBytes: budget.usedBytes,
    usedBytes: ledger.totalBytes,
    pinnedCount,
    pinnedBytes,
    lockedBytes: PIN_PRIORITIES.reduce((sum, each) => sum + lockedBytes[each], 0),
    loadingBytes,
    drainingBytes: ledger.usedBytes.draining,
    byPriority,
    huge: huge.stats(),
    numaLocal: local.stats(),
    bytesByNode: Object.fromEntries(byNode),
    moved: { extents: history.movedExtents, bytes: history.movedBytes },
    evictions: { ...history.evictions },
    meanPinTimeMs: history.meanPinTimeMs(PIN_PRIORITIES),
    notLockedBytes: Object.fromEntries(notLocked),
    degraded: Object.fromEntries(degraded),
    degradedTotal: Object.fromEntries(history.degraded),
  };
}

/** Important first, hot first. */
export function listPins(
  entries: Iterable<PinEntry>,
  filter: PinFilter,
  nowMs: number,
  home: number,
): PinListing[] {
  const found = bestOf(
    matching(entries, filter),
    filter.limit ?? 100,
    (a, b) => rankOf(a.priority) - rankOf(b.priority) || b.heatRank - a.heatRank,
  );
  return found.map((entry) => listing(entry, nowMs, home));
}

function* matching(entries: Iterable<PinEntry>, filter: PinFilter): Iterable<PinEntry> {
  for (const entry of entries) {
    if (filter.priority !== undefined && entry.priority !== filter.priority) continue;
    if (filter.owner !== undefined && entry.target.owner !== filter.owner) continue;
    if (filter.degraded !== undefined && (entry.degraded !== undefined) !== filter.degraded)
      continue;
    if (filter.numaNode !== undefined && mainNode(entry) !== filter.numaNode) continue;
    yield entry;
  }
}

export function listing(entry: PinEntry, nowMs: number, home: number): PinListing {
  const { key, target, state, priority, bytes, degraded, ask } = entry;
  const resident = state === "resident";
  const byNode = entry.placement?.bytesByNode;
  return {
    key,
    owner: target.owner,
    state,
    priority,
    askedPriority: ask.priority,
    lifetime: ask.lifetime,
    bytes,
    locked: entry.isLocked,
    notLocked: resident ? entry.notLocked : undefined,
    heat: entry.heat.at(nowMs),
    references: target.references,
    numaNode: mainNode(entry),
    localShare: byNode && localShare(byNode, entry.placing?.wantedNode ?? ask.numaPrefer ?? home),
    wantedNode: entry.placing?.wantedNode,
    hugeBytes: entry.placement?.hugeBytes,
    idleMs: nowMs - entry.renewedMs,
    residentMs: resident ? nowMs - entry.residentSinceMs : undefined,
    degraded: degraded?.reason,
    error: degraded?.error,
  };
}

function mainNode({ placement }: PinEntry): number | undefined {
  let most = 0;
  let main: number | undefined;
  for (const [node, bytes] of placement?.bytesByNode ?? []) {
    if (bytes <= most) continue;
    most = bytes;
    main = node;
  }
  return main;
}

const NOT_MEASURED = "not measured";

class Aim {
  readonly #aim: number;
  readonly #shortfall = new Map<string, number>();
  #measuredBytes = 0;
  #reachedBytes = 0;

  constructor(aim: number) {
    this.#aim = aim;
  }

  /** @param reachedBytes undefined: not measured */
  add(bytes: number, reachedBytes: number | undefined, otherwise: string): void {
    if (reachedBytes === undefined) return addTo(this.#shortfall, NOT_MEASURED, bytes);
    const reached = Math.min(reachedBytes, bytes);
    this.#measuredBytes += bytes;
    this.#reachedBytes += reached;
    if (reached < bytes) addTo(this.#shortfall, otherwise, bytes - reached);
  }

  stats(): AimStats {
    const none = this.#shortfall.size === 0 ? 1 : 0;
    const share = this.#measuredBytes === 0 ? none : this.#reachedBytes / this.#measuredBytes;
    return {
      bytes: this.#reachedBytes,
      share,
      aim: this.#aim,
      reached: share >= this.#aim,
      shortfallBytes: Object.fromEntries(this.#shortfall),
    };
  }
}

function countHuge({ ask, bytes, placing, placement }: PinEntry, aim: Aim): void {
  // Nobody needs to look at these.
  if (ask.hugePages === false) return aim.add(bytes, 0, "not asked for");
  if (bytes < HUGE_PAGE_BYTES) return aim.add(bytes, 0, "smaller than 2 MiB");
  aim.add(bytes, placement?.hugeBytes, placing?.pageShortfall ?? "the kernel had none");
}

function countLocal({ ask, bytes, placing, placement }: PinEntry, aim: Aim, home: number): void {
  const byNode = placement?.bytesByNode;
  const wanted = placing?.wantedNode ?? ask.numaPrefer ?? home;
  const reason =
    placing?.numa.kind === "interleave"
      ? "interleaved"
      : (placing?.numaShortfall ?? "on another node");
  aim.add(bytes, byNode && (byNode.get(wanted) ?? 0), reason);
}

function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>;
}

function addTo(sums: Map<string, number>, key: string, n: number): void {
  sums.set(key, (sums.get(key) ?? 0) + n);
}
