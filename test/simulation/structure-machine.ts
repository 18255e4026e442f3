/**
 * What turns over structures run on: the extents of one actor, a store on a simulated disk whose pages come in any order, and a log that is a list.
 * `poke` takes memory, gives it, or begins a checkpoint, as a seed will have it.
 *
 * M1 an extent is brought in, or let go of, by one at a time, as a host does it.
 * M2 one checkpoint at a time; one that fails leaves the log as it is.
 */
import { isPinionError, lsn, seededRng, shardId, VirtualClock, type Rng } from "@pinion/core";
import {
  ActorExtents,
  PAGE_BYTES,
  PagePool,
  SegmentStateStore,
  SimDisk,
  SimKv,
  UnwrittenPages,
  type ActorRecord,
  type ExtentImage,
  type ExtentPages,
  type LoggedDelta,
  type StoredExtent,
} from "@pinion/storage";
import { bringIn, retire, takeOut } from "./changing-memory.ts";
import { DECLARED, isNotResident, NAMES, pause, type Bench, type Name } from "./structure-model.ts";

const SHARD = shardId(0);
const ACTOR = "default@main:soak/1";
const SEGMENT_PAGES = 64;
const POOL_PAGES = 16;
const UNBOUNDED = { bytesMax: Infinity, copiedBytesMax: Infinity };

export interface MachineReport {
  broughtIn: number;
  /** Outgrown, or let go of, while they were brought in. */
  notKept: number;
  takenOut: number;
  retired: number;
  checkpoints: number;
  failedCheckpoints: number;
  /** Views that have said so. */
  notResident: number;
}

/** Pages that come when they like: those asked for first not always first. */
class UnorderedPages implements ExtentPages {
  readonly #pages: ExtentPages;
  readonly #rng: Rng;

  constructor(pages: ExtentPages, rng: Rng) {
    this.#pages = pages;
    this.#rng = rng;
  }

  peek(page: number): Uint8Array | undefined {
    return this.#pages.peek(page);
  }

  async read(page: number): Promise<Uint8Array | undefined> {
    for (let left = this.#rng.below(4); left > 0; left--) await pause(this.#rng);
    const bytes = await this.#pages.read(page);
    await pause(this.#rng);
    return bytes;
  }

  runs(from: number, to: number): ReturnType<ExtentPages["runs"]> {
    return this.#pages.runs(from, to);
  }

  file(segment: number): Promise<number | undefined> {
    return this.#pages.file(segment);
  }

  close(): void {
    this.#pages.close();
  }
}

class UnorderedStore extends SegmentStateStore {
  readonly #rng: Rng;

  constructor(options: ConstructorParameters<typeof SegmentStateStore>[0], rng: Rng) {
    super(options);
    this.#rng = rng;
  }

  override async extentPages(
    shard: typeof SHARD,
    extent: StoredExtent,
  ): ReturnType<SegmentStateStore["extentPages"]> {
    return new UnorderedPages(await super.extentPages(shard, extent), this.#rng);
  }
}

export class StructureMachine implements Bench {
  readonly rng: Rng;
  readonly report: MachineReport = {
    broughtIn: 0,
    notKept: 0,
    takenOut: 0,
    retired: 0,
    checkpoints: 0,
    failedCheckpoints: 0,
    notResident: 0,
  };
  extents!: ActorExtents;
  /** Of everything that happens beside turns. */
  readonly #rng: Rng;
  readonly #isPooled: boolean;
  #disk: SimDisk;
  #index: SimKv;
  #store!: SegmentStateStore;
  /** What no checkpoint has. */
  #log: LoggedDelta[] = [];
  #at = 0;
  /** On their way into memory, or out of it. */
  readonly #moving = new Set<ExtentImage>();
  readonly #work = new Set<Promise<void>>();
  #checkpoint: Promise<boolean> | undefined;
  #isWanted = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(seed: number) {
    this.rng = seededRng(seed);
    this.#rng = this.rng.fork("beside turns");
    this.#isPooled = seed % 3 === 0;
    const inMemoryRate = seed % 2 === 0 ? 0 : 0.5;
    this.#disk = new SimDisk({ rng: this.rng.fork("disk"), inMemoryRate });
    this.#index = new SimKv({ rng: this.rng.fork("index") });
  }

  async open(): Promise<void> {
    const clock = new VirtualClock();
    const pool = new PagePool({ capacityBytes: POOL_PAGES * PAGE_BYTES, clock });
    this.#store = new UnorderedStore(
      {
        ...(this.#isPooled ? { pool } : {}),
        clock,
        disk: this.#disk,
        dir: "state",
        superblocks: this.#index,
        newGeneration: () => this.rng.below(2 ** 31),
        segmentPages: SEGMENT_PAGES,
        shardCount: 1,
      },
      this.#rng.fork("pages"),
    );
    const applied = await this.#store.appliedLsn(SHARD);
    this.#log = this.#log.filter((delta) => delta.lsn > applied);
    this.extents = await ActorExtents.open(
      {
        store: this.#store,
        shard: SHARD,
        actor: ACTOR,
        unwritten: new UnwrittenPages(UNBOUNDED, () => (this.#isWanted = true)),
        clock,
      },
      DECLARED,
      this.#log,
    );
  }

  /** What a turn has committed is durable at once. */
  append(delta: Uint8Array): void {
    this.#log.push({ lsn: lsn(++this.#at), bytes: delta.slice() });
  }

  /** What has failed beside a turn. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  failed(error: unknown): void {
    this.#failure ??= { error };
  }

  isResident(name: Name): boolean {
    return this.#image(name).resident;
  }

  allowNotResident(error: unknown): void {
    if (!isNotResident(error)) throw error;
    this.report.notResident++;
  }

  poke(likely?: Name): void {
    const rng = this.#rng;
    const name = likely !== undefined && rng.below(3) > 0 ? likely : rng.pick(NAMES);
    const image = this.#image(name);
    const kind = rng.below(8);
    if (kind === 5) {
      const isDue = this.#isWanted || rng.below(3) === 0;
      if (isDue && this.#checkpoint === undefined) void this.checkpoint();
    } else if (kind < 5 && !this.#moving.has(image)) this.#move(image, kind);
  }

  /** Pokes beside a turn. @returns ends that */
  pokeBeside(likely: Name): () => Promise<void> {
    let isOver = false;
    const poking = (async () => {
      for (;;) {
        await pause(this.#rng);
        if (isOver) return;
        this.poke(likely);
      }
    })();
    return () => {
      isOver = true;
      return poking;
    };
  }

  #image(name: Name): ExtentImage {
    return this.extents.image(name) as ExtentImage;
  }

  /** @param kind 3 only takes, 4 only gives */
  #move(image: ExtentImage, kind: number): void {
    const rng = this.#rng;
    const { report } = this;
    if (!image.resident) {
      if (kind === 3) return;
      const loading = bringIn(image, rng).then((isKept) => {
        report[isKept ? "broughtIn" : "notKept"]++;
      });
      return this.#begin(loading, image);
    }
    if (kind === 4) return;
    if (kind < 3 && rng.below(4) === 0) {
      report.retired++;
      return this.#begin(retire(image, rng), image);
    }
    report.takenOut++;
    // Others may come in before what was taken is free.
    this.#begin(takeOut(image), rng.below(2) === 0 ? undefined : image);
  }

  #begin(moved: Promise<void>, image: ExtentImage | undefined): void {
    if (image !== undefined) this.#moving.add(image);
    const work = moved
      .catch((e: unknown) => this.failed(e))
      .finally(() => {
        if (image !== undefined) this.#moving.delete(image);
        this.#work.delete(work);
      });
    this.#work.add(work);
  }

  /** @returns whether it is durable; undefined: there is another one */
  async checkpoint(): Promise<boolean | undefined> {
    if (this.#checkpoint !== undefined) return undefined;
    const checkpoint = this.#writeCheckpoint().finally(() => (this.#checkpoint = undefined));
    this.#checkpoint = checkpoint;
    return checkpoint.catch((e: unknown) => {
      this.failed(e);
      return undefined;
    });
  }

  async #writeCheckpoint(): Promise<boolean> {
    const rng = this.#rng;
    this.#isWanted = false;
    const upTo = lsn(this.#at);
    const changes = this.extents.freeze();
    if (rng.below(4) === 0)
      this.#disk.fail({ kind: "write", nth: 1 + rng.below(6), error: "ENOSPC" });
    const record: ActorRecord = { state: undefined, stateVersion: 1, lsn: upTo, reminders: [] };
    await pause(rng);
    try {
      await this.#store.checkpoint([
        {
          shard: SHARD,
          appliedLsn: upTo,
          actors: new Map([[ACTOR, record]]),
          extents: new Map([[ACTOR, changes]]),
          facts: new Map(),
        },
      ]);
    } catch (e) {
      if (!isPinionError(e, "disk-full")) throw e;
      await pause(rng);
      this.extents.failed();
      this.report.failedCheckpoints++;
      return false;
    } finally {
      this.#disk.clearFaults();
    }
    await pause(rng);
    await this.extents.written();
    this.#log = this.#log.filter((delta) => delta.lsn > upTo);
    this.report.checkpoints++;
    return true;
  }

  /** What goes on beside turns ends. An extent that leaves memory may wait for a checkpoint. */
  async settle(): Promise<void> {
    while (this.#work.size > 0 || this.#checkpoint !== undefined) {
      this.check();
      if (this.#isWanted) void this.checkpoint();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.check();
  }

  /** Everything is written and let go of; or the process dies, and the power with it. */
  async end(how: "stop" | "power"): Promise<void> {
    if (how === "stop") {
      while ((await this.checkpoint()) !== true) this.check();
      if (!this.extents.isClean) throw new Error("something is left behind a checkpoint");
      this.extents.release();
      await this.#store.close();
    } else this.extents.abandon();
    this.#disk = this.#disk.crash({ survivalRate: 0 });
    this.#index = this.#index.crash({ survivalRate: 0 });
  }
}
