/**
 * Maps and graphs on extents that are in memory, beside what JavaScript has for the same: a `Map` behind promises, a loop over arrays.
 *
 * lease   read-modify-write of 256-byte records in a pinned extent by 100 callers, each a turn of a volume of a store on disk, with async
 *         durability; `p50` and `p99` are those of one caller, who never queues. The floor is a get and a set, and hands out the record itself.
 *         Where a record lies is looked up in a Map: the floor looks its record up. `lease-map` with the records in a `map`.
 * update  the same by the structure alone, as within one turn. Its peers: a Map that hands out a copy, as an extent must, and the subject
 *         by get and set.
 * get     of 16-byte keys with 8-byte values, in random order; `set` likewise: values of the same length in place.
 * scan    all edges of all nodes, one node after the other, by `neighbours`; the floor is two nested loops over offsets and targets.
 *         `scan-changed` with a tenth of the edges not in blocks yet.
 */
import { join } from "node:path";
import { bytes, map, openStore, type MaybePromise, type Store } from "@pinion/storage";
import type * as Memory from "../../../packages/storage/src/extent/memory-extent.ts";
import type * as Graphs from "../../../packages/storage/src/structures/graph.ts";
import {
  percentile,
  perSecond,
  type BenchCase,
  type BenchContext,
  type BenchSuite,
  type Measurement,
} from "../harness.ts";

const inside = (name: string): string =>
  new URL(`../../../packages/storage/src/${name}.ts`, import.meta.url).href;
const { MemoryExtent } = (await import(inside("extent/memory-extent"))) as typeof Memory;
const { graph } = (await import(inside("structures/graph"))) as typeof Graphs;

const CALLERS = 100;
const LEASES = 100_000;
const LEASE_BYTES = 256;
const LEASE_TURNS = 1_000_000;
const FILLED_AT_ONCE = 1_000;
const SERVICE_SAMPLES = 20_000;
const KEYS = 1_000_000;
const LOOKS = 1_000_000;
const NODES = 200_000;
const DEGREE = 16;
/** A prime: visits all keys, no two neighbours in a row. */
const STRIDE = 357_101;

interface Records {
  get(key: string): MaybePromise<Uint8Array | undefined>;
  set(key: string, value: Uint8Array): MaybePromise<void>;
}

type Renew = (key: string) => unknown;

class PlainRecords implements Records {
  readonly #records = new Map<string, Uint8Array>();
  readonly #copies: boolean;

  constructor(copies: boolean) {
    this.#copies = copies;
  }

  get(key: string): Promise<Uint8Array | undefined> {
    const record = this.#records.get(key);
    return Promise.resolve(this.#copies ? record?.slice() : record);
  }

  set(key: string, value: Uint8Array): Promise<void> {
    this.#records.set(key, value);
    return Promise.resolve();
  }
}

function touched(record: Uint8Array | undefined): Uint8Array {
  if (record === undefined) throw new Error("no record");
  record[8] = (record[8] as number) + 1;
  return record;
}

const renewer =
  (records: Records): Renew =>
  async (key) => {
    await records.set(key, touched(await records.get(key)));
  };

async function renewAll(
  renew: Renew,
  keys: readonly string[],
  turns: number,
): Promise<Measurement> {
  let left = turns;
  const caller = async (at: number): Promise<void> => {
    while (left-- > 0) {
      await renew(keys[at] as string);
      at = (at + STRIDE) % keys.length;
    }
  };
  const startMs = performance.now();
  await Promise.all(Array.from({ length: CALLERS }, (_, i) => caller((i * 997) % keys.length)));
  const result = perSecond(turns, startMs);
  const services: number[] = [];
  for (let i = 0, at = 0; i < SERVICE_SAMPLES; i++, at = (at + STRIDE) % keys.length) {
    const beganMs = performance.now();
    await renew(keys[at] as string);
    services.push(performance.now() - beganMs);
  }
  return { ...result, p50: percentile(services, 50), p99: percentile(services, 99) };
}

/** Turns that renew a lease, over a volume that has them all. */
interface Leases {
  readonly name: string;
  fill(store: Store, keys: readonly string[]): Promise<Renew>;
}

const inMap: Leases = {
  name: "lease-map",
  async fill(store, keys) {
    const leases = { leases: map({ key: "string", value: "bytes" }) };
    const volume = await store.open("leases", leases, { profile: "hot" });
    for (let i = 0; i < keys.length; i += FILLED_AT_ONCE) {
      await volume.update(async (handles) => {
        for (const key of keys.slice(i, i + FILLED_AT_ONCE))
          await handles.leases.set(key, new Uint8Array(LEASE_BYTES));
      });
    }
    return (key) => volume.update((handles) => handles.leases.update(key, touched));
  },
};

const inBytes: Leases = {
  name: "lease",
  async fill(store, keys) {
    const volume = await store.open("leases", { leases: bytes() }, { profile: "hot" });
    await volume.update(({ leases }) => leases.resize(keys.length * LEASE_BYTES));
    const places = new Map(keys.map((key, i) => [key, i * LEASE_BYTES]));
    return (key) => {
      const place = places.get(key) as number;
      return volume.update(({ leases }) => leases.update(place, LEASE_BYTES, touched));
    };
  },
};

function leaseCase(leases: Leases, { scale, dir }: BenchContext): BenchCase {
  const keys = Array.from({ length: LEASES * scale }, (_, i) => `lease-${i}`);
  const turns = LEASE_TURNS * scale;
  const plain = new PlainRecords(false);
  let turn: Renew;
  return {
    name: leases.name,
    unit: "turns/s",
    better: "higher",
    setUp: async () => {
      const store = await openStore({ dir: join(dir, leases.name), flush: "async" });
      turn = await leases.fill(store, keys);
      for (const key of keys) await plain.set(key, new Uint8Array(LEASE_BYTES));
      for (const renew of [turn, renewer(plain)]) await renewAll(renew, keys, turns);
      return () => store.close();
    },
    subject: () => renewAll(turn, keys, turns),
    floor: () => renewAll(renewer(plain), keys, turns),
  };
}

function updateCase(scale: number): BenchCase {
  const keys = Array.from({ length: LEASES * scale }, (_, i) => `lease-${i}`);
  const turns = LEASE_TURNS * scale;
  const stored = map({ key: "string", value: "bytes" }).open(new MemoryExtent());
  const floor = new PlainRecords(false);
  const copying = new PlainRecords(true);
  const update: Renew = (key) => stored.update(key, touched);
  const contenders = [update, renewer(stored), renewer(floor), renewer(copying)] as const;
  const [, byGetAndSet, byMap, byCopyingMap] = contenders;
  return {
    name: "update",
    unit: "updates/s",
    better: "higher",
    setUp: async () => {
      for (const records of [stored, floor, copying])
        for (const key of keys) await records.set(key, new Uint8Array(LEASE_BYTES));
      for (const renew of contenders) await renewAll(renew, keys, turns / 10);
      return async () => undefined;
    },
    subject: () => renewAll(update, keys, turns),
    floor: () => renewAll(byMap, keys, turns),
    peers: {
      "copying Map": () => renewAll(byCopyingMap, keys, turns),
      "get and set": () => renewAll(byGetAndSet, keys, turns),
    },
  };
}

function pointCase(name: "get" | "set", scale: number): BenchCase {
  const count = KEYS * scale;
  const keys = Array.from({ length: count }, (_, i) => `key-${String(i).padStart(12, "0")}`);
  const value = new Uint8Array(8);
  const stored: Records = map({ key: "string", value: "bytes" }).open(new MemoryExtent());
  const plain = new PlainRecords(false);
  const run = async (records: Records): Promise<Measurement> => {
    const startMs = performance.now();
    for (let i = 0, at = 0; i < LOOKS * scale; i++, at = (at + STRIDE) % count) {
      if (name === "set") await records.set(keys[at] as string, value);
      else if ((await records.get(keys[at] as string)) === undefined) throw new Error("no value");
    }
    return perSecond(LOOKS * scale, startMs);
  };
  return {
    name,
    unit: `${name}s/s`,
    better: "higher",
    setUp: async () => {
      for (const records of [stored, plain]) for (const key of keys) await records.set(key, value);
      return async () => undefined;
    },
    subject: () => run(stored),
    floor: () => run(plain),
  };
}

function scanCase(name: string, changedShare: number, scale: number): BenchCase {
  const nodes = NODES * scale;
  const edges = nodes * DEGREE;
  const offsets = new Uint32Array(nodes + 1);
  const targets = new Uint32Array(edges);
  const handle = graph().open(new MemoryExtent());
  const targetOf = (node: number, i: number): number => (node * 7 + i * 12_345) % nodes;
  const scan = (): number => {
    let sum = 0;
    for (let node = 0; node < nodes; node++) {
      const neighbours = handle.neighbours(node);
      for (let i = 0; i < neighbours.length; i++) sum += neighbours.target(i);
    }
    return sum;
  };
  const loop = (): number => {
    let sum = 0;
    for (let node = 0; node < nodes; node++) {
      const end = offsets[node + 1] as number;
      for (let i = offsets[node] as number; i < end; i++) sum += targets[i] as number;
    }
    return sum;
  };
  const rate = (of: () => number): Promise<Measurement> => {
    const startMs = performance.now();
    const times = 5;
    for (let i = 0; i < times; i++) if (of() === 0) throw new Error("no edges");
    return Promise.resolve(perSecond(edges * times, startMs));
  };
  return {
    name,
    unit: "edges/s",
    better: "higher",
    setUp: async () => {
      for (let node = 0; node < nodes; node++) await handle.addNode();
      for (let node = 0; node < nodes; node++) {
        for (let i = 0; i < DEGREE; i++) {
          targets[node * DEGREE + i] = targetOf(node, i);
          await handle.addEdge(node, targetOf(node, i));
        }
        targets.subarray(node * DEGREE, (node + 1) * DEGREE).sort();
        offsets[node + 1] = (node + 1) * DEGREE;
        const isLate = node >= nodes * (1 - changedShare);
        if (!isLate && (await handle.needsRebuild())) await handle.rebuild();
        if (node === Math.floor(nodes * (1 - changedShare)) - 1) await handle.rebuild();
      }
      if (changedShare === 0) while (!(await handle.rebuild())) continue;
      if (scan() !== loop()) throw new Error("the sums differ");
      return async () => undefined;
    },
    subject: () => rate(scan),
    floor: () => rate(loop),
  };
}

export const suite: BenchSuite = {
  name: "structures",
  cases: (context) => [
    leaseCase(inBytes, context),
    leaseCase(inMap, context),
    updateCase(context.scale),
    pointCase("get", context.scale),
    pointCase("set", context.scale),
    scanCase("scan", 0, context.scale),
    scanCase("scan-changed", 0.1, context.scale),
  ],
};
