import { describe, expect, it } from "vitest";
import { ONE_NODE, Placer } from "./placer.ts";
import { fill, LOCKED, MIB, PinHost, twoNodes, type TestTarget } from "./residency.test.fixture.ts";

const TAIL = { priority: "tail-latency-critical" } as const;
const QUERY = { priority: "query-critical" } as const;
const BACKGROUND = { priority: "background" } as const;
const NONE = { priority: "none" } as const;

describe("pin", () => {
  it("brings an extent in, locked, and gives it back on unpin", async () => {
    const host = new PinHost(10 * MIB);
    const target = host.target("a/1#x");
    expect(await host.pins.pin("a/1#x", target, TAIL)).toEqual(LOCKED);
    expect(host.pins.isPinned("a/1#x")).toBe(true);
    expect(target).toMatchObject({ state: "resident", locked: true });
    expect(host.counter.usedBytes).toBe(MIB);
    host.pins.unpin("a/1#x");
    expect(host.pins.isPinned("a/1#x")).toBe(false);
    await host.clock.settle();
    expect(target).toMatchObject({ state: "absent", locked: false, loads: 1, drops: 1 });
    expect(host.counter.usedBytes).toBe(0);
    expect(host.pins.list()).toEqual([]);
    expect(host.faults).toEqual([]);
  });

  it("says that memory is resident and why it is not locked", async () => {
    const host = new PinHost(10 * MIB);
    const target = host.target("a");
    target.denial = "limit";
    expect(await host.pins.pin("a", target, TAIL)).toEqual({
      kind: "resident",
      notLocked: "limit",
    });
    expect(host.pins.isPinned("a")).toBe(true);
    expect(host.pins.stats().notLockedBytes).toEqual({ limit: MIB });
    target.denial = undefined;
    expect(await host.pins.pin("a", target, TAIL)).toEqual(LOCKED);
  });

  it("asks for a lock again when it rises from no class", async () => {
    const host = new PinHost(10 * MIB);
    const target = host.target("a");
    target.denial = "limit";
    await host.pins.pin("a", target, TAIL);
    host.pins.promote("a", "query-critical");
    host.pins.promote("a", "none");
    target.denial = undefined;
    await host.clock.settle();
    expect(target.locked).toBe(false);
    host.pins.promote("a", "background");
    await host.clock.settle();
    expect(target.locked).toBe(true);
  });

  it("brings an extent of no priority in without a lock, and never at the cost of another", async () => {
    const host = new PinHost(2 * MIB);
    expect(await host.pins.pin("a", host.target("a"), NONE)).toEqual({
      kind: "resident",
      notLocked: "not-asked",
    });
    expect(host.pins.isPinned("a")).toBe(false);
    await fill(host, "background", 1, "b");
    expect(await host.pins.pin("c", host.target("c"), NONE)).toMatchObject({
      kind: "degraded",
      reason: "budget",
    });
  });

  it("asks for huge pages from 2 MiB on, and for the worker's node, unless told otherwise", async () => {
    const host = new PinHost(20 * MIB, { placer: new Placer({ files: twoNodes(), home: 1 }) });
    await host.pins.pin("small", host.target("small"), TAIL);
    await host.pins.pin("big", host.target("big", 2 * MIB), TAIL);
    await host.pins.pin("far", host.target("far", 4 * MIB), {
      ...TAIL,
      numaPrefer: 0,
      hugePages: false,
      onFault: true,
    });
    const requestOf = (key: string) => host.target(key).requests[0];
    expect(requestOf("small")).toMatchObject({
      placing: { hugePages: false, numa: { kind: "bind", nodes: [1] } },
      onFault: false,
    });
    expect(requestOf("big")).toMatchObject({ placing: { hugePages: true, wantedNode: 1 } });
    expect(requestOf("far")).toMatchObject({
      placing: { hugePages: false, wantedNode: 0 },
      onFault: true,
    });
  });

  it("brings neighbours back that somebody wants and that had to go, but makes nobody go for them", async () => {
    const host = new PinHost(2 * MIB);
    const [target, neighbour, other] = [host.target("a"), host.target("n"), host.target("x")];
    target.neighbours = [neighbour];
    const ask = { priority: "query-critical", prefetchAdjacent: 8 } as const;
    const bring = async (): Promise<void> => {
      host.pins.evict("a", "pressure");
      await host.clock.advance(0);
      // Somebody who wants no neighbours does not take them from who does.
      expect(await host.pins.pin("a", target, { priority: "query-critical" })).toEqual(LOCKED);
      await host.clock.advance(0);
    };
    expect(await host.pins.pin("n", neighbour, { priority: "query-critical" })).toEqual(LOCKED);
    expect(await host.pins.pin("a", target, ask)).toEqual(LOCKED);
    host.pins.evict("n", "pressure");
    await host.clock.advance(0);
    await bring();
    expect(neighbour.state).toBe("resident");
    host.pins.evict("n", "pressure");
    await host.clock.advance(0);
    expect(await host.pins.pin("x", other, { priority: "background" })).toEqual(LOCKED);
    await bring();
    expect(neighbour.state).toBe("absent");
    expect(other.drops).toBe(0);
    expect(host.faults).toEqual([]);
  });

  it("brings neighbours in while there is room, and lets them go after a while", async () => {
    const host = new PinHost(3 * MIB);
    host.pins.start();
    const target = host.target("a");
    target.neighbours = ["n1", "n2", "n3"].map((key) => host.target(key));
    await host.pins.pin("a", target, { ...TAIL, prefetchAdjacent: 3 });
    await host.clock.settle();
    const states = () => ["n1", "n2", "n3"].map((key) => host.target(key).state);
    expect(states()).toEqual(["resident", "resident", "absent"]);
    await host.clock.advance(31_000);
    expect(states()).toEqual(["absent", "absent", "absent"]);
    await host.pins.stop();
  });

  it.each([
    ["io-error", "io-error"],
    ["corruption", "corruption"],
    ["overloaded", "no-memory"],
  ] as const)(
    "degrades when the load fails with %s, and gives the room back",
    async (fault, reason) => {
      const host = new PinHost(4 * MIB);
      const target = host.target("a");
      target.fault = fault;
      const outcome = await host.pins.pin("a", target, TAIL);
      expect(outcome).toMatchObject({ kind: "degraded", reason, error: { code: fault } });
      expect(host.counter.usedBytes).toBe(0);
      expect(host.pins.stats().degraded).toEqual({ [reason]: 1 });
      expect(host.pins.list({ degraded: true })).toMatchObject([{ key: "a", degraded: reason }]);
      target.fault = undefined;
      expect(await host.pins.pin("a", target, TAIL)).toEqual(LOCKED);
      expect(host.pins.stats()).toMatchObject({ degraded: {}, degradedTotal: { [reason]: 1 } });
    },
  );
});

describe("over budget", () => {
  it("lets a class borrow all that is free, and takes it back for a class within its share", async () => {
    const host = new PinHost(10 * MIB);
    await fill(host, "tail-latency-critical", 10, "t");
    await fill(host, "background", 2, "b");
    expect(host.pins.stats().byPriority["tail-latency-critical"].count).toBe(8);
    expect(await host.pins.pin("b-3", host.target("b-3"), BACKGROUND)).toMatchObject({
      kind: "degraded",
      reason: "budget",
    });
    await fill(host, "query-critical", 3, "q");
    const { byPriority, evictions } = host.pins.stats();
    expect(byPriority["tail-latency-critical"]).toMatchObject({ count: 5, borrowedBytes: 0 });
    expect(evictions.budget).toBe(5);
  });

  it("makes lower classes go first, and what was used longest ago first within a class", async () => {
    const host = new PinHost(10 * MIB);
    await fill(host, "background", 6, "b");
    await fill(host, "query-critical", 4, "q");
    host.pins.renew("b-0");
    host.pins.renew("b-1");
    await fill(host, "tail-latency-critical", 4, "t");
    const left = (prefix: string) =>
      [...host.targets.keys()].filter((key) => key.startsWith(prefix) && host.pins.isPinned(key));
    expect(left("b")).toEqual(["b-0", "b-1"]);
    expect(left("q")).toEqual(["q-0", "q-1", "q-2", "q-3"]);
    await fill(host, "tail-latency-critical", 5, "t");
    expect(left("q")).toEqual(["q-1", "q-2", "q-3"]);
  });

  it("makes extents of no class go before any pin", async () => {
    const host = new PinHost(4 * MIB);
    await fill(host, "none", 2, "n");
    await fill(host, "background", 4, "b");
    expect(host.pins.stats().byPriority).toMatchObject({
      none: { count: 0 },
      background: { count: 4 },
    });
  });

  it("evicts nobody for a pin that could not be satisfied anyway", async () => {
    const host = new PinHost(10 * MIB);
    await fill(host, "background", 4, "b");
    await fill(host, "tail-latency-critical", 6, "t");
    const outcome = await host.pins.pin("big", host.target("big", 4 * MIB), TAIL);
    expect(outcome).toMatchObject({ kind: "degraded", reason: "budget" });
    expect(host.pins.stats().evictions.budget).toBe(0);
    expect(await host.pins.pin("huge", host.target("huge", 11 * MIB), TAIL)).toMatchObject({
      reason: "too-large",
    });
  });

  it("waits for the turns that use what has to go, and prefers what nothing uses", async () => {
    const host = new PinHost(4 * MIB);
    await fill(host, "background", 4, "b");
    for (const key of ["b-0", "b-1", "b-3"]) expect(host.target(key).acquire()).toBe(true);
    await fill(host, "tail-latency-critical", 1, "t");
    expect(host.pins.isPinned("b-2")).toBe(false);
    expect(host.pins.isPinned("b-0")).toBe(true);

    const waiting = host.pins.pin("t-2", host.target("t-2"), TAIL);
    await host.clock.settle();
    expect(host.target("b-0").state).toBe("dropping");
    expect(host.target("t-2").state).toBe("absent");
    expect(host.counter.usedBytes).toBe(4 * MIB);
    host.target("b-0").release();
    expect(await waiting).toEqual(LOCKED);
    expect(host.faults).toEqual([]);
  });

  it("degrades when turns do not let go in time, and keeps nothing reserved", async () => {
    const host = new PinHost(2 * MIB, { drainWaitMs: 200 });
    await fill(host, "background", 2, "b");
    host.target("b-0").acquire();
    host.target("b-1").acquire();
    const waiting = host.pins.pin("t", host.target("t"), TAIL);
    await host.clock.advance(200);
    expect(await waiting).toMatchObject({ kind: "degraded", reason: "draining" });
    host.target("b-0").release();
    await host.clock.settle();
    expect(host.counter.usedBytes).toBe(MIB);
  });

  it("gives what somebody had to go for to who made them go, not to who came in between", async () => {
    const host = new PinHost(2 * MIB);
    await fill(host, "background", 2, "b");
    host.target("b-0").acquire();
    host.target("b-1").acquire();
    const first = host.pins.pin("t", host.target("t"), TAIL);
    await host.clock.settle();
    const between = host.pins.pin("u", host.target("u"), NONE);
    host.target("b-0").release();
    expect(await first).toEqual(LOCKED);
    expect(await between).toMatchObject({ kind: "degraded", reason: "budget" });
  });
});

describe("time", () => {
  it("sinks an idle pin class by class at its longest pin time, and unlocks it at the end", async () => {
    const host = new PinHost(4 * MIB);
    host.pins.start();
    await host.pins.pin("a", host.target("a"), TAIL);
    const at = async (advanceMs: number) => {
      await host.clock.advance(advanceMs);
      return host.pins.priorityOf("a");
    };
    expect(await at(4_000)).toBe("tail-latency-critical");
    expect(await at(1_000)).toBe("query-critical");
    expect(await at(29_000)).toBe("query-critical");
    expect(await at(1_000)).toBe("background");
    expect(await at(299_000)).toBe("background");
    expect(host.target("a").locked).toBe(true);
    expect(await at(1_000)).toBe("none");
    expect(host.target("a")).toMatchObject({ locked: false, state: "resident" });
    expect(host.pins.isPinned("a")).toBe(false);
    expect(host.pins.renew("a")).toBe(true);
    await host.clock.settle();
    expect(host.target("a").locked).toBe(true);
    expect(await at(5_000)).toBe("query-critical");
    await host.pins.stop();
  });

  it("keeps a pin that is renewed in its class", async () => {
    const host = new PinHost(4 * MIB);
    host.pins.start();
    await host.pins.pin("a", host.target("a"), TAIL);
    for (let i = 0; i < 20; i++) {
      await host.clock.advance(4_000);
      expect(host.pins.renew("a")).toBe(true);
      expect(host.pins.priorityOf("a")).toBe("tail-latency-critical");
    }
    await host.pins.stop();
  });

  it("counts the time to live from the last use, also when the pin sinks meanwhile", async () => {
    const host = new PinHost(4 * MIB);
    host.pins.start();
    await host.pins.pin("a", host.target("a"), { ...QUERY, ttlMs: 40_000 });
    await host.clock.advance(39_000);
    expect(host.pins.priorityOf("a")).toBe("background");
    await host.clock.advance(1_000);
    expect(host.pins.priorityOf("a")).toBeUndefined();
    await host.pins.stop();
  });

  it("ends pins by their lifetime", async () => {
    const host = new PinHost(10 * MIB);
    host.pins.start();
    const pin = (key: string, options: object) =>
      host.pins.pin(key, host.target(key), { ...QUERY, ...options });
    await pin("ephemeral", { lifetime: "ephemeral" });
    await pin("session", { lifetime: "session", ttlMs: 10_000 });
    await pin("task", { lifetime: "task", task: "scan-1" });
    await pin("other-task", { lifetime: "task", task: "scan-2" });
    await pin("long", {});
    host.target("ephemeral").acquire();
    const known = () =>
      host.pins
        .list()
        .map((each) => each.key)
        .sort();
    await host.clock.advance(5_000);
    expect(host.pins.isPinned("ephemeral")).toBe(true);
    host.target("ephemeral").release();
    expect(known()).toEqual(["ephemeral", "long", "other-task", "session", "task"]);
    await host.clock.advance(1_000);
    expect(known()).toEqual(["long", "other-task", "session", "task"]);
    host.pins.renew("session");
    await host.clock.advance(9_000);
    expect(known()).toContain("session");
    await host.clock.advance(1_000);
    expect(known()).toEqual(["long", "other-task", "task"]);
    expect(host.pins.endTask("scan-1")).toBe(1);
    await host.clock.advance(400_000);
    expect(known()).toEqual(["long", "other-task"]);
    expect(host.pins.stats().evictions.expired).toBe(3);
    await host.pins.stop();
  });
});

describe("several workers", () => {
  it("gives back what another worker lacks within its fair part", async () => {
    const host = new PinHost(8 * MIB);
    host.pins.start();
    const other = new PinHost(0, { budget: host.counter.open(1), clock: host.clock });
    other.pins.start();
    await fill(host, "background", 8, "b");
    const pin = () => other.pins.pin("x", other.target("x"), TAIL);
    expect(await pin()).toMatchObject({ reason: "budget" });
    await host.clock.advance(1_000);
    expect(await pin()).toEqual(LOCKED);
    expect(host.pins.stats().byPriority.background.count).toBe(7);
    await host.clock.advance(5_000);
    expect(host.pins.stats().byPriority.background.count).toBe(7);
    await host.pins.stop();
    await other.pins.stop();
  });
});

describe("statistics", () => {
  it("say how far the aims for huge and local memory are reached, and why not", async () => {
    const host = new PinHost(100 * MIB);
    const pin = (key: string, bytes: number, options: object = {}) =>
      host.pins.pin(key, host.target(key, bytes), { ...TAIL, ...options });
    host.target("remote", 4 * MIB).node = 1;
    await pin("local", 10 * MIB);
    await pin("remote", 4 * MIB, { hugePages: false });
    await pin("small", MIB);
    expect(host.pins.stats()).toMatchObject({
      huge: { share: 0, shortfallBytes: { "not measured": 10 * MIB } },
      numaLocal: { share: 0, reached: false, shortfallBytes: { "not measured": 15 * MIB } },
    });
    await host.pins.measure();
    const { huge, numaLocal } = host.pins.stats();
    expect(huge).toEqual({
      bytes: 10 * MIB,
      share: 10 / 15,
      aim: 0.6,
      reached: true,
      shortfallBytes: { "not asked for": 4 * MIB, "smaller than 2 MiB": MIB },
    });
    expect(numaLocal).toEqual({
      bytes: 11 * MIB,
      share: 11 / 15,
      aim: 0.8,
      reached: false,
      shortfallBytes: { "on another node": 4 * MIB },
    });
    expect(host.pins.stats().bytesByNode).toEqual({ 0: 11 * MIB, 1: 4 * MIB });
    expect(host.pins.list({ numaNode: 1 })).toMatchObject([
      { key: "remote", numaNode: 1, localShare: 0, wantedNode: 0 },
    ]);
  });

  it.each([
    [true, "in place", { loads: 1, moves: 1, rebalance: 0 }],
    [
      false,
      "by bringing it in again where memory cannot move",
      { loads: 2, moves: 0, rebalance: 1 },
    ],
  ])("say what was brought home (%s: %s)", async (movable, _, expected) => {
    const host = new PinHost(100 * MIB);
    const target = host.target("remote", 4 * MIB);
    target.movable = movable;
    target.node = 1;
    await host.pins.pin("remote", target, TAIL);
    await host.pins.measure();
    target.node = undefined;
    target.acquire();
    expect(host.pins.relocate("remote")).toBeUndefined();
    target.release();
    const moving = host.pins.relocate("remote");
    expect(host.pins.relocate("remote")).toBeUndefined();
    await moving;
    await host.pins.measure();
    const { numaLocal, moved, evictions } = host.pins.stats();
    expect([target.loads, target.moves, evictions.rebalance]).toEqual(Object.values(expected));
    expect(numaLocal.share).toBe(1);
    expect(moved).toEqual({ extents: 1, bytes: 4 * MIB });
    expect(host.pins.find("remote")).toMatchObject({ state: "resident", locked: true });
    expect(host.faults).toEqual([]);
  });

  it("say what interleaving, a full node, refusals and missing pages cost", async () => {
    const files = twoNodes("always madvise [never]");
    const host = new PinHost(100 * MIB, { placer: new Placer({ files, home: 0 }) });
    const pin = async (key: string, change: Partial<TestTarget>): Promise<void> => {
      const target = Object.assign(host.target(key, 4 * MIB), change, { node: 1 });
      await host.pins.pin(key, target, TAIL);
    };
    await pin("cold", { dataKind: "cold" });
    await pin("refused", { report: { numaShortfall: "refused: EPERM" } });
    files.setFree(0, MIB);
    await pin("full", {});
    await host.pins.measure();
    const { huge, numaLocal } = host.pins.stats();
    expect(numaLocal.shortfallBytes).toEqual({
      interleaved: 4 * MIB,
      "refused: EPERM": 4 * MIB,
      "its node was full": 4 * MIB,
    });
    expect(huge).toMatchObject({ share: 0, reached: false });
    expect(Object.keys(huge.shortfallBytes)).toEqual([expect.stringContaining("are off")]);
    expect(host.target("full").requests[0]?.placing.numa).toEqual({
      kind: "preferred",
      nodes: [0],
    });
  });

  it("ask about a bounded number of extents at a time, and about each once a minute", async () => {
    const host = new PinHost(100 * MIB);
    await fill(host, "background", 100, "b");
    const measured = (): number =>
      [...host.targets.values()].reduce((sum, { measurements }) => sum + measurements, 0);
    await host.pins.measure();
    expect(measured()).toBe(32);
    for (let i = 0; i < 10; i++) await host.pins.measure();
    expect(measured()).toBe(100);
    await host.clock.advance(60_000);
    for (let i = 0; i < 10; i++) await host.pins.measure();
    expect(measured()).toBe(200);
  });

  it("pause after a look that took long", async () => {
    const host = new PinHost(100 * MIB);
    const target = host.target("slow", 4 * MIB);
    await host.pins.pin("slow", target, TAIL);
    const measure = target.measure.bind(target);
    target.measure = async () => {
      await new Promise<void>((resolve) => void host.clock.setTimer(500, resolve));
      return measure();
    };
    const looking = host.pins.measure();
    await host.clock.advance(500);
    await looking;
    await host.pins.pin("next", host.target("next"), TAIL);
    await host.pins.measure();
    expect([target.measurements, host.target("next").measurements]).toEqual([1, 0]);
    await host.clock.advance(10_000);
    await host.pins.measure();
    expect(host.target("next").measurements).toBe(1);
  });

  it("take a machine with one node for what it is where nobody may ask", async () => {
    const host = new PinHost(100 * MIB, { placer: new Placer({ topology: ONE_NODE }) });
    const target = host.target("a", 4 * MIB);
    target.measure = async () => ({ bytesByNode: undefined, hugeBytes: 2 * MIB });
    await host.pins.pin("a", target, TAIL);
    await host.pins.measure();
    expect(host.pins.stats()).toMatchObject({ numaLocal: { share: 1 }, huge: { share: 0.5 } });
  });

  it("ask nobody about small extents on a machine with one node", async () => {
    const host = new PinHost(100 * MIB, { placer: new Placer({ topology: ONE_NODE }) });
    await fill(host, "background", 3, "b");
    await host.pins.measure();
    expect(host.target("b-0").measurements).toBe(0);
    expect(host.pins.stats().numaLocal).toMatchObject({ share: 1, shortfallBytes: {} });
  });

  it("list by owner and limit, important and hot first, with pin times", async () => {
    const host = new PinHost(100 * MIB);
    for (const key of ["a/1#x", "a/1#y", "a/2#x"])
      await host.pins.pin(key, host.target(key), QUERY);
    await host.pins.pin("a/2#y", host.target("a/2#y"), TAIL);
    host.pins.renew("a/1#y");
    expect(host.pins.list().map(({ key }) => key)).toEqual(["a/2#y", "a/1#y", "a/1#x", "a/2#x"]);
    expect(host.pins.list({ owner: "a/1", limit: 1 })).toMatchObject([
      { key: "a/1#y", owner: "a/1", bytes: MIB, locked: true, heat: 2 / 3, residentMs: 0 },
    ]);
    await host.clock.advance(3_000);
    host.pins.unpin("a/2#y");
    await host.clock.advance(1_000);
    host.pins.unpin("a/1#x");
    const { meanPinTimeMs, byPriority, evictions } = host.pins.stats();
    expect(meanPinTimeMs).toBe(3_500);
    expect(byPriority["query-critical"]).toMatchObject({ meanPinTimeMs: 4_000, evictions: 1 });
    expect(evictions.unpinned).toBe(2);
  });
});
