/** One worker of a host, in a thread of its own: where it runs, where its extents are, and that they come home. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { lsn, seededRng, shardId, systemClock, type Clock } from "@pinion/core";
import {
  ActorExtents,
  AdaptiveController,
  BudgetCounter,
  memoryDoor,
  RealDisk,
  SegmentStateStore,
  SimKv,
  TypeBudgetTable,
  type PinTarget,
  type ResidentActor,
} from "@pinion/storage";
import type * as Memory from "../../../packages/runtime/src/memory/worker-memory.ts";
import type * as Home from "../../../packages/runtime/src/memory/worker-home.ts";
import type * as Threads from "../../../packages/runtime/src/observability/thread-telemetry.ts";
import { byNodeText, check, cpusOf, MIB } from "./checks.ts";

// Not part of the package's public entry, and all of that would take the guest half a minute to load.
const inside = (name: string): string =>
  new URL(`../../../packages/runtime/src/${name}.ts`, import.meta.url).href;
const { WorkerMemory } = (await import(inside("memory/worker-memory"))) as typeof Memory;
const { takeHome } = (await import(inside("memory/worker-home"))) as typeof Home;
const { ThreadTelemetry } = (await import(
  inside("observability/thread-telemetry")
)) as typeof Threads;
type WorkerMemory = Memory.WorkerMemory;

export interface WorkerTask {
  readonly worker: number;
}

/** With the chunk that an extent takes beyond what is in it (arena-memory.ts), two on each node when it is interleaved. */
const LARGE_BYTES = 6 * MIB;
const SMALL_BYTES = 40_000;
const RESIDENT_BYTES = LARGE_BYTES + 2 * MIB;
const SHARD = shardId(0);

/** As fast as the machine's, but for leaps: what is looked at once a minute is looked at now. */
class LeapingClock implements Clock {
  #leptMs = 0;
  leap(ms: number): void {
    this.#leptMs += ms;
  }
  nowMs(): number {
    return systemClock.nowMs() + this.#leptMs;
  }
  wallMs(): number {
    return systemClock.wallMs();
  }
  setTimer(...given: Parameters<Clock["setTimer"]>): ReturnType<Clock["setTimer"]> {
    return systemClock.setTimer(...given);
  }
  defer(fn: () => void): void {
    systemClock.defer(fn);
  }
}

export async function runWorker({ worker }: WorkerTask): Promise<void> {
  const label = `worker ${worker}`;
  const clock = new LeapingClock();
  const telemetry = new ThreadTelemetry();
  const home = takeHome(worker, "auto");
  await check(`${label} has a node of its own and runs on its processors`, () => {
    deepEqual(home.report, {
      node: worker,
      nodes: [0, 1],
      boundCpus: [worker],
      unbound: undefined,
    });
    equal(cpusOf("/proc/thread-self/status"), String(worker));
  });
  const memory = new WorkerMemory({
    clock,
    telemetry,
    worker,
    home,
    adaptive: {},
    budget: BudgetCounter.create(256 * MIB, 2).shared,
    typeBudgets: TypeBudgetTable.create(2).shared,
    poolBytes: 8 * MIB,
    types: [],
  });
  await check(`${label} touches memory without a policy on its node`, async () => {
    const region = memoryDoor().reserve(LARGE_BYTES);
    await region.populate(0, LARGE_BYTES);
    const found = await region.measure(0, LARGE_BYTES);
    deepEqual(Object.fromEntries(found?.bytesByNode ?? []), { [worker]: LARGE_BYTES });
    region.release();
  });

  const rng = seededRng(worker);
  const store = new SegmentStateStore({
    disk: new RealDisk(),
    dir: join("/scratch", label.replace(" ", "-")),
    superblocks: new SimKv({ rng }),
    newGeneration: () => rng.below(2 ** 31),
    shardCount: 1,
  });
  const actors = {
    hot: await activated(store, memory, "hot", LARGE_BYTES),
    cold: await activated(store, memory, "cold", LARGE_BYTES),
    small: await activated(store, memory, "small", SMALL_BYTES),
  };
  const { pinned } = memory.residency;
  const { pins } = pinned;
  const look = async (): Promise<void> => {
    clock.leap(61_000);
    await pins.measure();
  };
  const listed = (actor: string) => memory.pinOf(actor, "data");
  await settled(() => listed("cold")?.state === "resident");
  await look();

  await check(
    `${label}: hot extents are at home, cold ones on all nodes, small ones at home`,
    () => {
      for (const actor of ["hot", "small"]) {
        const pin = listed(actor);
        deepEqual([pin?.numaNode, pin?.localShare, pin?.wantedNode], [worker, 1, worker]);
        equal(pin?.locked, true);
      }
      equal(listed("cold")?.wantedNode, undefined);
      equal(listed("cold")?.localShare, 0.5);
    },
  );
  await check(`${label}: the local share is that of what move_pages finds`, async () => {
    const measured = await Promise.all(
      Object.values(actors).map((each) => targetOf(memory, each).measure()),
    );
    const sum = (of: (bytes: ReadonlyMap<number, number>) => number): number =>
      measured.reduce((total, found) => total + of(found?.bytesByNode ?? new Map()), 0);
    const here = sum((bytes) => bytes.get(worker) ?? 0);
    const there = sum((bytes) => bytes.get(1 - worker) ?? 0);
    const { numaLocal, bytesByNode, huge } = memory.report().pins;
    equal(numaLocal.bytes, here);
    equal(numaLocal.share, here / (here + there));
    deepEqual(bytesByNode, { [worker]: here, [1 - worker]: there });
    deepEqual(numaLocal.shortfallBytes, { interleaved: there });
    equal(numaLocal.reached, false);
    equal(huge.bytes, 2 * RESIDENT_BYTES);
    equal(huge.reached, true);
    const gauges = telemetry.metrics.snapshot();
    const text = JSON.stringify(gauges);
    ok(text.includes("pinion_pin_node_bytes") && text.includes(String(there)));
  });

  const hot = targetOf(memory, actors.hot);
  const before = await contentOf(actors.hot.extents);
  const away = async (): Promise<void> => {
    equal(await hot.move(1 - worker), RESIDENT_BYTES);
    await look();
    equal(listed("hot")?.localShare, 0);
    equal(memory.report().pins.numaLocal.shortfallBytes["on another node"], RESIDENT_BYTES);
  };
  const adaptive = (migration: "on-access" | "proactive"): AdaptiveController =>
    new AdaptiveController({
      clock,
      pins,
      options: { migration, learningMs: 0, intervalMs: 100, rebalanceMs: 60_000 },
      ports: { hottest: () => [], majorFaults: () => undefined },
    });
  const back = async (count: number): Promise<void> => {
    await settled(() => memory.report().pins.moved.extents === count);
    const found = await hot.measure();
    deepEqual(Object.fromEntries(found?.bytesByNode ?? []), { [worker]: RESIDENT_BYTES });
    ok((await contentOf(actors.hot.extents)).equals(before));
    deepEqual([listed("hot")?.locked, listed("hot")?.localShare], [true, 1]);
    equal(memory.report().pins.moved.bytes, count * RESIDENT_BYTES);
    console.log(`${label}: home again, ${byNodeText(found?.bytesByNode)}`);
  };
  await check(`${label}: an extent on the wrong node stays while a turn uses it`, async () => {
    await away();
    const turn = actors.hot.extents.begin(true);
    turn.extent("data");
    equal(pins.relocate("hot#data"), undefined);
    turn.end();
  });
  await check(`${label}: it comes home on access`, async () => {
    const controller = adaptive("on-access");
    controller.willAccessSoon(pinned.targetsOf(actors.hot), 0);
    await back(1);
    equal(controller.report().moved, 1);
  });
  await check(`${label}: it comes home by itself`, async () => {
    await away();
    const controller = adaptive("proactive");
    controller.start();
    clock.leap(61_000);
    await back(2);
    controller.stop();
  });

  for (const actor of Object.values(actors)) memory.residency.deactivate(actor);
  await memory.stop();
  await store.close();
}

function targetOf(memory: WorkerMemory, actor: ResidentActor): PinTarget {
  const [first] = memory.residency.pinned.targetsOf(actor);
  ok(first !== undefined);
  return first.target;
}

async function activated(
  store: SegmentStateStore,
  memory: WorkerMemory,
  actor: string,
  byteCount: number,
): Promise<ResidentActor> {
  const owner = { store, shard: SHARD, actor };
  const extents = await ActorExtents.open(owner, { data: { kind: "map", version: 1 } }, []);
  const turn = extents.begin(false);
  turn.extent("data").append(new Uint8Array(byteCount).fill(actor.length));
  turn.finish()?.publish();
  turn.end();
  await store.checkpoint([
    {
      shard: SHARD,
      appliedLsn: lsn(1),
      actors: new Map([[actor, { state: undefined, stateVersion: 1, lsn: lsn(1), reminders: [] }]]),
      extents: new Map([[actor, extents.freeze()]]),
      facts: new Map(),
    },
  ]);
  await extents.written();
  const profile = actor === "cold" ? "cold" : "hot";
  const resident = { actor, extents, names: ["data"], profile } as const;
  await memory.residency.pinned.activate(resident);
  return resident;
}

async function contentOf(extents: ActorExtents): Promise<Buffer> {
  const turn = extents.begin(true);
  const bytes = Buffer.from(await turn.extent("data").read(0, LARGE_BYTES));
  turn.end();
  return bytes;
}

async function settled(holds: () => boolean): Promise<void> {
  for (const endMs = performance.now() + 20_000; !holds();) {
    ok(performance.now() < endMs, "it does not come about");
    await new Promise((resolve) => setImmediate(resolve));
  }
}
