/**
 * What state on disk costs: bytes written to all files for each small change, how long a checkpoint holds the event loop, what a load of a
 * state that is not in memory takes, the space of what was written over, and how long a host needs to open it. The store in segments
 * beside LMDB, which hosts used before; there is no other floor but the aim.
 *
 * write-bytes  B for each random page of 4 KiB, 1 % of a volume of 64 Ki pages (in LMDB: values) changed at a time.
 * space        bytes of files for each live byte, after a volume was overwritten ten times at random.
 * open-volumes a shard with 10 GiB in one volume, from its files to its first page; its floor: with 1 GiB.
 * open         a host with 100,000 actors, from the call of startHost until it serves, one shard of which has a change that no checkpoint
 *              holds; its floor: with 1,000. Each time in a process of its own, which runs the built packages.
 * open-process the same from the end of Node's own start: the program's code is loaded meanwhile.
 */
import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { readFileSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { connect } from "@pinion/client";
import { lsn, seededRng, shardId } from "@pinion/core";
import { startHost } from "@pinion/runtime";
import {
  KvStateStore,
  LmdbKv,
  RealDisk,
  ShardStore,
  type ActorRecord,
  type KvStore,
} from "@pinion/storage";
import { Counter } from "../../integration/fixtures/counter.ts";
import { HostProcess } from "../../support/host-process.ts";
import { buildPackages, openCopy, type OpenedHost } from "../opened-host.ts";
import { percentile, type BenchCase, type BenchContext, type BenchSuite } from "../harness.ts";

const ACTORS = 1_000_000;
const DIRTY_SHARE = 0.01;
const LOADS = 2_000;
const BATCH = 20_000;
const SHARD = shardId(1);
const PAGE_BYTES = 4_096;
const PAGES = 65_536;
const GIB_PAGES = 262_144;
const SEGMENT_PAGES = 16_384;
const VOLUME = 2;
const OVERWRITES = 10;
/** 512 MiB: segments are 64 MiB, and the one that is written to should not be what is measured. */
const SPACE_PAGES = 131_072;
const OPENED = { few: 1_000, many: 100_000 } as const;
const CALLS_AT_ONCE = 500;

type Kind = "segments" | "lmdb";

const keyOf = (i: number): string => `default@main:counter/actor-${i}`;

interface Loaded {
  readonly kv: KvStore;
  readonly store: KvStateStore;
  applied: number;
}

/** Bytes this process has given to the kernel to be written to disks. */
function writtenBytes(): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readFileSync("/proc/self/io", "utf8"))?.[1]);
}

/** As a host encodes it: a piece of a larger buffer. */
function record(at: number, random: () => number): ActorRecord {
  const state = Buffer.allocUnsafe(200).fill(0);
  state.writeDoubleLE(random(), 0);
  return { state, stateVersion: 1, lsn: lsn(at), reminders: [] };
}

async function load(kv: KvStore, actors: number): Promise<Loaded> {
  const store = new KvStateStore(kv);
  const loaded = { kv, store, applied: 0 };
  for (let from = 0; from < actors; from += BATCH) {
    const batch = new Map<string, ActorRecord>();
    for (let i = from; i < Math.min(actors, from + BATCH); i++)
      batch.set(keyOf(i), record(i, Math.random));
    loaded.applied += batch.size;
    await store.checkpoint([
      { shard: SHARD, appliedLsn: lsn(loaded.applied), actors: batch, facts: new Map() },
    ]);
  }
  return loaded;
}

export const suite: BenchSuite = {
  name: "ckpt",
  cases: (context) => [
    ...stateCases(context, "segments"),
    ...stateCases(context, "lmdb"),
    writeBytes(context, "segments"),
    writeBytes(context, "lmdb"),
    space(context),
    ...opens(context),
    openVolumes(context),
  ],
};

const bench = (
  name: string,
  unit: string,
  subject: () => Promise<number>,
  setUp?: BenchCase["setUp"],
): BenchCase => ({
  name,
  unit,
  better: "lower",
  subject: async () => ({ value: await subject() }),
  ...(setUp && { setUp }),
});

async function openKv(dir: string, kind: Kind, segmentPages = SEGMENT_PAGES): Promise<KvStore> {
  await mkdir(dir, { recursive: true });
  return kind === "lmdb" ? LmdbKv.open(join(dir, "state.mdb")) : openShard(dir, segmentPages);
}

function openShard(
  dir: string,
  segmentPages: number,
  durable?: ShardStore["newest"],
): Promise<ShardStore> {
  const rng = seededRng(7);
  return ShardStore.open({
    disk: new RealDisk(),
    dir: join(dir, "segments"),
    newGeneration: () => rng.below(2 ** 31),
    segmentPages,
    ...(durable === undefined ? {} : { durable }),
  });
}

function stateCases(context: BenchContext, kind: Kind): BenchCase[] {
  const actors = Math.round(ACTORS * context.scale);
  const dirty = Math.round(actors * DIRTY_SHARE);
  const rng = seededRng(7);
  let loaded: Loaded | undefined;
  const filled = async (): Promise<Loaded> =>
    (loaded ??= await load(await openKv(join(context.dir, `ckpt-${kind}`), kind), actors));
  const delay = monitorEventLoopDelay({ resolution: 1 });
  /** What is to be written is made before, and is not what is measured. */
  const prepared = async (): Promise<() => Promise<void>> => {
    const state = await filled();
    const batch = new Map<string, ActorRecord>();
    while (batch.size < dirty)
      batch.set(
        keyOf(rng.below(actors)),
        record(1, () => rng.float()),
      );
    await setImmediate();
    return () =>
      state.store.checkpoint([
        { shard: SHARD, appliedLsn: lsn(++state.applied), actors: batch, facts: new Map() },
      ]);
  };
  return [
    bench(`state/${kind}`, "B/update", async () => {
      const checkpoint = await prepared();
      const before = writtenBytes();
      await checkpoint();
      return (writtenBytes() - before) / dirty;
    }),
    bench(`loop-delay-p99/${kind}`, "ms", async () => {
      const checkpoint = await prepared();
      delay.reset();
      delay.enable();
      await checkpoint();
      delay.disable();
      return delay.percentile(99) / 1e6 - 1;
    }),
    bench(
      `load-p99/${kind}`,
      "ms",
      async () => {
        const { store } = await filled();
        const latenciesMs: number[] = [];
        for (let i = 0; i < LOADS; i++) {
          const beganMs = performance.now();
          await store.load(SHARD, keyOf(rng.below(actors)));
          latenciesMs.push(performance.now() - beganMs);
        }
        return percentile(latenciesMs, 99);
      },
      async () => async () => {
        await loaded?.store.close();
        await loaded?.kv.close();
        loaded = undefined;
      },
    ),
  ];
}

/** Numbers below `end`, ascending, each once. */
function someOf(rng: ReturnType<typeof seededRng>, count: number, end: number): number[] {
  const chosen = new Set<number>();
  while (chosen.size < count) chosen.add(rng.below(end));
  return [...chosen].sort((a, b) => a - b);
}

async function writePages(kv: KvStore, pages: readonly number[]): Promise<void> {
  const bytes = new Uint8Array(PAGE_BYTES);
  const content = (page: number): Uint8Array => {
    const copy = bytes.slice();
    new DataView(copy.buffer).setFloat64(0, page + Math.random());
    return copy;
  };
  if (kv instanceof ShardStore) {
    const written = pages.map((page) => [page, content(page)] as const);
    const writes = [{ volume: VOLUME, pageCount: pages.length, pages: written }];
    return kv.commit([], { writes, removed: [] });
  }
  await kv.commit(
    pages.map((page) => {
      const key = Buffer.alloc(4);
      key.writeUInt32BE(page);
      return { table: "pages", key, value: content(page) };
    }),
  );
  return kv.sync();
}

async function filledVolume(kv: KvStore, pages: number): Promise<void> {
  for (let from = 0; from < pages; from += BATCH / 5)
    await writePages(
      kv,
      Array.from({ length: Math.min(BATCH / 5, pages - from) }, (_, i) => from + i),
    );
}

function writeBytes({ dir, scale }: BenchContext, kind: Kind): BenchCase {
  const pages = Math.round(PAGES * scale);
  const dirty = Math.round(pages * DIRTY_SHARE);
  const rng = seededRng(11);
  let kv: KvStore;
  return bench(
    `write-bytes/${kind}`,
    "B/page",
    async () => {
      const before = writtenBytes();
      for (let i = 0; i < 10; i++) await writePages(kv, someOf(rng, dirty, pages));
      return (writtenBytes() - before) / (10 * dirty);
    },
    async () => {
      kv = await openKv(join(dir, `pages-${kind}`), kind);
      await filledVolume(kv, pages);
      return () => kv.close();
    },
  );
}

async function fileBytes(dir: string): Promise<number> {
  let sum = 0;
  for (const name of await readdir(dir)) sum += (await stat(join(dir, name))).blocks * 512;
  return sum;
}

function space({ dir, scale }: BenchContext): BenchCase {
  const pages = Math.round(SPACE_PAGES * scale);
  const rng = seededRng(13);
  let kv: KvStore;
  return {
    ...bench(
      "space/segments",
      "files/live",
      async () => {
        for (let i = 0; i < OVERWRITES * 20; i++)
          await writePages(kv, someOf(rng, pages / 20, pages));
        return (await fileBytes(join(dir, "space", "segments"))) / (pages * PAGE_BYTES);
      },
      async () => {
        kv = await openKv(join(dir, "space"), "segments", Math.round(SEGMENT_PAGES * scale));
        await filledVolume(kv, pages);
        return () => kv.close();
      },
    ),
    rounds: 1,
  };
}

const SERVED = { actors: [Counter], port: 0, adminPort: 0, logLevel: "silent" } as const;

/** A data directory of so many actors, one of which has changed since the last checkpoint. */
async function actorsIn(dataDir: string, actors: number): Promise<void> {
  const host = await startHost({ ...SERVED, dataDir });
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < actors) await host.client.get(Counter, `c${next++}`).increment(1);
  };
  await Promise.all(Array.from({ length: CALLS_AT_ONCE }, caller));
  await host.stop();
  await using killed = await HostProcess.start({ dataDir, checkpointDirtyMs: 3_600_000 });
  const client = await connect(killed.endpoint);
  await client.get(Counter, "c0").increment(1);
  await killed.kill();
  await client.close(0);
}

function opens({ dir, scale }: BenchContext): BenchCase[] {
  const many = OPENED.many * scale;
  const dirOf = (actors: number): string => join(dir, `actors-${actors}`);
  let made: Promise<void> | undefined;
  const make = async (): Promise<void> => {
    await buildPackages();
    for (const actors of [OPENED.few, many]) await actorsIn(dirOf(actors), actors);
  };
  const measured = (name: string, pick: (opened: OpenedHost) => number): BenchCase => {
    const opened = async (actors: number): Promise<number> =>
      pick(await openCopy(dirOf(actors), join(dir, "opened")));
    return {
      ...bench(
        name,
        "ms",
        () => opened(many),
        async () => {
          await (made ??= make());
          return async () => {};
        },
      ),
      floor: async () => ({ value: await opened(OPENED.few) }),
    };
  };
  return [
    measured("open", ({ openMs }) => openMs),
    measured("open-process", ({ sinceNodeMs }) => sinceNodeMs),
  ];
}

/** Of one content: what is opened is not looked at. @returns its superblock */
async function volumeOf(dir: string, pages: number): Promise<ShardStore["newest"]> {
  const store = await openShard(dir, SEGMENT_PAGES);
  const bytes = new Uint8Array(PAGE_BYTES).fill(7);
  for (let from = 0; from < pages; from += PAGES) {
    const count = Math.min(PAGES, pages - from);
    const written = function* (): Generator<readonly [number, Uint8Array]> {
      for (let page = from; page < from + count; page++) yield [page, bytes];
    };
    const writes = [{ volume: VOLUME, pageCount: count, pages: written() }];
    await store.commit([], { writes, removed: [] });
  }
  const { newest } = store;
  await store.close();
  return newest;
}

function openVolumes({ dir, scale }: BenchContext): BenchCase {
  const rng = seededRng(17);
  const superblocks = new Map<number, ShardStore["newest"]>();
  const sizes = [GIB_PAGES * scale, 10 * GIB_PAGES * scale].map(Math.round);
  const opened = async (pages: number): Promise<number> => {
    const at = join(dir, `volumes-${pages}`);
    const beganMs = performance.now();
    const store = await openShard(at, SEGMENT_PAGES, superblocks.get(pages));
    const volume = await store.holdVolume(VOLUME);
    const bytes = await volume?.read(rng.below(pages));
    const tookMs = performance.now() - beganMs;
    if (bytes?.[0] !== 7) throw new Error("a page was opened with something else");
    await store.close();
    return tookMs;
  };
  const [few, many] = sizes as [number, number];
  return {
    ...bench(
      "open-volumes",
      "ms",
      () => opened(many),
      async () => {
        for (const pages of sizes)
          superblocks.set(pages, await volumeOf(join(dir, `volumes-${pages}`), pages));
        return async () => {};
      },
    ),
    floor: async () => ({ value: await opened(few) }),
  };
}
