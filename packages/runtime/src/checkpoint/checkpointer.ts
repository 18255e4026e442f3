/**
 * Writes what the log holds into the state store, so that the log can be cut and a restart is short.
 *
 * C1 a checkpoint is exactly the committed state as of one LSN per shard: it is captured in one go (state values are immutable, so
 *    capturing is keeping references), and written only when that LSN is committed (P8) and flushed, also where replies do not
 *    wait for that: a store ahead of its log would skip the records that later get the lost ones' LSNs.
 *    The one exception are actors that nobody has activated since a start, if their changes take much memory, and those of a shard that cannot have
 *    a whole checkpoint (C5): they may be ahead of their shard's LSN, by records that were flushed, and each record has an LSN of its own (`putAhead`).
 * C2 the log is released only after the store has the checkpoint durably.
 * C3 a failed checkpoint loses nothing: what it held is captured again, the log keeps its segments, and admission slows down
 *    when the log cannot grow.
 * C4 encoding is sliced, so that the event loop is never held longer than about `SLICE_MS`.
 * C5 a damaged actor keeps only itself from checkpoints, and the log from being cut (unread-actors.ts).
 * C6 one that is given up leaves the store only with a checkpoint that has all else of its shard: then the log's records of it lie behind that
 *    checkpoint, and nothing makes half an actor of them (worker/discard-actors.ts).
 */
import {
  isPinionError,
  messageOf,
  PinionError,
  type Clock,
  type Lsn,
  type Timer,
} from "@pinion/core";
import {
  isOfOneActor,
  PAGE_BYTES,
  putAhead,
  unwrittenFailure,
  type ActorExtents,
  type ActorKey,
  type ActorRecord,
  type ExtentChange,
  type Log,
  type LogPosition,
  type ShardCheckpoint,
  type StateStore,
  type UnwrittenPages,
} from "@pinion/storage";
import type { RecoveredActor } from "../shard/recovery.ts";
import type { Shard, ShardMember } from "../shard/shard.ts";
import { extentsOfRecovered, recordOfCaptured, recordOfRecovered } from "./actor-records.ts";
import {
  freeze,
  leftBytes,
  thaw,
  unreadOf,
  written,
  type CheckpointShard,
  type Frozen,
} from "./frozen-shard.ts";
import { putMembersAhead, unreadFailure, type UnreadActors } from "./unread-actors.ts";

const SLICE_MS = 1;
const LOOK_MS_MAX = 500;
/** While nothing has changed, and until the log grows: a host that does nothing costs nothing. */
const IDLE_LOOK_MS = 5 * 60_000;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 30_000;
/** Actors whose records are read and combined at once after a recovery. */
const RECOVERED_AT_ONCE = 64;
/** Of `dirtyBytes`: changed pages of such actors that are in memory at once. */
const RECOVERED_SHARE = 8;

export interface CheckpointerOptions {
  /** Log bytes since the last checkpoint that start one. */
  readonly logBytes: number;
  /** Bytes of changed pages of extents that start one; at twice as many, calls that may change more wait for it. */
  readonly dirtyBytes: number;
  /** Longest time a change waits for a checkpoint, ms. */
  readonly dirtyMs: number;
  readonly segmentBytes: number;
}

export interface CheckpointerPorts {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: StateStore;
  readonly unwritten: UnwrittenPages;
  shards(): Iterable<CheckpointShard>;
  warn(message: string, error: unknown, details: Record<string, string | number>): void;
}

const NOT_ALONE = new PinionError(
  "corruption",
  "it is to be discarded, and waits for other damaged actors of its shard",
);

/** A recovered actor, as it goes into the store. */
interface Ahead {
  readonly actor: ActorKey;
  readonly opened: ActorExtents;
}

export class Checkpointer {
  readonly #ports: CheckpointerPorts;
  readonly #options: CheckpointerOptions;
  readonly #lookMs: number;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #wanted = false;
  #stopped = false;
  #dozing = false;
  /** Of the last checkpoint, and of the last that had all but damaged actors. */
  #last: LogPosition;
  #tried: LogPosition;
  #retryMs = 0;
  /** The store has refused what an actor has changed: which one has to be found out (C5). */
  #careful = false;
  /** Until then, actors that could not be read are no reason for a checkpoint. */
  #unreadUntilMs = 0;
  /** Until then, it is no news which they are. */
  #warnedUntilMs = 0;
  /** For health and metrics. */
  lastError: string | undefined;
  completed = 0;
  /** What the last one could not have. */
  unread: UnreadActors = new Map();

  constructor(ports: CheckpointerPorts, options: CheckpointerOptions) {
    this.#ports = ports;
    this.#options = options;
    this.#lookMs = Math.min(LOOK_MS_MAX, options.dirtyMs);
    this.#last = ports.log.position();
    this.#tried = this.#last;
  }

  start(): void {
    this.#arm(this.#lookMs);
  }

  /** Somebody waits for a checkpoint: soon, and together with whoever asks meanwhile. */
  want(): void {
    if (this.#wanted || this.#stopped) return;
    this.#wanted = true;
    if (this.#running === undefined && (this.#retryMs === 0 || this.#dozing)) this.#arm(5);
  }

  /** The log has grown: from now on it is looked at again. */
  noticed(): void {
    if (this.#dozing) this.#arm(this.#lookMs);
  }

  /** Bytes of log a restart would have to read. */
  get logBytesSince(): number {
    return this.#logBytesSince(this.#last);
  }

  #logBytesSince({ segment, offset }: LogPosition): number {
    const now = this.#ports.log.position();
    return (now.segment - segment) * this.#options.segmentBytes + now.offset - offset;
  }

  /** Takes no further checkpoints; waits for one that runs. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running?.catch(() => {});
  }

  /** One checkpoint of everything, now; of damaged actors it says so (`lastError`). Rejects if it fails. */
  async run(): Promise<void> {
    while (this.#running !== undefined) await this.#running.catch(() => {});
    const running = this.#attempt().finally(() => (this.#running = undefined));
    this.#running = running;
    await running;
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel();
    this.#dozing = delayMs === IDLE_LOOK_MS;
    if (this.#stopped) return;
    this.#timer = this.#ports.clock.setTimer(delayMs, () => this.#look());
  }

  #due(): boolean {
    if (this.#wanted || this.#logBytesSince(this.#tried) >= this.#options.logBytes) return true;
    const nowMs = this.#ports.clock.nowMs();
    for (const { shard, recovered } of this.#ports.shards()) {
      if (nowMs - shard.dirtySinceMs >= this.#options.dirtyMs) return true;
      if (recovered.size > 0 && nowMs >= this.#unreadUntilMs) return true;
    }
    return false;
  }

  #clean(): boolean {
    for (const { shard } of this.#ports.shards()) if (shard.dirty.length > 0) return false;
    return true;
  }

  #look(): void {
    if (this.#ports.log.failure !== undefined) return;
    if (this.#running !== undefined || !this.#due()) {
      const isIdle = this.#running === undefined && this.#clean();
      this.#arm(isIdle ? IDLE_LOOK_MS : this.#lookMs);
      return;
    }
    this.#running = this.#attempt().then(
      () => {
        this.#running = undefined;
        this.#arm(this.#wanted ? Math.max(5, this.#retryMs) : this.#lookMs);
      },
      (error: unknown) => {
        this.#running = undefined;
        this.#retryMs = Math.min(RETRY_MS_MAX, Math.max(RETRY_MS_MIN, this.#retryMs * 2));
        this.lastError = messageOf(error);
        this.#ports.unwritten.checkpointed(unwrittenFailure(error, this.#retryMs));
        this.#ports.warn("a checkpoint failed and is tried again", error, {
          retryMs: this.#retryMs,
        });
        this.#wanted = true;
        this.#arm(this.#retryMs);
      },
    );
  }

  async #attempt(): Promise<void> {
    const wasCareful = this.#careful;
    try {
      await this.#once();
    } catch (error) {
      if (wasCareful || !isPinionError(error, "corruption")) throw error;
      this.#careful = true;
      await this.#once();
    }
  }

  async #once(): Promise<void> {
    this.#wanted = false;
    const position = this.#ports.log.position();
    const frozen: Frozen[] = [];
    try {
      const refusals = this.#careful ? await this.#putMembersAhead() : undefined;
      for (const target of this.#ports.shards()) {
        while (!target.shard.settled) await this.#yield();
        // Each shard has an LSN of its own, so the loop may breathe between two of them.
        frozen.push(freeze(target, position, refusals?.get(target)));
        await this.#yield();
      }
      const ends = new Map(
        frozen.map(({ target: { shard } }) => [shard, shard.appendedLsn] as const),
      );
      // The whole log up to here, not each shard up to its freeze: a `done` record of a shard frozen earlier may be why another one,
      // frozen later, has forgotten an answer. The store must not know that before the log does.
      for (const { target, upTo } of frozen) {
        const { shard } = target;
        await shard.whenCommitted(upTo);
        await this.#flushed(shard, ends.get(shard) ?? upTo);
      }
      const whole: ShardCheckpoint[] = [];
      for (const f of frozen) {
        await this.#alone(f, async () => {
          const checkpoint = await this.#encode(f);
          if (f.unread.size > 0) await this.#putAllAhead(f, checkpoint);
          else if (this.#careful) await this.#ports.store.checkpoint([checkpoint]);
          else whole.push(checkpoint);
        });
      }
      if (whole.length > 0) await this.#ports.store.checkpoint(whole);
      for (const f of frozen) {
        if (f.failure !== undefined) thaw(f);
        else for (const extents of [...f.extents, ...f.recoveredExtents]) await extents.written();
      }
    } catch (error) {
      for (const f of frozen) thaw(f);
      throw error;
    } finally {
      for (const f of frozen) for (const extents of f.recoveredExtents) extents.abandon();
    }
    for (const f of frozen) if (f.failure === undefined) written(f);
    this.#tried = position;
    this.#careful = frozen.some((f) => f.refused.size > 0 || f.failure !== undefined);
    this.unread = new Map(frozen.flatMap((f) => [...unreadOf(f)]));
    const failure = unreadFailure(this.unread) ?? frozen.find((f) => f.failure)?.failure;
    if (failure !== undefined) return this.#allBut(failure, leftBytes(frozen));
    this.#last = position;
    this.completed++;
    this.#retryMs = 0;
    this.lastError = undefined;
    this.#ports.unwritten.checkpointed(undefined);
    await this.#ports.log.retain("checkpoint", position);
  }

  /** Everything is written but what is damaged, for which the log stays (C5). */
  #allBut(failure: PinionError, left: number): void {
    const { clock, unwritten } = this.#ports;
    this.#retryMs = RETRY_MS_MIN;
    const nowMs = clock.nowMs();
    this.#unreadUntilMs = nowMs + RETRY_MS_MAX;
    const isNews = failure.message !== this.lastError || nowMs >= this.#warnedUntilMs;
    this.lastError = failure.message;
    unwritten.checkpointed(
      unwritten.isFullOf(left) ? unwrittenFailure(failure, this.#retryMs) : undefined,
    );
    if (!isNews) return;
    this.#warnedUntilMs = nowMs + RETRY_MS_MAX;
    this.#ports.warn("a checkpoint has all but damaged actors", failure, {});
  }

  /** What is careful keeps a shard that cannot be written from being the failure of others. */
  async #alone(f: Frozen, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!this.#careful || !isOfOneActor(error)) throw error;
      f.failure = error;
    }
  }

  /** Whether the store takes anything of the shard. */
  async #isWritable({ id }: Shard): Promise<boolean> {
    try {
      await putAhead(this.#ports.store, id, [], new Map(), new Map());
      return true;
    } catch (error) {
      if (isOfOneActor(error)) return false;
      throw error;
    }
  }

  /** Of each shard those members that the store does not take. */
  async #putMembersAhead(): Promise<Map<CheckpointShard, Map<ActorKey, PinionError>>> {
    const refused = new Map<CheckpointShard, Map<ActorKey, PinionError>>();
    for (const target of this.#ports.shards()) {
      const { shard, recovered } = target;
      if (!(await this.#isWritable(shard))) continue;
      while (!shard.settled) await this.#yield();
      const ports = {
        store: this.#ports.store,
        flushed: async () => {
          const upTo = shard.appendedLsn;
          await shard.whenCommitted(upTo);
          await this.#flushed(shard, upTo);
        },
        written: ({ actor }: ShardMember) => void recovered.delete(actor),
      };
      const isWhole = ({ actor, extents }: ShardMember): boolean =>
        extents !== undefined || (recovered.get(actor)?.extents.length ?? 0) === 0;
      refused.set(target, await putMembersAhead(ports, shard, shard.dirty.filter(isWhole)));
    }
    return refused;
  }

  #putAllAhead(f: Frozen, checkpoint: ShardCheckpoint): Promise<void> {
    const { target, discarded, unread } = f;
    const actors = new Map(checkpoint.actors);
    const extents = new Map(checkpoint.extents);
    for (const actor of discarded) {
      actors.delete(actor); // C6
      unread.set(actor, NOT_ALONE);
    }
    return putAhead(this.#ports.store, target.shard.id, [...actors.keys()], actors, extents);
  }

  #flushed(shard: Shard, upTo: Lsn): Promise<void> {
    const { log } = this.#ports;
    if (log.flushed(shard.id) >= upTo) return Promise.resolve();
    log.requestFlush();
    return log.whenFlushed(shard.id, upTo);
  }

  async #encode(f: Frozen): Promise<ShardCheckpoint> {
    const actors = new Map<ActorKey, ActorRecord | undefined>();
    const extents = new Map<ActorKey, readonly ExtentChange[]>();
    const holding = new Set(
      f.members.flatMap((member) => (member.extents === undefined ? [] : [member.actor])),
    );
    for (const actor of f.discarded) actors.set(actor, undefined);
    let sliceEndMs = this.#ports.clock.nowMs() + SLICE_MS;
    for (const captured of f.captured) {
      actors.set(captured.actor, recordOfCaptured(captured));
      if (captured.extents.length > 0) extents.set(captured.actor, captured.extents);
      if (this.#ports.clock.nowMs() < sliceEndMs) continue;
      await this.#yield();
      sliceEndMs = this.#ports.clock.nowMs() + SLICE_MS;
    }
    const members = new Set(f.members.map(({ actor }) => actor));
    let ahead: Ahead[] = [];
    let bytes = 0;
    for (let i = 0; i < f.recovered.length; i += RECOVERED_AT_ONCE) {
      const group = f.recovered.slice(i, i + RECOVERED_AT_ONCE);
      await Promise.all(group.map((each) => this.#encodeRecovered(f, each, actors)));
      // One at a time: each may take much memory.
      for (const [actor, later] of group) {
        // An activation of a definition that names no extents holds none of them: what the log changed in them is nobody else's.
        if (later.extents.length === 0 || holding.has(actor) || f.unread.has(actor)) continue;
        if (f.discarded.has(actor)) continue;
        const opened = await this.#openRecovered(f, actor, later);
        if (opened === undefined) {
          if (f.unread.has(actor)) actors.delete(actor);
          continue;
        }
        f.recoveredExtents.add(opened);
        const changed = opened.freeze();
        if (changed.length > 0) extents.set(actor, changed);
        if (members.has(actor)) continue;
        ahead.push({ actor, opened });
        for (const { pageCount } of changed) bytes += pageCount * PAGE_BYTES;
        if (bytes < this.#options.dirtyBytes / RECOVERED_SHARE && !this.#careful) continue;
        await this.#putGroupAhead(f, ahead, actors, extents);
        ahead = [];
        bytes = 0;
      }
      await this.#yield();
    }
    const facts = new Map<string, Uint8Array | undefined>(f.facts);
    for (const name of f.target.shard.persistedFacts)
      if (!facts.has(name)) facts.set(name, undefined);
    return { shard: f.target.shard.id, appliedLsn: f.upTo, actors, extents, facts };
  }

  /** While it has to be found out whose changes the store refuses, each is a group of its own. */
  async #putGroupAhead(
    f: Frozen,
    group: readonly Ahead[],
    actors: Map<ActorKey, ActorRecord | undefined>,
    extents: Map<ActorKey, readonly ExtentChange[]>,
  ): Promise<void> {
    const names = group.map(({ actor }) => actor);
    try {
      await putAhead(this.#ports.store, f.target.shard.id, names, actors, extents);
    } catch (error) {
      if (!this.#careful || !isOfOneActor(error)) throw error;
      for (const actor of names) f.refused.set(actor, error);
      for (const actor of names) f.unread.set(actor, error);
      return;
    }
    for (const { opened } of group) {
      await opened.written();
      opened.abandon();
      f.recoveredExtents.delete(opened);
    }
  }

  async #encodeRecovered(
    f: Frozen,
    [actor, later]: readonly [ActorKey, RecoveredActor],
    actors: Map<ActorKey, ActorRecord | undefined>,
  ): Promise<void> {
    if (actors.has(actor) || f.unread.has(actor)) return;
    const { shard } = f.target;
    try {
      actors.set(actor, await recordOfRecovered(this.#ports.store, shard.id, actor, later));
    } catch (error) {
      if (!isOfOneActor(error)) throw error;
      f.unread.set(actor, error);
    }
  }

  async #openRecovered(
    f: Frozen,
    actor: ActorKey,
    later: RecoveredActor,
  ): Promise<ActorExtents | undefined> {
    try {
      return await extentsOfRecovered(this.#ports.store, f.target.shard.id, actor, later);
    } catch (error) {
      if (!isOfOneActor(error)) throw error;
      f.unread.set(actor, error);
      return undefined;
    }
  }

  #yield(): Promise<void> {
    return new Promise((resolve) => this.#ports.clock.defer(resolve));
  }
}
