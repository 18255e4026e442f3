/**
 * What user code sees as `ctx`: the types. The turn engine implements them (turn.ts); nothing here runs.
 */
import type { ActorId, ActorType, RemoteMethods } from "@pinion/core";
import type { DegradedReason, ExtentIndexView, StructureHandles } from "@pinion/storage";

/** Sends instead of calls: same arguments, nothing to wait for. */
export type SendMethods<T extends ActorType> = {
  readonly [M in keyof T["methods"]]: T["methods"][M] extends (
    ctx: never,
    ...args: infer Args
  ) => unknown
    ? (...args: Args) => void
    : never;
};

export type MissedPolicy = "once" | "all" | "skip";

/** When a reminder is due: exactly one of `afterMs`, `at`, `everyMs`, `cron`. */
export interface ReminderSchedule {
  /** Once, this many ms from the turn's `now()`. */
  readonly afterMs?: number;
  /** Once, at this time. */
  readonly at?: Date;
  /** Again and again, every so many ms (≥ 1), first one interval from now. */
  readonly everyMs?: number;
  /** Cron with 5 or 6 fields (seconds first). */
  readonly cron?: string;
  /** IANA name, with `cron`; default UTC. */
  readonly timeZone?: string;
  /** What happens to due times that passed while nothing ran: one call for all of them (default), one call each, or none. */
  readonly missed?: MissedPolicy;
}

export interface ReminderInfo {
  readonly name: string;
  readonly method: string;
  readonly due: Date;
  readonly schedule: ReminderSchedule;
}

/** The due time a turn was started for. */
export interface ReminderFiring {
  readonly name: string;
  readonly due: Date;
  /** Due times that passed before this one without a call of their own (policy "once"). */
  readonly missed: number;
}

export interface Reminders {
  /** Sets or replaces a reminder; durable with the turn's commit. @throws `invalid-argument` */
  set(name: string, schedule: ReminderSchedule, method: string, ...args: unknown[]): void;
  /** True if there was one. */
  cancel(name: string): boolean;
  list(): ReminderInfo[];
}

/** A handle for each extent that the definition declares. */
export type ExtentHandles<Extents> = StructureHandles<Extents>;

/** Of a type that declares no extents. */
export type NoExtents = Readonly<Record<never, never>>;

/** What one extent of an actor has got. */
export interface ExtentMemoryStats {
  readonly lengthBytes: number;
  /** It is in memory as a whole; otherwise it is read from disk page by page. */
  readonly resident: boolean;
  /** The system may not page it out. */
  readonly locked: boolean;
  /** Why it is not in memory although its profile asks for that (docs/residency.md); undefined when it is, or was not asked for. */
  readonly degraded: DegradedReason | undefined;
}

export interface ActorMemoryStats {
  /** Of all extents together. */
  readonly lengthBytes: number;
  readonly residentBytes: number;
  readonly lockedBytes: number;
  /** By name. */
  readonly extents: Readonly<Record<string, ExtentMemoryStats>>;
}

export interface ActorMemory {
  stats(): ActorMemoryStats;
  /** Flags, connections and attributes of the extents, and what was measured. */
  readonly index: ExtentIndexView;
  /**
   * These actors are called soon: they are brought in behind this turn, with the extents that their profile keeps in memory. A hint: what cannot be
   * done is not, and nobody is told.
   */
  willAccessSoon<T extends ActorType>(type: T | T["name"], ...keys: string[]): void;
  /** This actor is not called again soon: the named extents, or all, sink by one class and go earlier when memory is short. */
  accessComplete(...extents: string[]): void;
}

export interface ActorContext<State, Vars = undefined, Extents = NoExtents> {
  readonly id: ActorId;
  /** The actor's state; change it in place or assign a new value. Changes become visible and durable together, when the turn ends without throwing. */
  state: State;
  /**
   * The actor's extents (`memory.extents`), by name. What a turn changes in them becomes visible and durable with its state; handles and views are
   * good until the end of the turn, or until a reentrant turn enters.
   */
  readonly extents: ExtentHandles<Extents>;
  /** What the extents have in memory, and hints about what will be used. */
  readonly memory: ActorMemory;
  /** Values of this activation only. */
  readonly vars: Vars;
  /** Aborts when the caller gives up, the deadline passes, or the turn takes longer than `maxTurnMs`. */
  readonly signal: AbortSignal;
  /** Ms left until the call's deadline; Infinity without one. */
  remainingMs(): number;
  /** Wall-clock ms since the epoch, the same at each call within a turn and in its rerun after a crash. */
  now(): number;
  /** Uniform in [0, 1), the same sequence in a rerun of the turn. */
  random(): number;
  /** Calls another actor and waits for its answer. Applied at most once however often this turn is rerun. */
  get<T extends ActorType>(type: T, key: string): RemoteMethods<T>;
  get<T extends ActorType>(type: T["name"], key: string): RemoteMethods<T>;
  /** Sends to another actor: leaves when this turn commits, is delivered exactly once, answers nothing. */
  send<T extends ActorType>(type: T, key: string): SendMethods<T>;
  send<T extends ActorType>(type: T["name"], key: string): SendMethods<T>;
  /** Runs the definition's effect of that name after this turn's commit, at least once. */
  afterCommit(effect: string, ...args: unknown[]): void;
  readonly reminders: Reminders;
  /** Calls a method of this actor once after `delayMs`, unless the activation ends first. Returns what stops it. */
  setTimer(delayMs: number, method: string, ...args: unknown[]): () => void;
  /** Set when a reminder started this turn. */
  readonly reminder: ReminderFiring | undefined;
  /** Ends the activation once its mailbox is empty. */
  deactivate(): void;
}

/** `ctx` of `onActivate` and `onDeactivate`: no caller, no deadline, no sub-calls. */
export interface ActivationContext<State, Vars = undefined, Extents = NoExtents> {
  readonly id: ActorId;
  state: State;
  readonly extents: ExtentHandles<Extents>;
  readonly memory: ActorMemory;
  readonly vars: Vars;
  readonly signal: AbortSignal;
  now(): number;
  random(): number;
  setTimer(delayMs: number, method: string, ...args: unknown[]): () => void;
}

/** `ctx` of an effect. */
export interface EffectContext {
  readonly id: ActorId;
  readonly signal: AbortSignal;
  /** 1 for the first attempt. */
  readonly attempt: number;
}
