/**
 * Random operations on the extents of a shard's actors, in small segments, over many lives, against plain bytes: turns that end and turns that throw,
 * reads, growing and cutting, moving in and out of memory, checkpoints that succeed, fail and are cut off, restarts, lost indexes.
 *
 * The log is a list here: what a turn has committed is durable at once. So after each life everything committed must be there, whatever a cut has
 * left of the segments.
 *
 * For hand: `pnpm soak:extents [--operations N] [--seed S]`.
 */
import { isPinionError, lsn, seededRng, shardId, systemClock, type Rng } from "@pinion/core";
import {
  ActorExtents,
  BufferMemory,
  PAGE_BYTES,
  PagePool,
  SegmentStateStore,
  SimDisk,
  SimKv,
  UnwrittenPages,
  type ActorRecord,
  type ExtentImage,
  type LoggedDelta,
} from "@pinion/storage";
import { PlainBytes } from "./plain-bytes.ts";

const SHARD = shardId(0);
const SEGMENT_PAGES = 64;
const POOL_PAGES = 64;
const NAMES = ["a", "b"] as const;
const DECLARED = { a: { kind: "column", version: 1 }, b: { kind: "map", version: 1 } };
const ACTORS = Array.from({ length: 16 }, (_, i) => `default@main:soak/${i}`);
/** About which an extent is cut rather than grown. */
const EXTENT_BYTES = 192 * 1024;
const UNBOUNDED = { bytesMax: Infinity, copiedBytesMax: Infinity };
const OPERATIONS_PER_LIFE = 5_000;

type Extent = ReturnType<ReturnType<ActorExtents["begin"]>["extent"]>;

export interface ExtentSoakOptions {
  readonly operations: number;
  readonly seed: number;
  readonly progress?: (report: ExtentSoakReport) => void;
}

export interface ExtentSoakReport {
  operations: number;
  readBytes: number;
  turns: number;
  thrown: number;
  lives: number;
  lostIndexes: number;
  checkpoints: number;
  failedCheckpoints: number;
  /** Under way when a life ended. */
  cutCheckpoints: number;
  cleanedPages: number;
  segmentsMax: number;
}

interface Actor {
  readonly name: string;
  /** As committed. */
  readonly model: ReadonlyMap<string, PlainBytes>;
  /** What no checkpoint is known to have. */
  log: LoggedDelta[];
  lastLsn: number;
  extents: ActorExtents | undefined;
}

/** @throws an error that names seed, actor and place where something is not as it should be */
export async function soakExtents(options: ExtentSoakOptions): Promise<ExtentSoakReport> {
  const soak = new Soak(options.seed);
  while (soak.report.operations < options.operations) {
    await soak.life();
    options.progress?.(soak.report);
  }
  return soak.report;
}

class Soak {
  readonly report: ExtentSoakReport = {
    operations: 0,
    readBytes: 0,
    turns: 0,
    thrown: 0,
    lives: 0,
    lostIndexes: 0,
    checkpoints: 0,
    failedCheckpoints: 0,
    cutCheckpoints: 0,
    cleanedPages: 0,
    segmentsMax: 0,
  };
  readonly #seed: number;
  readonly #rng: Rng;
  readonly #actors: readonly Actor[] = ACTORS.map((name) => ({
    name,
    model: new Map(NAMES.map((extent) => [extent, new PlainBytes()])),
    log: [],
    lastLsn: 0,
    extents: undefined,
  }));
  #disk: SimDisk;
  #index: SimKv;
  #store!: SegmentStateStore;
  /** LSN of the newest commit; all of them share one log. */
  #at = 0;
  /** Of the newest checkpoint that has succeeded. */
  #durable = 0;
  #checkpoint: Promise<void> | undefined;
  #loads = new Set<Promise<unknown>>();
  readonly #loading = new Set<ExtentImage>();
  #over = false;
  #unwritten!: UnwrittenPages;
  #stopping = false;

  constructor(seed: number) {
    this.#seed = seed;
    this.#rng = seededRng(seed);
    this.#disk = new SimDisk({ rng: this.#rng.fork("disk"), inMemoryRate: 0.5 });
    this.#index = new SimKv({ rng: this.#rng.fork("index") });
  }

  /** From an opening to a stop, a power cut or the death of the process. */
  async life(): Promise<void> {
    const { report } = this;
    const rng = this.#rng;
    await this.#open();
    const end = report.operations + 1 + rng.below(2 * OPERATIONS_PER_LIFE);
    while (report.operations < end) await this.#step();
    const how = rng.pick(["stop", "kill", "power", "power"] as const);
    if (how === "stop") await this.#stop();
    report.lives++;
    const stats = [...(await this.#store.stats()).values()];
    for (const { cleanedPages, segments } of stats) {
      report.cleanedPages += cleanedPages;
      report.segmentsMax = Math.max(report.segmentsMax, segments);
    }
    if (this.#checkpoint !== undefined) report.cutCheckpoints++;
    this.#over = true;
    this.#checkpoint = undefined;
    this.#loads = new Set();
    this.#loading.clear();
    this.#disk = how === "kill" ? this.#disk.kill() : this.#disk.crash();
    this.#index = how === "kill" ? this.#index.kill() : this.#index.crash();
    for (const actor of this.#actors) {
      actor.extents?.abandon();
      actor.extents = undefined;
    }
    this.#checkCounts(0);
    if (rng.below(10) > 0) return;
    this.#index = new SimKv({ rng: rng.fork("index") });
    report.lostIndexes++;
  }

  async #open(): Promise<void> {
    const rng = this.#rng;
    this.#over = this.#stopping = false;
    const unwritten: UnwrittenPages = new UnwrittenPages(UNBOUNDED, () => this.#want(unwritten));
    this.#unwritten = unwritten;
    const pool = new PagePool({ capacityBytes: POOL_PAGES * PAGE_BYTES, clock: systemClock });
    this.#store = new SegmentStateStore({
      ...(rng.below(2) === 0 ? { pool } : {}),
      disk: this.#disk,
      dir: "state",
      superblocks: this.#index,
      newGeneration: () => rng.below(2 ** 31),
      segmentPages: SEGMENT_PAGES,
      shardCount: 1,
    });
    const applied = await this.#store.appliedLsn(SHARD);
    if (applied < this.#durable)
      throw this.#wrong(`opened at LSN ${applied}, ${this.#durable} was checkpointed`);
    for (const actor of this.#actors) await this.#activate(actor);
  }

  async #activate(actor: Actor): Promise<void> {
    const stored = (await this.#store.load(SHARD, actor.name))?.lsn ?? 0;
    const missing = actor.log.filter((delta) => delta.lsn > stored);
    const owner = {
      store: this.#store,
      shard: SHARD,
      actor: actor.name,
      unwritten: this.#unwritten,
    };
    actor.extents = await ActorExtents.open(owner, DECLARED, missing);
    const turn = actor.extents.begin(true);
    for (const name of NAMES) {
      const { length } = actor.model.get(name) as PlainBytes;
      if (turn.extent(name).lengthBytes !== length)
        throw this.#wrong(
          `${actor.name} "${name}" has ${turn.extent(name).lengthBytes} bytes, not ${length}`,
        );
      await this.#read(actor, turn.extent(name), name, 0, length);
    }
    turn.end();
  }

  async #step(): Promise<void> {
    const rng = this.#rng;
    if (this.#checkpoint === undefined && rng.below(24) === 0) this.#begin();
    else if (this.#checkpoint !== undefined && rng.below(12) === 0) await this.#checkpoint;
    const actor = rng.pick(this.#actors);
    if (rng.below(16) === 0) this.#move(actor, rng.pick(NAMES));
    if (rng.below(64) === 0 && actor.extents?.isClean === true) {
      // Deactivated, and activated again.
      await Promise.all(this.#loads);
      if (actor.extents.isClean) {
        actor.extents.release();
        await this.#activate(actor);
      }
    }
    await this.#turn(actor);
    this.#checkCounts(undefined);
  }

  /** An extent that leaves memory waits for a checkpoint. */
  #want(life: UnwrittenPages): void {
    setImmediate(() => {
      if (this.#unwritten !== life || this.#over || this.#stopping) return;
      if (this.#checkpoint === undefined) this.#begin();
      else void this.#checkpoint.catch(() => {}).then(() => this.#want(life));
    });
  }

  /** @param pages that must wait for a checkpoint; undefined: as many as the extents say */
  #checkCounts(pages: number | undefined): void {
    const { bytes, copiedBytes } = this.#unwritten;
    let dirtyPages = 0;
    for (const { extents } of this.#actors)
      for (const image of extents?.images ?? []) dirtyPages += image.dirtyPages;
    const isKnown = pages !== undefined || this.#checkpoint === undefined;
    const isRight = !isKnown || bytes === (pages ?? dirtyPages) * PAGE_BYTES;
    if (isRight && copiedBytes >= 0 && copiedBytes <= bytes) return;
    throw this.#wrong(
      `${bytes} bytes are counted as changed, ${copiedBytes} as copied; ${dirtyPages} pages are`,
    );
  }

  async #turn(actor: Actor): Promise<void> {
    const rng = this.#rng;
    const turn = (actor.extents as ActorExtents).begin(false);
    for (let left = 1 + rng.below(12); left > 0; left--) {
      this.report.operations++;
      const name = rng.pick(NAMES);
      const extent = turn.extent(name);
      const model = actor.model.get(name) as PlainBytes;
      if (rng.below(2) === 0) {
        const offset = rng.below(model.length + 1);
        const byteCount = Math.min(model.length - offset, rng.below(rng.below(16) ? 300 : 20_000));
        await this.#read(actor, extent, name, offset, byteCount);
      } else await change(rng, extent, model);
    }
    this.report.turns++;
    const isKept = rng.below(5) > 0;
    if (isKept) {
      const finished = turn.finish();
      if (finished !== undefined) {
        actor.lastLsn = ++this.#at;
        actor.log.push({ lsn: lsn(this.#at), bytes: finished.delta });
        finished.publish();
      }
    } else this.report.thrown++;
    for (const model of actor.model.values()) model.end(isKept);
    turn.end();
  }

  async #read(
    actor: Actor,
    extent: Extent,
    name: string,
    offset: number,
    byteCount: number,
  ): Promise<void> {
    const model = actor.model.get(name) as PlainBytes;
    const found = extent.peek(offset, byteCount) ?? (await extent.read(offset, byteCount));
    const expected = model.bytes.subarray(offset, offset + byteCount);
    this.report.readBytes += byteCount;
    if (Buffer.compare(found, expected) === 0) return;
    let at = 0;
    while (found[at] === expected[at]) at++;
    throw this.#wrong(
      `${actor.name} "${name}" byte ${offset + at} is ${found[at]}, not ${expected[at]}` +
        ` (${extent.resident ? "resident" : "not resident"}, ${found.length} of ${byteCount} bytes)`,
    );
  }

  /** Into memory, or out of it; loading goes on beside turns and checkpoints. */
  #move({ extents }: Actor, name: string): void {
    const image = extents?.image(name);
    if (extents === undefined || image === undefined || this.#loading.has(image)) return;
    this.#loading.add(image);
    const moved = image.resident
      ? image.retire(nextTurn, 2).then(async (memory) => {
          await image.references.whenNone();
          memory?.release();
        })
      : // Some outgrow what they get.
        extents.load([name], new BufferMemory(this.#rng.below(3) === 0 ? 100_000 : Infinity));
    const load = moved.finally(() => {
      this.#loading.delete(image);
      this.#loads.delete(load);
    });
    this.#loads.add(load);
  }

  #begin(): void {
    const rng = this.#rng;
    if (rng.below(6) === 0)
      this.#disk.fail({ kind: "write", nth: 1 + rng.below(6), error: "ENOSPC" });
    const upTo = this.#at;
    // What is left of a life that was cut may still settle in the next one, and means nothing there.
    const life = this.#unwritten;
    const isPast = (): boolean => this.#over || this.#unwritten !== life;
    const members = this.#actors.flatMap((actor) =>
      actor.extents === undefined
        ? []
        : [{ actor, extents: actor.extents, changes: actor.extents.freeze(), at: actor.lastLsn }],
    );
    const checkpoint = this.#store
      .checkpoint([
        {
          shard: SHARD,
          appliedLsn: lsn(upTo),
          actors: new Map(members.map(({ actor, at }) => [actor.name, recordAt(at)])),
          extents: new Map(members.map(({ actor, changes }) => [actor.name, changes])),
          facts: new Map(),
        },
      ])
      .then(
        async () => {
          for (const { extents } of members) await extents.written();
          if (isPast()) return;
          this.report.checkpoints++;
          this.#durable = upTo;
          for (const { actor, at } of members)
            actor.log = actor.log.filter((delta) => delta.lsn > at);
        },
        (e: unknown) => {
          for (const { extents } of members) extents.failed();
          if (isPast()) return;
          if (!isPinionError(e, "disk-full")) throw e;
          this.report.failedCheckpoints++;
        },
      )
      .finally(() => {
        if (isPast()) return;
        this.#disk.clearFaults();
        this.#checkpoint = undefined;
      });
    this.#checkpoint = checkpoint;
    // Told to whoever waits for it.
    checkpoint.catch(() => {});
  }

  async #stop(): Promise<void> {
    await this.#checkpoint;
    await Promise.all(this.#loads);
    this.#stopping = true;
    await this.#checkpoint;
    while (
      this.#durable < this.#at ||
      this.#actors.some(({ extents }) => extents?.isClean === false)
    ) {
      this.#begin();
      await this.#checkpoint;
    }
    for (const actor of this.#actors) {
      actor.extents?.release();
      actor.extents = undefined;
    }
    await this.#store.close();
  }

  #wrong(what: string): Error {
    const { lives, operations } = this.report;
    return new Error(`seed ${this.#seed}, life ${lives}, operation ${operations}: ${what}`);
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const recordAt = (at: number): ActorRecord => ({
  state: undefined,
  stateVersion: 1,
  lsn: lsn(at),
  reminders: [],
});

/** One change of an extent, and the same on plain bytes. */
async function change(rng: Rng, extent: Extent, model: PlainBytes): Promise<void> {
  const kind = rng.below(64);
  if (kind === 0 || model.length > EXTENT_BYTES) {
    const length = rng.below(kind === 1 ? model.length + 9_000 : model.length + 1);
    await extent.resize(length);
    model.resize(length);
    return;
  }
  const bytes = new Uint8Array(rng.below(32) === 0 ? rng.below(30_000) : 1 + rng.below(200));
  bytes.fill(1 + rng.below(255));
  if (kind < 16) {
    extent.append(bytes);
    model.write(model.length, bytes);
    return;
  }
  const offset = rng.below(model.length + (rng.below(64) === 0 ? 9_000 : 1));
  await extent.write(offset, bytes);
  if (bytes.length > 0) model.write(offset, bytes);
}
