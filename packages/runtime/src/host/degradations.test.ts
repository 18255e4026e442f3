import { platformFeatures } from "@pinion/storage";
import { expect, test } from "vitest";
import { findDegradations, type DegradationSources } from "./degradations.ts";

const features = await platformFeatures();
const FINE: DegradationSources = {
  features: { ...features, memlockLimitBytes: Infinity, memlockUnlimited: true },
  nativeDegraded: undefined,
  lockEnforced: true,
  flush: "group",
};
const limited = { ...features, memlockLimitBytes: 8 * 2 ** 20, memlockUnlimited: false };

test("a machine that has everything is not degraded", () => {
  expect(findDegradations(FINE)).toEqual([]);
});

test.each([
  [{ nativeDegraded: "no compiler" }, "native part off", "no compiler"],
  [{ features: limited }, "pins off", "memlock limit 8 MiB"],
  [{ lockEnforced: false }, "data directory lock by name only", /flock/],
  [{ flush: "periodic(5ms)" }, "durability reduced", /periodic\(5ms\).*power cut/],
])("%o is named", (change, what, why) => {
  const found = findDegradations({ ...FINE, ...change } as DegradationSources);
  expect(found).toHaveLength(1);
  expect(found[0]?.what).toBe(what);
  expect(found[0]?.why).toMatch(why);
});
