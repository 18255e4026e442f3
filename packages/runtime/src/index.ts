export type { ActorContext, ActivationContext, EffectContext, MissedPolicy, ReminderFiring, ReminderInfo, Reminders, ReminderSchedule, SendMethods } from "./definition/actor-context.ts";
export { defineActor, isActorDefinition, readonly, type ActorDefinition, type ActorOptions, type DeactivationReason, type Effect, type MigrateStep, type Reentrancy } from "./definition/define-actor.ts";
export * from "./gateway/index.ts";
