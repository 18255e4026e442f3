import { describe, expect, it } from "vitest";
import { hostTree } from "./host-tree.test.fixture.ts";
import { readMemoryLimits, readUsedBytes } from "./memory-limits.ts";

const GIB = 1024 ** 3;
const MEMINFO = `MemTotal:       ${16 * 1024 * 1024} kB
MemFree:         1000000 kB
MemAvailable:    ${12 * 1024 * 1024} kB
Active(file):        100 kB
SwapTotal:       ${1024 * 1024} kB
HugePages_Total:       0
`;
const V1_UNLIMITED = "9223372036854771712\n";

function limitsOf(contents: Record<string, string>) {
  return readMemoryLimits(hostTree({ "/proc/meminfo": MEMINFO, ...contents }));
}

describe("the memory limit", () => {
  it("is the machine's memory without control groups", () => {
    expect(limitsOf({})).toEqual({
      limitBytes: 16 * GIB,
      limitedBy: "MemTotal",
      memTotalBytes: 16 * GIB,
      swapTotalBytes: GIB,
      groups: [],
      notes: [],
    });
  });

  it("of version 2 is the smallest max or high of all ancestors", () => {
    const limits = limitsOf({
      "/proc/self/cgroup": "0::/pods.slice/pod-1/app\n",
      "/sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
      "/sys/fs/cgroup/pods.slice/memory.max": `${8 * GIB}\n`,
      "/sys/fs/cgroup/pods.slice/memory.high": "max\n",
      "/sys/fs/cgroup/pods.slice/pod-1/memory.max": `${4 * GIB}\n`,
      "/sys/fs/cgroup/pods.slice/pod-1/memory.high": `${3 * GIB}\n`,
      "/sys/fs/cgroup/pods.slice/pod-1/app/memory.max": "max\n",
      "/sys/fs/cgroup/pods.slice/pod-1/app/memory.high": "max\n",
    });
    expect(limits).toMatchObject({
      limitBytes: 3 * GIB,
      limitedBy: "/sys/fs/cgroup/pods.slice/pod-1/memory.high",
    });
    expect(limits.groups).toHaveLength(3);
  });

  it("of version 1 is the hierarchical one where an ancestor is out of sight", () => {
    expect(
      limitsOf({
        "/proc/self/cgroup": "9:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": V1_UNLIMITED,
        "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": `${6 * GIB}\n`,
        "/sys/fs/cgroup/memory/docker/abc/memory.stat": `cache 1\nhierarchical_memory_limit ${2 * GIB}\n`,
      }),
    ).toMatchObject({
      limitBytes: 2 * GIB,
      limitedBy: "/sys/fs/cgroup/memory/docker/abc/memory.stat",
      notes: [],
    });
  });

  it("of a container is found at the mount when the path is the host's", () => {
    const mount = {
      "/sys/fs/cgroup/memory.max": `${GIB}\n`,
      // No control group: nothing outside the mount counts.
      "/sys/fs/memory.max": "4096\n",
    };
    for (const path of ["/", "/kubepods/pod9/c1", "/../../c1"]) {
      expect(limitsOf({ "/proc/self/cgroup": `0::${path}\n`, ...mount })).toMatchObject({
        limitBytes: GIB,
        limitedBy: "/sys/fs/cgroup/memory.max",
      });
    }
  });

  it("with both versions mounted looks at both", () => {
    const tree = {
      "/proc/self/cgroup": "4:memory:/a\n0::/b\n",
      "/sys/fs/cgroup/unified/cgroup.controllers": "\n",
      "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": V1_UNLIMITED,
      "/sys/fs/cgroup/unified/b/memory.max": `${5 * GIB}\n`,
    };
    expect(limitsOf(tree).limitBytes).toBe(5 * GIB);
  });

  it("ignores a limit above the machine's memory, and what cannot be understood, which it names", () => {
    const limits = limitsOf({
      "/proc/self/cgroup": "nonsense\n0::/a\n7:name=systemd:/a\n",
      "/sys/fs/cgroup/a/memory.max": "lots\n",
      "/sys/fs/cgroup/a/memory.high": `${64 * GIB}\n`,
      "/sys/fs/cgroup/memory.max": "-5\n",
    });
    expect(limits.limitBytes).toBe(16 * GIB);
    expect(limits.notes).toEqual([
      "/sys/fs/cgroup/a/memory.max cannot be understood and was ignored",
      "/sys/fs/cgroup/memory.max cannot be understood and was ignored",
    ]);
  });

  it("is 1 GiB where nothing can be read, and says so", () => {
    const limits = readMemoryLimits(hostTree({}));
    expect(limits).toMatchObject({ limitBytes: GIB, swapTotalBytes: 0 });
    expect(limits.notes).toHaveLength(1);
  });

  it("of this machine is something that can be lived with", () => {
    const limits = readMemoryLimits();
    expect(limits.limitBytes).toBeGreaterThan(64 * 1024 * 1024);
    expect(readUsedBytes(limits)).toBeGreaterThan(0);
  });
});

describe("what is used", () => {
  it("is the machine's memory that is not available, or undefined", () => {
    const files = hostTree({ "/proc/meminfo": MEMINFO });
    expect(readUsedBytes(readMemoryLimits(files), files)).toBe(4 * GIB);
    const none = hostTree({});
    expect(readUsedBytes(readMemoryLimits(none), none)).toBeUndefined();
  });

  it.each([
    ["0::/a", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/a/memory.current", "inactive_file"],
    [
      "4:memory:/a",
      "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
      "/sys/fs/cgroup/memory/a/memory.usage_in_bytes",
      "total_inactive_file",
    ],
  ])("of group %s is what it holds without page cache that can go", (line, max, current, stat) => {
    const files = hostTree({
      "/proc/meminfo": MEMINFO,
      "/proc/self/cgroup": `${line}\n`,
      [max]: `${4 * GIB}\n`,
      [current]: `${3 * GIB}\n`,
      [max.replace(/[^/]+$/, "memory.stat")]: `anon 1\n${stat} ${GIB}\n`,
    });
    expect(readUsedBytes(readMemoryLimits(files), files)).toBe(2 * GIB);
  });
});
