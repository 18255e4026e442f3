/** The share of CI; `pnpm crash --level kill` kills for as long as it is told to. */
import { flushPolicy } from "@pinion/storage";
import { describe, expect, it } from "vitest";
import { runHostKills } from "../support/kills/host-kills.ts";

const SEED = 1_848;

describe("a host that is killed under load", () => {
  it.each([
    { policy: flushPolicy.group, kills: 5 },
    { policy: flushPolicy.periodic(5), kills: 3 },
  ])("keeps what $policy.name promises over $kills kills", async ({ policy, kills }) => {
    const report = await runHostKills({ policy, kills, seed: SEED });
    expect(report.kills).toBe(kills);
    expect(report.calls).toBeGreaterThan(50 * kills);
    expect(report.replayed).toBeGreaterThan(0);
    if (policy.replyWaits) expect(report.lost).toBe(0);
  });
});
