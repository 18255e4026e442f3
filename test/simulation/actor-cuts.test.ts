import { describe, expect, it } from "vitest";
import { runActorCuts, type CutReport } from "./actor-cuts.ts";
import { CUT_POLICIES } from "./cut-policies.ts";

/** The share of CI: 360 cuts a policy, 2,160 in all. `pnpm crash --level actors` does as many as it is told. */
const WORLDS = 60;
const CUTS_PER_WORLD = 6;
const SEED = 19_700_101;
const TIMEOUT_MS = 240_000;

describe("actors whose machine is cut at a random operation", () => {
  it.each(CUT_POLICIES)(
    "keep every promise made under $name",
    async (policy) => {
      const total = { cuts: 0, answered: 0, reminderFirings: 0, abandoned: 0, logFailures: 0 };
      let lost = 0;
      for (let world = 0; world < WORLDS; world++) {
        const report: CutReport = await runActorCuts({
          policy,
          seed: SEED + world,
          cuts: CUTS_PER_WORLD,
        });
        for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += report[key];
        lost += report.lostInWindow;
      }
      // The world did what it is there for.
      expect(total.cuts).toBeGreaterThanOrEqual(360);
      expect(total.answered).toBeGreaterThan(3_000);
      expect(total.reminderFirings).toBeGreaterThan(1_000);
      expect(Math.min(total.abandoned, total.logFailures)).toBeGreaterThan(0);
      expect(lost > 0).toBe(!policy.replyWaits);
    },
    TIMEOUT_MS,
  );
});
