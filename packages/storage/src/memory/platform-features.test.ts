import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fileSystemFeatures, platformFeatures } from "./platform-features.ts";

describe("platformFeatures", () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "pinion-root-"));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const file = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  };

  it("reads limits, huge pages and NUMA nodes", async () => {
    await file(
      "proc/self/limits",
      "Limit                     Soft Limit           Hard Limit           Units\n" +
        "Max open files            1024                 524288               files\n" +
        "Max locked memory         8388608              unlimited            bytes\n",
    );
    await file("proc/self/status", "Name:\tnode\nCapEff:\t0000000000004000\n");
    await file(
      "proc/meminfo",
      "MemTotal:       1048576 kB\nHugePages_Free:       12\nHugepagesize:       2048 kB\n",
    );
    await file("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    await file("proc/sys/vm/max_map_count", "65530\n");
    for (const node of [10, 0, 2])
      await mkdir(join(root, `sys/devices/system/node/node${node}`), { recursive: true });
    await file("sys/devices/system/node/online", "0,2,10\n");
    expect(await platformFeatures(root)).toMatchObject({
      memlockLimitBytes: 8_388_608,
      memlockUnlimited: true,
      memoryBytes: 1 << 30,
      cgroupMemoryBytes: Infinity,
      transparentHugePages: "madvise",
      hugePageBytes: 2 << 20,
      hugePagesFree: 12,
      numaNodes: [0, 2, 10],
      mapCountMax: 65_530,
      openFilesMax: 1_024,
    });
  });

  it("leaves out what cannot be found out", async () => {
    expect(await platformFeatures(root)).toMatchObject({
      memlockLimitBytes: undefined,
      memlockUnlimited: false,
      cgroupMemoryBytes: Infinity,
      transparentHugePages: undefined,
      hugePageBytes: undefined,
      numaNodes: [0],
      mapCountMax: undefined,
    });
  });

  it("knows an unlimited limit and a missing capability", async () => {
    await file(
      "proc/self/limits",
      "Max locked memory         unlimited            unlimited            bytes\n",
    );
    await file("proc/self/status", "CapEff:\t00000000a80425fb\n");
    expect(await platformFeatures(root)).toMatchObject({
      memlockLimitBytes: Infinity,
      memlockUnlimited: false,
    });
  });

  it("takes the lowest memory limit of its cgroup and all above it", async () => {
    await file("proc/self/cgroup", "0::/system.slice/pinion.service\n");
    await file("sys/fs/cgroup/system.slice/pinion.service/memory.max", "max\n");
    await file("sys/fs/cgroup/system.slice/pinion.service/memory.high", "3000000\n");
    await file("sys/fs/cgroup/system.slice/memory.max", "2000000\n");
    await file("sys/fs/cgroup/memory.max", "9000000\n");
    expect((await platformFeatures(root)).cgroupMemoryBytes).toBe(2_000_000);
  });

  it("finds its cgroup at the root of the mount in a container", async () => {
    await file("proc/self/cgroup", "0::/../../kubepods/pod1\n");
    await file("sys/fs/cgroup/memory.max", "5000000\n");
    expect((await platformFeatures(root)).cgroupMemoryBytes).toBe(5_000_000);
  });

  it("reads cgroups of version 1, whose largest number means none", async () => {
    await file("proc/self/cgroup", "5:cpu,memory:/docker/abc\n3:cpuset:/x\n");
    await file("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "4000000\n");
    await file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    expect((await platformFeatures(root)).cgroupMemoryBytes).toBe(4_000_000);
    await rm(join(root, "sys/fs/cgroup/memory/docker"), { recursive: true });
    expect((await platformFeatures(root)).cgroupMemoryBytes).toBe(Infinity);
  });

  it("works on this machine", async () => {
    const features = await platformFeatures();
    expect(features.memoryBytes).toBeGreaterThan(1 << 20);
    expect(features.numaNodes.length).toBeGreaterThan(0);
  });
});

describe("fileSystemFeatures", () => {
  it("describes the file system of a folder and leaves nothing in it", async () => {
    const dir = await mkdtemp(join(tmpdir(), "pinion-fs-"));
    const features = await fileSystemFeatures(dir);
    expect(features.type).toMatch(/^[a-z0-9]+$/);
    expect(features.freeBytes).toBeGreaterThan(0);
    expect(features.totalBytes).toBeGreaterThanOrEqual(features.freeBytes);
    expect(["boolean", "undefined"]).toContain(typeof features.directIo);
    expect(await readdir(dir)).toEqual([]);
    await rm(dir, { recursive: true });
  });

  it("does not know about direct access where it may not try", async () => {
    expect(await fileSystemFeatures("/proc")).toMatchObject({ directIo: undefined });
  });
});
