export type {
  ActorContext,
  ActivationContext,
  ActorMemory,
  ActorMemoryStats,
  EffectContext,
  ExtentHandles,
  ExtentMemoryStats,
  MissedPolicy,
  NoExtents,
  ReminderFiring,
  ReminderInfo,
  Reminders,
  ReminderSchedule,
  SendMethods,
} from "./definition/actor-context.ts";
export {
  defineActor,
  isActorDefinition,
  readonly,
  type ActorDefinition,
  type ActorOptions,
  type DeactivationReason,
  type Effect,
  type ExtentOptions,
  type MemoryOptions,
  type MigrateStep,
  type Reentrancy,
} from "./definition/define-actor.ts";
export * from "./gateway/index.ts";
export { startHost, type StartHostOptions } from "./host/start-host.ts";
export {
  HOST_OPTIONS,
  resolveHostOptions,
  type HostOptions,
  type HostOptionsGiven,
} from "./host/host-options.ts";
export {
  CONFIG_FILE_DEFAULT,
  loadHostOptions,
  type HostOptionsSources,
} from "./host/load-host-options.ts";
export { memoryPlanOf } from "./host/settings-of-options.ts";
export type { HostMemoryPlan } from "./memory/host-memory.ts";
export type { Host, StopOptions } from "./host/host.ts";
export { readHostInfo, type FoundHost, type HostInfo } from "./host/host-info.ts";
export type {
  ActorExtentsReport,
  ActorInspection,
  ActorRow,
  ActorsPage,
  Degradation,
  ExtentRow,
  Finding,
  HealthAnswer,
  HostFacts,
  HostMemoryFacts,
  HostStatus,
  InspectAnswer,
  PinRow,
  PinsAnswer,
  QuarantineEntry,
  ReadyReport,
  SegmentsRow,
  TurnSummary,
  TypeSummary,
  WorkerCondition,
  WorkerPins,
  WorkerStatus,
} from "./admin/index.ts";
