/** Which extents are in memory, and why: pins, budget, pressure, NUMA. */
export { AdaptiveController, type AdaptiveReport, type HotExtent } from "./adaptive-controller.ts";
export { resolveAdaptiveOptions, type AdaptiveOptions } from "./adaptive-options.ts";
export { BudgetCounter } from "./budget-counter.ts";
export {
  memoryBudget,
  resolveMemoryBudgetOptions,
  type MemoryBudget,
  type MemoryBudgetOptions,
} from "./memory-budget.ts";
export { HostFiles } from "./host-files.ts";
export { MemoryGovernor, type GovernorReport } from "./memory-governor.ts";
export { readMemoryLimits, readUsedBytes, type MemoryLimits } from "./memory-limits.ts";
export { MIGRATION_POLICIES, type DataKind, type MigrationPolicy } from "./numa-policy.ts";
export {
  readNumaTopology,
  workerHome,
  type NumaNode,
  type NumaTopology,
  type WorkerHome,
} from "./numa-topology.ts";
export type { PageUse } from "./page-size.ts";
export { Placer, type PlacerOptions, type Placing, type PlacingRequest } from "./placer.ts";
export type { BoundedType, TypeUse } from "./pin-groups.ts";
export { PinManager, type PinManagerOptions } from "./pin-manager.ts";
export type { AimStats, PinFilter, PinListing, PinStats, PriorityStats } from "./pin-report.ts";
export {
  EVICTION_REASONS,
  PIN_PRIORITIES,
  PRIORITY_OF_PROFILE,
  type DegradedReason,
  type EvictionReason,
  type LoadReport,
  type LoadRequest,
  type MemoryProfile,
  type PinBudget,
  type PinKey,
  type PinLifetime,
  type PinOptions,
  type PinOutcome,
  type PinPriority,
  type PinTarget,
} from "./pin-types.ts";
export { TypeBudgetTable, type TypeBudget, type TypeBudgetCells } from "./type-budgets.ts";
