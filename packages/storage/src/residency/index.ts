/** Which extents are in memory, and why: pins, budget, pressure, NUMA. */
export { AdaptiveController, type AdaptiveReport, type HotExtent } from "./adaptive-controller.ts";
export type { AdaptiveOptions } from "./adaptive-options.ts";
export { BudgetCounter } from "./budget-counter.ts";
export {
  memoryBudget,
  resolveMemoryBudgetOptions,
  type MemoryBudget,
  type MemoryBudgetOptions,
} from "./memory-budget.ts";
export { MemoryGovernor, type GovernorReport } from "./memory-governor.ts";
export { readMemoryLimits, readUsedBytes, type MemoryLimits } from "./memory-limits.ts";
export type { BoundedType, TypeUse } from "./pin-groups.ts";
export { PinManager, type PinManagerOptions } from "./pin-manager.ts";
export type { AimStats, PinFilter, PinListing, PinStats, PriorityStats } from "./pin-report.ts";
export {
  EVICTION_REASONS,
  PIN_PRIORITIES,
  PRIORITY_OF_PROFILE,
  type DegradedReason,
  type EvictionReason,
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
