/**
 * An open volume: structures under one name, changed together or not at all.
 *
 * State: its extents as the published updates left them, who waits for a turn, how many reads are under way.
 *
 * V1 updates run one after the other; what one of them changes is one record of the log, or nothing.
 * V2 the next update may begin as soon as that record is appended; nobody is told of it before it is durable, also not by a read.
 * V3 an update that throws, is given up, or whose record the log refuses leaves no trace.
 * V4 no update begins inside another one: two that waited for each other would wait for ever.
 * V5 what still works on a structure when its update ends, works for nothing: the update fails rather than keep half of a change.
 * V6 an update does not begin while too much waits for a checkpoint; it is refused while checkpoints fail. Reads go on.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { isThenable, PinionError, type Clock, type Lsn } from "@pinion/core";
import type { ActorExtents } from "../extent/actor-extents.ts";
import type { ExtentsTurn } from "../extent/extents-turn.ts";
import type { ExtentResidency, ResidentActor } from "../extent/extent-residency.ts";
import type { UnwrittenPages } from "../extent/unwritten-pages.ts";
import {
  TurnExtentIndex,
  type ExtentIndexView,
  type IndexScope,
} from "../extent/turn-extent-index.ts";
import type { MemoryProfile } from "../residency/pin-types.ts";
import { abortable } from "./abortable.ts";
import {
  handlesClass,
  type HandlesClass,
  type StructureDeclarations,
  type StructureHandles,
} from "../structures/declarations.ts";
import type { MaybePromise } from "../structures/structure.ts";
import type { StoreLog } from "./store-log.ts";
import { updateHead } from "./store-record.ts";
import type { TurnPace } from "./turn-pace.ts";
import { TurnQueue } from "./turn-queue.ts";

export interface TurnOptions {
  /** Gives up the wait for a turn, or the turn: then nothing of it counts. Without effect once its record is in the log. */
  readonly signal?: AbortSignal;
}

export interface VolumePorts {
  readonly log: StoreLog;
  readonly clock: Clock;
  readonly residency: ExtentResidency;
  readonly unwritten: UnwrittenPages;
  readonly pace: TurnPace;
  /** Updates that may wait, and reads that may be under way. */
  readonly waitingMax: number;
  /** It has changes that no checkpoint has. */
  changed(volume: OpenVolume): void;
  /** Drains it, and lets its memory go. */
  release(volume: OpenVolume): Promise<void>;
}

/** What an update or a read does, with a handle for each structure, and what is known about the extents they are in. */
export type VolumeWork<D, T> = (
  handles: StructureHandles<D>,
  index: ExtentIndexView,
) => T | Promise<T>;

/** What a store knows of a volume whatever it holds. */
export interface OpenVolume {
  readonly name: string;
  readonly extents: ActorExtents;
  readonly resident: ResidentActor;
  readonly lastLsn: Lsn;
  readonly waiting: number;
  /** Takes no more turns; resolves once those it has are over. */
  drain(): Promise<void>;
}

/** The update that is running, as seen from code that it has started. */
const updating = new AsyncLocalStorage<{ readonly volume: string; over: boolean } | undefined>();

/** @throws `invalid-argument` inside an update (V4) */
export function refuseInsideUpdate(doing: string): void {
  const outer = updating.getStore();
  if (outer === undefined || outer.over) return;
  throw new PinionError(
    "invalid-argument",
    `${doing} inside an update of volume "${outer.volume}": it would wait for it; do it afterwards`,
    { details: { volume: outer.volume } },
  );
}

interface RunningTurn {
  readonly turn: ExtentsTurn;
  readonly context: { readonly volume: string; over: boolean };
  readonly signal: AbortSignal | undefined;
}

/** Of an index that a turn is given, and most never look at. */
class VolumeScope implements IndexScope {
  readonly #volume: OpenVolume;
  readonly #turn: ExtentsTurn;

  constructor(volume: OpenVolume, turn: ExtentsTurn) {
    this.#volume = volume;
    this.#turn = turn;
  }

  get owner(): string {
    return `volume "${this.#volume.name}"`;
  }

  get names(): readonly string[] {
    return this.#volume.resident.names;
  }

  get extents(): ActorExtents {
    return this.#volume.extents;
  }

  overlay(): ExtentsTurn {
    return this.#turn.running();
  }

  mayChange(): void {}
}

function end({ turn, context }: RunningTurn): void {
  context.over = true;
  turn.end();
}

export class Volume<D extends StructureDeclarations> implements OpenVolume {
  readonly name: string;
  readonly extents: ActorExtents;
  readonly resident: ResidentActor;
  readonly #Handles: HandlesClass<D>;
  readonly #ports: VolumePorts;
  readonly #turns: TurnQueue;
  readonly #recordHead: Uint8Array;
  readonly #recordBytes: (length: number) => Uint8Array;
  #lastLsn: Lsn;
  #reads = 0;
  readonly #readsOver: (() => void)[] = [];
  #closed = false;
  #closing: Promise<void> | undefined;

  /** For `Store.open`. @param lastLsn of what is in `extents` */
  constructor(
    name: string,
    declarations: D,
    profile: MemoryProfile,
    extents: ActorExtents,
    lastLsn: Lsn,
    ports: VolumePorts,
  ) {
    this.name = name;
    this.#recordHead = updateHead(name);
    this.#recordBytes = (length) => ports.log.recordBytes(length);
    this.extents = extents;
    this.resident = { actor: name, extents, names: Object.keys(declarations), profile };
    this.#Handles = handlesClass(declarations);
    this.#ports = ports;
    this.#turns = new TurnQueue(name, ports.waitingMax);
    this.#lastLsn = lastLsn;
  }

  get lastLsn(): Lsn {
    return this.#lastLsn;
  }

  get waiting(): number {
    return this.#turns.waiting;
  }

  /**
   * Changes the volume: `work` gets a handle for each declared structure, and the index of their extents, good until it returns.
   * @returns what `work` returned, once everything it changed, and everything it has seen, is durable
   * @throws what `work` throws (nothing has changed then); `overloaded`, `disk-full` (nothing has changed; later it may work: the log or
   *   a checkpoint has no room);
   *   `log-closed` after a failure of the store: the update may or may not be found at the next start;
   *   `write-set-too-large`, `corruption`, `io-error`, `invalid-argument`, the signal's reason: nothing has changed
   */
  async update<T>(work: VolumeWork<D, T>, options: TurnOptions = {}): Promise<T> {
    const { signal } = options;
    refuseInsideUpdate("an update");
    this.#checkOpen();
    const turn = this.#turns.run(() => this.#pacedTurn(work, signal), signal);
    const result = turn instanceof Promise ? await turn : turn;
    const durable = this.#ports.log.durable(this.#lastLsn);
    if (durable instanceof Promise) await durable;
    return result;
  }

  #pacedTurn<T>(work: VolumeWork<D, T>, signal: AbortSignal | undefined): MaybePromise<T> {
    const { pace, unwritten, clock } = this.#ports;
    const nowMs = clock.nowMs();
    const breath = pace.next(nowMs);
    if (breath === undefined && !unwritten.isFull) return this.#turn(work, signal, nowMs);
    return this.#turnLater(work, signal, breath);
  }

  async #turnLater<T>(
    work: VolumeWork<D, T>,
    signal: AbortSignal | undefined,
    breath: Promise<void> | undefined,
  ): Promise<T> {
    if (breath !== undefined) await this.#ports.pace.whenNext(breath);
    await this.#room(signal);
    return this.#turn(work, signal, this.#ports.clock.nowMs());
  }

  /** V6. @throws `overloaded`, `disk-full`, the signal's reason */
  async #room(signal: AbortSignal | undefined): Promise<void> {
    const { unwritten } = this.#ports;
    while (unwritten.isFull) {
      this.#ports.log.checkOpen();
      if (unwritten.failure !== undefined) throw unwritten.failure;
      const { promise: room, resolve } = Promise.withResolvers<void>();
      const giveUp = unwritten.whenRoom(resolve);
      await abortable(room, signal).finally(giveUp);
    }
  }

  /** A promise only where the work, or the log, makes it wait. */
  #turn<T>(
    work: VolumeWork<D, T>,
    signal: AbortSignal | undefined,
    nowMs: number,
  ): MaybePromise<T> {
    signal?.throwIfAborted();
    this.#ports.log.checkOpen();
    const { residency } = this.#ports;
    residency.used(this.resident, nowMs);
    const turn = this.extents.begin(false, nowMs);
    const running: RunningTurn = { turn, context: { volume: this.name, over: false }, signal };
    let waits = false;
    try {
      const handles = new this.#Handles((name) => turn.extent(name));
      // Not `run`, which makes another context to go back to: what has ended leaves one behind that says so.
      const outer = updating.getStore();
      updating.enterWith(running.context);
      const result = work(handles, this.#index(turn));
      waits = isThenable(result) || turn.waitsBegun > 0;
      if (waits) {
        updating.enterWith(outer);
        return this.#finishLater(running, result);
      }
      const committed = this.#commit(turn, signal);
      waits = committed !== undefined;
      if (waits) updating.enterWith(outer);
      return committed === undefined
        ? (result as T)
        : this.#endLater(running, committed, result as T);
    } finally {
      if (!waits) end(running);
    }
  }

  async #finishLater<T>(running: RunningTurn, working: T | PromiseLike<T>): Promise<T> {
    const { turn, signal } = running;
    try {
      const result = await abortable(Promise.resolve(working), signal);
      await this.#checkAwaited(turn);
      await this.#commit(turn, signal);
      return result;
    } finally {
      end(running);
    }
  }

  async #endLater<T>(running: RunningTurn, committed: Promise<unknown>, result: T): Promise<T> {
    try {
      await committed;
      return result;
    } finally {
      end(running);
    }
  }

  /**
   * A structure waits only for its extent, and after each wait goes on at once: what is still at work and was not awaited begins another wait
   * within a turn of the event loop, or waits yet (`finish` says so). @throws `invalid-argument`
   */
  async #checkAwaited(turn: ExtentsTurn): Promise<void> {
    const begun = turn.waitsBegun;
    if (begun === 0) return;
    await new Promise<void>((resolve) => this.#ports.clock.defer(resolve));
    if (turn.waitsBegun === begun) return;
    throw new PinionError(
      "invalid-argument",
      `an update of volume "${this.name}" returned before what it had begun was done: is an await missing?`,
      { details: { volume: this.name } },
    );
  }

  #index(turn: ExtentsTurn): TurnExtentIndex {
    return new TurnExtentIndex(new VolumeScope(this, turn));
  }

  /** @returns undefined where it is done, or nothing was to do */
  #commit(turn: ExtentsTurn, signal: AbortSignal | undefined): Promise<unknown> | undefined {
    const finished = turn.finish(this.#recordHead, this.#recordBytes);
    if (finished === undefined) return undefined;
    const publish = (at: Lsn): void => {
      finished.publish();
      this.#lastLsn = at;
      this.#ports.changed(this);
    };
    const appended = this.#ports.log.append(finished.delta, publish, signal);
    if (!(appended instanceof Promise)) return undefined;
    turn.seal();
    return appended;
  }

  /**
   * Looks at the volume as of one moment, beside updates and other reads. Writing throws `readonly-violation`.
   * @returns what `work` returned, once everything it can have seen is durable
   * @throws what `work` throws; `view-expired` (call again) when more was changed under it than is kept for it; `overloaded`, `log-closed`,
   *   `corruption` naming volume, extent and page, `io-error`, the signal's reason
   */
  async read<T>(work: VolumeWork<D, T>, options: TurnOptions = {}): Promise<T> {
    const { signal } = options;
    const { log, residency, waitingMax, pace, clock } = this.#ports;
    signal?.throwIfAborted();
    this.#checkOpen();
    log.checkOpen();
    if (this.#reads >= waitingMax) {
      throw new PinionError(
        "overloaded",
        `${waitingMax} reads of volume "${this.name}" are under way already`,
        { details: { volume: this.name, reads: waitingMax } },
      );
    }
    this.#reads++;
    let seen: Lsn;
    let result: T;
    try {
      let nowMs = clock.nowMs();
      const breath = pace.next(nowMs);
      if (breath !== undefined) nowMs = await abortable(pace.whenNext(breath), signal);
      residency.used(this.resident, nowMs);
      seen = this.#lastLsn;
      const turn = this.extents.begin(true, nowMs);
      try {
        const handles = new this.#Handles((name) => turn.extent(name));
        const looked = work(handles, this.#index(turn));
        result = isThenable(looked) ? await abortable(Promise.resolve(looked), signal) : looked;
      } finally {
        turn.end();
      }
    } finally {
      this.#reads--;
      if (this.#reads === 0) for (const resolve of this.#readsOver.splice(0)) resolve();
    }
    const durable = log.durable(seen);
    if (durable instanceof Promise) await durable;
    return result;
  }

  /**
   * Waits for updates and reads under way, and lets the volume's memory go. What was changed since the last checkpoint is checkpointed for
   * that; where that fails the log has it, and the memory goes with a later one.
   */
  close(): Promise<void> {
    refuseInsideUpdate("closing a volume");
    this.#closing ??= this.#ports.release(this);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async drain(): Promise<void> {
    this.#closed = true;
    await this.#turns.whenIdle();
    if (this.#reads > 0) await new Promise<void>((resolve) => this.#readsOver.push(resolve));
  }

  #checkOpen(): void {
    if (!this.#closed) return;
    throw new PinionError("invalid-argument", `volume "${this.name}" was closed`, {
      details: { volume: this.name },
    });
  }
}
