/**
 * The embedded store: volumes by name, each with its extents, on one log and one state store, in this process.
 *
 *     volume → store-log → (log) … store-checkpoint → (state store), and back: recovery → pending-volumes → volume
 *
 * State: which names are open or on their way (one at a time each); volumes with changes that no checkpoint has; what the log has of
 * volumes that nobody has opened.
 *
 * B1 an update that has resolved is there after a power cut (with the flush policies that wait), whole; one that has not is there whole or not at
 *    all. Volumes stand for themselves: two are never changed together.
 * B2 the log is released only after the state store has a checkpoint durably (checkpoints: store-checkpoint.ts).
 * B3 of one name there is one volume at a time; `open` waits for one that is being closed or deleted.
 *
 * What may go wrong, and what it looks like:
 *
 * | what | what happens |
 * |---|---|
 * | a write or flush of the log fails | `failure` is set, everything but `close` rejects with `log-closed`; opening again shows what is durable |
 * | the disk is full | updates reject with `disk-full` once the log has no room, checkpoints are tried again; what is there stays readable |
 * | a checkpoint fails | `onWarning`, `stats().checkpoints.lastError`; the log keeps what it would have freed |
 * | a page is damaged | `corruption` naming volume, extent and page for who reads it; while a checkpoint needs that page, it takes all other volumes and fails naming this one, and the log is not cut |
 * | the log and the checkpoint do not fit | `openStore` rejects with `corruption`; nothing is changed |
 * | somebody else has the folder | `openStore` rejects with `data-dir-locked` |
 */
import { fromSystemError, NO_LSN, PinionError } from "@pinion/core";
import { ActorExtents } from "../extent/actor-extents.ts";
import { unwrittenBounds, unwrittenFailure, UnwrittenPages } from "../extent/unwritten-pages.ts";
import type { ExtentResidency } from "../extent/extent-residency.ts";
import type { LogPosition } from "../log/log.ts";
import type { LogStats } from "../log/segmented-log.ts";
import type { MemoryProfile } from "../residency/pin-types.ts";
import type { StateStore } from "../state/state-store.ts";
import type { ShardStoreStats } from "../store/shard-store.ts";
import { abortable } from "./abortable.ts";
import { CheckpointSchedule } from "./checkpoint-schedule.ts";
import { checkDeclarations, type StructureDeclarations } from "../structures/declarations.ts";
import type { PendingVolumes } from "./pending-volumes.ts";
import { takeCheckpoint, unreadFailure, type UnreadVolume } from "./store-checkpoint.ts";
import { SHARD, type StoreLog } from "./store-log.ts";
import type { StoreMemory, StoreMemoryStats } from "./store-memory.ts";
import type { ResolvedStoreSettings } from "./store-options.ts";
import { checkVolumeName, deletionRecord } from "./store-record.ts";
import { TurnPace } from "./turn-pace.ts";
import { refuseInsideUpdate, Volume, type OpenVolume } from "./volume.ts";
import { listVolumes, type VolumeListOptions } from "./volume-list.ts";

export interface OpenVolumeOptions {
  /** `hot` and `warm` volumes are in memory before `open` resolves, as far as there is room; `cold` ones come in behind. Default `warm`. */
  readonly profile?: MemoryProfile;
  /** Gives up the wait; what was begun is closed again. */
  readonly signal?: AbortSignal;
}

export interface StoreStats {
  readonly log: LogStats;
  /** Undefined before anything was stored. */
  readonly state: ShardStoreStats | undefined;
  readonly checkpoints: {
    readonly completed: number;
    /** Of the last one, if it failed. */
    readonly lastError: string | undefined;
    /** Log since the last, or since the start: about what a start would have to read. */
    readonly logBytesSince: number;
  };
  readonly volumes: {
    readonly open: number;
    /** Open ones with changes that no checkpoint has. */
    readonly changed: number;
    /** Changed by the log of an earlier life, and not opened since. */
    readonly pending: number;
    readonly waitingUpdates: number;
    /** Changed pages that no checkpoint has written. */
    readonly unwrittenBytes: number;
    /** Memory that extents of open volumes take. */
    readonly memoryBytes: number;
  };
  /** Pins and arena; undefined where the store was given a residency of its own. */
  readonly memory: StoreMemoryStats | undefined;
}

/** Of `checkpointDirtyBytes`: changed pages of volumes that nobody has opened which a checkpoint has in memory at once. */
const PENDING_SHARE = 8;
const PROFILES: readonly string[] = ["hot", "warm", "cold"];

interface Slot {
  readonly state: "open" | "leaving";
  /** Once the name is free. */
  readonly left: Promise<void>;
  free(): void;
}

export interface StoreParts {
  readonly log: StoreLog;
  readonly state: StateStore & { stats(): Promise<ReadonlyMap<number, ShardStoreStats>> };
  readonly pending: PendingVolumes;
  readonly residency: ExtentResidency;
  /** Where `residency` is of the store's own making. */
  readonly memory: StoreMemory | undefined;
  readonly settings: ResolvedStoreSettings;
  /** Lets everything go, after the last checkpoint. */
  readonly release: () => Promise<void>;
}

export class Store {
  readonly #parts: StoreParts;
  readonly #slots = new Map<string, Slot>();
  readonly #volumes = new Map<string, OpenVolume>();
  readonly #changed = new Set<OpenVolume>();
  /** Closed, and kept until a checkpoint has them. */
  readonly #leaving = new Set<OpenVolume>();
  readonly #opening = new Set<Promise<unknown>>();
  readonly #schedule: CheckpointSchedule;
  readonly #unwritten: UnwrittenPages;
  readonly #pace: TurnPace;
  /** Of the last checkpoint, and of the last that took all but volumes that cannot be read. */
  #position: LogPosition;
  #tried: LogPosition;
  /** What that could not have. */
  #unread: readonly UnreadVolume[] = [];
  #completed = 0;
  #lastError: PinionError | undefined;
  #closing: Promise<void> | undefined;

  /** For `openStore`. */
  constructor(parts: StoreParts) {
    const { clock, checkpointMs, checkpointDirtyBytes, onWarning } = parts.settings;
    this.#parts = parts;
    this.#pace = new TurnPace(clock);
    this.#position = parts.log.log.position();
    this.#tried = this.#position;
    this.#schedule = new CheckpointSchedule({
      clock,
      dirtyMs: checkpointMs,
      run: () => this.#checkpoint(),
      failed: (e, retryMs) => {
        this.#lastError = fromSystemError(e, "a checkpoint");
        this.#unwritten.checkpointed(unwrittenFailure(e, retryMs));
        onWarning(this.#lastError);
      },
    });
    this.#unwritten = new UnwrittenPages(unwrittenBounds(checkpointDirtyBytes), () =>
      this.#schedule.want(),
    );
    parts.log.log.onFailure((error) => {
      void this.#schedule.stop();
      // No checkpoint comes any more: whoever waits for one is told that the store has ended.
      this.#unwritten.checkpointed(error);
      onWarning(error);
    });
    if (parts.pending.size > 0) this.#schedule.want();
  }

  /** Why the store has ended by itself; undefined while it works. */
  get failure(): PinionError | undefined {
    return this.#parts.log.log.failure;
  }

  /**
   * Opens a volume; one that does not exist begins empty, and exists once it was changed.
   * @param name 1 to 1,024 bytes of text without NUL
   * @param declarations its structures by name; those it has already must be declared as what they are, others of it stay untouched
   * @throws `invalid-argument` (also for a volume that is open already), `corruption`, `format-too-new`, `io-error`, `log-closed`,
   *   `disk-full` when a deleted volume of the name has to go first, the signal's reason
   */
  async open<D extends StructureDeclarations>(
    name: string,
    declarations: D,
    options: OpenVolumeOptions = {},
  ): Promise<Volume<D>> {
    const { profile = "warm", signal } = options;
    checkVolumeName(name);
    checkDeclarations(`volume "${name}"`, declarations);
    if (Object.keys(declarations).length === 0)
      throw new PinionError("invalid-argument", `volume "${name}" declares no extent`);
    if (!PROFILES.includes(profile)) {
      throw new PinionError(
        "invalid-argument",
        `profile is ${String(profile)}; it is one of ${PROFILES.join(", ")}`,
      );
    }
    const slot = await this.#claim(name, "open", signal);
    const opening = this.#open(name, declarations, profile);
    this.#opening.add(opening);
    opening.then(
      () => this.#opening.delete(opening),
      () => {
        this.#opening.delete(opening);
        slot.free();
      },
    );
    try {
      return await abortable(opening, signal);
    } catch (e) {
      // Given up: nobody has it.
      opening.then((volume) => volume.close()).catch(() => {});
      throw e;
    }
  }

  async #open<D extends StructureDeclarations>(
    name: string,
    declarations: D,
    profile: MemoryProfile,
  ): Promise<Volume<D>> {
    const { pending, state, residency, log, settings } = this.#parts;
    if (pending.get(name)?.deleted === true) await this.#schedule.now();
    // Before the store is asked: a checkpoint that ends meanwhile forgets these, and applying them once more changes nothing.
    const later = pending.get(name);
    const lastLsn = later?.lsn ?? (await state.load(SHARD, name))?.lsn ?? NO_LSN;
    const { clock } = settings;
    const owner = { store: state, shard: SHARD, actor: name, unwritten: this.#unwritten, clock };
    const extents = await ActorExtents.open(owner, declarations, later?.deltas ?? []);
    const volume = new Volume(name, declarations, profile, extents, lastLsn, {
      log,
      clock: settings.clock,
      residency,
      unwritten: this.#unwritten,
      pace: this.#pace,
      waitingMax: settings.waitingMax,
      changed: (changed) => this.#noteChange(changed),
      release: (released) => this.#release(released),
    });
    try {
      await residency.activate(volume.resident);
    } catch (e) {
      residency.deactivate(volume.resident);
      throw e;
    }
    this.#volumes.set(name, volume);
    if (!extents.isClean) this.#noteChange(volume);
    return volume;
  }

  /**
   * Deletes a volume with all it has; durable when it resolves.
   * @returns false if there is none
   * @throws `invalid-argument` while it is open, `disk-full`, `overloaded`, `corruption`, `io-error`, `log-closed`, the signal's reason
   */
  async delete(name: string, options: { readonly signal?: AbortSignal } = {}): Promise<boolean> {
    checkVolumeName(name);
    refuseInsideUpdate("deleting a volume");
    const { pending, state, log } = this.#parts;
    const slot = await this.#claim(name, "leaving", options.signal, true);
    const stuck = [...this.#leaving].find((volume) => volume.name === name);
    try {
      const later = pending.get(name);
      const exists =
        later === undefined
          ? (await state.load(SHARD, name)) !== undefined
          : !later.deleted || later.deltas.length > 0;
      if (!exists && stuck === undefined) return false;
      // What a checkpoint of the deletion has to read.
      await state.loadExtents(SHARD, name);
      const at = await log.append(
        deletionRecord(name),
        (lsn) => {
          pending.deleted(name, lsn);
          if (stuck !== undefined) this.#leave(stuck);
        },
        options.signal,
      );
      this.#noteLog();
      await log.durable(at);
      return true;
    } finally {
      if (stuck === undefined || !this.#leaving.has(stuck)) slot.free();
    }
  }

  /** Names of volumes, in the order of their bytes. @throws `io-error`, `corruption`, `log-closed` */
  async volumes(options: VolumeListOptions = {}): Promise<string[]> {
    this.#checkOpen();
    const { log, state, pending } = this.#parts;
    // What is listed must not be gone after a power cut.
    await log.durable(log.appended);
    const live = new Set<string>();
    for (const { name, lastLsn } of [...this.#volumes.values(), ...this.#leaving])
      if (lastLsn > NO_LSN) live.add(name);
    return listVolumes(state, pending, live, options);
  }

  /**
   * Takes a checkpoint now: afterwards a start has nothing to read from the log but what comes later.
   * @throws `disk-full`, `io-error`, `corruption`, `log-closed`; an error whose details name a volume: all others were written
   */
  async checkpoint(): Promise<void> {
    refuseInsideUpdate("a checkpoint");
    this.#checkOpen();
    await this.#schedule.now();
    if (this.#unread.length > 0) throw unreadFailure(this.#unread);
  }

  async stats(): Promise<StoreStats> {
    const { log, state, pending } = this.#parts;
    let memoryBytes = 0;
    let waitingUpdates = 0;
    for (const volume of this.#volumes.values()) {
      memoryBytes += volume.extents.memoryBytes;
      waitingUpdates += volume.waiting;
    }
    return {
      log: log.log.stats(),
      state: (await state.stats()).get(SHARD),
      checkpoints: {
        completed: this.#completed,
        lastError: this.#lastError?.message,
        logBytesSince: this.#logBytesSince(this.#position),
      },
      volumes: {
        open: this.#volumes.size,
        changed: this.#changed.size,
        pending: pending.size,
        waitingUpdates,
        unwrittenBytes: this.#unwritten.bytes,
        memoryBytes,
      },
      memory: this.#parts.memory?.stats(),
    };
  }

  /**
   * Waits for updates and reads under way, takes a last checkpoint if it can (the log has everything either way), and lets everything go. May be
   * called again.
   */
  close(): Promise<void> {
    refuseInsideUpdate("closing the store");
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { residency, release } = this.#parts;
    const drain = (): Promise<unknown> =>
      Promise.all([...this.#volumes.values()].map((volume) => volume.drain()));
    await Promise.all([drain(), Promise.allSettled(this.#opening)]);
    await drain();
    const isDirty = this.#changed.size > 0 || this.#parts.pending.size > 0;
    // What fails was reported, and is in the log.
    if (isDirty && this.failure === undefined) await this.#schedule.now().catch(() => {});
    await this.#schedule.stop();
    for (const volume of [...this.#volumes.values(), ...this.#leaving])
      residency.deactivate(volume.resident);
    for (const slot of this.#slots.values()) slot.free();
    await release();
  }

  // ---------------------------------------------------------------- names

  /** @param isToGo takes it also from a volume that cannot leave otherwise */
  async #claim(
    name: string,
    state: Slot["state"],
    signal: AbortSignal | undefined,
    isToGo = false,
  ): Promise<Slot> {
    for (;;) {
      signal?.throwIfAborted();
      this.#checkOpen();
      const taken = this.#slots.get(name);
      if (taken === undefined) return this.#slot(name, state);
      if (taken.state === "open") {
        throw new PinionError("invalid-argument", `volume "${name}" is open already`, {
          details: { volume: name },
        });
      }
      const refusal = this.#refusal(name);
      if (refusal !== undefined) {
        if (isToGo) return taken;
        throw unreadFailure([refusal]);
      }
      await abortable(taken.left, signal);
    }
  }

  #slot(name: string, state: Slot["state"]): Slot {
    const { promise: left, resolve } = Promise.withResolvers<void>();
    const slot: Slot = {
      state,
      left,
      free: () => {
        if (this.#slots.get(name) === slot) this.#slots.delete(name);
        resolve();
      },
    };
    const before = this.#slots.get(name);
    this.#slots.set(name, slot);
    before?.free();
    return slot;
  }

  /** A volume is closed: it leaves once a checkpoint has its changes. The store's own close does that for all of them. */
  async #release(volume: OpenVolume): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    this.#slot(volume.name, "leaving");
    await volume.drain();
    this.#volumes.delete(volume.name);
    this.#leaving.add(volume);
    if (volume.extents.isClean) return this.#leave(volume);
    if (this.failure === undefined && !this.#schedule.isRetrying)
      await this.#schedule.now().catch(() => {});
  }

  #leave(volume: OpenVolume): void {
    if (!this.#leaving.delete(volume)) return;
    this.#changed.delete(volume);
    this.#parts.residency.deactivate(volume.resident);
    this.#slots.get(volume.name)?.free();
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new PinionError("log-closed", "the store was closed");
    this.#parts.log.checkOpen();
  }

  // ---------------------------------------------------------------- checkpoints

  #logBytesSince({ segment, offset }: LogPosition): number {
    const now = this.#parts.log.log.position();
    return (now.segment - segment) * this.#parts.settings.logSegmentBytes + now.offset - offset;
  }

  #noteChange(volume: OpenVolume): void {
    this.#changed.add(volume);
    this.#noteLog();
  }

  #noteLog(): void {
    if (this.#logBytesSince(this.#tried) >= this.#parts.settings.checkpointLogBytes)
      this.#schedule.want();
    else this.#schedule.changed();
  }

  async #checkpoint(): Promise<void> {
    const { log, state, pending, settings } = this.#parts;
    while (!log.settled) await new Promise<void>((resolve) => settings.clock.defer(resolve));
    // From here to the first wait nothing is appended.
    const position = log.log.position();
    const upTo = log.appended;
    const members = [...this.#changed];
    const entries = pending.entries();
    this.#changed.clear();
    let unread: UnreadVolume[] = [];
    let failed = members;
    try {
      const groupBytes = settings.checkpointDirtyBytes / PENDING_SHARE;
      const careful = this.#unread.some(({ isRefused }) => isRefused);
      const scope = { upTo, position, members, pending: entries, groupBytes, careful };
      unread = await takeCheckpoint(state, scope, (lsn) => log.flushed(lsn));
      failed = members.filter(({ name }) => unread.some((each) => each.name === name));
    } finally {
      for (const volume of failed) if (this.#holds(volume)) this.#changed.add(volume);
    }
    pending.checkpointed(entries, unread);
    this.#unread = unread;
    for (const volume of this.#leaving) {
      if (volume.extents.isClean) this.#leave(volume);
      else if (this.#refusal(volume.name) !== undefined) this.#slot(volume.name, "leaving");
    }
    const failure = unread.length === 0 ? undefined : unreadFailure(unread);
    const leftBytes = failed.reduce((sum, { extents }) => sum + extents.dirtyBytes, 0);
    const isFull = failure !== undefined && this.#unwritten.isFullOf(leftBytes);
    this.#unwritten.checkpointed(
      isFull ? unwrittenFailure(failure, settings.checkpointMs) : undefined,
    );
    this.#tried = position;
    this.#lastError = failure;
    if (failure !== undefined) return settings.onWarning(failure);
    this.#position = position;
    this.#completed++;
    await log.log.retain("checkpoint", position);
  }

  #holds(volume: OpenVolume): boolean {
    return this.#volumes.get(volume.name) === volume || this.#leaving.has(volume);
  }

  /** Of a volume that was closed, and that no checkpoint takes: it cannot leave. */
  #refusal(name: string): UnreadVolume | undefined {
    const isLeaving = [...this.#leaving].some((volume) => volume.name === name);
    return isLeaving
      ? this.#unread.find((each) => each.name === name && each.isRefused)
      : undefined;
  }
}
