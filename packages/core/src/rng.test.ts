import { describe, expect, it } from "vitest";
import { randomSeed, seededRng } from "./rng.ts";

describe("seededRng", () => {
  it("repeats for a seed, differs between seeds, and streams are independent of each other's use", () => {
    const take = (seed: number) =>
      Array.from(
        { length: 5 },
        (
          (rng) => () =>
            rng.uint32()
        )(seededRng(seed)),
      );
    expect(take(7)).toEqual(take(7));
    expect(take(7)).not.toEqual(take(8));
    expect(take(7)).not.toEqual(take(7 + 2 ** 32));
    const a = seededRng(1).fork("a");
    const b = seededRng(1);
    b.uint32();
    expect(b.fork("a").uint32()).toBe(a.uint32());
  });
  it("is uniform enough and stays in range", () => {
    const rng = seededRng(42);
    const buckets = new Array<number>(10).fill(0);
    for (let i = 0; i < 100_000; i++)
      buckets[rng.below(10)] = (buckets[rng.below(10)] as number) + 1;
    for (let i = 0; i < 1_000; i++) {
      const f = rng.float();
      expect(f).toBeGreaterThanOrEqual(0);
      expect(f).toBeLessThan(1);
    }
    expect(rng.pick(["x"])).toBe("x");
    expect(rng.chance(0)).toBe(false);
    expect(rng.chance(1)).toBe(true);
  });
  it("seeds from entropy are safe integers", () => {
    expect(Number.isSafeInteger(randomSeed())).toBe(true);
  });
});
