/**
 * An embedded store whose extents come into memory and leave it at any time. Clients change four structures of a volume together, readers compare
 * them beside that, and checkpoints never stop.
 *
 * Varied: the order of changes within an update and whether they are made at once, updates that throw, memory that cannot grow, lives that end by a
 * stop, or by a cut at any operation of disk and index. Compared: the structures with each other in every read; after each cut what is there with
 * what was answered, and with what was asked for.
 *
 * For hand: `pnpm soak:structures --level volumes [--worlds N] [--seed S]`.
 */
import { isPinionError, seededRng, VirtualClock, type Rng } from "@pinion/core";
import {
  bytes,
  column,
  log,
  map,
  openStoreOn,
  SimDisk,
  SimKv,
  type ExtentImage,
  type ExtentResidency,
  type ResidentActor,
  type Store,
  type Volume,
  type VolumeWork,
} from "@pinion/storage";
import { bringIn, retire, takeOut } from "./changing-memory.ts";
import { replayable, type Place } from "./soak-replay.ts";
import { pause, same } from "./structure-model.ts";

const DECLARED = {
  counts: map<number>({ key: "number" }),
  history: log<[client: number, count: number]>(),
  table: bytes(),
  rows: column("f64"),
};
type Handles = Parameters<VolumeWork<typeof DECLARED, unknown>>[0];

const LIVES = 3;
const CLIENTS = 4;
const UPDATES_PER_LIFE = 40;
/** Of a client in the table: each on pages of its own. */
const ROOM_BYTES = 5_000;
const TABLE_BYTES = CLIENTS * ROOM_BYTES;
/** Keys from here on come and go, and say nothing. */
const FILLER_KEY = 1_000;
const CUT_AFTER_MAX = 400;

export interface VolumeSoakReport {
  updates: number;
  thrown: number;
  reads: number;
  expired: number;
  cuts: number;
  moves: number;
}

/** @throws an error that names seed, life and the command that replays it, where something is not as it should be */
export function soakVolumes(seed: number): Promise<VolumeSoakReport> {
  return replayable("volumes", seed, (place) => new VolumeSoak(seed, place).run());
}

/** Moves extents in and out, at any time. */
class RestlessResidency implements ExtentResidency {
  moves = 0;
  failure: { readonly error: unknown } | undefined;
  readonly #images = new Set<ExtentImage>();
  readonly #moving = new Set<ExtentImage>();
  readonly #loads = new Set<Promise<unknown>>();
  readonly #rng: Rng;
  #isOver = false;

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  activate({ extents }: ResidentActor): Promise<void> {
    for (const image of extents.images) this.#images.add(image);
    return Promise.resolve();
  }

  used(): void {
    if (this.#rng.below(6) === 0) this.#poke();
  }

  deactivate({ extents }: ResidentActor): void {
    for (const image of extents.images) this.#images.delete(image);
    extents.abandon();
  }

  async run(): Promise<void> {
    while (!this.#isOver) {
      await pause(this.#rng);
      this.#poke();
    }
  }

  /** Resolves once nothing is on its way into memory any more. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.allSettled(this.#loads);
  }

  #poke(): void {
    if (this.#images.size === 0 || this.#isOver) return;
    const image = this.#rng.pick([...this.#images]);
    if (this.#moving.has(image)) return;
    this.#moving.add(image);
    this.moves++;
    this.#move(image)
      .catch((error: unknown) => (this.failure ??= { error }))
      .finally(() => this.#moving.delete(image));
  }

  async #move(image: ExtentImage): Promise<void> {
    if (!image.resident) {
      const load = bringIn(image, this.#rng).finally(() => this.#loads.delete(load));
      this.#loads.add(load);
      await load;
    } else if (this.#rng.below(2) === 0) await takeOut(image);
    else await retire(image, this.#rng);
  }
}

class VolumeSoak {
  readonly #rng: Rng;
  readonly #place: Place;
  readonly #report: VolumeSoakReport = {
    updates: 0,
    thrown: 0,
    reads: 0,
    expired: 0,
    cuts: 0,
    moves: 0,
  };
  #disk: SimDisk;
  #index: SimKv;
  /** By client: the count that was last answered, and the one last asked for. */
  readonly #answered = new Array<number>(CLIENTS).fill(0);
  readonly #asked = new Array<number>(CLIENTS).fill(0);

  constructor(seed: number, place: Place) {
    this.#rng = seededRng(seed);
    this.#place = place;
    const inMemoryRate = seed % 2 === 0 ? 0 : 0.5;
    this.#disk = new SimDisk({ rng: this.#rng.fork("disk"), inMemoryRate });
    this.#index = new SimKv({ rng: this.#rng.fork("index") });
  }

  async run(): Promise<VolumeSoakReport> {
    for (; this.#place.life < LIVES; this.#place.life++) await this.#life();
    return this.#report;
  }

  async #life(): Promise<void> {
    const rng = this.#rng.fork(`life ${this.#place.life}`);
    const residency = new RestlessResidency(rng.fork("residency"));
    const moving = residency.run();
    const isCut = rng.below(2) === 0;
    const cut = isCut ? this.#cutAt(1 + rng.below(CUT_AFTER_MAX)) : new Promise<never>(() => {});
    const life = new Life(rng, this.#report, this.#answered, this.#asked, this.#place);
    const running = (async () => {
      const store = await this.#open(rng, residency, life.clock);
      await life.run(store);
      await residency.stop();
      if (rng.below(2) === 0) await store.close();
    })();
    try {
      await Promise.race([running, cut]);
    } finally {
      life.stop();
      // After a cut nothing that reads comes to an end.
      void residency.stop();
    }
    await moving;
    if (residency.failure !== undefined) throw residency.failure.error;
    this.#report.moves += residency.moves;
    this.#disk.onOperation = this.#index.onOperation = undefined;
    this.#disk = this.#disk.crash();
    this.#index = this.#index.crash();
  }

  #open(rng: Rng, residency: ExtentResidency, clock: VirtualClock): Promise<Store> {
    const ports = {
      disk: this.#disk,
      index: this.#index,
      residency,
      newGeneration: () => rng.below(2 ** 31),
      segmentPages: 64,
    };
    return openStoreOn(ports, "store", {
      clock,
      logSegmentBytes: 256 * 1024,
      checkpointDirtyBytes: 2 ** 20,
      checkpointMs: 100,
      onWarning: () => {},
    });
  }

  /** The power goes at this operation of disk and index together. */
  #cutAt(operation: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let left = operation;
    const count = (): void => {
      if (--left !== 0) return;
      this.#report.cuts++;
      this.#disk = this.#disk.crash();
      this.#index = this.#index.crash();
      resolve();
    };
    this.#disk.onOperation = this.#index.onOperation = count;
    return promise;
  }
}

/** From an opening to a stop or a cut, behind which nothing settles any more. */
class Life {
  readonly clock = new VirtualClock();
  readonly #rng: Rng;
  readonly #report: VolumeSoakReport;
  readonly #answered: number[];
  readonly #asked: number[];
  readonly #place: Place;
  #isOver = false;

  constructor(
    rng: Rng,
    report: VolumeSoakReport,
    answered: number[],
    asked: number[],
    place: Place,
  ) {
    this.#rng = rng;
    this.#report = report;
    this.#answered = answered;
    this.#asked = asked;
    this.#place = place;
  }

  stop(): void {
    this.#isOver = true;
  }

  async run(store: Store): Promise<void> {
    const volume = await store.open("volume", DECLARED);
    this.#settle(await volume.read((handles) => this.#compare(handles, this.#rng)));
    const beside = Promise.all([
      this.#read(volume, this.#rng.fork("reader 0")),
      this.#read(volume, this.#rng.fork("reader 1")),
      this.#checkpoint(store, this.#rng.fork("checkpoints")),
      this.#passTime(this.#rng.fork("time")),
    ]);
    beside.catch(() => {});
    const clients = Array.from({ length: CLIENTS }, (_, client) => this.#update(volume, client));
    try {
      await Promise.race([Promise.all(clients), beside]);
    } finally {
      this.#isOver = true;
    }
    await Promise.all(clients);
    await beside;
    await volume.read((handles) => this.#compare(handles, this.#rng));
  }

  /** What a cut has left: all that was answered, nothing that was not asked for. */
  #settle(counts: ReadonlyMap<number, number>): void {
    for (let client = 0; client < CLIENTS; client++) {
      const count = counts.get(client) ?? 0;
      const [least, most] = [this.#answered[client] as number, this.#asked[client] as number];
      if (count < least || count > most)
        throw new Error(`client ${client} has counted to ${count}, not ${least} … ${most}`);
      this.#answered[client] = this.#asked[client] = count;
    }
  }

  /** The structures with each other. @returns how far each client has come */
  async #compare(
    { counts, history, table, rows }: Handles,
    rng: Rng,
  ): Promise<Map<number, number>> {
    const inCounts = new Map<number, number>();
    for await (const [key, count] of counts) {
      if (key < FILLER_KEY) inCounts.set(key, count);
      if (rng.below(10) === 0) await pause(rng);
    }
    const inHistory = new Map<number, number>();
    for await (const { value } of history.entries()) {
      const [client, count] = value;
      same(`history of ${client}`, count, (inHistory.get(client) ?? 0) + 1);
      inHistory.set(client, count);
    }
    const inTable = new Map<number, number>();
    for (let client = 0; client < CLIENTS && table.lengthBytes > 0; client++) {
      const count = Buffer.from(await table.read(client * ROOM_BYTES, 4)).readUInt32BE();
      if (count > 0) inTable.set(client, count);
    }
    const byClient = (found: Map<number, number>): [number, number][] =>
      [...found].sort(([a], [b]) => a - b);
    same("history and counts", byClient(inHistory), byClient(inCounts));
    same("table and counts", byClient(inTable), byClient(inCounts));
    same(
      "rows",
      await rows.length,
      [...inCounts.values()].reduce((a, b) => a + b, 0),
    );
    return inCounts;
  }

  async #update(volume: Volume<typeof DECLARED>, client: number): Promise<void> {
    const rng = this.#rng.fork(`client ${client}`);
    for (let left = UPDATES_PER_LIFE; left > 0 && !this.#isOver; left--) {
      const count = (this.#answered[client] as number) + 1;
      const isThrown = rng.below(8) === 0;
      if (!isThrown) this.#asked[client] = count;
      try {
        await volume.update(async (handles) => {
          await change(handles, client, count, rng);
          if (isThrown) throw new RangeError("as asked for");
        });
        this.#answered[client] = count;
        this.#report.updates++;
      } catch (e) {
        if (!isThrown || !(e instanceof RangeError)) throw e;
        this.#report.thrown++;
      }
      this.#place.turn++;
      if (rng.below(4) === 0) await pause(rng);
    }
  }

  async #read(volume: Volume<typeof DECLARED>, rng: Rng): Promise<void> {
    while (!this.#isOver) {
      for (let left = 1 + rng.below(5); left > 0; left--) await pause(rng);
      this.#report.reads++;
      try {
        await volume.read(async (handles) => {
          for (let left = rng.below(4); left > 0; left--) await pause(rng);
          await this.#compare(handles, rng);
        });
      } catch (e) {
        if (!isPinionError(e, "view-expired")) throw e;
        this.#report.expired++;
      }
    }
  }

  async #checkpoint(store: Store, rng: Rng): Promise<void> {
    while (!this.#isOver) {
      for (let left = 1 + rng.below(40); left > 0; left--) await pause(rng);
      await store.checkpoint();
    }
  }

  async #passTime(rng: Rng): Promise<void> {
    while (!this.#isOver) {
      await this.clock.advance(1 + rng.below(20));
      await pause(rng);
    }
  }
}

/** One step of a client, in every structure. */
async function change(handles: Handles, client: number, count: number, rng: Rng): Promise<void> {
  const { counts, history, table, rows } = handles;
  const cell = Buffer.alloc(4);
  cell.writeUInt32BE(count);
  const parts = [
    async () => {
      const next = (old = 0): number => {
        same(`count of ${client}`, old, count - 1);
        return count;
      };
      await counts.update(client, next);
    },
    async () => void (await history.append([client, count])),
    async () => {
      if (table.lengthBytes < TABLE_BYTES) await table.resize(TABLE_BYTES);
      await table.write(client * ROOM_BYTES, cell);
    },
    async () => {
      await rows.append(count);
    },
    async () => {
      for (let left = rng.below(4); left > 0; left--) {
        const key = FILLER_KEY + rng.below(300);
        const setting = counts.set(key, 0);
        if (rng.below(2) === 0) await counts.delete(key);
        await setting;
      }
    },
  ];
  if (rng.below(2) === 0) await Promise.all(parts.map((part) => part()));
  else for (const part of parts) await part();
  if (rng.below(3) === 0) table.append(new Uint8Array(rng.below(3_000)));
  else if (rng.below(4) === 0) await table.resize(TABLE_BYTES);
}
