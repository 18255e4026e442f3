/**
 * The state store over a `KvStore`: tables and encodings are in state-keys.ts and state-values.ts.
 *
 * I1 a checkpoint is one commit of the key-value store: all of it is there or none (StateStore I1).
 * I2 the due index and the reminders it points at change in the same commit, so they never disagree.
 * I3 checkpoints run one after the other, each seeing what the one before left.
 * I4 encoding yields to the event loop after every slice: a checkpoint of any size holds it up for about half a millisecond at a
 *    time.
 * I5 damage to one actor's values is an error of that actor alone.
 */
import {
  assert,
  NO_LSN,
  PinionError,
  systemClock,
  type Clock,
  type Lsn,
  type ShardId,
} from "@pinion/core";
import type { KvEntry, KvStore, KvWrite } from "../kv/kv-store.ts";
import type { ShardStore } from "../store/shard-store.ts";
import { ExtentTable, type ExtentCheckpoint } from "./extent-table.ts";
import * as keys from "./state-keys.ts";
import { Table } from "./state-keys.ts";
import type {
  ActorKey,
  ActorRecord,
  ActorSummary,
  ExtentChange,
  ExtentPages,
  ReminderRecord,
  ShardCheckpoint,
  StateStore,
  StoredExtent,
} from "./state-store.ts";
import * as values from "./state-values.ts";
import { decoding } from "./state-values.ts";

/** Version of tables, keys and encodings together. */
const FORMAT = 1;
export const STATE_BYTES_MAX = 1 << 20;
const PAGE_ENTRIES = 1_000;
/** After so many entries, or so many bytes, a checkpoint lets the event loop go on. */
const SLICE_ENTRIES = 32;
const SLICE_BYTES = 1 << 20;

export interface KvStateStoreOptions {
  readonly clock?: Clock;
  /** Where the pages of extents go: `kv` itself, if it has volumes. Without it there are no extents. */
  readonly volumes?: ShardStore;
  /** Told when a listing skips something damaged; reading that actor itself throws. */
  readonly onDamage?: (error: PinionError) => void;
}

export class KvStateStore implements StateStore {
  readonly #kv: KvStore;
  readonly #clock: Clock;
  readonly #onDamage: (error: PinionError) => void;
  #formatChecked: Promise<void> | undefined;
  #lastCheckpoint: Promise<void> = Promise.resolve();
  readonly #applied = new Map<ShardId, Lsn>();
  readonly #extents: ExtentTable;
  readonly #volumes: ShardStore | undefined;

  /** @param kv stays its owner's: `close` waits for checkpoints and leaves it open. Its tables named `state-…` are this store's. */
  constructor(kv: KvStore, options: KvStateStoreOptions = {}) {
    this.#kv = kv;
    this.#clock = options.clock ?? systemClock;
    this.#onDamage = options.onDamage ?? (() => {});
    this.#volumes = options.volumes;
    this.#extents = new ExtentTable(kv, options.volumes);
  }

  async appliedLsn(shard: ShardId): Promise<Lsn> {
    await this.#checkFormat();
    const key = keys.shardKey(shard);
    const value = await this.#kv.get(Table.meta, key);
    if (!value) return NO_LSN;
    return decoding(`the applied LSN of shard ${shard}`, { shard }, () =>
      values.decodeAppliedLsn(key, value),
    );
  }

  async load(shard: ShardId, actor: ActorKey): Promise<ActorRecord | undefined> {
    await this.#checkFormat();
    const key = keys.actorKeyBytes(shard, actor);
    const [value, large, extras] = await this.#kv.getMany([
      { table: Table.actors, key },
      { table: Table.large, key },
      { table: Table.extras, key },
    ]);
    if (!value) return undefined;
    return decoding(`actor ${actor}`, { shard, actor }, () => {
      const header = values.decodeActor(key, value);
      if (header.isLarge && !large) throw new Error("its state is missing");
      return {
        state: header.isLarge && large ? values.decodeBlob(key, large) : header.state,
        stateVersion: header.stateVersion,
        lsn: header.lsn,
        reminders: extras ? values.decodeExtras(key, extras).reminders : [],
      };
    });
  }

  async loadExtents(shard: ShardId, actor: ActorKey): Promise<readonly StoredExtent[]> {
    await this.#checkFormat();
    return this.#extents.load(shard, actor);
  }

  extentPages(_shard: ShardId, extent: StoredExtent): Promise<ExtentPages> {
    return this.#extents.pages(extent);
  }

  async facts(shard: ShardId, prefix: string): Promise<{ name: string; value: Uint8Array }[]> {
    await this.#checkFormat();
    const facts: { name: string; value: Uint8Array }[] = [];
    for await (const { key, value } of this.#scan(
      Table.facts,
      keys.firstKey(shard, prefix),
      keys.endKey(shard, prefix),
    )) {
      const name = keys.textOfKey(key);
      const fact = decoding(`fact ${name} of shard ${shard}`, { shard, name }, () =>
        values.decodeBlob(key, value),
      );
      facts.push({ name, value: fact });
    }
    return facts;
  }

  async remindersDue(
    shard: ShardId,
    beforeMs: number,
    limit: number,
    after?: { dueMs: number; actor: ActorKey; name: string },
  ): Promise<{ actor: ActorKey; reminder: ReminderRecord }[]> {
    await this.#checkFormat();
    const due: { actor: ActorKey; reminder: ReminderRecord }[] = [];
    let from = after ? keys.afterDueKey(shard, after) : keys.dueTimeKey(shard, 0);
    const to =
      beforeMs === Infinity
        ? keys.endKey(shard, "")
        : keys.dueTimeKey(shard, Math.max(0, beforeMs));
    while (due.length < limit) {
      const count = Math.min(limit - due.length, PAGE_ENTRIES);
      const page = await this.#kv.range(Table.due, { from, limit: count, ...(to && { to }) });
      due.push(...(await this.#remindersAt(shard, page)));
      const last = page.at(-1);
      if (!last || page.length < count) break;
      from = Buffer.concat([last.key, Buffer.alloc(1)]);
    }
    return due;
  }

  async list(
    shard: ShardId,
    options: { limit: number; after?: ActorKey; prefix?: string },
  ): Promise<ActorSummary[]> {
    await this.#checkFormat();
    const { limit, after, prefix = "" } = options;
    const actors: ActorSummary[] = [];
    if (limit <= 0) return actors;
    const from = keys.firstKey(shard, prefix, after);
    for await (const { key, value } of this.#scan(
      Table.actors,
      from,
      keys.endKey(shard, prefix),
      limit,
    )) {
      actors.push(this.#summary(shard, key, value));
      if (actors.length === limit) break;
    }
    return actors;
  }

  checkpoint(shards: readonly ShardCheckpoint[]): Promise<void> {
    const checkpoint = this.#lastCheckpoint.then(() => this.#checkpoint(shards));
    this.#lastCheckpoint = checkpoint.catch(() => {});
    return checkpoint;
  }

  close(): Promise<void> {
    return this.#lastCheckpoint;
  }

  /** Whose reminders stand behind these entries of the due index. Damaged ones are reported and left out. */
  async #remindersAt(
    shard: ShardId,
    entries: readonly KvEntry[],
  ): Promise<{ actor: ActorKey; reminder: ReminderRecord }[]> {
    const positions = entries.map(({ key }) => keys.parseDueKey(key));
    const actors = [...new Set(positions.map(({ actor }) => actor))];
    const places = actors.map((actor) => ({
      table: Table.extras,
      key: keys.actorKeyBytes(shard, actor),
    }));
    const found = await this.#kv.getMany(places);
    const reminders = new Map<string, ReminderRecord>();
    for (const [i, actor] of actors.entries()) {
      for (const reminder of this.#extrasOf(shard, actor, found[i])?.reminders ?? []) {
        reminders.set(`${actor}\0${reminder.name}`, reminder);
      }
    }
    return positions.flatMap(({ actor, name, dueMs }) => {
      // A checkpoint between the two reads may have moved or removed it.
      const reminder = reminders.get(`${actor}\0${name}`);
      return reminder && reminder.dueMs === dueMs ? [{ actor, reminder }] : [];
    });
  }

  /** @returns undefined, after a report, when they are damaged */
  #extrasOf(
    shard: ShardId,
    actor: ActorKey,
    value: Uint8Array | undefined,
  ): values.Extras | undefined {
    if (!value) return NO_EXTRAS;
    const key = keys.actorKeyBytes(shard, actor);
    try {
      return decoding(`actor ${actor}`, { shard, actor }, () => values.decodeExtras(key, value));
    } catch (e) {
      this.#onDamage(e as PinionError);
      return undefined;
    }
  }

  #summary(shard: ShardId, key: Uint8Array, value: Uint8Array): ActorSummary {
    const actor = keys.textOfKey(key);
    try {
      const { stateBytes, lsn } = decoding(`actor ${actor}`, { shard, actor }, () =>
        values.decodeActor(key, value),
      );
      return { shard, actor, stateBytes, lsn };
    } catch (e) {
      this.#onDamage(e as PinionError);
      return { shard, actor, stateBytes: 0, lsn: NO_LSN, damaged: true };
    }
  }

  async *#scan(
    table: string,
    from: Uint8Array,
    to: Uint8Array | undefined,
    limit: number = Infinity,
  ): AsyncIterable<KvEntry> {
    const count = Math.min(limit, PAGE_ENTRIES);
    for (let next = from; ;) {
      const page = await this.#kv.range(table, { from: next, limit: count, ...(to && { to }) });
      yield* page;
      const last = page.at(-1);
      if (!last || page.length < count) return;
      next = Buffer.concat([last.key, Buffer.alloc(1)]);
    }
  }

  async #checkpoint(shards: readonly ShardCheckpoint[]): Promise<void> {
    await this.#checkFormat();
    for (const { shard, appliedLsn } of shards) {
      const before = this.#applied.get(shard) ?? NO_LSN;
      assert(
        appliedLsn >= before,
        `a checkpoint of shard ${shard} goes back from LSN ${before} to ${appliedLsn}`,
      );
    }
    const extents = await this.#extentsOf(shards);
    const writes = this.#writesOf(
      shards,
      extents.flatMap((part) => part.writes),
    );
    if (this.#volumes === undefined) await this.#kv.commit(writes);
    else {
      const volumes = extents.map((part) => part.volumes);
      await this.#volumes.commit(writes, {
        writes: volumes.flatMap((part) => part.writes),
        removed: volumes.flatMap((part) => part.removed),
      });
    }
    await this.#kv.sync();
    for (const { shard, appliedLsn } of shards) this.#applied.set(shard, appliedLsn);
  }

  async #extentsOf(shards: readonly ShardCheckpoint[]): Promise<ExtentCheckpoint[]> {
    const parts: ExtentCheckpoint[] = [];
    if (this.#volumes === undefined) return parts;
    for (const { shard, actors, extents } of shards) {
      const deleted: ActorKey[] = [];
      for (const [actor, record] of actors) if (record === undefined) deleted.push(actor);
      if (deleted.length === 0 && extents === undefined) continue;
      parts.push(await this.#extents.checkpoint(shard, extents ?? NO_EXTENTS, deleted));
    }
    return parts;
  }

  /** The writes of a checkpoint in slices, each encoded in its own turn of the event loop (I4). */
  async *#writesOf(
    shards: readonly ShardCheckpoint[],
    first: readonly KvWrite[],
  ): AsyncIterable<KvWrite[]> {
    yield [
      ...first,
      {
        table: Table.meta,
        key: keys.FORMAT_KEY,
        value: values.encodeFormat(keys.FORMAT_KEY, FORMAT),
      },
    ];
    for (const { shard, appliedLsn, actors, facts } of shards) {
      const key = keys.shardKey(shard);
      yield [{ table: Table.meta, key, value: values.encodeAppliedLsn(key, appliedLsn) }];
      for (const slice of slicesOf(facts, (fact) => fact?.length ?? 0)) {
        yield slice.map(([name, fact]) => factWrite(shard, name, fact));
        await this.#nextTurn();
      }
      for (const slice of slicesOf(actors, (record) => record?.state?.length ?? 0)) {
        yield await this.#actorWrites(shard, slice);
        await this.#nextTurn();
      }
    }
  }

  async #actorWrites(
    shard: ShardId,
    slice: readonly (readonly [ActorKey, ActorRecord | undefined])[],
  ): Promise<KvWrite[]> {
    // Which entries of the due index and of the large states have to go is known only from what is there.
    const actorKeys = slice.map(([actor]) => keys.actorKeyBytes(shard, actor));
    const old = await this.#kv.getMany(actorKeys.map((key) => ({ table: Table.extras, key })));
    const writes: KvWrite[] = [];
    for (let i = 0; i < slice.length; i++) {
      const [actor, record] = slice[i] as (typeof slice)[number];
      const before = this.#extrasOf(shard, actor, old[i]) ?? NOTHING_KNOWN;
      pushActor(writes, shard, actor, actorKeys[i] as Uint8Array, before, record);
    }
    return writes;
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => this.#clock.defer(resolve));
  }

  /** @throws `format-too-new` */
  #checkFormat(): Promise<void> {
    this.#formatChecked ??= this.#readFormat().catch((e: unknown) => {
      this.#formatChecked = undefined;
      throw e;
    });
    return this.#formatChecked;
  }

  async #readFormat(): Promise<void> {
    const value = await this.#kv.get(Table.meta, keys.FORMAT_KEY);
    if (!value) return;
    const format = decoding("the format of the state store", {}, () =>
      values.decodeFormat(keys.FORMAT_KEY, value),
    );
    if (format > FORMAT) {
      throw new PinionError(
        "format-too-new",
        `the state store has format ${format}; this version reads up to ${FORMAT}: use the version that wrote it, or a newer one`,
        { details: { format, formatMax: FORMAT } },
      );
    }
  }
}

const NO_EXTENTS: ReadonlyMap<ActorKey, readonly ExtentChange[]> = new Map();
const NO_EXTRAS: values.Extras = Object.freeze({ hasLarge: false, reminders: [] });
/** What damaged extras said is lost: there may have been a large state. */
const NOTHING_KNOWN: values.Extras = Object.freeze({ hasLarge: true, reminders: [] });
const EMPTY = new Uint8Array(0);

/** Cuts entries into slices of a bounded number and, unless one alone is larger, of bounded bytes. */
function* slicesOf<V>(
  entries: Iterable<[string, V]>,
  bytesOf: (value: V) => number,
): Iterable<[string, V][]> {
  let slice: [string, V][] = [];
  let bytes = 0;
  for (const entry of entries) {
    slice.push(entry);
    bytes += bytesOf(entry[1]);
    if (slice.length < SLICE_ENTRIES && bytes < SLICE_BYTES) continue;
    yield slice;
    slice = [];
    bytes = 0;
  }
  if (slice.length > 0) yield slice;
}

/** @throws `invalid-argument` */
function factWrite(shard: ShardId, name: string, fact: Uint8Array | undefined): KvWrite {
  const key = keys.factKey(shard, name);
  return { table: Table.facts, key, value: fact && values.encodeBlob(key, fact) };
}

/** @throws `state-too-large`, `invalid-argument` */
function pushActor(
  writes: KvWrite[],
  shard: ShardId,
  actor: ActorKey,
  key: Uint8Array,
  before: values.Extras,
  record: ActorRecord | undefined,
): void {
  const state = record?.state;
  if (state && state.length > STATE_BYTES_MAX) {
    throw new PinionError(
      "state-too-large",
      `the state of ${actor} has ${state.length} bytes; at most ${STATE_BYTES_MAX} can be stored`,
      { details: { actor, stateBytes: state.length, stateBytesMax: STATE_BYTES_MAX } },
    );
  }
  const large = state && state.length > values.INLINE_STATE_BYTES_MAX ? state : undefined;
  const reminders = record?.reminders ?? [];
  writes.push({ table: Table.actors, key, value: record && values.encodeActor(key, record) });
  if (large || before.hasLarge) {
    writes.push({ table: Table.large, key, value: large && values.encodeBlob(key, large) });
  }
  const had = before.hasLarge || before.reminders.length > 0;
  const has = large !== undefined || reminders.length > 0;
  if (had || has) {
    const extras = has
      ? values.encodeExtras(key, { hasLarge: large !== undefined, reminders })
      : undefined;
    writes.push({ table: Table.extras, key, value: extras });
  }
  for (const { dueMs, name } of before.reminders) {
    writes.push({
      table: Table.due,
      key: keys.dueKey(shard, { dueMs, actor, name }),
      value: undefined,
    });
  }
  // After the removals: a reminder that stays where it was is removed and written again (KvStore I1).
  for (const { dueMs, name } of reminders) {
    writes.push({
      table: Table.due,
      key: keys.dueKey(shard, { dueMs, actor, name }),
      value: EMPTY,
    });
  }
}
