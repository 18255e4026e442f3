import { expect, test } from "vitest";
import { soakExtents } from "./extent-soak.ts";

// The long run is `pnpm soak:extents`: 10 million operations.
test.each([1, 2, 3, 4])(
  "extents agree with plain bytes over 25,000 operations (seed %i)",
  async (seed) => {
    const report = await soakExtents({ operations: 25_000, seed });
    expect(report.lives).toBeGreaterThan(1);
    expect(report.checkpoints).toBeGreaterThan(20);
    expect(report.failedCheckpoints).toBeGreaterThan(0);
  },
);
