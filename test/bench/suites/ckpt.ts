/**
 * What a checkpoint of small states costs: bytes written to all files, how long it holds the event loop, and what a load of a state
 * that is not in memory takes. The state store in segments beside the one in LMDB; there is no floor but the aim.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { readFileSync } from "node:fs";
import { lsn, seededRng, shardId } from "@pinion/core";
import {
  KvStateStore,
  LmdbKv,
  RealDisk,
  ShardStore,
  type ActorRecord,
  type KvStore,
} from "@pinion/storage";
import { percentile, type BenchCase, type BenchContext, type BenchSuite } from "../harness.ts";

const ACTORS = 1_000_000;
const DIRTY_SHARE = 0.01;
const LOADS = 2_000;
const BATCH = 20_000;
const SHARD = shardId(1);

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

function record(at: number, random: () => number): ActorRecord {
  const state = Buffer.alloc(200);
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
  cases: (context) => [...cases(context, "segments"), ...cases(context, "lmdb")],
};

function cases(context: BenchContext, kind: "segments" | "lmdb"): BenchCase[] {
  const actors = Math.round(ACTORS * context.scale);
  const dirty = Math.round(actors * DIRTY_SHARE);
  const rng = seededRng(7);
  let loaded: Loaded | undefined;
  const dir = join(context.dir, `ckpt-${kind}`);
  const open = async (): Promise<KvStore> => {
    await mkdir(dir, { recursive: true });
    return kind === "lmdb"
      ? LmdbKv.open(join(dir, "state.mdb"))
      : ShardStore.open({
          disk: new RealDisk(),
          dir: join(dir, "segments"),
          newGeneration: () => rng.below(2 ** 31),
        });
  };
  const filled = async (): Promise<Loaded> => (loaded ??= await load(await open(), actors));
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const checkpoint = async (): Promise<void> => {
    const state = await filled();
    const batch = new Map<string, ActorRecord>();
    while (batch.size < dirty)
      batch.set(
        keyOf(rng.below(actors)),
        record(1, () => rng.float()),
      );
    await state.store.checkpoint([
      { shard: SHARD, appliedLsn: lsn(++state.applied), actors: batch, facts: new Map() },
    ]);
  };
  const bench = (name: string, unit: string, subject: () => Promise<number>): BenchCase => ({
    name: `${name}/${kind}`,
    unit,
    better: "lower",
    subject: async () => ({ value: await subject() }),
  });
  return [
    bench("state", "B/update", async () => {
      await filled();
      const before = writtenBytes();
      await checkpoint();
      return (writtenBytes() - before) / dirty;
    }),
    bench("loop-delay-p99", "ms", async () => {
      await filled();
      delay.reset();
      delay.enable();
      await checkpoint();
      delay.disable();
      return delay.percentile(99) / 1e6 - 1;
    }),
    {
      ...bench("load-p99", "ms", async () => {
        const { store } = await filled();
        const latenciesMs: number[] = [];
        for (let i = 0; i < LOADS; i++) {
          const beganMs = performance.now();
          await store.load(SHARD, keyOf(rng.below(actors)));
          latenciesMs.push(performance.now() - beganMs);
        }
        return percentile(latenciesMs, 99);
      }),
      setUp: async () => async () => {
        await loaded?.store.close();
        await loaded?.kv.close();
        loaded = undefined;
      },
    },
  ];
}
