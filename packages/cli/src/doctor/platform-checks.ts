/**
 * What the machine's limits and settings mean for a host (pure). Thresholds say where they come from.
 */
import type { HostMemoryPlan } from "@pinion/runtime";
import type { NativeDoor, PlatformFeatures } from "@pinion/storage";
import { bytesText, integerText } from "../output/units.ts";
import { fail, ok, warn, type Finding } from "./finding.ts";

const GIB = 2 ** 30;
/** The published packages' `engines`. */
const NODE_MAJOR_MIN = 24;
/** Until then mlock2, MADV_POPULATE_READ (5.14) and the rest have been tried. */
const KERNEL_TRIED = [5, 14] as const;
/** A worker's connections, segment files and maps, with room for bursts. */
const OPEN_FILES_MIN = 4_096;
/** Scattered pins cost two maps each; the kernel's own default ends at 32,000 of them. */
const MAP_COUNT_MIN = 262_144;
/** V8's heap, the log's staging buffers and the page cache of the state store. */
const MEMORY_BYTES_MIN = GIB;

export function platformChecks(
  features: PlatformFeatures,
  door: Pick<NativeDoor, "kind" | "degraded">,
  buildCommand: string,
  plan: HostMemoryPlan,
): Finding[] {
  return [
    systemCheck(features),
    nodeCheck(features),
    nativeCheck(door, buildCommand),
    memoryCheck(features, plan),
    pinBudgetCheck(features, plan),
    memlockCheck(features, plan),
    hugePageCheck(features),
    numaCheck(features),
    mapCountCheck(features),
    openFilesCheck(features),
  ].filter((finding) => finding !== undefined);
}

function systemCheck({ os, arch, kernel }: PlatformFeatures): Finding {
  const found = `${os} ${kernel} (${arch})`;
  if (os === "darwin") {
    return warn(
      "system",
      found,
      "macOS runs the portable fallback: fine to develop on, not to run on",
    );
  }
  if (os !== "linux")
    return fail("system", found, "hosts run on Linux", "use a Linux machine, a container or WSL 2");
  const [major = 0, minor = 0] = kernel.split(".").map(Number);
  const [triedMajor, triedMinor] = KERNEL_TRIED;
  return major > triedMajor || (major === triedMajor && minor >= triedMinor)
    ? ok("system", found)
    : warn(
        "system",
        found,
        `kernels before ${triedMajor}.${triedMinor} lack calls that load memory ahead of time`,
      );
}

function nodeCheck({ node }: PlatformFeatures): Finding {
  const major = Number.parseInt(node.replace(/^v/, ""), 10);
  return major >= NODE_MAJOR_MIN
    ? ok("node", node)
    : fail(
        "node",
        node,
        `Node ${NODE_MAJOR_MIN} or newer is needed`,
        `npm install -g n && n ${NODE_MAJOR_MIN}`,
      );
}

function nativeCheck(door: Pick<NativeDoor, "kind" | "degraded">, buildCommand: string): Finding {
  if (door.kind === "addon") return ok("native", "addon");
  const why =
    "the portable fallback is correct, but slower: each flush takes two trips off the event loop";
  return warn("native", `portable fallback: ${door.degraded ?? "no addon"}`, why, buildCommand);
}

function memoryCheck(
  { memoryBytes, cgroupMemoryBytes }: PlatformFeatures,
  { neededBytes }: HostMemoryPlan,
): Finding {
  const bytes = Math.min(memoryBytes, cgroupMemoryBytes);
  const limited = cgroupMemoryBytes < memoryBytes;
  const found = limited
    ? `${bytesText(bytes)} (limit of the cgroup; the machine has ${bytesText(memoryBytes)})`
    : bytesText(memoryBytes);
  if (bytes >= MEMORY_BYTES_MIN) return ok("memory", found, { memoryBytes: bytes });
  const fix = limited ? "raise memory.max of the cgroup (docker run --memory 2g)" : undefined;
  const wants = `a host wants ${bytesText(MEMORY_BYTES_MIN)} or more`;
  const why =
    bytes < neededBytes
      ? `${wants}, and takes up to ${bytesText(neededBytes)} under load: the kernel will kill it`
      : `${wants}; beyond the limit the kernel kills it`;
  return warn("memory", found, why, fix, { memoryBytes: bytes, neededBytes });
}

function pinBudgetCheck(
  { os }: PlatformFeatures,
  { limits, budget, pinBytes }: HostMemoryPlan,
): Finding | undefined {
  if (os !== "linux") return undefined; // nobody tells how much there is
  const { limitBytes } = limits;
  const found = `${bytesText(pinBytes)} of ${bytesText(limitBytes)} for pins, ${bytesText(budget.usableBytes)} left for data`;
  const figures = { pinBytes, usableBytes: budget.usableBytes, limitBytes };
  if (pinBytes > 0) return ok("pin-budget", found, figures);
  const { heapBytes } = budget;
  return warn(
    "pin-budget",
    found,
    budget.usableBytes === 0
      ? `heaps (${bytesText(heapBytes)}), buffers and headroom take all there is: extents are read from disk page by page`
      : "pinShare and pinBytesMax leave none: extents are read from disk page by page",
    budget.usableBytes === 0
      ? "pinion start … --set workerHeapBytes=512MiB   (or more memory)"
      : undefined,
    figures,
  );
}

function memlockCheck(features: PlatformFeatures, { pinBytes: wanted }: HostMemoryPlan): Finding {
  const { memlockLimitBytes: limit, memlockUnlimited } = features;
  if (memlockUnlimited || limit === Infinity) return ok("memlock", "unlimited");
  if (limit === undefined)
    return warn("memlock", "unknown", "the limit for locked memory could not be read");
  if (limit >= wanted) return ok("memlock", bytesText(limit), { memlockLimitBytes: limit });
  return warn(
    "memlock",
    bytesText(limit),
    `pinned memory beyond the limit is not locked: the kernel may page it out (a host pins up to ${bytesText(wanted)})`,
    "ulimit -l unlimited   (systemd: LimitMEMLOCK=infinity; docker run --ulimit memlock=-1)",
    { memlockLimitBytes: limit },
  );
}

function hugePageCheck({ transparentHugePages: mode, hugePageBytes }: PlatformFeatures): Finding {
  const size = hugePageBytes === undefined ? "" : `, ${bytesText(hugePageBytes)} each`;
  if (mode === "always" || mode === "madvise") return ok("huge-pages", `${mode}${size}`);
  return warn(
    "huge-pages",
    mode ?? "not available",
    "random reads of large pinned memory are about 1.5 times slower with small pages",
    mode === undefined
      ? undefined
      : "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
  );
}

function numaCheck({ numaNodes }: PlatformFeatures): Finding {
  const count = numaNodes.length;
  return ok(
    "numa",
    count === 1 ? "one NUMA node" : `${count} NUMA nodes: ${numaNodes.join(", ")}`,
    {
      numaNodeCount: count,
    },
  );
}

function mapCountCheck({ mapCountMax }: PlatformFeatures): Finding | undefined {
  if (mapCountMax === undefined) return undefined; // not Linux
  const found = `vm.max_map_count ${integerText(mapCountMax)}`;
  if (mapCountMax >= MAP_COUNT_MIN) return ok("map-count", found, { mapCountMax });
  return warn(
    "map-count",
    found,
    `with many scattered pins, locking memory fails after about ${integerText(mapCountMax / 2)} of them`,
    `sudo sysctl -w vm.max_map_count=${MAP_COUNT_MIN}`,
    { mapCountMax },
  );
}

function openFilesCheck({ openFilesMax }: PlatformFeatures): Finding {
  if (openFilesMax === undefined)
    return warn("open-files", "unknown", "the limit for open files could not be read");
  const found = openFilesMax === Infinity ? "unlimited" : integerText(openFilesMax);
  if (openFilesMax >= OPEN_FILES_MIN) return ok("open-files", found);
  return warn(
    "open-files",
    found,
    "each client connection and each segment file takes one",
    "ulimit -n 65536   (systemd: LimitNOFILE=65536)",
    { openFilesMax },
  );
}
