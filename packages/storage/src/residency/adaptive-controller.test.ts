import { describe, expect, it } from "vitest";
import { AdaptiveController, type HotExtent } from "./adaptive-controller.ts";
import { resolveAdaptiveOptions, type AdaptiveOptions } from "./adaptive-options.ts";
import { MIB, PinHost } from "./residency.test.fixture.ts";
import type { PinPriority } from "./pin-types.ts";

const MINUTE_MS = 60_000;
const LEARNED = { learningMs: 0, intervalMs: 1_000 };

class AdaptiveHost extends PinHost {
  heat = new Map<string, number>();
  majorFaults: number | undefined = 0;
  readonly controller: AdaptiveController;

  constructor(budgetBytes: number, options: AdaptiveOptions = LEARNED) {
    super(budgetBytes);
    this.controller = new AdaptiveController({
      clock: this.clock,
      pins: this.pins,
      options,
      ports: {
        hottest: (limit) => this.hottest(limit),
        majorFaults: () => this.majorFaults,
      },
    });
    this.controller.start();
  }

  hottest(limit: number): HotExtent[] {
    return [...this.heat]
      .map(([key, heat]) => ({ key, heat, target: this.target(key) }))
      .sort((a, b) => b.heat - a.heat)
      .slice(0, limit);
  }

  async pinned(key: string, priority: PinPriority, bytes = MIB): Promise<void> {
    await this.pins.pin(key, this.target(key, bytes), { priority });
  }

  priorities(...keys: string[]): (PinPriority | undefined)[] {
    return keys.map((key) => this.pins.priorityOf(key));
  }
}

describe("the adaptive controller", () => {
  it("pins and promotes extents by their heat, and lets alone what is high enough", async () => {
    const host = new AdaptiveHost(100 * MIB);
    await host.pinned("low", "background");
    await host.pinned("tail", "tail-latency-critical");
    host.heat = new Map([
      ["new", 0.95],
      ["low", 0.91],
      ["warm", 0.75],
      ["tail", 0.72],
      ["mild", 0.69],
    ]);
    await host.clock.advance(1_000);
    await host.clock.settle();
    expect(host.priorities("new", "low", "warm", "tail", "mild")).toEqual([
      "tail-latency-critical",
      "tail-latency-critical",
      "query-critical",
      "tail-latency-critical",
      undefined,
    ]);
    expect(host.target("new").locked).toBe(true);
    await host.clock.advance(3_000);
    expect(host.controller.report()).toMatchObject({ promoted: 3, demoted: 0, evicted: 0 });
  });

  it("pins from a lower heat on while there are many faults", async () => {
    const host = new AdaptiveHost(100 * MIB);
    host.heat.set("mild", 0.55);
    await host.clock.advance(2_000);
    expect(host.controller.report()).toMatchObject({ faultsPerSecond: 0 });
    host.majorFaults = 1_001;
    await host.clock.advance(1_000);
    expect(host.controller.report()).toMatchObject({ faultsPerSecond: 1_001, promoted: 1 });
    expect(host.priorities("mild")).toEqual(["query-critical"]);
    host.majorFaults = undefined;
    await host.clock.advance(1_000);
    expect(host.controller.report().faultsPerSecond).toBeUndefined();
  });

  it("above 85 % of the budget evicts what is cold in low classes and demotes it in high ones, only so far", async () => {
    const host = new AdaptiveHost(10 * MIB, { intervalMs: 600_000 });
    for (const key of ["b1", "b2", "b3", "b4"]) await host.pinned(key, "background");
    for (const key of ["q1", "q2"]) await host.pinned(key, "query-critical");
    await host.pinned("t1", "tail-latency-critical", 4 * MIB);
    await host.clock.advance(599_000);
    host.pins.renew("b3");
    host.target("b1").acquire();
    await host.clock.advance(1_000);
    expect(host.controller.report()).toMatchObject({
      learning: true,
      promoted: 0,
      evicted: 2,
      demoted: 0,
    });
    expect(host.priorities("b1", "b3", "q1")).toEqual([
      "background",
      "background",
      "query-critical",
    ]);
    expect(["b2", "b4"].map((key) => host.target(key).state)).toEqual(["absent", "absent"]);
    expect(host.pins.stats().evictions.adaptive).toBe(2);
    await host.pinned("t2", "tail-latency-critical", 2 * MIB);
    host.pins.renew("b3");
    await host.clock.advance(600_000);
    expect(host.controller.report().evicted).toBeGreaterThan(2);
  });

  it("demotes cold extents of high classes when nothing lower is left, until they are used", async () => {
    const host = new AdaptiveHost(4 * MIB, { intervalMs: 600_000 });
    for (const key of ["t1", "t2", "t3", "t4"]) await host.pinned(key, "tail-latency-critical");
    await host.clock.advance(599_500);
    host.pins.renew("t1");
    await host.clock.advance(500);
    expect(host.priorities("t1", "t2", "t3", "t4")).toEqual([
      "tail-latency-critical",
      "query-critical",
      "query-critical",
      "query-critical",
    ]);
    expect(host.controller.report()).toMatchObject({ demoted: 3, evicted: 0 });
    expect(host.pins.renew("t2")).toBe(true);
    expect(host.priorities("t2")).toEqual(["tail-latency-critical"]);
  });

  it("decides nothing while it learns", async () => {
    const host = new AdaptiveHost(100 * MIB, {});
    host.heat.set("hot", 0.99);
    await host.clock.advance(29 * MINUTE_MS);
    expect(host.controller.report()).toMatchObject({ learning: true, promoted: 0 });
    expect(host.priorities("hot")).toEqual([undefined]);
    await host.clock.advance(MINUTE_MS + 10_000);
    expect(host.controller.report()).toMatchObject({ learning: false, promoted: 1 });
    expect(host.pins.isPinned("hot")).toBe(true);
  });

  it("brings extents home when too much is on other nodes, but not what a turn uses", async () => {
    const host = new AdaptiveHost(100 * MIB, { learningMs: 0 });
    for (const key of ["a", "b", "c", "d"]) {
      host.target(key).node = key === "d" ? 0 : 1;
      await host.pinned(key, "tail-latency-critical");
      host.target(key).node = undefined;
    }
    host.target("c").acquire();
    await host.pins.measure();
    expect(host.pins.stats().numaLocal.share).toBe(0.25);
    await host.clock.advance(9 * MINUTE_MS);
    expect(host.controller.report().moved).toBe(0);
    await host.clock.advance(MINUTE_MS);
    expect(host.controller.report().moved).toBe(2);
    expect(host.pins.stats().numaLocal.share).toBe(0.75);
    expect(host.target("a")).toMatchObject({ state: "resident", loads: 1, moves: 1 });
    await host.clock.advance(10 * MINUTE_MS);
    expect(host.controller.report().moved).toBe(2);
  });

  it("lets alone what is meant to be on several nodes", async () => {
    const host = new AdaptiveHost(100 * MIB, { learningMs: 0 });
    host.target("a").dataKind = "cold";
    host.target("a").node = 1;
    await host.pinned("a", "background");
    await host.pins.measure();
    await host.clock.advance(20 * MINUTE_MS);
    expect(host.controller.report().moved).toBe(0);
  });

  it("moves by policy: what a hint announces or was used, or nothing at all", async () => {
    for (const [migration, moved] of [
      ["on-access", 1],
      ["disabled", 0],
    ] as const) {
      const host = new AdaptiveHost(100 * MIB, { learningMs: 0, migration });
      host.target("a").node = 1;
      await host.pinned("a", "background");
      host.target("a").node = undefined;
      await host.pins.measure();
      await host.clock.advance(10 * MINUTE_MS);
      expect(host.controller.report().moved).toBe(0);
      host.controller.willAccessSoon([{ key: "a", target: host.target("a") }], 0);
      await host.clock.settle();
      expect(host.controller.report().moved).toBe(moved);
      host.target("b").node = 1;
      await host.pinned("b", "background");
      await host.pins.measure();
      await host.clock.advance(9 * MINUTE_MS);
      host.pins.renew("b");
      await host.clock.advance(MINUTE_MS);
      expect(host.controller.report().moved).toBe(2 * moved);
    }
  });

  it("tries again what got no room, as long as it is hot", async () => {
    const host = new AdaptiveHost(2 * MIB);
    for (const key of ["a", "b"]) await host.pinned(key, "query-critical");
    host.heat = new Map([
      ["hot", 0.8],
      ["a", 0.75],
      ["b", 0.75],
    ]);
    await host.clock.advance(3_000);
    expect(host.controller.report().promoted).toBe(0);
    host.pins.unpin("a");
    await host.clock.advance(1_000);
    expect(host.controller.report().promoted).toBe(1);
    expect(host.pins.isPinned("hot")).toBe(true);
  });

  it("takes at most so many changes at a time", async () => {
    const host = new AdaptiveHost(100 * MIB, { ...LEARNED, changesMax: 3 });
    for (let i = 0; i < 7; i++) host.heat.set(`k${i}`, 0.8);
    await host.clock.advance(1_000);
    expect(host.controller.report().promoted).toBe(3);
    await host.clock.advance(2_000);
    expect(host.controller.report().promoted).toBe(7);
    host.controller.stop();
    host.heat.set("late", 0.99);
    await host.clock.advance(10_000);
    expect(host.controller.report().promoted).toBe(7);
  });
});

describe("hints", () => {
  it("bring extents in ahead, also while learning, and let them go when they were read", async () => {
    const host = new AdaptiveHost(100 * MIB, {});
    host.pins.start();
    const extents = ["a", "b", "c"].map((key) => ({ key, target: host.target(key) }));
    host.controller.willAccessSoon(extents, 2_000);
    await host.clock.settle();
    expect(host.priorities("a", "b", "c")).toEqual(["background", "background", "background"]);
    await host.pinned("b", "tail-latency-critical");
    host.controller.accessComplete(["a", "b"]);
    await host.clock.settle();
    expect(host.priorities("a", "b", "c")).toEqual([undefined, "query-critical", "background"]);
    await host.clock.advance(33_000);
    expect(host.priorities("a", "b", "c")).toEqual([undefined, expect.any(String), undefined]);
    await host.pins.stop();
  });

  it("do not end what somebody else has pinned", async () => {
    const host = new AdaptiveHost(100 * MIB, {});
    await host.pins.pin("a", host.target("a"), {
      priority: "query-critical",
      lifetime: "session",
      ttlMs: 100_000,
    });
    host.pins.evict("a", "pressure");
    await host.clock.settle();
    host.controller.willAccessSoon([{ key: "a", target: host.target("a") }], 0);
    await host.clock.settle();
    expect(host.pins.isPinned("a")).toBe(true);
    host.controller.accessComplete(["a"]);
    expect(host.priorities("a")).toEqual(["background"]);
  });
});

describe("its options", () => {
  it("are complete and frozen, with the defaults of the design", () => {
    const options = resolveAdaptiveOptions();
    expect(options).toMatchObject({
      promoteHeat: 0.7,
      criticalHeat: 0.9,
      budgetPressure: 0.85,
      faultsPerSecond: 1_000,
      numaMiss: 0.3,
      learningMs: 1_800_000,
      rebalanceMs: 600_000,
    });
    expect(Object.isFrozen(options)).toBe(true);
  });

  it.each([
    [{ promoteHeat: 1.5 }, "adaptive.promoteHeat is 1.5: it must be from 0 to 1"],
    [{ promoteHeat: 0.95 }, "coldHeat ≤ faultPromoteHeat ≤ promoteHeat ≤ criticalHeat"],
    [{ changesMax: 1.5 }, "adaptive.changesMax is 1.5: it must be a whole number"],
    [{ migration: "often" as "disabled" }, "adaptive.migration is often"],
  ])("refuse %j", (options, message) => {
    expect(() => resolveAdaptiveOptions(options)).toThrow(message);
  });
});
