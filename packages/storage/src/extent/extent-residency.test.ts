/** Real memory, real files: what the kernel says about pinned extents. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lsn, PinionError, seededRng, shardId, systemClock } from "@pinion/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RealDisk } from "../disk/real-disk.ts";
import { SimKv } from "../kv/sim-kv.ts";
import { AddonMemory } from "../memory/addon-memory.ts";
import type { MemoryDoor, RegionOptions } from "../memory/memory-door.ts";
import { memoryDoor } from "../memory/open-memory-door.ts";
import { PortableMemory } from "../memory/portable-memory.ts";
import { BudgetCounter } from "../residency/budget-counter.ts";
import { PinManager } from "../residency/pin-manager.ts";
import { Placer } from "../residency/placer.ts";
import { twoNodes } from "../residency/residency.test.fixture.ts";
import { SegmentStateStore } from "../state/segment-state-store.ts";
import { ActorExtents, type ExtentDeclarations } from "./actor-extents.ts";
import { Arena } from "./arena.ts";
import { PinnedResidency } from "./extent-residency.ts";

const SHARD = shardId(0);
const MIB = 2 ** 20;
const DECLARED: ExtentDeclarations = {
  data: { kind: "column", version: 1 },
};

const doors = [
  ["ordinary buffers", () => new PortableMemory("as asked for")],
  ["native memory", () => memoryDoor()],
] as const;

let dir: string;
let store: SegmentStateStore;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "pinion-residency-"));
  const rng = seededRng(1);
  store = new SegmentStateStore({
    disk: new RealDisk(),
    dir,
    superblocks: new SimKv({ rng }),
    newGeneration: () => rng.below(2 ** 31),
    shardCount: 1,
  });
});
afterEach(async () => {
  await store.close();
  await rm(dir, { recursive: true, force: true });
});

const owner = (actor: string) => ({ store, shard: SHARD, actor });

/** Stores an extent of so many MiB whose every page says which it is. */
async function storeExtent(actor: string, mib: number): Promise<void> {
  const extents = await ActorExtents.open(owner(actor), DECLARED, []);
  for (let i = 0; i < mib; i++) {
    const turn = extents.begin(false);
    const bytes = new Uint32Array(MIB / 4);
    for (let page = 0; page < 256; page++)
      bytes.fill(i * 256 + page + 1, page * 1024, (page + 1) * 1024);
    turn.extent("data").append(new Uint8Array(bytes.buffer));
    turn.finish()?.publish();
    turn.end();
  }
  await checkpoint(extents, actor, 1);
  extents.release();
}

async function checkpoint(extents: ActorExtents, actor: string, at: number): Promise<void> {
  await store.checkpoint([
    {
      shard: SHARD,
      appliedLsn: lsn(at),
      actors: new Map([
        [actor, { state: undefined, stateVersion: 1, lsn: lsn(at), reminders: [] }],
      ]),
      extents: new Map([[actor, extents.freeze()]]),
      facts: new Map(),
    },
  ]);
  await extents.written();
}

async function lockedKiB(): Promise<number> {
  const status = await readFile("/proc/self/status", "utf8");
  return Number(/VmLck:\s+(\d+)/.exec(status)?.[1] ?? 0);
}

function verify(extents: ActorExtents, mib: number): void {
  const turn = extents.begin(true);
  const data = turn.extent("data");
  const bytes = data.peek(0, mib * MIB) as Uint8Array;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let page = 0;
  while (page < mib * 256 && view.getUint32(page * 4096, true) === page + 1) page++;
  expect(page).toBe(mib * 256);
  turn.end();
}

describe.each(doors)("pinned extents in %s", (name, open) => {
  const door = open();
  const native = door instanceof AddonMemory;
  const pinsWith = (limitBytes: number): PinManager =>
    new PinManager({
      clock: systemClock,
      budget: BudgetCounter.create(limitBytes, 1).open(0),
    });

  it.runIf(name === "ordinary buffers" || native)("are loaded, locked and let go", async () => {
    await storeExtent("a", 12);
    const pins = pinsWith(64 * MIB);
    const arena = new Arena(door);
    const residency = new PinnedResidency(systemClock, pins, arena);
    const before = await lockedKiB();
    const extents = await ActorExtents.open(owner("a"), DECLARED, []);
    const actor = { actor: "a", extents, names: ["data"], profile: "hot" as const };
    await residency.activate(actor);
    expect(extents.image("data")?.resident).toBe(true);
    const faults = door.facts().majorFaults;
    verify(extents, 12);
    expect(door.facts().majorFaults).toBe(faults);
    if (native) {
      expect((await lockedKiB()) - before).toBeGreaterThanOrEqual(12 * 1024);
      expect(pins.find("a#data")).toMatchObject({ state: "resident", locked: true });
    }
    residency.deactivate(actor);
    await pins.stop();
    expect(await lockedKiB()).toBe(before);
    expect(arena.stats().committedBytes).toBe(0);
    arena.close();
  });

  it("come in again when they have outgrown their memory", async () => {
    await storeExtent("a", 4);
    const pins = pinsWith(64 * MIB);
    const arena = new Arena(door);
    const residency = new PinnedResidency(systemClock, pins, arena);
    const extents = await ActorExtents.open(owner("a"), DECLARED, []);
    const actor = { actor: "a", extents, names: ["data"], profile: "hot" as const };
    await residency.activate(actor);
    // As `ExtentImage` does where there is no larger memory.
    extents.image("data")?.demote()?.release();
    residency.used(actor);
    await expect.poll(() => extents.image("data")?.resident).toBe(true);
    verify(extents, 4);
    expect(pins.stats().usedBytes).toBe(6 * MIB);
    residency.deactivate(actor);
    await pins.stop();
    expect(arena.stats().committedBytes).toBe(0);
    arena.close();
  });

  it("that do not fit are read page by page, and changes and checkpoints go on", async () => {
    await storeExtent("a", 8);
    await storeExtent("b", 2);
    const pins = pinsWith(6 * MIB);
    const arena = new Arena(door);
    const residency = new PinnedResidency(systemClock, pins, arena);
    const big = await ActorExtents.open(owner("a"), DECLARED, []);
    const small = await ActorExtents.open(owner("b"), DECLARED, []);
    const actors = [
      { actor: "a", extents: big, names: ["data"], profile: "hot" as const },
      { actor: "b", extents: small, names: ["data"], profile: "hot" as const },
    ];
    for (const actor of actors) await residency.activate(actor);
    expect(big.image("data")?.resident).toBe(false);
    expect(small.image("data")?.resident).toBe(true);
    verify(small, 2);
    const turn = big.begin(false);
    await turn.extent("data").write(5 * MIB, new Uint8Array([9, 9, 9, 9]));
    turn.finish()?.publish();
    turn.end();
    await checkpoint(big, "a", 2);
    const reader = big.begin(true);
    expect([...(await reader.extent("data").read(5 * MIB, 5))].slice(0, 4)).toEqual([9, 9, 9, 9]);
    reader.end();
    for (const actor of actors) residency.deactivate(actor);
    await pins.stop();
    arena.close();
  });

  it("have reserved what they take, also when they grew while they came in", async () => {
    await storeExtent("a", 5);
    const pins = pinsWith(64 * MIB);
    const arena = new Arena(door);
    const residency = new PinnedResidency(systemClock, pins, arena);
    const extents = await ActorExtents.open(owner("a"), DECLARED, []);
    const actor = { actor: "a", extents, names: ["data"], profile: "warm" as const };
    const resize = async (mib: number): Promise<void> => {
      const turn = extents.begin(false);
      await turn.extent("data").resize(mib * MIB);
      turn.finish()?.publish();
      turn.end();
    };
    await resize(4.5);
    await residency.activate(actor);
    expect(pins.stats().usedBytes).toBe(6 * MIB);
    pins.evict("a#data", "budget");
    await expect.poll(() => pins.stats().usedBytes).toBe(0);
    await resize(3);
    const [known] = residency.targetsOf(actor);
    const pinning = pins.pin("a#data", known!.target, { priority: "background" });
    while (pins.find("a#data")?.state !== "loading") await Promise.resolve();
    expect(pins.stats().usedBytes).toBe(4 * MIB);
    await resize(4.5);
    expect(await pinning).not.toMatchObject({ kind: "degraded" });
    residency.used(actor);
    expect(pins.stats().usedBytes).toBe(6 * MIB);
    residency.deactivate(actor);
    await pins.stop();
    arena.close();
  });

  it("are placed by their profile and size, measured, and brought home in place", async () => {
    await storeExtent("a", 4);
    await storeExtent("b", 4);
    const files = twoNodes();
    const pins = new PinManager({
      clock: systemClock,
      budget: BudgetCounter.create(64 * MIB, 1).open(0),
      placer: new Placer({ files, home: 0 }),
    });
    const arena = new Arena(door);
    const residency = new PinnedResidency(systemClock, pins, arena);
    const hot = await ActorExtents.open(owner("a"), DECLARED, []);
    const cold = await ActorExtents.open(owner("b"), DECLARED, []);
    const actors = [
      { actor: "a", extents: hot, names: ["data"], profile: "hot" as const },
      { actor: "b", extents: cold, names: ["data"], profile: "cold" as const },
    ];
    for (const actor of actors) await residency.activate(actor);
    await expect.poll(() => cold.image("data")?.resident).toBe(true);
    await pins.measure();
    expect(pins.find("a#data")).toMatchObject({ wantedNode: 0 });
    expect(pins.find("b#data")).toMatchObject({ wantedNode: undefined });
    const { numaLocal } = pins.stats();
    // All of this machine's memory may be on node 0: then interleaving finds nothing else.
    if (native) expect(numaLocal.bytes).toBeGreaterThanOrEqual(6 * MIB);
    else expect(numaLocal.shortfallBytes).toEqual({ "not measured": 12 * MIB });
    await pins.relocate("a#data");
    expect(pins.stats().evictions.rebalance).toBe(native ? 0 : 1);
    verify(hot, 4);
    for (const actor of actors) residency.deactivate(actor);
    await pins.stop();
    arena.close();
  });

  it("come in as usual when the pages that the machine had reserved are gone", async () => {
    await storeExtent("a", 4);
    const free = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    const pins = new PinManager({
      clock: systemClock,
      budget: BudgetCounter.create(64 * MIB, 1).open(0),
      placer: new Placer({ files: twoNodes("always madvise [never]", { [free]: "1000\n" }) }),
    });
    // As if another process had taken them since.
    const taken = Object.create(door, {
      reserve: {
        value: (byteCount: number, options: RegionOptions = {}) => {
          if (options.reservedPageBytes !== undefined)
            throw new PinionError("overloaded", "none are free");
          return door.reserve(byteCount, options);
        },
      },
      kind: { value: door.kind },
    }) as MemoryDoor;
    const arena = new Arena(taken);
    const residency = new PinnedResidency(systemClock, pins, arena);
    const extents = await ActorExtents.open(owner("a"), DECLARED, []);
    const actor = { actor: "a", extents, names: ["data"], profile: "hot" as const };
    await residency.activate(actor);
    verify(extents, 4);
    const [target] = residency.targetsOf(actor);
    expect(target?.target).toMatchObject({ dataKind: "hot-table", pageUse: "scan" });
    residency.deactivate(actor);
    await pins.stop();
    arena.close();
  });

  it("grow in place, and stay what they were", async () => {
    await storeExtent("a", 3);
    const pins = pinsWith(64 * MIB);
    const arena = new Arena(door);
    const residency = new PinnedResidency(systemClock, pins, arena);
    const extents = await ActorExtents.open(owner("a"), DECLARED, []);
    const actor = { actor: "a", extents, names: ["data"], profile: "warm" as const };
    await residency.activate(actor);
    for (let i = 3; i < 40; i++) {
      const turn = extents.begin(false);
      const bytes = new Uint32Array(MIB / 4);
      for (let page = 0; page < 256; page++)
        bytes.fill(i * 256 + page + 1, page * 1024, (page + 1) * 1024);
      turn.extent("data").append(new Uint8Array(bytes.buffer));
      turn.finish()?.publish();
      turn.end();
    }
    expect(extents.image("data")?.resident).toBe(true);
    verify(extents, 40);
    await checkpoint(extents, "a", 2);
    residency.deactivate(actor);
    await pins.stop();
    const again = await ActorExtents.open(owner("a"), DECLARED, []);
    const reader = again.begin(true);
    for (let page = 0; page < 40 * 256; page += 97)
      expect(
        new DataView((await reader.extent("data").read(page * 4096, 4)).slice().buffer).getUint32(
          0,
          true,
        ),
      ).toBe(page + 1);
    reader.end();
    again.release();
    arena.close();
  });
});
