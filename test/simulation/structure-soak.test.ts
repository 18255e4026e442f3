import { expect, test } from "vitest";
import { soakStructures } from "./structure-soak.ts";
import { soakVolumes } from "./volume-soak.ts";

// The share of CI. The long run is `pnpm soak:structures`: 1,000 worlds of each, or as many as it is told.
const seeds = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

test.each(seeds(12))(
  "structures agree with their models while memory comes and goes in the middle of turns (seed %i)",
  async (seed) => {
    const report = await soakStructures(seed);
    expect(report.turns).toBe(75);
    const { broughtIn, takenOut, retired, checkpoints, failedCheckpoints, reads } = report;
    const least = Math.min(broughtIn, takenOut, retired, checkpoints, failedCheckpoints, reads);
    expect(least).toBeGreaterThan(0);
  },
);

test.each(seeds(6))(
  "structures of a volume agree with each other, and with what was answered (seed %i)",
  async (seed) => {
    const { updates, reads, moves } = await soakVolumes(seed);
    expect(Math.min(updates, reads, moves)).toBeGreaterThan(0);
  },
);

test("a seed repeats its run", async () => {
  expect(await soakStructures(3)).toEqual(await soakStructures(3));
  expect(await soakVolumes(3)).toEqual(await soakVolumes(3));
});
