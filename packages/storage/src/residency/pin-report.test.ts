import { describe, expect, it } from "vitest";
import { ONE_NODE, Placer } from "./placer.ts";
import { fill, MIB, PinHost, twoNodes, type TestTarget } from "./residency.test.fixture.ts";

const TAIL = { priority: "tail-latency-critical" } as const;
const QUERY = { priority: "query-critical" } as const;

describe("statistics of pins", () => {
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

  it.each([true, false])(
    "say where an extent is that is wanted elsewhere, and in other pages (moves in place: %s)",
    async (movable) => {
      const host = new PinHost(100 * MIB);
      const target = host.target("a", 4 * MIB);
      target.movable = movable;
      await host.pins.pin("a", target, TAIL);
      await host.pins.measure();
      expect(host.pins.find("a")).toMatchObject({ wantedNode: 0, localShare: 1 });
      expect(host.pins.askInstead("a", { ...TAIL, numaPrefer: 1, hugePages: false })).toBe(true);
      await host.pins.relocate("a");
      await host.pins.measure();
      expect(host.pins.find("a")).toMatchObject({
        state: "resident",
        locked: true,
        wantedNode: 1,
        localShare: 1,
        hugeBytes: 0,
      });
      expect(host.pins.stats().moved).toEqual({ extents: 1, bytes: 4 * MIB });
      // Once is enough.
      expect(host.pins.askInstead("a", { ...TAIL, numaPrefer: 1, hugePages: false })).toBe(false);
      await host.pins.relocate("a");
      expect(target.loads).toBe(movable ? 2 : 3);
      expect(host.faults).toEqual([]);
    },
  );

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
