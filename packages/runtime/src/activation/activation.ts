/**
 * An activation: the one in-memory instance of an actor on its worker. Next states:
 *
 *     loading       → active | ended (loading failed: its calls are refused, nothing is recorded)
 *     active        → deactivating
 *     deactivating  → ended | loading (a call came while only the checkpoint was missing)
 *
 * I1 at most one turn runs at a time, but for readonly turns and what the type's reentrancy lets in.
 * I2 readonly turns see the committed-or-pipelined base, never the running turn's overlay (P7).
 * I3 at most one draft of the state is open; another turn that wants one commits the open one first (protocol.md A).
 * I4 every call admitted is answered: by a turn, a refusal, or a new activation.
 */
import {
  formatActorId,
  NO_LSN,
  PinionError,
  type ActorId,
  type Lsn,
  type Timer,
} from "@pinion/core";
import type { ActorExtents, ActorKey, ResidentActor } from "@pinion/storage";
import type { DeactivationReason } from "../definition/define-actor.ts";
import type { IncomingCall } from "../gateway/dispatcher.ts";
import type { CallEntry } from "../shard/call-entry.ts";
import { refusedOutcome } from "../shard/outcome.ts";
import type { Shard, ShardMember, UnmigratedState } from "../shard/shard.ts";
import { openSubCall } from "./call-actor.ts";
import { loadActivation, resumeActivation } from "./load.ts";
import { freezeState, type StateVersion } from "../state-value/index.ts";
import { Mailbox } from "./mailbox.ts";
import type { RegisteredType } from "./registered-type.ts";
import type { ReminderState } from "../reminders/reminder-state.ts";
import type { TurnServices } from "./services.ts";
import type { SubCallTarget } from "./sub-call.ts";
import type { Turn } from "./turn.ts";
import { runHook } from "./hook-turn.ts";
import { startReadonlyTurn } from "./readonly-turn.ts";
import { abandonTurn, startTurn } from "./turn-runner.ts";
import { unknownMethod, unknownType } from "./unknown-name.ts";

/** Of an activation that is still loading. */
const NO_STATE = freezeState<unknown>(undefined);

export type ActivationState = "loading" | "active" | "deactivating" | "ended";

export class Activation implements ShardMember {
  readonly type: RegisteredType;
  readonly id: ActorId;
  readonly actor: ActorKey;
  readonly shard: Shard;
  readonly services: TurnServices;
  state: ActivationState = "loading";
  /** The newest state value: immutable, shared with readonly turns and checkpoints. */
  base: StateVersion = NO_STATE;
  /** False until a whole state value is in the log or the store: deltas need something to apply to. */
  stored = false;
  unmigrated: UnmigratedState | undefined = undefined;
  /** LSN of the newest commit of this actor. */
  lastLsn: Lsn = NO_LSN;
  vars: unknown = undefined;
  /** Waits for the next checkpoint. */
  dirty = false;
  /** The exclusive turn. */
  turn: Turn | undefined = undefined;
  /** Turn with the open draft (I3). */
  drafting: Turn | undefined = undefined;
  /** That of `onActivate` or `onDeactivate`, while one runs. */
  hook: Turn | undefined = undefined;
  /** Turns that have not ended, of every kind. */
  running = 0;
  reminders: Map<string, ReminderState> | undefined = undefined;
  /** Its extents, of a type that declares some, once it is loaded. */
  resident: ResidentActor | undefined = undefined;
  lastUsedMs: number;
  /** Links of the catalog's list by last use. */
  newer: Activation | undefined = undefined;
  older: Activation | undefined = undefined;
  #mailbox: Mailbox<CallEntry> | undefined;
  #earlyReadonly: IncomingCall[] | undefined;
  #timers: Set<Timer> | undefined;
  #pumping = false;
  #waitsForRoom = false;
  #endWhenIdle: DeactivationReason | undefined;
  /** While only the checkpoint keeps a deactivation from ending: a call takes it back. */
  #revive: (() => void) | undefined;

  constructor(
    type: RegisteredType,
    id: ActorId,
    actor: ActorKey,
    shard: Shard,
    services: TurnServices,
  ) {
    this.type = type;
    this.id = id;
    this.actor = actor;
    this.shard = shard;
    this.services = services;
    this.lastUsedMs = services.clock.nowMs();
  }

  get stateVersion(): number {
    return this.type.stateVersion;
  }

  get extents(): ActorExtents | undefined {
    return this.resident?.extents;
  }

  get waiting(): number {
    return (this.#mailbox?.length ?? 0) + (this.#earlyReadonly?.length ?? 0);
  }

  get hasEnded(): boolean {
    return this.state === "ended";
  }

  get idle(): boolean {
    return this.state === "active" && this.running === 0 && this.waiting === 0;
  }

  /** Loads the actor and runs `onActivate`; calls admitted meanwhile wait. */
  load(): Promise<void> {
    return loadActivation(this);
  }

  /** Loading is done: what waited runs. */
  activated(): void {
    this.state = "active";
    for (const call of this.#takeEarlyReadonly()) startReadonlyTurn(this, call);
    this.pump();
  }

  /** Loading failed: what waited is refused. */
  loadFailed(error: unknown): void {
    this.state = "ended";
    this.#letExtentsGo();
    // Gone from the catalog first: what is refused may be tried again at once, at a new activation.
    this.services.ended(this, "requested");
    this.refuseWaiting(error);
  }

  #takeEarlyReadonly(): IncomingCall[] {
    const calls = this.#earlyReadonly ?? [];
    this.#earlyReadonly = undefined;
    return calls;
  }

  /** Queues or starts a mutating call whose entry is in the dedupe window. */
  admit(entry: CallEntry): void {
    if (
      this.state === "active" &&
      (this.mayEnter(entry.call) || (this.#isFree && this.waiting === 0 && this.#roomOrWait()))
    ) {
      startTurn(this, entry);
      return;
    }
    this.#mailbox ??= new Mailbox(this.type.mailboxLength);
    if (this.#mailbox.push(entry)) {
      this.#revive?.();
      if (this.services.unwritten.failure !== undefined) this.pump();
    } else {
      this.shard.refuse(
        entry,
        refusedOutcome(
          new PinionError(
            "overloaded",
            `the mailbox of ${formatActorId(this.id)} is full (${this.type.mailboxLength} calls)`,
            {
              details: { actor: this.actor, mailboxLength: this.type.mailboxLength },
              retryAfterMs: 20,
            },
          ),
        ),
      );
    }
  }

  /** Recovery: this call's turn was cut off by a crash and runs before anything else. */
  admitFirst(entry: CallEntry): void {
    this.#mailbox ??= new Mailbox(this.type.mailboxLength);
    this.#mailbox.unshift(entry);
    this.pump();
  }

  admitReadonly(call: IncomingCall): void {
    if (this.state === "active") startReadonlyTurn(this, call);
    else if (this.waiting < this.type.mailboxLength) {
      (this.#earlyReadonly ??= []).push(call);
      this.#revive?.();
    } else
      call.sink.reply(
        call,
        refusedOutcome(
          new PinionError(
            "overloaded",
            `${formatActorId(this.id)} is being loaded and its mailbox is full`,
            { retryAfterMs: 20 },
          ),
        ),
      );
  }

  /** Whether reentrancy lets this call in although a turn runs. */
  mayEnter(call: IncomingCall): boolean {
    if (this.turn === undefined || !this.turn.suspended || this.turn.recording) return false;
    if (this.type.reentrancy === "none") return false;
    if (this.type.reentrancy === "full") return this.running < this.type.mailboxLength;
    return call.chain.includes(formatActorId(this.id));
  }

  /** No turn runs, and none that entered another one waits for its record: what it changed is not what the next may see. */
  get #isFree(): boolean {
    return this.turn === undefined && this.drafting?.recording !== true;
  }

  /** Starts waiting calls while nothing runs. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.state === "active" && this.#isFree && this.waiting > 0) {
        if (!this.#roomOrWait()) break;
        const entry = this.#mailbox?.shift();
        if (entry === undefined) break;
        startTurn(this, entry);
      }
    } finally {
      this.#pumping = false;
    }
    if (this.#endWhenIdle !== undefined && this.idle) void this.deactivate(this.#endWhenIdle);
  }

  /** Too much that extents have changed waits for a checkpoint: what would change more waits too, or is refused while checkpoints fail. */
  #roomOrWait(): boolean {
    const { unwritten } = this.services;
    if (this.resident === undefined || !unwritten.isFull) return true;
    if (unwritten.failure !== undefined && this.#mailbox !== undefined) {
      const outcome = refusedOutcome(unwritten.failure);
      for (const entry of this.#mailbox.drain()) this.shard.refuse(entry, outcome);
    }
    if (!this.#waitsForRoom) {
      this.#waitsForRoom = true;
      unwritten.whenRoom(() => {
        this.#waitsForRoom = false;
        this.pump();
      });
    }
    return false;
  }

  /** A turn has ended; `turn-runner` calls this last. */
  turnEnded(turn: Turn): void {
    this.running--;
    this.lastUsedMs = this.services.clock.nowMs();
    if (this.resident !== undefined) {
      const { residency } = this.services;
      residency.used(this.resident);
      if (turn.accessComplete !== undefined)
        residency.accessComplete?.(this.resident, turn.accessComplete);
    }
    if (this.turn === turn) this.turn = undefined;
    if (this.drafting === turn) this.drafting = undefined;
    this.pump();
  }

  /** The time of a suspended turn is up: it ends now, whatever its method still does. */
  timeUp(turn: Turn, error: PinionError): void {
    turn.abort(error);
    abandonTurn(turn, error);
  }

  /** The caller gave up on a call that may be waiting. */
  cancelWaiting(matches: (call: IncomingCall) => boolean, error: PinionError): void {
    const queued = this.#mailbox?.take((entry) => matches(entry.call));
    if (queued !== undefined) this.shard.refuse(queued, refusedOutcome(error));
  }

  /** Nothing that waits will run here. */
  refuseWaiting(error: unknown): void {
    const outcome = refusedOutcome(error);
    for (const entry of this.#mailbox?.drain() ?? []) this.shard.refuse(entry, outcome);
    for (const call of this.#takeEarlyReadonly()) call.sink.reply(call, outcome);
  }

  /** Takes a waiting call back and fails it. */
  withdraw(call: IncomingCall, error: PinionError): void {
    this.cancelWaiting((waiting) => waiting === call, error);
  }

  /** @throws `unknown-actor-type`, `unknown-method`, with the nearest names */
  checkTarget(type: string, key: string, method: string): RegisteredType | undefined {
    if (key === "")
      throw new PinionError("invalid-actor-id", `actor key of "${type}" must not be empty`);
    const target = this.services.type(type);
    if (target === undefined) throw unknownType(type, this.services.typeNames());
    if (!target.methods.has(method)) throw unknownMethod(type, method, [...target.methods.keys()]);
    return target;
  }

  callActor(turn: Turn, target: SubCallTarget, method: string, args: Uint8Array): Promise<unknown> {
    return openSubCall(turn, target, method, args);
  }

  /** Runs a method once after a delay, as a turn; volatile. */
  setTimer(delayMs: number, method: string, args: Uint8Array): () => void {
    if (!(delayMs >= 0))
      throw new PinionError("invalid-argument", `a timer's delay must be ≥ 0 ms, not ${delayMs}`);
    if (!this.type.methods.has(method))
      throw unknownMethod(this.type.name, method, [...this.type.methods.keys()]);
    const timers = (this.#timers ??= new Set());
    const timer = this.services.clock.setTimer(delayMs, () => {
      timers.delete(timer);
      if (this.state !== "active") return;
      this.services.transmit(this.#ownCall(method, args));
    });
    timers.add(timer);
    return () => {
      timer.cancel();
      timers.delete(timer);
    };
  }

  #ownCall(method: string, args: Uint8Array): IncomingCall {
    const { id, services, actor } = this;
    return {
      session: services.ownSession,
      seq: services.nextOwnSeq(),
      path: "",
      namespace: id.namespace,
      branch: id.branch,
      type: id.type,
      key: id.key,
      method,
      args,
      deadlineAtMs: Infinity,
      attempt: 1,
      issuedAt: services.hlc.last,
      consistency: "linearizable",
      idempotencyKey: undefined,
      idempotencyTtlMs: 0,
      traceparent: undefined,
      chain: [],
      sink: {
        reply: (call, outcome) => {
          if (!outcome.ok)
            services.warn("a timer's turn failed", outcome, { actor, method: call.method });
        },
      },
    };
  }

  /** What of them waits for a checkpoint is in the log. */
  #letExtentsGo(): void {
    if (this.resident !== undefined) this.services.residency.deactivate(this.resident);
    this.resident = undefined;
  }

  /** Its worker is gone: nothing of it runs any more. */
  abandon(): void {
    this.state = "ended";
    this.hook?.extents?.end();
    this.#letExtentsGo();
    for (const timer of this.#timers ?? []) timer.cancel();
    this.#mailbox?.drain();
    this.#takeEarlyReadonly();
  }

  requestDeactivation(): void {
    this.#endWhenIdle ??= "requested";
  }

  /** Ends the activation once `onDeactivate` ran and its last commit is in a checkpoint. */
  async deactivate(reason: DeactivationReason): Promise<void> {
    if (this.state !== "active") return;
    this.state = "deactivating";
    for (const timer of this.#timers ?? []) timer.cancel();
    if (this.type.options.onDeactivate !== undefined) {
      try {
        await runHook(this, "onDeactivate", (ctx) =>
          this.type.options.onDeactivate?.(ctx as never, reason),
        );
      } catch (error) {
        this.services.warn("onDeactivate failed", error, { actor: this.actor });
      }
    }
    while (await this.#calledBeforeApplied(reason)) {
      if (await resumeActivation(this)) return;
      this.state = "deactivating";
    }
    this.state = "ended";
    this.#letExtentsGo();
    this.services.ended(this, reason);
    const queued = this.#mailbox?.drain() ?? [];
    const early = this.#takeEarlyReadonly();
    for (const entry of queued) this.shard.readmit(entry);
    for (const call of early) this.services.transmit(call);
  }

  /**
   * Waits until the store has everything of this activation, which may take long while the store fails. True when a call came
   * first: it must not wait for that, the activation goes on.
   */
  async #calledBeforeApplied(reason: DeactivationReason): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    if (reason !== "stopping") {
      if (this.waiting > 0) return true;
      this.#revive = () => resolve(true);
    }
    this.shard.whenApplied(this).then(
      () => resolve(false),
      (error: unknown) => {
        // The worker is failing or stopping: the log has everything, the next start replays it.
        if (reason !== "stopping")
          this.services.warn("a deactivation did not wait for its checkpoint", error, {
            actor: this.actor,
          });
        resolve(false);
      },
    );
    const called = await promise;
    this.#revive = undefined;
    return called;
  }
}
