/** What flags and connections of extents do: to pins, and to pages of extents that are not in memory. */
import { isPinionError, lsn, seededRng, shardId, VirtualClock } from "@pinion/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SimDisk } from "../disk/sim-disk.ts";
import { SimKv } from "../kv/sim-kv.ts";
import { PortableMemory } from "../memory/portable-memory.ts";
import { BudgetCounter } from "../residency/budget-counter.ts";
import { PinManager } from "../residency/pin-manager.ts";
import type { PinKey, PinOptions, PinOutcome, PinTarget } from "../residency/pin-types.ts";
import { SegmentStateStore } from "../state/segment-state-store.ts";
import type { ExtentPages, StoredExtent } from "../state/state-store.ts";
import { ActorExtents, type ExtentDeclarations } from "./actor-extents.ts";
import { Arena } from "./arena.ts";
import { encodeDeltas } from "./extent-delta.ts";
import { NO_FACTS, withLink, type ExtentFacts, type ExtentFlags } from "./extent-facts.ts";
import { PAGE_BYTES } from "./extent-pages.ts";
import { PinnedResidency, type ResidentActor } from "./extent-residency.ts";

const SHARD = shardId(0);
const ACTOR = "main@main:thing/1";
const MIB = 2 ** 20;
const COLUMN = { kind: "column", version: 1 };
const DECLARED: ExtentDeclarations = { a: COLUMN, b: COLUMN, c: COLUMN };

class CountingStore extends SegmentStateStore {
  readonly reads: string[] = [];

  override async extentPages(shard: typeof SHARD, extent: StoredExtent): Promise<ExtentPages> {
    const pages = await super.extentPages(shard, extent);
    return {
      ...pages,
      peek: () => undefined,
      read: (page) => {
        this.reads.push(`${extent.name}${page}`);
        return pages.read(page);
      },
    };
  }
}

class WatchedPins extends PinManager {
  readonly asked: (readonly [PinKey, PinOptions])[] = [];

  override pin(key: PinKey, target: PinTarget, options: PinOptions): Promise<PinOutcome> {
    this.asked.push([key.slice(-1), options]);
    return super.pin(key, target, options);
  }
}

let store: CountingStore;
let clock: VirtualClock;
let pins: WatchedPins;
let arena: Arena;
let residency: PinnedResidency;

beforeEach(async () => {
  const rng = seededRng(1);
  clock = new VirtualClock();
  store = new CountingStore({
    disk: new SimDisk({ rng }),
    dir: "/shards",
    superblocks: new SimKv({ rng }),
    newGeneration: () => rng.below(2 ** 31),
    shardCount: 1,
  });
  pins = new WatchedPins({ clock, budget: BudgetCounter.create(64 * MIB, 1).open(0) });
  arena = new Arena(new PortableMemory("as asked for"));
  residency = new PinnedResidency(clock, pins, arena);
});
afterEach(async () => {
  await pins.stop();
  arena.close();
  await store.close();
});

const open = (): Promise<ActorExtents> =>
  ActorExtents.open({ store, shard: SHARD, actor: ACTOR, clock }, DECLARED, []);

const actorOf = (extents: ActorExtents, profile: "hot" | "warm" | "cold"): ResidentActor => ({
  actor: ACTOR,
  extents,
  names: Object.keys(DECLARED),
  profile,
});

function set(extents: ActorExtents, facts: Readonly<Record<string, ExtentFacts>>): void {
  const turn = extents.begin(false);
  for (const [name, each] of Object.entries(facts)) turn.setFacts(name, each);
  turn.finish()?.publish();
  turn.end();
}

const flagged = (flags: Partial<ExtentFlags>): ExtentFacts => ({
  ...NO_FACTS,
  flags: { ...NO_FACTS.flags, ...flags },
});

async function checkpoint(extents: ActorExtents): Promise<void> {
  const record = { state: undefined, stateVersion: 1, lsn: lsn(1), reminders: [] };
  await store.checkpoint([
    {
      shard: SHARD,
      appliedLsn: lsn(1),
      actors: new Map([[ACTOR, record]]),
      extents: new Map([[ACTOR, extents.freeze()]]),
      facts: new Map(),
    },
  ]);
  await extents.written();
}

/** Stored with a MiB in each extent. */
async function stored(facts: Readonly<Record<string, ExtentFacts>>): Promise<ActorExtents> {
  const extents = await open();
  const turn = extents.begin(false);
  for (const name of Object.keys(DECLARED)) turn.extent(name).append(new Uint8Array(MIB).fill(7));
  turn.finish()?.publish();
  turn.end();
  set(extents, facts);
  await checkpoint(extents);
  extents.release();
  return open();
}

/** Turns of the event loop, for what waits for no time. */
async function settled(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe("flags of an extent", () => {
  it("hot: comes in first and a class higher, and is waited for even in a cold actor", async () => {
    const extents = await stored({ c: flagged({ hot: true }) });
    const actor = actorOf(extents, "cold");
    await residency.activate(actor);
    expect(pins.asked.map(([key, { priority }]) => [key, priority])).toEqual([
      ["c", "query-critical"],
      ["a", "background"],
      ["b", "background"],
    ]);
    expect(extents.image("c")?.resident).toBe(true);
    residency.deactivate(actor);
  });

  it("huge pages and NUMA node: as the pins ask for them", async () => {
    const extents = await stored({ b: flagged({ hugePages: true, numaNode: 3 }) });
    const actor = actorOf(extents, "hot");
    await residency.activate(actor);
    const asked = new Map(pins.asked);
    expect(asked.get("b")).toMatchObject({ hugePages: true, numaPrefer: 3 });
    expect(asked.get("a")).toEqual({ priority: "tail-latency-critical" });
    residency.deactivate(actor);
  });

  it("set while the actor is active count from the end of the turn on, and its memory moves", async () => {
    const extents = await stored({});
    const actor = actorOf(extents, "warm");
    await residency.activate(actor);
    const before = residency.pinOf(ACTOR, "a");
    expect(before?.priority).toBe("query-critical");
    const memory = extents.image("a")?.heldMemory;
    set(extents, { a: flagged({ hot: true, hugePages: true }) });
    residency.used(actor);
    expect(residency.pinOf(ACTOR, "a")?.priority).toBe("tail-latency-critical");
    await settled();
    expect(extents.image("a")?.resident).toBe(true);
    expect(extents.image("a")?.heldMemory).not.toBe(memory);
    expect(pins.stats().evictions.rebalance).toBe(1);
    set(extents, { a: flagged({ hugePages: true }) });
    residency.used(actor);
    expect(residency.pinOf(ACTOR, "a")?.priority).toBe("query-critical");
    await settled();
    expect(pins.stats().evictions.rebalance).toBe(1);
    residency.deactivate(actor);
  });

  it.each([true, false])(
    "prefetch (%s): what it is connected with comes back with it",
    async (prefetch) => {
      const link = { kind: "next", to: "b", weight: 1 } as const;
      const extents = await stored({ a: withLink(flagged({ prefetch }), "a", link) });
      const actor = actorOf(extents, "warm");
      await residency.activate(actor);
      await clock.advance(1_100);
      pins.evict(`${ACTOR}#b`, "pressure");
      await settled();
      residency.used(actor);
      await settled();
      expect(extents.image("b")?.resident).toBe(true);
      // Now b has to wait for another second, and a has not.
      for (const name of ["a", "b"]) pins.evict(`${ACTOR}#${name}`, "pressure");
      await settled();
      residency.used(actor);
      await settled();
      expect(extents.image("a")?.resident).toBe(true);
      expect(extents.image("b")?.resident).toBe(prefetch);
      residency.deactivate(actor);
    },
  );

  it("prefetch: brings in the beginnings of what is not in memory, once a turn uses the extent", async () => {
    const link = { kind: "next", to: "b", weight: 1 } as const;
    const extents = await stored({ a: withLink(flagged({ prefetch: true }), "a", link) });
    store.reads.length = 0;
    const turn = extents.begin(true);
    await settled();
    expect(store.reads).toEqual([]);
    await turn.extent("a").read(500_000, 10);
    await settled();
    turn.end();
    expect(store.reads.filter((page) => page.startsWith("b"))).toHaveLength(16);
    expect(store.reads.filter((page) => page.startsWith("c"))).toEqual([]);
    extents.abandon();
  });
});

describe("how an extent is used", () => {
  it("heats what turns touch and nothing else of the actor", async () => {
    const extents = await stored({});
    const actor = actorOf(extents, "warm");
    await residency.activate(actor);
    for (let i = 0; i < 5; i++) {
      const turn = extents.begin(false);
      turn.extent("b").peek(0, 100);
      turn.end();
      residency.used(actor);
    }
    expect(residency.hottest(1)[0]?.key).toBe(`${ACTOR}#b`);
    expect(residency.hottest(3).map(({ heat }) => heat > 0)).toEqual([true, false, false]);
    const heatOf = (name: string): number => residency.pinOf(ACTOR, name)?.heat ?? 0;
    expect(heatOf("b")).toBeGreaterThan(heatOf("a"));
    expect(extents.hottest(10)).toEqual([{ name: "b", heat: expect.any(Number) as number }]);
    residency.deactivate(actor);
  });

  it("decides what is read ahead: nothing for one that jumps, much for a scan", async () => {
    const extents = await stored({});
    const pagesRead = async (offsets: readonly number[], byteCount: number): Promise<number> => {
      store.reads.length = 0;
      const turn = extents.begin(true);
      for (const offset of offsets) await turn.extent("a").read(offset, byteCount);
      await settled();
      turn.end();
      return store.reads.length;
    };
    expect(await pagesRead([40 * PAGE_BYTES, 3 * PAGE_BYTES, 20 * PAGE_BYTES], 10)).toBe(3);
    const sequential = await pagesRead([200 * PAGE_BYTES, 201 * PAGE_BYTES], PAGE_BYTES);
    expect(sequential).toBe(2 + 8);
    expect(await pagesRead([64 * PAGE_BYTES], 256 * 1024)).toBe(64 + 32);
    extents.abandon();
  });
});

describe("records that are wrong", () => {
  const expectNamed = async (opening: Promise<unknown>, code: "corruption" | "format-too-new") =>
    expect(opening).rejects.toSatisfy(
      (e) =>
        isPinionError(e, code) &&
        e.details["actor"] === ACTOR &&
        e.details["extent"] === "b" &&
        e.message.includes('extent "b"'),
    );

  it("in the log name actor and extent", async () => {
    for (const [facts, code] of [
      [Uint8Array.of(1, 0, 0), "corruption"],
      [Uint8Array.of(9, 1, 0), "format-too-new"],
    ] as const) {
      const delta = { name: "b", ...COLUMN, lengthBytes: 0, minLengthBytes: 0, ranges: [], facts };
      const later = [{ lsn: lsn(1), bytes: encodeDeltas([delta]) }];
      const owner = { store, shard: SHARD, actor: ACTOR };
      await expectNamed(ActorExtents.open(owner, DECLARED, later), code);
    }
  });

  it("in the store name actor and extent", async () => {
    (await stored({ b: flagged({ hot: true }) })).abandon();
    const honest = store.loadExtents.bind(store);
    for (const [version, code] of [
      [0, "corruption"],
      [2, "format-too-new"],
    ] as const) {
      store.loadExtents = async (shard, actor) =>
        (await honest(shard, actor)).map((extent) => {
          const facts = extent.facts.slice();
          if (facts.length > 0) facts[0] = version;
          return { ...extent, facts };
        });
      await expectNamed(open(), code);
    }
  });
});

describe("room that a turn does not write", () => {
  it("is bounded by the cap, in an error that names it, and the turn commits nothing", async () => {
    const extents = await ActorExtents.open(
      { store, shard: SHARD, actor: ACTOR },
      { a: { ...COLUMN, options: { growBytes: MIB, growChosen: true } }, b: COLUMN },
      [],
    );
    const turn = extents.begin(false);
    const a = turn.extent("a");
    expect(a.resize(16 * MIB)).toBeUndefined();
    expect(a.resize(17 * MIB)).toBeUndefined();
    turn.extent("b").append(new Uint8Array(10));
    const refused = (e: unknown): boolean =>
      isPinionError(e, "write-set-too-large") &&
      e.details["growBytes"] === MIB &&
      e.details["extent"] === "a" &&
      e.details["kind"] === "column";
    expect(() => a.resize(17 * MIB + 1)).toThrow(expect.toSatisfy(refused));
    expect(() => a.write(18 * MIB, new Uint8Array(1))).toThrow(expect.toSatisfy(refused));
    expect(() => turn.finish()).toThrow(expect.toSatisfy(refused));
    turn.end();
    expect(extents.image("b")?.lengthBytes).toBe(0);
    // What is written needs no cap, and the next turn may go on.
    for (let i = 0; i < 3; i++) {
      const next = extents.begin(false);
      next.extent("a").append(new Uint8Array(12 * MIB));
      next.finish()?.publish();
      next.end();
    }
    expect(extents.image("a")?.lengthBytes).toBe(36 * MIB);
    extents.abandon();
  });
});
