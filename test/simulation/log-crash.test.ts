import { flushPolicy } from "@pinion/storage";
import { describe, expect, it } from "vitest";
import { runLogCuts } from "./log-cuts.ts";

const CUTS = 1000;
const SEED = 20_010_911;

describe("a log that is cut at a random operation", () => {
  it.each([
    flushPolicy.group,
    flushPolicy.sync,
    flushPolicy.batched(20),
    flushPolicy.batchedOrPeriodic(50, 5),
    flushPolicy.periodic(5),
    flushPolicy.async,
  ])("keeps what $name has promised, in order, and invents nothing", async (policy) => {
    const result = await runLogCuts({ policy, cuts: CUTS, seed: SEED });
    expect(result.cuts).toBeGreaterThanOrEqual(CUTS);
    expect(
      Math.min(result.byPower, result.byProcess, result.byFault, result.duringOpening),
    ).toBeGreaterThan(CUTS / 50);
    expect(result.records).toBeGreaterThan(CUTS * 10);
  });
});
