/**
 * Writes what the log holds into the state store, so that the log can be cut and a restart is short.
 *
 * C1 a checkpoint is exactly the committed state as of one LSN per shard: it is captured in one go (state values are immutable, so
 *    capturing is keeping references), and written only when that LSN is committed (P8) and flushed, also where replies do not
 *    wait for that: a store ahead of its log would skip the records that later get the lost ones' LSNs.
 *    The one exception are actors that nobody has activated since a start, if their changes take much memory (`putAhead`): they may be ahead of
 *    their shard's LSN, by records that were flushed, and each record has an LSN of its own.
 * C2 the log is released only after the store has the checkpoint durably.
 * C3 a failed checkpoint loses nothing: what it held is captured again, the log keeps its segments, and admission slows down
 *    when the log cannot grow.
 * C4 encoding is sliced, so that the event loop is never held longer than about `SLICE_MS`.
 */
import { messageOf, type Clock, type Lsn, type Timer } from "@pinion/core";
import {
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
import type { ShardReminders } from "../reminders/shard-reminders.ts";
import type { RecoveredActor } from "../shard/recovery.ts";
import { captureFacts } from "../shard/shard-facts.ts";
import type { Shard, ShardMember } from "../shard/shard.ts";
import {
  capture,
  extentsOfRecovered,
  recordOfCaptured,
  recordOfRecovered,
  type Captured,
} from "./actor-records.ts";

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

export interface CheckpointShard {
  readonly shard: Shard;
  readonly reminders: ShardReminders;
  /** Changes the log held at start, of actors not activated since. */
  readonly recovered: Map<ActorKey, RecoveredActor>;
}

export interface CheckpointerPorts {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: StateStore;
  readonly unwritten: UnwrittenPages;
  shards(): Iterable<CheckpointShard>;
  warn(message: string, error: unknown, details: Record<string, string | number>): void;
}

interface Frozen {
  readonly target: CheckpointShard;
  readonly upTo: Lsn;
  readonly members: readonly ShardMember[];
  readonly captured: readonly Captured[];
  readonly recovered: readonly [ActorKey, RecoveredActor][];
  readonly facts: Map<string, Uint8Array>;
  readonly reminderIds: readonly string[];
  /** Of members. */
  readonly extents: readonly ActorExtents[];
  /** Of recovered actors: nobody else holds them. */
  readonly recoveredExtents: Set<ActorExtents>;
}

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
  #last: LogPosition;
  #retryMs = 0;
  /** For health and metrics. */
  lastError: string | undefined;
  completed = 0;

  constructor(ports: CheckpointerPorts, options: CheckpointerOptions) {
    this.#ports = ports;
    this.#options = options;
    this.#lookMs = Math.min(LOOK_MS_MAX, options.dirtyMs);
    this.#last = ports.log.position();
  }

  start(): void {
    this.#arm(this.#lookMs);
  }

  /** Somebody waits for a checkpoint: soon, and together with whoever asks meanwhile. */
  want(): void {
    if (this.#wanted || this.#stopped) return;
    this.#wanted = true;
    if (this.#running === undefined && this.#retryMs === 0) this.#arm(5);
  }

  /** The log has grown: from now on it is looked at again. */
  noticed(): void {
    if (this.#dozing) this.#arm(this.#lookMs);
  }

  /** Bytes of log a restart would have to read. */
  get logBytesSince(): number {
    const now = this.#ports.log.position();
    return (
      (now.segment - this.#last.segment) * this.#options.segmentBytes +
      now.offset -
      this.#last.offset
    );
  }

  /** Takes no further checkpoints; waits for one that runs. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running?.catch(() => {});
  }

  /** One checkpoint of everything, now. Rejects if it fails. */
  async run(): Promise<void> {
    while (this.#running !== undefined) await this.#running.catch(() => {});
    const running = this.#once().finally(() => (this.#running = undefined));
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
    if (this.#wanted || this.logBytesSince >= this.#options.logBytes) return true;
    const nowMs = this.#ports.clock.nowMs();
    for (const { shard, recovered } of this.#ports.shards()) {
      if (nowMs - shard.dirtySinceMs >= this.#options.dirtyMs || recovered.size > 0) return true;
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
    this.#running = this.#once().then(
      () => {
        this.#running = undefined;
        this.#arm(this.#wanted ? 5 : this.#lookMs);
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

  async #once(): Promise<void> {
    this.#wanted = false;
    const position = this.#ports.log.position();
    const frozen: Frozen[] = [];
    try {
      for (const target of this.#ports.shards()) {
        while (!target.shard.settled) await this.#yield();
        // Each shard has an LSN of its own, so the loop may breathe between two of them.
        frozen.push(freeze(target, position));
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
      const checkpoints: ShardCheckpoint[] = [];
      for (const f of frozen) checkpoints.push(await this.#encode(f));
      await this.#ports.store.checkpoint(checkpoints);
      for (const f of frozen)
        for (const extents of [...f.extents, ...f.recoveredExtents]) await extents.written();
    } catch (error) {
      for (const f of frozen) thaw(f);
      throw error;
    } finally {
      for (const f of frozen) for (const extents of f.recoveredExtents) extents.abandon();
    }
    for (const f of frozen) {
      for (const [actor] of f.recovered) f.target.recovered.delete(actor);
      f.target.shard.persistedFacts = new Set(f.facts.keys());
      f.target.reminders.checkpointed(f.reminderIds);
      f.target.shard.applied(f.upTo);
    }
    this.#last = position;
    this.completed++;
    this.#retryMs = 0;
    this.lastError = undefined;
    this.#ports.unwritten.checkpointed(undefined);
    await this.#ports.log.retain("checkpoint", position);
  }

  #flushed(shard: Shard, upTo: Lsn): Promise<void> {
    const { log } = this.#ports;
    if (log.flushed(shard.id) >= upTo) return Promise.resolve();
    log.requestFlush();
    return log.whenFlushed(shard.id, upTo);
  }

  async #encode(f: Frozen): Promise<ShardCheckpoint> {
    const { store } = this.#ports;
    const actors = new Map<ActorKey, ActorRecord | undefined>();
    const extents = new Map<ActorKey, readonly ExtentChange[]>();
    const holding = new Set(
      f.members.flatMap((member) => (member.extents === undefined ? [] : [member.actor])),
    );
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
        if (later.extents.length === 0 || holding.has(actor)) continue;
        const opened = await extentsOfRecovered(store, f.target.shard.id, actor, later);
        if (opened === undefined) continue;
        f.recoveredExtents.add(opened);
        const changed = opened.freeze();
        if (changed.length > 0) extents.set(actor, changed);
        if (members.has(actor)) continue;
        ahead.push({ actor, opened });
        for (const { pageCount } of changed) bytes += pageCount * PAGE_BYTES;
        if (bytes < this.#options.dirtyBytes / RECOVERED_SHARE) continue;
        const those = ahead.map((each) => each.actor);
        await putAhead(store, f.target.shard.id, those, actors, extents);
        for (const each of ahead) {
          await each.opened.written();
          each.opened.abandon();
          f.recoveredExtents.delete(each.opened);
        }
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

  async #encodeRecovered(
    f: Frozen,
    [actor, later]: readonly [ActorKey, RecoveredActor],
    actors: Map<ActorKey, ActorRecord | undefined>,
  ): Promise<void> {
    if (actors.has(actor)) return;
    const { shard } = f.target;
    actors.set(actor, await recordOfRecovered(this.#ports.store, shard.id, actor, later));
  }

  #yield(): Promise<void> {
    return new Promise((resolve) => this.#ports.clock.defer(resolve));
  }
}

/** Captures a shard as of its last appended record. Synchronous: nothing of this shard is appended meanwhile. */
function freeze(target: CheckpointShard, position: LogPosition): Frozen {
  const { shard, reminders, recovered } = target;
  const members = shard.dirty;
  shard.dirty = [];
  shard.dirtySinceMs = Infinity;
  for (const member of members) member.dirty = false;
  return {
    target,
    upTo: shard.appendedLsn,
    members,
    captured: members.map(capture),
    recovered: [...recovered],
    facts: captureFacts(shard, position),
    reminderIds: reminders.freeze(),
    extents: members.flatMap(({ extents }) => extents ?? []),
    recoveredExtents: new Set(),
  };
}

/** The checkpoint failed: what it held is dirty again. It may be in the store all the same, so its facts have to go with the next. */
function thaw(f: Frozen): void {
  for (const name of f.facts.keys()) f.target.shard.persistedFacts.add(name);
  for (const extents of [...f.extents, ...f.recoveredExtents]) extents.failed();
  for (const member of f.members) f.target.shard.changed(member);
  f.target.reminders.checkpointFailed(f.reminderIds);
}
