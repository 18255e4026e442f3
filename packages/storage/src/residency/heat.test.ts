import { seededRng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { ExpiryWheel } from "./expiry-wheel.ts";
import { Heat } from "./heat.ts";

describe("heat", () => {
  it("is a share of accesses that fade by half every half-life", () => {
    const heat = new Heat(1_000);
    expect(heat.at(0)).toBe(0);
    heat.touch(0, 9);
    expect(heat.at(0)).toBeCloseTo(0.9, 9);
    expect(heat.at(1_000)).toBeCloseTo(4.5 / 5.5, 9);
    heat.touch(2_000);
    expect(heat.at(2_000)).toBeCloseTo(3.25 / 4.25, 9);
  });

  it("goes on for years", () => {
    const heat = new Heat(1_000);
    heat.touch(1e12);
    expect(heat.at(1e12)).toBeCloseTo(0.5, 6);
    expect(heat.at(2e12)).toBe(0);
  });

  it("has a rank that sorts by heat at any later time", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const rng = seededRng(seed);
      const heats = Array.from({ length: 8 }, () => new Heat());
      let nowMs = 0;
      for (let i = 0; i < 40; i++) heats[rng.below(8)]!.touch((nowMs += rng.below(20_000)));
      const byRank = heats.toSorted((a, b) => a.rank - b.rank);
      for (const atMs of [nowMs, nowMs + 123_456]) {
        const shown = byRank.map((heat) => heat.at(atMs));
        expect(shown, `seed ${seed}`).toEqual(shown.toSorted((a, b) => a - b));
      }
    }
  });
});

describe("the expiry wheel", () => {
  it("gives each item when its time has come, once, also after it was moved or time has jumped", () => {
    const wheel = new ExpiryWheel<string>(100);
    wheel.put("a", 150);
    wheel.put("b", 1_000);
    wheel.put("never", Infinity);
    wheel.put("c", 5_000);
    wheel.put("c", 250);
    wheel.put("d", 300);
    wheel.remove("d");
    wheel.put("b", 9_000);
    expect(wheel.take(199)).toEqual([]);
    expect(wheel.take(200)).toEqual(["a"]);
    expect(wheel.take(299)).toEqual([]);
    expect(wheel.take(1_000).sort()).toEqual(["b", "c"]);
    wheel.put("b", 9_000);
    expect(wheel.take(1e9)).toEqual(["b"]);
    expect(wheel.take(1e9)).toEqual([]);
  });
});
