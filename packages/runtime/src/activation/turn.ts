/**
 * One turn: a method running on one activation, and everything it wants to change. Next states:
 *
 *     running → ended: committed (its record is appended), dropped (refused by the log), or abandoned (its time was up;
 *     what the method still does has no effect)
 *
 * I1 an ended turn changes nothing: its draft is revoked and its context throws.
 * I2 `ordinal` grows with every call, send and effect of the turn, in program order, so that a rerun names them alike (P12).
 */
import {
  assert,
  NO_LSN,
  PinionError,
  seededRng,
  type Lsn,
  type Rng,
  type Span,
} from "@pinion/core";
import type { ExtentsTurn, FinishedExtents } from "@pinion/storage";
import type { IncomingCall } from "../gateway/dispatcher.ts";
import type { OutboxEntry, ReminderOp } from "../records/runtime-records.ts";
import type { CallEntry, PreparedTurn } from "../shard/call-entry.ts";
import type { ShardTurn } from "../shard/shard.ts";
import { StateDraft, StateView, type StateVersion } from "../state-value/index.ts";
import type { Activation } from "./activation.ts";
import { commitPartial } from "./partial-commit.ts";
import type { ReminderFiring } from "../definition/actor-context.ts";
import type { SubCall } from "./sub-call.ts";

export type TurnKind = "call" | "readonly" | "hook";

export class Turn implements ShardTurn, PreparedTurn {
  readonly activation: Activation;
  readonly kind: TurnKind;
  /** The call that is run; hooks have none. */
  readonly call: IncomingCall | undefined;
  /** Undefined for readonly turns and hooks: nothing of them is recorded under a call id. */
  readonly entry: CallEntry | undefined;
  /** The state a readonly turn sees, or a mutating one began with. */
  readonly base: StateVersion;
  readonly observedLsn: Lsn;
  readonly startedAtMs: number;
  ended = false;
  /** True once the method has returned a promise that is not settled. */
  suspended = false;
  draft: StateDraft | undefined = undefined;
  view: StateView | undefined = undefined;
  extents: ExtentsTurn | undefined = undefined;
  /** Their changes on the way into the log. */
  finishedExtents: FinishedExtents | undefined = undefined;
  /** Extents that are not needed again soon, as the method said; counts once the turn itself has ended. */
  accessComplete: readonly string[] | undefined = undefined;
  ordinal = 0;
  outbox: OutboxEntry[] | undefined = undefined;
  reminderOps: ReminderOp[] | undefined = undefined;
  /** LSN of its open record; NO_LSN while it has called nobody that changes. */
  openLsn: Lsn = NO_LSN;
  /** Resolves when the open record is committed. */
  opening: Promise<void> | undefined = undefined;
  /** Which run of the call this is, 1 for the first. */
  attempt = 1;
  /** Its record waits for room in the log. Nothing can end it otherwise any more, unless `giveUp` is there. */
  recording = false;
  /** Ends the wait: the turn is refused like one that found no place to wait. */
  giveUp: AbortController | undefined = undefined;
  /** Why it could not enter while another turn of the actor waits: the log was full. Not an outcome of its own. */
  entryRefused: unknown = undefined;
  /** Part of its overlay is already committed because a reentrant turn entered. */
  partial = false;
  subCalls: SubCall[] | undefined = undefined;
  /** Calls to other actors made and not answered. */
  callsOpen = 0;
  reminder: ReminderFiring | undefined = undefined;
  /** What the schedule of the reminder that started this turn becomes. */
  reminderAdvance: ReminderOp | undefined = undefined;
  /** Of a traced call. */
  span: Span | undefined = undefined;
  /** Links of the worker's list of suspended turns (turn-watch.ts). */
  watchNext: Turn | undefined = undefined;
  watchPrevious: Turn | undefined = undefined;
  #abort: AbortController | undefined;
  #abortReason: PinionError | undefined;
  #nowMs = -1;
  #seed = -1;
  #rng: Rng | undefined;

  constructor(
    activation: Activation,
    kind: TurnKind,
    call: IncomingCall | undefined,
    entry: CallEntry | undefined,
    startedAtMs: number,
  ) {
    this.activation = activation;
    this.kind = kind;
    this.call = call;
    this.entry = entry;
    this.base = activation.base;
    this.observedLsn = activation.lastLsn;
    this.startedAtMs = startedAtMs;
  }

  /** What a readonly turn sees. */
  openView(): StateView {
    return (this.view ??= new StateView(this.base));
  }

  get member(): Activation {
    return this.activation;
  }

  get deadlineAtMs(): number {
    return this.call?.deadlineAtMs ?? Infinity;
  }

  /** When the turn's time is up, on the monotonic clock. */
  get limitAtMs(): number {
    return Math.min(this.deadlineAtMs, this.startedAtMs + this.activation.type.maxTurnMs);
  }

  /** @throws `interrupted` when the turn is over, or only its record is not written yet. */
  assertRunning(): void {
    if (!this.ended && !this.recording) return;
    throw new PinionError(
      "interrupted",
      "this turn is over: its context and state can no longer be used",
      {
        details: { actor: this.activation.actor, method: this.call?.method ?? "" },
      },
    );
  }

  assertMayChange(what: string): void {
    this.assertRunning();
    if (this.kind !== "readonly") return;
    throw new PinionError("readonly-violation", `a readonly method cannot ${what}`, {
      details: { actor: this.activation.actor, method: this.call?.method ?? "" },
    });
  }

  /** The draft of the current base; made when first asked for, and anew after a reentrant turn. */
  openDraft(): StateDraft {
    if (this.draft !== undefined) return this.draft;
    this.#beginDrafting();
    return (this.draft = new StateDraft(this.activation.base));
  }

  /** The overlay over the actor's extents; of a mutating turn, there is one at a time, like the draft. */
  openExtents(): ExtentsTurn {
    const { activation } = this;
    if (this.kind !== "readonly") this.#beginDrafting();
    assert(activation.extents !== undefined, "extents of a type that declares none");
    return (this.extents ??= activation.extents.begin(this.kind === "readonly"));
  }

  #beginDrafting(): void {
    const { activation } = this;
    if (activation.drafting === this) return;
    try {
      if (activation.drafting !== undefined) commitPartial(activation.drafting);
    } catch (error) {
      this.entryRefused = error;
      throw error;
    }
    activation.drafting = this;
  }

  /** Made when first asked for: most methods never look. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#abortReason !== undefined) this.#abort.abort(this.#abortReason);
    }
    return this.#abort.signal;
  }

  abort(reason: PinionError): void {
    this.#abortReason ??= reason;
    this.#abort?.abort(reason);
  }

  get nowMs(): number {
    if (this.#nowMs < 0) this.#nowMs = Math.floor(this.activation.services.clock.wallMs());
    return this.#nowMs;
  }

  get seed(): number {
    if (this.#seed < 0) this.#seed = this.activation.services.rng.uint32();
    return this.#seed;
  }

  random(): number {
    this.#rng ??= seededRng(this.seed);
    return this.#rng.float();
  }

  /** A rerun sees the time and randomness of the first run. */
  replayWith(nowMs: number, seed: number, attempt: number): void {
    this.#nowMs = nowMs;
    this.#seed = seed;
    this.attempt = attempt;
  }
}
