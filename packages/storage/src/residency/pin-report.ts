/** What pins look like from outside: statistics, and the list behind `pinion pins`. */
import type { PinionError } from "@pinion/core";
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

/** How far an aim is reached, over the bytes of resident extents. */
export interface AimStats {
  readonly bytes: number;
  /** Of the resident bytes; 1 when there are none. */
  readonly share: number;
  readonly aim: number;
  readonly reached: boolean;
  /** Bytes that miss the aim, by reason. */
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
  readonly hugeBytes: number | undefined;
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
  readonly numaNode: number;
  readonly hugePagesDenied: string | undefined;
}

export function pinStats(entries: Iterable<PinEntry>, parts: ReportParts): PinStats {
  const { budget, ledger, history } = parts;
  const degraded = new Map<string, number>();
  const notLocked = new Map<string, number>();
  const huge = new Aim(HUGE_PAGE_AIM);
  const local = new Aim(NUMA_LOCAL_AIM);
  const lockedBytes = zeros(PIN_PRIORITIES);
  let loadingBytes = 0;
  for (const entry of entries) {
    const { state, bytes } = entry;
    if (state === "loading") loadingBytes += bytes;
    if (entry.degraded !== undefined) addTo(degraded, entry.degraded.reason, 1);
    if (state !== "resident") continue;
    if (entry.locked) lockedBytes[entry.priority] += bytes;
    else if (entry.denial !== undefined) addTo(notLocked, entry.denial, bytes);
    countHuge(entry, huge, parts.hugePagesDenied);
    countLocal(entry, local, parts.numaNode);
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
  ownNode: number,
): PinListing[] {
  const found: PinEntry[] = [];
  for (const entry of entries) {
    if (filter.priority !== undefined && entry.priority !== filter.priority) continue;
    if (filter.owner !== undefined && entry.target.owner !== filter.owner) continue;
    if (filter.degraded !== undefined && (entry.degraded !== undefined) !== filter.degraded)
      continue;
    if (filter.numaNode !== undefined && mainNode(entry) !== filter.numaNode) continue;
    found.push(entry);
  }
  found.sort((a, b) => rankOf(a.priority) - rankOf(b.priority) || b.heatRank - a.heatRank);
  return found.slice(0, filter.limit ?? 100).map((entry) => listing(entry, nowMs, ownNode));
}

export function listing(entry: PinEntry, nowMs: number, ownNode: number): PinListing {
  const { key, target, state, priority, bytes, locked, degraded, ask } = entry;
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
    locked,
    notLocked: resident ? entry.denial : undefined,
    heat: entry.heat.at(nowMs),
    references: target.references,
    numaNode: mainNode(entry),
    localShare: byNode && localShare(byNode, ask.numaPrefer ?? ownNode),
    hugeBytes: entry.placement?.hugeBytes,
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

class Aim {
  readonly #aim: number;
  readonly #shortfall = new Map<string, number>();
  #bytes = 0;
  #reachedBytes = 0;

  constructor(aim: number) {
    this.#aim = aim;
  }

  add(bytes: number, reachedBytes: number, otherwise: string): void {
    this.#bytes += bytes;
    this.#reachedBytes += reachedBytes;
    if (reachedBytes < bytes) addTo(this.#shortfall, otherwise, bytes - reachedBytes);
  }

  stats(): AimStats {
    const share = this.#bytes === 0 ? 1 : this.#reachedBytes / this.#bytes;
    return {
      bytes: this.#reachedBytes,
      share,
      aim: this.#aim,
      reached: share >= this.#aim,
      shortfallBytes: Object.fromEntries(this.#shortfall),
    };
  }
}

function countHuge(entry: PinEntry, aim: Aim, denied: string | undefined): void {
  const measured = entry.placement?.hugeBytes;
  const reason =
    entry.ask.hugePages === false
      ? "not asked for"
      : entry.bytes < HUGE_PAGE_BYTES
        ? "smaller than 2 MiB"
        : (denied ?? (measured === undefined ? "not measured" : "the kernel had none"));
  aim.add(entry.bytes, Math.min(measured ?? 0, entry.bytes), reason);
}

function countLocal(entry: PinEntry, aim: Aim, ownNode: number): void {
  const byNode = entry.placement?.bytesByNode;
  const wanted = entry.ask.numaPrefer ?? ownNode;
  const reason = byNode === undefined ? "not measured" : "on another node";
  aim.add(entry.bytes, Math.min(byNode?.get(wanted) ?? 0, entry.bytes), reason);
}

function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>;
}

function addTo(sums: Map<string, number>, key: string, n: number): void {
  sums.set(key, (sums.get(key) ?? 0) + n);
}
