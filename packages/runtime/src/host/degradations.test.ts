import { platformFeatures } from "@pinion/storage";
import { expect, test } from "vitest";
import { findDegradations, type DegradationSources } from "./degradations.ts";

const features = await platformFeatures();
const FINE: DegradationSources = {
  features: { ...features, transparentHugePages: "madvise" },
  nativeDegraded: undefined,
  memoryDegraded: undefined,
  memory: { pinBytes: 2 ** 30, lockableBytes: Infinity },
  shortage: undefined,
  lockEnforced: true,
  flush: "group",
};
const limited = { pinBytes: 2 ** 30, lockableBytes: 8 * 2 ** 20 };

test("a machine that has everything is not degraded", () => {
  expect(findDegradations(FINE)).toEqual([]);
});

test.each([
  [{ nativeDegraded: "no compiler" }, "native part off", "no compiler"],
  [{ memory: limited }, "pins not locked", /memlock limit 8 MiB.*1024 MiB.*ulimit -l unlimited/],
  [{ memoryDegraded: "no addon" }, "pins not locked", /^no addon: .*pinion doctor/],
  [
    { memoryDegraded: "no addon", memory: limited },
    "pins not locked",
    /^no addon/, // one reason is enough
  ],
  [
    { shortage: { what: "memory limit too small", why: "384 MiB" } },
    "memory limit too small",
    /384 MiB/,
  ],
  [{ memory: { pinBytes: 0, lockableBytes: 0 } }, "no memory for pins", /workerHeapBytes/],
  [
    { features: { ...features, transparentHugePages: "never" } },
    "no huge pages",
    /echo madvise \| sudo tee/,
  ],
  [{ lockEnforced: false }, "data directory lock by name only", /flock/],
  [{ flush: "periodic(5ms)" }, "durability reduced", /periodic\(5ms\).*power cut/],
])("%o is named", (change, what, why) => {
  const found = findDegradations({ ...FINE, ...change } as DegradationSources);
  expect(found).toHaveLength(1);
  expect(found[0]?.what).toBe(what);
  expect(found[0]?.why).toMatch(why);
});
