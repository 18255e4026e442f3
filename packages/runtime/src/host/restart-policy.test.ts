import { PinionError } from "@pinion/core";
import { expect, test } from "vitest";
import { DELAY_MS_MAX, DELAY_MS_MIN, RestartPolicy, STABLE_MS } from "./restart-policy.ts";

const crash = new Error("crash");
const delays = (policy: RestartPolicy, times: number, ranMs: number): number[] =>
  Array.from({ length: times }, () => {
    const decision = policy.afterFailure(crash, ranMs);
    return decision.restart ? decision.delayMs : -1;
  });

test("a worker that fails for the first time is back soon", () => {
  expect(delays(new RestartPolicy(), 1, 10_000)).toEqual([DELAY_MS_MIN]);
});

test("delays double up to a bound, so that a worker that cannot run costs little", () => {
  const seen = delays(new RestartPolicy(), 12, 100);
  expect(seen.slice(0, 3)).toEqual([100, 200, 400]);
  expect(seen.at(-1)).toBe(DELAY_MS_MAX);
  expect(Math.max(...seen)).toBe(DELAY_MS_MAX);
});

test("a worker that has run for a while is forgiven", () => {
  const policy = new RestartPolicy();
  delays(policy, 8, 100);
  expect(delays(policy, 1, STABLE_MS)).toEqual([DELAY_MS_MIN]);
});

test("what would only fail again is not tried again, but a port or a disk may come back", () => {
  const decide = (
    code: "corruption" | "format-too-new" | "port-in-use" | "io-error" | "disk-full",
  ) => new RestartPolicy().afterFailure(new PinionError(code, ""), 0).restart;
  expect(decide("corruption")).toBe(false);
  expect(decide("format-too-new")).toBe(false);
  expect(decide("port-in-use")).toBe(true);
  expect(decide("io-error")).toBe(true);
  expect(decide("disk-full")).toBe(true);
});

test("a worker that had served is tried again whatever ended it", () => {
  const decision = new RestartPolicy().afterFailure(new PinionError("corruption", ""), 5_000);
  expect(decision.restart).toBe(true);
});
