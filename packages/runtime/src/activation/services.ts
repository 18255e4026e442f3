/**
 * What activations and turns need from the worker they live in: the seam that keeps them testable and free of cycles.
 */
import type { Clock, HybridClock, Lsn, PinionError, Rng, Telemetry } from "@pinion/core";
import type {
  ActorKey,
  ActorRecord,
  ExtentResidency,
  PinListing,
  ResidentActor,
  UnwrittenPages,
} from "@pinion/storage";
import type { DeactivationReason } from "../definition/define-actor.ts";
import type { IncomingCall, Session } from "../gateway/dispatcher.ts";
import type { ReminderOp } from "../records/runtime-records.ts";
import type { StateVersion } from "../state-value/index.ts";
import type { Activation } from "./activation.ts";
import type { RegisteredType } from "./registered-type.ts";
import type { Turn } from "./turn.ts";

/** Notes which turn the event loop is in, so that a blocked worker can be named from outside. */
export interface TurnMonitor {
  /** The event loop begins with user code of this actor; `call` is undefined for a hook, a migrate step or an effect. */
  enter(actor: ActorKey, method: string, call: IncomingCall | undefined): void;
  /** A turn that waited goes on. Where it yields again is not seen, so what blocks later need not be this turn. */
  resume(actor: ActorKey, method: string, call: IncomingCall | undefined): void;
  /** The code that `enter` announced has returned. */
  leave(): void;
}

/** What a residency with pins can tell and be told besides. */
export interface ResidencyHints {
  /** What an extent of an active actor has got. */
  pinOf(actor: ActorKey, name: string): PinListing | undefined;
  /** The active actor is called soon: what of it had to go comes back now. */
  willAccessSoon(actor: ResidentActor): void;
  /** The active actor is not called again soon: these extents of it may go earlier. */
  accessComplete(actor: ResidentActor, names: readonly string[]): void;
}

export type ActorResidency = ExtentResidency & Partial<ResidencyHints>;

export interface TurnServices {
  readonly clock: Clock;
  readonly hlc: HybridClock;
  readonly rng: Rng;
  readonly monitor: TurnMonitor;
  readonly telemetry: Telemetry;
  /** Session of calls that no client made: timers. Unique per incarnation of the worker. */
  readonly ownSession: Session;
  nextOwnSeq(): number;
  type(name: string): RegisteredType | undefined;
  typeNames(): string[];
  /** The actor's record: what was recovered from the log over what the store holds. Undefined for one never written. */
  loadRecord(activation: Activation): Promise<LoadedRecord | undefined>;
  /**
   * Opens the actor's extents as store and log have them, and brings them in; undefined for a type without.
   * @param storedLsn of the record that `loadRecord` found in the store before
   * @throws `corruption`, `io-error`
   */
  loadExtents(activation: Activation, storedLsn: Lsn): Promise<void>;
  readonly residency: ActorResidency;
  /** While it is full, no turn begins that may change extents. */
  readonly unwritten: UnwrittenPages;
  /** The actor is called soon: loads it behind the turns, with its extents. A hint: what cannot be done is not. @throws `unknown-actor-type`, `invalid-actor-id` */
  bringIn(type: string, namespace: string, branch: string, key: string): void;
  /** Sends a call to wherever its actor lives. */
  transmit(call: IncomingCall): void;
  /** A turn yielded: its time limits are watched from now on. */
  watch(turn: Turn): void;
  unwatch(turn: Turn): void;
  /** A turn waits for another actor: look for deadlocks soon. */
  blocked(): void;
  /** True when this call blocked the event loop twice and may not run again. */
  isPoisoned(call: IncomingCall): boolean;
  /** The same for user code that no call names: "load", a hook. */
  isPoisonedHook(actor: ActorKey, hook: string): boolean;
  /** Reminder changes of a committed turn. */
  remindersChanged(activation: Activation, ops: readonly ReminderOp[]): void;
  /** The activation has ended and must be forgotten. */
  ended(activation: Activation, reason: DeactivationReason): void;
  warn(message: string, error: unknown, details: Record<string, string | number>): void;
  turnFinished(turn: Turn, ok: boolean): void;
  /** The turn was given up while its method still runs. */
  abandoned(turn: Turn): void;
  /** The method of a turn that was given up has returned after all. */
  returned(turn: Turn): void;
  /** The log can take nothing any more. */
  readonly failure: PinionError | undefined;
}

export interface LoadedRecord extends Omit<ActorRecord, "state"> {
  /** Of the record in the store; NO_LSN when the log alone knows the actor. */
  readonly storedLsn: Lsn;
  /** With the log's later deltas applied; undefined when there is no state value. */
  readonly state: StateVersion | undefined;
}
