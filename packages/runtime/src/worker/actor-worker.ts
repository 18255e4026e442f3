/**
 * A worker: the unit that owns shards. It recovers them, runs their actors, takes checkpoints, lets idle activations go and
 * stops in order. Driven by what is injected (clock, log, store, randomness), so that a test can run it on virtual time over a
 * simulated disk.
 *
 * W1 a call is admitted only once recovery is through, and never after the log has failed.
 * W2 everything admitted is bounded: calls in flight, mailboxes, outboxes, dedupe bytes, activations. Beyond: `overloaded`.
 * W3 a clean stop ends with a checkpoint of everything: the next start replays nothing.
 */
import { FIRST_TERM, HybridClock, PinionError, shardId, type Timer } from "@pinion/core";
import type { Activation } from "../activation/activation.ts";
import { registerType, type RegisteredType } from "../activation/registered-type.ts";
import { Checkpointer } from "../checkpoint/checkpointer.ts";
import type { ActorDefinition } from "../definition/define-actor.ts";
import type {
  ActorTypeDescription,
  CallSink,
  Dispatcher,
  IncomingCall,
  Session,
} from "../gateway/dispatcher.ts";
import type { Turn } from "../activation/turn.ts";
import { cutOffTurn } from "../activation/turn-runner.ts";
import { unknownType } from "../activation/unknown-name.ts";
import { parseActorKey } from "../records/actor-key.ts";
import { ShardReminders } from "../reminders/shard-reminders.ts";
import { atOnce } from "../shard/at-once.ts";
import { recoverShards, SHARDS_AT_ONCE } from "../shard/recovery.ts";
import { Shard } from "../shard/shard.ts";
import { Admission } from "./admission.ts";
import { discardActors } from "./discard-actors.ts";
import { fireReminder, rerunOpenCalls } from "./reruns.ts";
import { Sessions } from "./sessions.ts";
import { WorkerCore, type WorkerPorts } from "./worker-core.ts";
import type { WorkerOptions } from "./worker-options.ts";
import { outboxPorts, turnServices, type ServiceHooks } from "./worker-services.ts";

const SWEEP_MS = 1_000;
/** While no actor is in memory there are only sessions to forget. */
const IDLE_SWEEP_MS = 5 * 60_000;
/** Activations ended in one sweep: the rest wait a second, so that a sweep stays short. */
const SWEEP_MAX = 5_000;

export interface RecoverySummary {
  readonly records: number;
  readonly rerun: number;
  readonly redelivered: number;
  readonly ms: number;
}

export class ActorWorker implements Dispatcher {
  readonly core: WorkerCore;
  readonly checkpointer: Checkpointer;
  recovery: RecoverySummary = { records: 0, rerun: 0, redelivered: 0, ms: 0 };
  readonly #admission: Admission;
  readonly #sessions: Sessions;
  readonly #failureListeners: ((error: PinionError) => void)[] = [];
  #sweepTimer: Timer | undefined;
  /** Turns that waited for something when the log failed. */
  #left: Turn[] = [];
  #sweepDozes = false;

  /** @param definitions actor types this worker runs; names must differ. @throws `invalid-argument` */
  constructor(ports: WorkerPorts, options: WorkerOptions, definitions: readonly ActorDefinition[]) {
    const types = new Map<string, RegisteredType>();
    for (const definition of definitions) {
      if (types.has(definition.name)) {
        throw new PinionError("invalid-argument", `two actor types are named "${definition.name}"`);
      }
      types.set(definition.name, registerType(definition, options.typeDefaults));
    }
    const hlc = new HybridClock(ports.clock, { maxClockSkewMs: options.maxClockSkewMs });
    this.core = new WorkerCore(ports, options, hlc, types, () => this.checkpointer.want());
    this.#sessions = new Sessions(ports.clock, options.dedupe.sessionExpiryMs, options.sessionsMax);
    const hooks: ServiceHooks = {
      submit: (call) => this.#admission.submit(call),
      session: (id) => this.#sessions.get(id),
      activationEnded: (activation) => this.core.catalog.remove(activation),
      activationOf: (type, namespace, branch, key) =>
        this.#admission.activationOf(type, namespace, branch, key),
    };
    this.#admission = new Admission(this.core, turnServices(this.core, hooks), this.#sessions);
    this.checkpointer = new Checkpointer(
      {
        clock: ports.clock,
        log: ports.log,
        store: ports.store,
        unwritten: this.core.unwritten,
        shards: () => this.core.shards.values(),
        warn: ports.logger.warn,
      },
      options.checkpoint,
    );
    this.#makeShards(hooks);
    this.#connect();
  }

  #makeShards(hooks: ServiceHooks): void {
    const { core } = this;
    const { ports, options } = core;
    for (let n = 0; n < options.shardCount; n++) {
      const shard = new Shard(shardId(n), FIRST_TERM, {
        log: ports.log,
        clock: ports.clock,
        hlc: core.hlc,
        replication: ports.replication,
        limits: options.dedupe,
        outbox: outboxPorts(core, hooks),
        checkpointWanted: () => this.checkpointer.want(),
        appended: () => this.checkpointer.noticed(),
        readmit: (entry) => this.#admission.readmit(entry),
      });
      const reminders = new ShardReminders(shard.id, {
        clock: ports.clock,
        store: ports.store,
        horizonMs: options.reminderHorizonMs,
        fire: (actor, state, firing) => fireReminder(core, this.#rerunHooks, actor, state, firing),
        warn: ports.logger.warn,
      });
      core.shards.set(shard.id, { shard, reminders, recovered: new Map(), discarding: new Set() });
    }
  }

  readonly #rerunHooks = {
    activationOf: (actor: string): Activation => {
      const id = parseActorKey(actor);
      const type = this.core.types.get(id.type);
      if (type === undefined) throw unknownType(id.type, [...this.core.types.keys()]);
      return this.#admission.activationOf(type, id.namespace, id.branch, id.key);
    },
    session: (id: string): Session => this.#sessions.get(id),
  };

  #connect(): void {
    const { replication, log } = this.core.ports;
    replication.onCommitted(() => {
      for (const { shard } of this.core.shards.values()) {
        // Also where nothing is held: what is held later must find out that it need not wait.
        shard.gate.open(replication.committed(shard.id));
      }
    });
    log.onFailure((error) => this.#fail(error));
  }

  /** Recovers the shards and begins to serve. @throws `corruption` and errors of the disk */
  async start(): Promise<void> {
    const { core } = this;
    const { ports } = core;
    const startedMs = ports.clock.nowMs();
    const shards = [...core.shards.values()].map((o) => o.shard);
    const recovered = await recoverShards(shards, ports.log, ports.store, core.options.shardCount);
    core.hlc.startAfter(recovered.lastTimestamp);
    for (const owned of core.shards.values()) {
      for (const [actor, later] of recovered.shards.get(owned.shard.id)?.actors ?? [])
        owned.recovered.set(actor, later);
      for (const { actor, ops } of owned.shard.remindersRecovered.splice(0))
        owned.reminders.changed(actor, ops);
    }
    if (core.options.discard.length > 0)
      await discardActors(core, this.checkpointer, core.options.discard);
    core.state = "serving";
    await atOnce([...core.shards.values()], SHARDS_AT_ONCE, ({ reminders }) => reminders.start());
    const rerun = rerunOpenCalls(core, this.#rerunHooks);
    const redelivered = core.outboxSize;
    for (const { shard } of core.shards.values()) shard.outbox.redeliver();
    this.checkpointer.start();
    core.catalog.onFirst = () => {
      if (this.#sweepDozes) this.#armSweep();
    };
    this.#armSweep();
    this.recovery = {
      records: recovered.records,
      rerun,
      redelivered,
      ms: ports.clock.nowMs() - startedMs,
    };
  }

  // --- Dispatcher -------------------------------------------------------------------------------------------------------

  session(id: string): Session {
    return this.#sessions.admit(id);
  }

  submit(call: IncomingCall): void {
    this.#admission.submit(call);
  }

  cancel(session: Session, seq: number): void {
    const error = new PinionError("cancelled", "the caller cancelled this call");
    const matches = (call: IncomingCall): boolean =>
      call.seq === seq && call.path === "" && call.session.id === session.id;
    for (const { shard } of this.core.shards.values()) {
      const call = shard.dedupe.lookupKey(
        { session: session.id, seq, path: "" },
        undefined,
        "",
      )?.call;
      if (call === undefined) continue;
      const activation = this.core.catalog.find(call.type, call.namespace, call.branch, call.key);
      const turn = activation?.turn;
      if (turn?.call !== undefined && matches(turn.call)) turn.activation.timeUp(turn, error);
      else activation?.cancelWaiting(matches, error);
      return;
    }
    // Readonly calls and those with an idempotency key are not in the window by their number.
    for (const turn of this.core.watch.turns()) {
      if (turn.call !== undefined && matches(turn.call)) {
        turn.activation.timeUp(turn, error);
        return;
      }
    }
  }

  detach(session: Session, _sink: CallSink): void {
    this.#sessions.touch(session);
  }

  describe(): readonly ActorTypeDescription[] {
    return [...this.core.types.values()].map((t) => t.description);
  }

  exchangeTime(callerHlc: number): number {
    if (callerHlc > 0) this.core.hlc.adoptFromClient(callerHlc);
    return this.core.hlc.last;
  }

  /** Client processes this worker knows. */
  get sessionCount(): number {
    return this.#sessions.size;
  }

  // --- life -------------------------------------------------------------------------------------------------------------

  onFailure(listener: (error: PinionError) => void): void {
    this.#failureListeners.push(listener);
  }

  /** The log cannot be trusted any more: nothing held leaves, nothing more is admitted. The host starts a new worker. */
  #fail(error: PinionError): void {
    const { core } = this;
    if (core.state === "failed" || core.state === "stopped") return;
    core.state = "failed";
    core.failure = error;
    this.#quiet();
    this.#left = [...core.watch.turns()];
    core.watch.stop();
    for (const { shard } of core.shards.values()) shard.discard(error);
    for (const listener of this.#failureListeners) listener(error);
  }

  /**
   * Acts as if its process had died, at once: nothing of it answers, sends or runs any more. What user code still awaits finds
   * its context ended. For tests that cut the power.
   */
  abandon(): void {
    const { core } = this;
    const error = new PinionError("unavailable", "the worker is gone");
    const turns = [...core.watch.turns()];
    for (const activation of core.catalog.byLastUse()) activation.abandon();
    for (const turn of turns) {
      turn.abort(error);
      turn.draft?.revoke();
      turn.extents?.end();
      turn.ended = true;
    }
    void this.checkpointer.stop();
    this.#fail(error);
  }

  #quiet(): void {
    this.core.catalog.onFirst = () => {};
    this.#sweepTimer?.cancel();
    for (const { reminders } of this.core.shards.values()) reminders.stop();
  }

  #armSweep(): void {
    this.#sweepTimer?.cancel();
    const { catalog, ports } = this.core;
    this.#sweepDozes = catalog.size === 0;
    const delayMs = this.#sweepDozes ? IDLE_SWEEP_MS : SWEEP_MS;
    this.#sweepTimer = ports.clock.setTimer(delayMs, () => {
      this.#sweep();
      this.#armSweep();
    });
  }

  /** Lets idle activations go, and the longest unused beyond the bound. */
  #sweep(): void {
    const { core } = this;
    const nowMs = core.ports.clock.nowMs();
    const wallMs = core.ports.clock.wallMs();
    let surplus = core.catalog.size - core.options.activationsMax;
    let ended = 0;
    for (const activation of core.catalog.byLastUse()) {
      if (ended >= SWEEP_MAX) break;
      const idleMs = nowMs - activation.lastUsedMs;
      if (surplus <= 0 && idleMs < activation.type.idleDeactivationMs) {
        if (idleMs < core.options.typeDefaults.idleDeactivationMs && !this.#anyShortIdle) break;
        continue;
      }
      if (!activation.idle) continue;
      void activation.deactivate(surplus > 0 ? "memory" : "idle");
      surplus--;
      ended++;
    }
    for (const { shard } of core.shards.values())
      shard.dedupe.expire(wallMs, (id) => this.#sessions.ackedBelow(id));
    this.#sessions.expire();
  }

  /** Some type idles sooner than the default: the list by last use is not in order of who ends first. */
  get #anyShortIdle(): boolean {
    for (const type of this.core.types.values()) {
      if (type.idleDeactivationMs !== this.core.options.typeDefaults.idleDeactivationMs)
        return true;
    }
    return false;
  }

  /**
   * Stops in order: no new calls, turns end or are cut at `graceMs`, `onDeactivate` runs, everything is flushed and checkpointed.
   */
  async stop(graceMs: number): Promise<void> {
    const { core } = this;
    if (core.state === "stopped") return;
    const failed = core.state === "failed";
    if (!failed) core.state = "draining";
    this.#quiet();
    try {
      await this.#end(failed, graceMs);
    } finally {
      // What no checkpoint could take is in the log; whoever waits to let its memory go must not wait for one.
      for (const activation of [...core.catalog.byLastUse()])
        if (activation.extents?.isClean === false || activation.hook !== undefined)
          activation.abandon();
    }
    core.state = "stopped";
    const error = new PinionError("unavailable", "the worker has stopped");
    for (const { shard } of core.shards.values()) shard.discard(error);
  }

  async #end(failed: boolean, graceMs: number): Promise<void> {
    const { core } = this;
    if (!failed) {
      await this.#turnsEnd(graceMs);
      this.#cutOff();
      await this.#deactivateAll();
      for (const { shard } of core.shards.values()) shard.outbox.stop();
      await this.checkpointer.stop();
      // Turns that wait for room in the log are recorded when a checkpoint has made some: then they need another (W3).
      do await this.checkpointer.run();
      while (
        this.checkpointer.lastError === undefined &&
        [...core.shards.values()].some(({ shard }) => shard.appendedLsn > shard.appliedLsn)
      );
    } else {
      this.#cutOff();
      await this.checkpointer.stop();
    }
  }

  async #turnsEnd(graceMs: number): Promise<void> {
    const { core } = this;
    const busy = (): boolean => {
      for (const a of core.catalog.byLastUse()) if (a.running > 0 || a.waiting > 0) return true;
      return false;
    };
    const endMs = core.ports.clock.nowMs() + graceMs;
    while (busy() && core.ports.clock.nowMs() < endMs) {
      await new Promise<void>((resolve) => core.ports.clock.setTimer(5, resolve));
    }
  }

  /** From here on nothing starts: what waits is refused, what runs is cut off, and the last checkpoint has everything (W3). */
  #cutOff(): void {
    const { core } = this;
    core.closing = true;
    const error = new PinionError("draining", "the host stopped before this turn ended");
    for (const activation of core.catalog.byLastUse()) activation.refuseWaiting(error);
    for (const turn of [...core.watch.turns(), ...this.#left]) cutOffTurn(turn, error);
    this.#left = [];
    core.watch.stop();
  }

  async #deactivateAll(): Promise<void> {
    const ending = [...this.core.catalog.byLastUse()].filter(
      (a) => a.idle && a.type.options.onDeactivate !== undefined,
    );
    const left = new Set(ending);
    const ends = ending.map(async (a) => {
      await a.deactivate("stopping");
      left.delete(a);
    });
    await Promise.race([Promise.all(ends), this.#onlyUnread(left)]);
  }

  /** Damaged actors would wait for ever: no checkpoint has them. */
  async #onlyUnread(left: ReadonlySet<Activation>): Promise<void> {
    while ([...left].some(({ actor }) => !this.checkpointer.unread.has(actor)))
      await new Promise<void>((resolve) => this.core.ports.clock.setTimer(5, resolve));
  }
}
