import { PinionError } from "@pinion/core";
import type { Log } from "@pinion/storage";
import { expect, it } from "vitest";
import { logRefuses, refusedOutcome } from "./outcome.ts";

const refusalFor = (why: PinionError | undefined): PinionError =>
  logRefuses({ log: { backpressure: () => why } as Log });

it("a log that has no room says why, and that asking again helps unless the disk is read-only", () => {
  const cases = [
    [undefined, "overloaded", "transient"],
    [new PinionError("disk-full", "no space"), "disk-full", "transient"],
    // The next segment could not be made: the log tries again.
    [new PinionError("io-error", "EIO", { details: { path: "/log" } }), "io-error", "transient"],
    [new PinionError("disk-read-only", "read-only"), "disk-read-only", "final"],
  ] as const;
  for (const [why, code, refused] of cases) {
    const error = refusalFor(why);
    expect([error.code, refusedOutcome(error).refused]).toEqual([code, refused]);
    expect(error.details).toEqual(why?.details ?? {});
  }
});
