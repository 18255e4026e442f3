import type { HostMemoryPlan } from "@pinion/runtime";
import type { PlatformFeatures } from "@pinion/storage";
import { describe, expect, test } from "vitest";
import { flushCheck } from "./disk-checks.ts";
import type { Finding } from "./finding.ts";
import { platformChecks } from "./platform-checks.ts";

const GIB = 2 ** 30;

const GOOD: PlatformFeatures = {
  os: "linux",
  arch: "x64",
  kernel: "6.1.0-30-cloud-amd64",
  node: "v26.10.0",
  memlockLimitBytes: 8 * 2 ** 20,
  memlockUnlimited: true,
  memoryBytes: 24 * GIB,
  cgroupMemoryBytes: Infinity,
  transparentHugePages: "madvise",
  hugePageBytes: 2 ** 21,
  hugePagesFree: 0,
  numaNodes: [0],
  mapCountMax: 262_144,
  openFilesMax: 65_536,
};

const MIB = 2 ** 20;

/** What is left of a limit for pins and data. */
const planOf = (limitBytes: number, usableBytes: number, pinBytes: number): HostMemoryPlan => ({
  limits: {
    limitBytes,
    limitedBy: "MemTotal",
    memTotalBytes: limitBytes,
    swapTotalBytes: 0,
    groups: [],
    notes: [],
  },
  budget: {
    limitBytes,
    heapBytes: 2 * GIB,
    pageTableBytes: 0,
    headroomBytes: 0,
    usableBytes,
    pinBytes,
    lockBytes: pinBytes,
    overlayBytes: 0,
    poolBytes: usableBytes - pinBytes,
    notes: [],
  },
  pinBytes,
  neededBytes: 640 * MIB,
});
const PLAN = planOf(24 * GIB, 18 * GIB, 7 * GIB);

const check = (name: string, change: Partial<PlatformFeatures>, plan = PLAN): Finding | undefined =>
  platformChecks(
    { ...GOOD, ...change },
    { kind: "addon", degraded: undefined },
    "build it",
    plan,
  ).find((finding) => finding.check === name);

describe("what doctor says about a machine", () => {
  test("finds nothing wrong with a good one", () => {
    const findings = platformChecks(GOOD, { kind: "addon", degraded: undefined }, "build it", PLAN);
    expect(findings.filter(({ level }) => level !== "ok")).toEqual([]);
    expect(findings.length).toBeGreaterThanOrEqual(9);
  });

  test("every warning says what it means", () => {
    const findings = platformChecks(
      {
        ...GOOD,
        kernel: "4.19.0",
        node: "v20.1.0",
        memlockUnlimited: false,
        memoryBytes: GIB / 2,
        transparentHugePages: "never",
        mapCountMax: 65_530,
        openFilesMax: 1_024,
      },
      { kind: "portable", degraded: "not built" },
      "build it",
      PLAN,
    );
    const bad = findings.filter(({ level }) => level !== "ok");
    expect(bad.map(({ check: name }) => name)).toEqual([
      "system",
      "node",
      "native",
      "memory",
      "memlock",
      "huge-pages",
      "map-count",
      "open-files",
    ]);
    expect(bad.every(({ why }) => why !== undefined && why.length > 10)).toBe(true);
  });

  test("a Node that is too old fails; everything else about a machine only warns", () => {
    expect(check("node", { node: "v22.1.0" })?.level).toBe("fail");
    expect(check("memlock", { memlockUnlimited: false })?.level).toBe("warn");
  });

  test("a memlock limit above what a host would pin is enough", () => {
    const limited = { memlockUnlimited: false };
    expect(check("memlock", { ...limited, memlockLimitBytes: 7 * GIB })?.level).toBe("ok");
    expect(check("memlock", { ...limited, memlockLimitBytes: 7 * GIB - 1 })).toMatchObject({
      level: "warn",
      why: expect.stringContaining("7 GiB") as string,
    });
  });

  test("the budget for pins is shown, and what takes it all where there is none", () => {
    expect(check("pin-budget", {})).toMatchObject({
      level: "ok",
      found: expect.stringMatching(/^7 GiB of 24 GiB/) as string,
    });
    expect(check("pin-budget", {}, planOf(2 * GIB, 0, 0))).toMatchObject({
      level: "warn",
      why: expect.stringContaining("heaps (2 GiB)") as string,
      fix: expect.stringContaining("workerHeapBytes") as string,
    });
    expect(check("pin-budget", {}, planOf(24 * GIB, 18 * GIB, 0))).toMatchObject({
      level: "warn",
      why: expect.stringContaining("pinShare") as string,
    });
  });

  test("a limit below what a host takes is told with that figure", () => {
    expect(check("memory", { cgroupMemoryBytes: 384 * MIB })).toMatchObject({
      level: "warn",
      why: expect.stringContaining("640 MiB under load: the kernel will kill it") as string,
    });
    expect(check("memory", { cgroupMemoryBytes: 700 * MIB })?.why).not.toContain("will kill");
  });

  test("the limit of the cgroup counts, not the machine's memory", () => {
    expect(check("memory", { cgroupMemoryBytes: GIB / 4 })).toMatchObject({
      level: "warn",
      fix: expect.stringContaining("memory.max") as string,
    });
  });

  test("the portable fallback comes with the command that builds the addon", () => {
    const findings = platformChecks(
      GOOD,
      { kind: "portable", degraded: "no compiler" },
      "build it",
      PLAN,
    );
    expect(findings.find((f) => f.check === "native")).toMatchObject({
      level: "warn",
      fix: "build it",
    });
  });
});

describe("what doctor says about flushes", () => {
  const latency = (p50Ms: number) => ({ count: 100, p50Ms, p99Ms: p50Ms * 2 });

  test("an ordinary disk is fine", () => {
    expect(flushCheck(latency(0.06), "ext4").level).toBe("ok");
  });

  test("a flush faster than any disk is suspicious, but not where memory is the disk", () => {
    expect(flushCheck(latency(0.002), "ext4").level).toBe("warn");
    expect(flushCheck(latency(0.002), "tmpfs").level).toBe("ok");
  });

  test("a slow disk gets a warning with its figures", () => {
    expect(flushCheck(latency(25), "ext4")).toMatchObject({
      level: "warn",
      figures: { flushP50Ms: 25 },
    });
  });
});
