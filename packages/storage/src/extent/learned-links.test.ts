import { seededRng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { connectionsOf } from "./connections.ts";
import { DEGREE_MAX, LearnedLinks } from "./learned-links.ts";

const HALF_LIFE_MS = 600_000;

describe("what is used together", () => {
  it("weighs as a plain sum of what has not faded says", () => {
    const rng = seededRng(1);
    const names = Array.from({ length: 10 }, (_, i) => `e${i}`);
    const learned = new LearnedLinks();
    const turns: { used: string[]; atMs: number }[] = [];
    let nowMs = 1_000;
    for (let i = 0; i < 400; i++) {
      nowMs += rng.below(60_000);
      const used = names.filter(() => rng.chance(0.3)).slice(0, 8);
      turns.push({ used, atMs: nowMs });
      learned.usedTogether(used, nowMs);
    }
    for (const name of names) {
      const links = learned.linksOf(name, nowMs);
      for (const { to, weight } of links) {
        const sum = turns
          .filter(({ used }) => used.includes(name) && used.includes(to))
          .reduce((total, { atMs }) => total + 2 ** ((atMs - nowMs) / HALF_LIFE_MS), 0);
        expect(weight).toBeCloseTo(sum / (sum + 1), 6);
      }
      expect(links.map(({ weight }) => weight)).toEqual(
        links.map(({ weight }) => weight).toSorted((a, b) => b - a),
      );
    }
  });

  it("fades by half", () => {
    const learned = new LearnedLinks();
    learned.usedTogether(["a", "b"], 0);
    expect(learned.linksOf("a", 0)[0]?.weight).toBeCloseTo(0.5);
    expect(learned.linksOf("b", HALF_LIFE_MS)[0]?.weight).toBeCloseTo(1 / 3);
  });

  it("has a bounded number of others, from which the weakest makes way", () => {
    const learned = new LearnedLinks();
    for (let i = 0; i < DEGREE_MAX; i++)
      for (let turns = 0; turns < (i === 3 ? 1 : 4); turns++)
        learned.usedTogether(["hub", `e${i}`], 0);
    learned.usedTogether(["hub", "weak"], 0);
    expect(learned.linksOf("hub", 0).map(({ to }) => to)).not.toContain("weak");
    learned.usedTogether(["hub", "weak"], 0);
    const names = learned.linksOf("hub", 0).map(({ to }) => to);
    expect(names).toHaveLength(DEGREE_MAX);
    expect(names).toContain("weak");
    expect(names).not.toContain("e3");
    // A turn that uses many teaches of its first only.
    learned.usedTogether(
      Array.from({ length: 100 }, (_, i) => `many${i}`),
      0,
    );
    expect(learned.linksOf("many0", 0)).toHaveLength(7);
    expect(learned.linksOf("many9", 0)).toEqual([]);
  });

  it("adds to what was set", () => {
    const learned = new LearnedLinks();
    learned.usedTogether(["a", "b"], 0);
    learned.usedTogether(["a", "c"], 0);
    const links = [
      { kind: "next", to: "b", weight: 0.25 },
      { kind: "co-accessed", to: "b", weight: 0.125 },
      { kind: "previous", to: "d", weight: 1 },
    ] as const;
    expect(connectionsOf(links, learned.linksOf("a", 0))).toEqual([
      { to: "d", set: ["previous"], weight: 1, learned: 0 },
      { to: "b", set: ["next", "co-accessed"], weight: 0.75, learned: 0.5 },
      { to: "c", set: [], weight: 0.5, learned: 0.5 },
    ]);
  });
});
