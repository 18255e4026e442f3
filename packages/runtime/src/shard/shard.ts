/**
 * One shard on the worker that is its primary: its log position, output gate, dedupe window, open calls and outbox, and the
 * activations whose changes wait for a checkpoint.
 *
 * S1 everything here is what the records up to `log.appended(id)` say: a checkpoint that captures it together with that LSN is exact.
 * S2 nothing leaves before the gate says so (output-gate.ts).
 */
import {
  isPinionError,
  NO_LSN,
  type PinionError,
  type Clock,
  type HybridClock,
  type Lsn,
  type ShardId,
  type Term,
} from "@pinion/core";
import type { ActorExtents, ActorKey, Log, RecordKind } from "@pinion/storage";
import type { IncomingCall, Outcome } from "../gateway/dispatcher.ts";
import { actorKeyOf } from "../records/actor-key.ts";
import { ByteWriter } from "../records/byte-codec.ts";
import { callKeyText, type CallKey } from "../records/call-key.ts";
import type { Idempotency, OpenRecord, ReminderOp } from "../records/runtime-records.ts";
import type { ReminderState } from "../reminders/reminder-state.ts";
import type { Replication } from "../replication/replication.ts";
import type { StateVersion } from "../state-value/index.ts";
import { callKeyOf, type CallEntry } from "./call-entry.ts";
import { DedupeWindow, type DedupeLimits } from "./dedupe-window.ts";
import { Outbox, type OutboxPorts } from "./outbox.ts";
import { valueOutcome } from "./outcome.ts";
import { OutputGate, type Gated } from "./output-gate.ts";

export interface UnmigratedState {
  readonly state: StateVersion;
  readonly stateVersion: number;
}

/** An activation as its shard sees it: what a checkpoint captures. */
export interface ShardMember {
  readonly actor: ActorKey;
  readonly stateVersion: number;
  base: StateVersion;
  stored: boolean;
  /** While `stored` is false: the state as an older definition has left it, if there is one. A checkpoint keeps it. */
  readonly unmigrated: UnmigratedState | undefined;
  lastLsn: Lsn;
  dirty: boolean;
  reminders: ReadonlyMap<string, ReminderState> | undefined;
  /** Of a type that declares some. */
  readonly extents: ActorExtents | undefined;
}

/** A turn as its shard sees it, once it has called others. */
export interface ShardTurn {
  readonly member: ShardMember;
  readonly call: IncomingCall | undefined;
  readonly entry: CallEntry | undefined;
  readonly attempt: number;
  readonly nowMs: number;
  readonly seed: number;
  readonly partial: boolean;
  readonly subCalls:
    | readonly {
        readonly call: IncomingCall;
        readonly target: { readonly shard: Shard } | undefined;
      }[]
    | undefined;
}

/** A turn that has called others and is not recorded yet: recovery runs it again, or ends it as `interrupted`. */
export interface OpenCall {
  readonly open: OpenRecord | undefined;
  readonly lsn: Lsn;
  /** Part of its changes is committed: it cannot be run again. */
  readonly interruptible: boolean;
  readonly actor: ActorKey;
  readonly key: CallKey;
  readonly digest: number;
  readonly idempotency: Idempotency | undefined;
}

export interface ShardPorts {
  readonly log: Log;
  readonly clock: Clock;
  readonly hlc: HybridClock;
  readonly replication: Replication;
  readonly limits: DedupeLimits;
  readonly outbox: OutboxPorts;
  /** A checkpoint of this shard is wanted soon: an activation waits for it. */
  checkpointWanted(shard: Shard): void;
  /** There is more to checkpoint than before. */
  appended(): void;
  /** Admits an entry of this shard's window at its actor's present activation. */
  readmit(entry: CallEntry): void;
}

class Waiter implements Gated {
  readonly release: () => void;
  readonly drop: (error: Error) => void;

  constructor(release: () => void, drop: (error: Error) => void = () => {}) {
    this.release = release;
    this.drop = drop;
  }
}

export class Shard {
  readonly id: ShardId;
  readonly term: Term;
  readonly gate = new OutputGate();
  readonly dedupe: DedupeWindow;
  readonly outbox: Outbox;
  readonly opens = new Map<string, OpenCall>();
  /** Mutating calls admitted and not recorded. */
  pending = 0;
  /** Activations changed since the last freeze. */
  dirty: ShardMember[] = [];
  dirtySinceMs = Infinity;
  /** Names of the facts the store holds for this shard. */
  persistedFacts = new Set<string>();
  /** Reminder changes the log held; taken when the reminders start. */
  remindersRecovered: { readonly actor: ActorKey; readonly ops: readonly ReminderOp[] }[] = [];
  /** Everything up to here is in the store, but for damaged actors (checkpoint/unread-actors.ts). */
  appliedLsn: Lsn = NO_LSN;
  readonly #ports: ShardPorts;
  /** Records of this shard that were appended and told to it: its last LSN, since LSNs have no gaps. */
  #known = 0;
  readonly #writer = new ByteWriter();
  /** One for each: who asks again does not wait for the earlier one any more. */
  readonly #waitingForApply = new Map<
    ShardMember,
    {
      readonly actor: ActorKey;
      readonly lsn: Lsn;
      readonly resolve: () => void;
      readonly reject: (e: Error) => void;
    }
  >();

  constructor(id: ShardId, term: Term, ports: ShardPorts) {
    this.id = id;
    this.term = term;
    this.#ports = ports;
    this.dedupe = new DedupeWindow(ports.limits);
    this.outbox = new Outbox(this, ports.outbox);
  }

  get log(): Log {
    return this.#ports.log;
  }

  get clock(): Clock {
    return this.#ports.clock;
  }

  get appendedLsn(): Lsn {
    return this.#ports.log.appended(this.id);
  }

  /** Encodes a record; the bytes are valid until the next call. */
  encode(write: (w: ByteWriter) => void): Uint8Array {
    this.#writer.reset();
    write(this.#writer);
    return this.#writer.view();
  }

  encodeCopy(write: (w: ByteWriter) => void): Uint8Array {
    this.#writer.reset();
    write(this.#writer);
    return this.#writer.copy();
  }

  /** Appends a record, or refuses: the log is full, or at its end. @throws `record-too-large` */
  tryAppend(kind: RecordKind, payload: Uint8Array): Lsn | undefined {
    let at: Lsn | undefined;
    try {
      at = this.#ports.log.tryAppend(
        { shard: this.id, term: this.term, kind, timestamp: this.#ports.hlc.tick() },
        payload,
      );
    } catch (error) {
      // The worker hears of the failure itself (`onFailure`); whoever appends is refused like by a full log.
      if (isPinionError(error, "log-closed")) return undefined;
      throw error;
    }
    if (at !== undefined) this.#appended(at);
    return at;
  }

  /**
   * Waits for room. `payload` must be the caller's own.
   * @param publish makes the record's effects the shard's present; nothing is captured between the append and this (S1)
   * @param signal asked for when there is no room: aborting it gives up the wait, and the record is not written
   */
  async append(
    kind: RecordKind,
    payload: Uint8Array,
    publish: (at: Lsn) => void,
    signal?: () => AbortSignal | undefined,
  ): Promise<void> {
    let at = this.tryAppend(kind, payload);
    if (at === undefined) {
      at = await this.#ports.log.append(
        { shard: this.id, term: this.term, kind, timestamp: this.#ports.hlc.tick() },
        payload,
        signal?.(),
      );
      this.#appended(at);
    }
    publish(at);
  }

  /** False between the append of a record that had to wait for room and its effects: for a moment, S1 does not hold. */
  get settled(): boolean {
    return this.appendedLsn === this.#known;
  }

  /** After recovery: everything in the log has been applied. */
  recovered(): void {
    this.#known = this.appendedLsn;
    this.gate.open(this.appendedLsn);
    this.dedupe.recovered(this.clock.wallMs());
  }

  #appended(at: Lsn): void {
    this.#known++;
    const { replication, log } = this.#ports;
    replication.appended(this.id, at);
    this.#ports.appended();
    // Replies that do not wait for a flush may leave as soon as the record is in the log's buffer.
    if (!log.policy.replyWaits) this.gate.open(replication.committed(this.id));
  }

  whenCommitted(lsn: Lsn): Promise<void> {
    if (lsn <= this.gate.committed) return Promise.resolve();
    return new Promise((resolve, reject) => this.gate.hold(lsn, new Waiter(resolve, reject)));
  }

  /** A call that is refused is not recorded: a retry may run. */
  refuse(entry: CallEntry, outcome: Outcome): void {
    if (entry.tryAgain?.() === true) return;
    const { call } = entry;
    const activation = actorOf(call);
    this.pending--;
    this.dedupe.remove(callKeyOf(call), call.idempotencyKey, activation);
    entry.refuse(outcome);
  }

  /** A reminder's turn that nobody wants any more: it ends without a record, as if it had run. */
  withdrawn(entry: CallEntry): void {
    this.opens.delete(callKeyText(callKeyOf(entry.call)));
    entry.tryAgain = undefined;
    this.refuse(entry, valueOutcome(undefined));
  }

  /** An admitted call whose activation ended before its turn came: it waits at the next one. */
  readmit(entry: CallEntry): void {
    this.#ports.readmit(entry);
  }

  /** The outcome is in the log: answer when it is committed. */
  recorded(entry: CallEntry, outcome: Outcome, at: Lsn): void {
    this.pending--;
    entry.outcome = outcome;
    entry.lsn = at;
    this.dedupe.grown(entry, outcome.bytes.length);
    this.gate.hold(at, entry);
  }

  /** The activation's present is not in the store. */
  changed(activation: ShardMember): void {
    if (activation.dirty) return;
    activation.dirty = true;
    if (this.dirty.push(activation) === 1) this.dirtySinceMs = this.#ports.clock.nowMs();
  }

  opened(turn: ShardTurn, at: Lsn): void {
    const call = turn.call as IncomingCall;
    const open: OpenRecord = {
      actor: turn.member.actor,
      call: callKeyOf(call),
      digest: turn.entry?.digest ?? 0,
      idempotency: turn.entry?.idempotency,
      method: call.method,
      args: call.args,
      attempt: turn.attempt,
      nowMs: turn.nowMs,
      seed: turn.seed,
      issuedAt: call.issuedAt,
      chain: call.chain,
    };
    this.opens.set(callKeyText(open.call), {
      open,
      lsn: at,
      interruptible: turn.partial,
      actor: open.actor,
      key: open.call,
      digest: open.digest,
      idempotency: open.idempotency,
    });
  }

  interruptible(turn: ShardTurn, at: Lsn): void {
    const key = callKeyOf(turn.call as IncomingCall);
    const before = this.opens.get(callKeyText(key));
    this.opens.set(callKeyText(key), {
      open: before?.open,
      lsn: before?.lsn ?? at,
      interruptible: true,
      actor: turn.member.actor,
      key,
      digest: turn.entry?.digest ?? 0,
      idempotency: turn.entry?.idempotency,
    });
  }

  /** The turn is recorded; once that is committed nobody needs the answers of its sub-calls. */
  closed(turn: ShardTurn, at: Lsn): void {
    this.opens.delete(callKeyText(callKeyOf(turn.call as IncomingCall)));
    const subCalls = turn.subCalls;
    if (subCalls === undefined) return;
    this.gate.hold(
      at,
      new Waiter(() => {
        for (const { call, target } of subCalls)
          target?.shard.dedupe.remove(callKeyOf(call), undefined, "");
      }),
    );
  }

  /** Resolves when the store holds everything the activation has committed. */
  whenApplied(activation: ShardMember): Promise<void> {
    const isClean = !activation.dirty && activation.extents?.isClean !== false;
    if (isClean && activation.lastLsn <= this.appliedLsn) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const { actor, lastLsn: lsn } = activation;
      this.#waitingForApply.set(activation, { actor, lsn, resolve, reject });
      this.#ports.checkpointWanted(this);
    });
  }

  /** @param but actors that are not: they wait on, and it is no use to try at once */
  applied(upTo: Lsn, but: { has(actor: ActorKey): boolean }): void {
    this.appliedLsn = upTo;
    let isWanted = false;
    for (const [member, w] of this.#waitingForApply) {
      const isLate = w.lsn > upTo;
      if (!isLate && !but.has(w.actor)) {
        this.#waitingForApply.delete(member);
        w.resolve();
      }
      isWanted ||= isLate;
    }
    if (isWanted) this.#ports.checkpointWanted(this);
  }

  /** The worker no longer owns the shard, or its log failed: nothing held may leave. */
  discard(error: PinionError): void {
    this.gate.discard(error);
    this.outbox.discard();
    for (const w of this.#waitingForApply.values()) w.reject(error);
    this.#waitingForApply.clear();
  }
}

/** Idempotency keys are scoped by actor; other entries do not need it. */
function actorOf(call: IncomingCall): ActorKey {
  return call.idempotencyKey === undefined
    ? ""
    : actorKeyOf(call.namespace, call.branch, call.type, call.key);
}
