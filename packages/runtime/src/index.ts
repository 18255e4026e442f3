export type {
  ActorContext,
  ActivationContext,
  EffectContext,
  ExtentHandles,
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
export type { Host, StopOptions } from "./host/host.ts";
export { readHostInfo, type FoundHost, type HostInfo } from "./host/host-info.ts";
export type {
  ActorInspection,
  ActorRow,
  ActorsPage,
  Degradation,
  Finding,
  HealthAnswer,
  HostFacts,
  HostStatus,
  InspectAnswer,
  QuarantineEntry,
  ReadyReport,
  TurnSummary,
  TypeSummary,
  WorkerCondition,
  WorkerStatus,
} from "./admin/index.ts";
