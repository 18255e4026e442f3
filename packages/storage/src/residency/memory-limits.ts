/**
 * How much memory this process may have, as the kernel tells: the machine's, and the limits of its control groups.
 *
 * L1 a limit on any ancestor counts: of version 2 `memory.max` and `memory.high`, of version 1 `memory.limit_in_bytes` and the
 *    `hierarchical_memory_limit` of `memory.stat`.
 * L2 what cannot be read or understood is no limit, and is named in `notes` when the file was there.
 *
 * In a container the path in /proc/self/cgroup may be that of the host, which is not there; then the mount's root stands for it.
 */
import { HostFiles, wholeNumber } from "./host-files.ts";

export interface MemoryLimits {
  /** The smallest of all. */
  readonly limitBytes: number;
  /** What sets it: `MemTotal`, or the path of a file. */
  readonly limitedBy: string;
  readonly memTotalBytes: number;
  readonly swapTotalBytes: number;
  /** Control groups of the process that were found, innermost first, of the version that limits memory. */
  readonly groups: readonly string[];
  readonly notes: readonly string[];
}

/** Version 1 says "no limit" as the largest multiple of a page in 63 bits. */
const NO_LIMIT_FROM = 2 ** 62;
/** Used when not even /proc/meminfo can be read. */
const FALLBACK_BYTES = 1024 ** 3;

export function readMemoryLimits(files: HostFiles = new HostFiles()): MemoryLimits {
  const notes: string[] = [];
  const meminfo = files.meminfo();
  const memTotalBytes = meminfo.get("MemTotal");
  if (memTotalBytes === undefined) notes.push("/proc/meminfo has no MemTotal; 1 GiB is assumed");
  let limitBytes = memTotalBytes ?? FALLBACK_BYTES;
  let limitedBy = "MemTotal";
  const groups = memoryGroups(files);
  for (const { path, limitFiles } of groups) {
    for (const name of limitFiles) {
      const file = `${path}/${name}`;
      const bytes = limitIn(files, file, notes);
      if (bytes === undefined || bytes >= limitBytes) continue;
      limitBytes = bytes;
      limitedBy = file;
    }
  }
  return {
    limitBytes,
    limitedBy,
    memTotalBytes: memTotalBytes ?? FALLBACK_BYTES,
    swapTotalBytes: meminfo.get("SwapTotal") ?? 0,
    groups: groups.map(({ path }) => path),
    notes,
  };
}

/**
 * What is used of the limit, without page cache that the kernel can drop at once: of the group that sets the limit, else of the
 * machine. Undefined where nobody tells.
 */
export function readUsedBytes(limits: MemoryLimits, files = new HostFiles()): number | undefined {
  if (limits.limitedBy === "MemTotal") {
    const meminfo = files.meminfo();
    const available = meminfo.get("MemAvailable");
    const total = meminfo.get("MemTotal");
    return available === undefined || total === undefined ? undefined : total - available;
  }
  const group = limits.limitedBy.slice(0, limits.limitedBy.lastIndexOf("/"));
  const used =
    files.number(`${group}/memory.current`) ?? files.number(`${group}/memory.usage_in_bytes`);
  if (used === undefined) return undefined;
  const stat = files.text(`${group}/memory.stat`);
  const droppable = statOf(stat, "total_inactive_file") ?? statOf(stat, "inactive_file") ?? 0;
  return Math.max(0, used - droppable);
}

interface Group {
  readonly path: string;
  readonly limitFiles: readonly string[];
}

const V2_FILES = ["memory.max", "memory.high"];
const V1_FILES = ["memory.limit_in_bytes", "memory.stat"];

function memoryGroups(files: HostFiles): Group[] {
  const lines = files.text("/proc/self/cgroup")?.split("\n") ?? [];
  const found: Group[] = [];
  for (const line of lines) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    if (controllers.split(",").includes("memory")) {
      found.push(...ancestors(files, "/sys/fs/cgroup/memory", path, V1_FILES));
    } else if (controllers === "") {
      // With both versions in use, version 2 is mounted below; it limits memory only where it has that controller.
      const mount = files.text("/sys/fs/cgroup/unified/cgroup.controllers");
      const root = mount === undefined ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
      found.push(...ancestors(files, root, path, V2_FILES));
    }
  }
  return found;
}

/** The group and those above it, up to the mount, as far as they are there. */
function ancestors(
  files: HostFiles,
  mount: string,
  path: string,
  limitFiles: readonly string[],
): Group[] {
  const parts = path.split("/").filter((part) => part !== "" && part !== "." && part !== "..");
  const found: Group[] = [];
  for (let depth = parts.length; depth >= 0; depth--) {
    const group = [mount, ...parts.slice(0, depth)].join("/");
    if (limitFiles.some((name) => files.text(`${group}/${name}`) !== undefined)) {
      found.push({ path: group, limitFiles });
    }
  }
  return found;
}

function limitIn(files: HostFiles, file: string, notes: string[]): number | undefined {
  const text = files.text(file);
  if (text === undefined || text.trim() === "max") return undefined;
  const isStat = file.endsWith("/memory.stat");
  const bytes = isStat ? statOf(text, "hierarchical_memory_limit") : wholeNumber(text);
  if (bytes === undefined && !isStat) notes.push(`${file} cannot be understood and was ignored`);
  return bytes === undefined || bytes >= NO_LIMIT_FROM ? undefined : bytes;
}

function statOf(text: string | undefined, key: string): number | undefined {
  const line = text?.split("\n").find((each) => each.startsWith(`${key} `));
  return wholeNumber(line?.slice(key.length));
}
