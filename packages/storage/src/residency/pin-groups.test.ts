import { seededRng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { LOCKED, MIB, PinHost, type TestTarget } from "./residency.test.fixture.ts";
import type { TypeBudget } from "./type-budgets.ts";
import { TypeBudgetTable } from "./type-budgets.ts";

const HOT = { priority: "tail-latency-critical" } as const;
const WARM = { priority: "query-critical" } as const;

function hostWith(
  budgetBytes: number,
  budgets: Readonly<Record<string, Partial<TypeBudget>>>,
  table = TypeBudgetTable.create(4),
  worker = 0,
): PinHost {
  return new PinHost(budgetBytes, {
    drainWaitMs: 500,
    types: Object.entries(budgets).map(([type, budget]) => ({
      type,
      budget: { pinBytesMax: undefined, pinShareMax: undefined, ...budget },
      cells: table.open(type, worker),
    })),
  });
}

function of(host: PinHost, type: string, key: string, mib = 1): TestTarget {
  const target = host.target(key, mib * MIB);
  target.type = type;
  return target;
}

const pin = (
  host: PinHost,
  target: TestTarget,
  ask: { priority: "query-critical" | "tail-latency-critical" } = WARM,
) => host.pins.pin(target.key, target, ask);

describe("an actor type with a bound of its own", () => {
  it("has no more than that, and nobody else notices", async () => {
    const host = hostWith(64 * MIB, { noisy: { pinBytesMax: 3 * MIB } });
    const quiet = of(host, "quiet", "quiet", 8);
    expect(await pin(host, quiet)).toEqual(LOCKED);
    const noisy = [0, 1, 2, 3].map((i) => of(host, "noisy", `noisy-${i}`));
    const outcomes = [];
    for (const target of noisy) {
      outcomes.push(await pin(host, target));
      // All as hot as each other: nobody goes for a newcomer that is not hotter.
      await host.clock.advance(1);
      for (const each of noisy) host.pins.renew(each.key, 5);
    }
    expect(outcomes.slice(0, 3)).toEqual([LOCKED, LOCKED, LOCKED]);
    expect(outcomes[3]).toMatchObject({ kind: "degraded", reason: "type-budget" });
    expect(host.pins.find("noisy-3")).toMatchObject({ degraded: "type-budget" });
    expect(host.pins.typeUse()).toEqual([
      { type: "noisy", limitBytes: 3 * MIB, usedBytes: 3 * MIB, extents: 3 },
    ]);
    expect(quiet.drops).toBe(0);
    expect(host.faults).toEqual([]);
  });

  it("makes the colder of its own go, lower classes first, and says why", async () => {
    const host = hostWith(64 * MIB, { noisy: { pinBytesMax: 3 * MIB } });
    const cold = of(host, "other", "other");
    await pin(host, cold);
    const warm = of(host, "noisy", "warm");
    const hot = of(host, "noisy", "hot", 2);
    await pin(host, warm);
    await pin(host, hot, HOT);
    const next = of(host, "noisy", "next");
    expect(await pin(host, next, HOT)).toEqual(LOCKED);
    expect(warm.drops).toBe(1);
    expect(host.pins.find("warm")).toMatchObject({ state: "absent", degraded: "type-budget" });
    expect(host.pins.stats().evictions["type-budget"]).toBe(1);
    expect(cold.drops).toBe(0);
    // What a turn is using stays.
    hot.acquire();
    expect(await pin(host, of(host, "noisy", "last", 2), HOT)).toMatchObject({
      kind: "degraded",
      reason: "type-budget",
    });
    hot.release();
    expect(hot.drops).toBe(0);
    expect(host.faults).toEqual([]);
  });

  it("may be bounded by a share, and one extent beyond it never comes in", async () => {
    const host = hostWith(40 * MIB, { noisy: { pinShareMax: 0.1, pinBytesMax: 8 * MIB } });
    expect(await pin(host, of(host, "noisy", "a", 5))).toMatchObject({ reason: "type-budget" });
    expect(await pin(host, of(host, "noisy", "b", 4))).toEqual(LOCKED);
    host.counter.setLimit(20 * MIB);
    expect(host.pins.typeUse()[0]?.limitBytes).toBe(2 * MIB);
  });

  it("does not grow beyond it", async () => {
    const host = hostWith(64 * MIB, { noisy: { pinBytesMax: 3 * MIB } });
    await pin(host, of(host, "noisy", "a", 2));
    expect(host.pins.resize("a", 4 * MIB)).toBe(false);
    expect(host.pins.resize("a", 3 * MIB)).toBe(true);
    expect(await pin(host, of(host, "noisy", "b"))).toMatchObject({ reason: "type-budget" });
    expect(host.pins.resize("a", MIB)).toBe(true);
    expect(await pin(host, of(host, "noisy", "b"))).toEqual(LOCKED);
  });

  it("is counted over all workers, and what a dead one had is given back", async () => {
    const table = TypeBudgetTable.create(2);
    const bound = { noisy: { pinBytesMax: 3 * MIB } };
    const [first, second] = [0, 1].map((worker) => hostWith(64 * MIB, bound, table, worker)) as [
      PinHost,
      PinHost,
    ];
    expect(await pin(first, of(first, "noisy", "a", 2))).toEqual(LOCKED);
    expect(await pin(second, of(second, "noisy", "b", 2))).toMatchObject({ reason: "type-budget" });
    expect(second.pins.typeUse()[0]).toMatchObject({ usedBytes: 2 * MIB, extents: 0 });
    table.reclaim(0);
    expect(await pin(second, of(second, "noisy", "b", 2))).toEqual(LOCKED);
  });

  it("holds at every step of a random run, and everything is given back at the end", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const rng = seededRng(seed);
      const host = hostWith(16 * MIB, { a: { pinBytesMax: 6 * MIB }, b: { pinShareMax: 0.25 } });
      const targets = Array.from({ length: 18 }, (_, i) => {
        const target = of(host, ["a", "b", "c"][i % 3] as string, `k${i}`, 1 + rng.below(3));
        target.loadMs = rng.below(3);
        target.dropMs = rng.below(3);
        return target;
      });
      for (let step = 0; step < 200; step++) {
        const target = rng.pick(targets);
        if (rng.chance(0.1)) target.fault = rng.pick(["io-error", undefined]);
        const what = rng.below(6);
        if (what < 3) void pin(host, target, rng.pick([HOT, WARM]));
        else if (what === 3) host.pins.unpin(target.key);
        else if (what === 4) host.pins.renew(target.key, rng.below(3));
        else host.pins.resize(target.key, target.bytes);
        if (rng.chance(0.5)) await host.clock.advance(rng.below(5));
        for (const { type, usedBytes, limitBytes } of host.pins.typeUse()) {
          const own = targets.filter((each) => each.type === type && each.state !== "absent");
          const inMemory = own.reduce((sum, { bytes }) => sum + bytes, 0);
          expect(usedBytes).toBeLessThanOrEqual(limitBytes);
          expect(inMemory).toBeLessThanOrEqual(usedBytes);
        }
      }
      const stopped = host.pins.stop();
      await host.clock.advance(2_000);
      await stopped;
      expect(host.pins.typeUse().map(({ usedBytes }) => usedBytes)).toEqual([0, 0]);
      expect(host.faults).toEqual([]);
    }
  });
});
