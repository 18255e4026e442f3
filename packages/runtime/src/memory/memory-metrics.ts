/** Pins and arena of a worker as metrics: read when somebody asks, free otherwise. */
import type { Clock, Telemetry } from "@pinion/core";
import {
  EVICTION_REASONS,
  memoryDoor,
  PIN_PRIORITIES,
  type ArenaStats,
  type PinStats,
} from "@pinion/storage";

/** One look at all pins serves all metrics of a page. */
const FRESH_MS = 250;

export function observeMemory(
  telemetry: Telemetry,
  clock: Clock,
  readPins: () => PinStats,
  readArena: () => ArenaStats,
): void {
  let pins: PinStats | undefined;
  let readAtMs = -Infinity;
  const stats = (): PinStats => {
    const nowMs = clock.nowMs();
    if (pins === undefined || nowMs - readAtMs > FRESH_MS) {
      pins = readPins();
      readAtMs = nowMs;
    }
    return pins;
  };
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
      "pinion_pin_numa_local_share",
      "Part of the resident memory that is on this worker's NUMA node",
      () => stats().numaLocal.share,
    ],
    [
      "pinion_pin_huge_share",
      "Part of the resident memory in huge pages",
      () => stats().huge.share,
    ],
    [
      "pinion_pin_mean_seconds",
      "How long extents stay in memory",
      () => stats().meanPinTimeMs / 1000,
    ],
    ["pinion_arena_committed_bytes", "Memory behind the arena", () => readArena().committedBytes],
    [
      "pinion_arena_fragmentation",
      "Part of the arena's memory that nobody asked for",
      () => readArena().fragmentation,
    ],
    [
      "pinion_major_faults_total",
      "Page faults of the worker's thread that waited for a disk",
      () => memoryDoor().facts().majorFaults ?? 0,
    ],
  ];
  for (const [name, help, read] of gauges) telemetry.observe(name, help, read);
}

const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, n) => total + n, 0);
