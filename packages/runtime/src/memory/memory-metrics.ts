/** Pins, arena and pressure of a worker as metrics: read when somebody asks, free otherwise. */
import type { Clock, Telemetry } from "@pinion/core";
import {
  EVICTION_REASONS,
  memoryDoor,
  PIN_PRIORITIES,
  type AdaptiveReport,
  type ArenaStats,
  type GovernorReport,
  type PinStats,
} from "@pinion/storage";
import type { TypeMemory } from "./worker-residency.ts";

export interface MemorySources {
  readonly pins: () => PinStats;
  readonly arena: () => ArenaStats;
  readonly pressure: () => GovernorReport;
  readonly adaptive: () => AdaptiveReport;
  readonly byType: () => ReadonlyMap<string, TypeMemory>;
}

/** One look serves all metrics of a page. */
const FRESH_MS = 250;

export function observeMemory(
  telemetry: Telemetry,
  clock: Clock,
  types: readonly string[],
  nodes: readonly number[],
  sources: MemorySources,
): void {
  const pins = remembered(clock, sources.pins);
  const arena = remembered(clock, sources.arena);
  const adaptive = remembered(clock, sources.adaptive);
  observePins(telemetry, pins);
  observeNodes(telemetry, nodes, pins);
  observeTypes(telemetry, types, remembered(clock, sources.byType));
  const gauges: readonly (readonly [name: string, help: string, read: () => number])[] = [
    [
      "pinion_memory_seconds_to_critical",
      "Until 95 % of the limit are in use if things go on as they are; +Inf: not in sight",
      () => (sources.pressure().forecast?.timeToCriticalMs ?? Infinity) / 1000,
    ],
    ["pinion_arena_committed_bytes", "Memory behind the arena", () => arena().committedBytes],
    [
      "pinion_arena_fragmentation",
      "Part of the arena's memory that nobody asked for",
      () => arena().fragmentation,
    ],
    [
      "pinion_major_faults_total",
      "Page faults of the worker's thread that waited for a disk",
      () => memoryDoor().facts().majorFaults ?? 0,
    ],
    [
      "pinion_pin_promotions_total",
      "Extents that heat has lifted to a higher class",
      () => adaptive().promoted,
    ],
    [
      "pinion_pin_demotions_total",
      "Extents that sank a class for want of heat or by a hint",
      () => adaptive().demoted,
    ],
    ["pinion_pin_hints_total", "Extents that a hint brought in", () => adaptive().hinted],
  ];
  for (const [name, help, read] of gauges) telemetry.observe(name, help, read);
}

function observePins(telemetry: Telemetry, stats: () => PinStats): void {
  for (const priority of PIN_PRIORITIES) {
    const labels = { priority };
    telemetry.observe(
      "pinion_pinned_bytes",
      "Memory of extents that are pinned, by class",
      () => stats().byPriority[priority].bytes,
      labels,
    );
    telemetry.observe(
      "pinion_pins",
      "Extents that are pinned, by class",
      () => stats().byPriority[priority].count,
      labels,
    );
  }
  for (const reason of EVICTION_REASONS) {
    telemetry.observe(
      "pinion_pin_evictions_total",
      "Extents that left memory, by reason",
      () => stats().evictions[reason],
      { reason },
    );
  }
  const gauges: readonly (readonly [name: string, help: string, read: () => number])[] = [
    [
      "pinion_pin_budget_bytes",
      "Memory that pins of all workers may take",
      () => stats().budgetBytes,
    ],
    [
      "pinion_pin_budget_used_bytes",
      "Memory that pins of all workers take",
      () => stats().budgetUsedBytes,
    ],
    [
      "pinion_pin_locked_bytes",
      "Memory of extents that the system may not page out",
      () => stats().lockedBytes,
    ],
    [
      "pinion_pin_degraded",
      "Extents that are not in memory although they should be",
      () => sum(stats().degraded),
    ],
    [
      "pinion_pin_degradations_total",
      "How often an extent was not in memory although it should have been",
      () => sum(stats().degradedTotal),
    ],
    [
      "pinion_pin_numa_local_share",
      "Part of the measured memory that is on the NUMA node it is wanted on",
      () => stats().numaLocal.share,
    ],
    [
      "pinion_pin_huge_share",
      "Part of the measured memory that is in huge pages",
      () => stats().huge.share,
    ],
    [
      "pinion_pin_mean_seconds",
      "How long extents stay in memory",
      () => stats().meanPinTimeMs / 1000,
    ],
  ];
  for (const [name, help, read] of gauges) telemetry.observe(name, help, read);
}

function observeNodes(telemetry: Telemetry, nodes: readonly number[], stats: () => PinStats): void {
  for (const node of nodes) {
    telemetry.observe(
      "pinion_pin_node_bytes",
      "Memory of extents as it was found, by NUMA node",
      () => stats().bytesByNode[node] ?? 0,
      { node: String(node) },
    );
  }
  telemetry.observe(
    "pinion_pin_numa_moves_total",
    "Extents whose memory was brought to the NUMA node it is wanted on",
    () => stats().moved.extents,
  );
  telemetry.observe(
    "pinion_pin_numa_moved_bytes_total",
    "Memory that was brought to the NUMA node it is wanted on",
    () => stats().moved.bytes,
  );
}

function observeTypes(
  telemetry: Telemetry,
  types: readonly string[],
  byType: () => ReadonlyMap<string, TypeMemory>,
): void {
  for (const type of types) {
    telemetry.observe(
      "pinion_resident_extents",
      "Extents in memory, by actor type",
      () => byType().get(type)?.extents ?? 0,
      { type },
    );
    telemetry.observe(
      "pinion_resident_extent_bytes",
      "Length of the extents in memory, by actor type",
      () => byType().get(type)?.bytes ?? 0,
      { type },
    );
  }
}

function remembered<T>(clock: Clock, read: () => T): () => T {
  let value: T | undefined;
  let readAtMs = -Infinity;
  return () => {
    const nowMs = clock.nowMs();
    if (value === undefined || nowMs - readAtMs > FRESH_MS) {
      value = read();
      readAtMs = nowMs;
    }
    return value;
  };
}

const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, n) => total + n, 0);
