/**
 * What this machine allows, for `pinion doctor` and the budgets of later parts: limits, huge pages, NUMA nodes, cgroup, and
 * how the data directory's file system behaves. Everything is read from /proc and /sys under a root a test can replace;
 * what cannot be found out is undefined, never a guess.
 */
import { constants } from "node:fs";
import { mkdtemp, open, readdir, readFile, rm, statfs } from "node:fs/promises";
import { arch, platform, release, totalmem } from "node:os";
import { join, posix } from "node:path";

export interface PlatformFeatures {
  readonly os: string;
  readonly arch: string;
  readonly kernel: string;
  readonly node: string;
  /** RLIMIT_MEMLOCK; Infinity when unlimited. */
  readonly memlockLimitBytes: number | undefined;
  /** CAP_IPC_LOCK: the memlock limit does not apply. */
  readonly memlockUnlimited: boolean;
  readonly memoryBytes: number;
  /** The lowest limit of this process's cgroup and its ancestors; Infinity without one. */
  readonly cgroupMemoryBytes: number;
  /** Mode of transparent huge pages. */
  readonly transparentHugePages: "always" | "madvise" | "never" | undefined;
  readonly hugePageBytes: number | undefined;
  /** Explicitly reserved huge pages that are free. */
  readonly hugePagesFree: number | undefined;
  readonly numaNodes: readonly number[];
  /** vm.max_map_count. */
  readonly mapCountMax: number | undefined;
  readonly openFilesMax: number | undefined;
}

export interface FileSystemFeatures {
  /** "ext4", "xfs" …, or the magic number in hex. */
  readonly type: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** Whether reads past the page cache work here; undefined when that could not be tried. */
  readonly directIo: boolean | undefined;
}

const CAP_IPC_LOCK = 14;

/** Magic numbers of statfs(2). */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x01021994: "tmpfs",
  0x858458f6: "ramfs",
  0x794c7630: "overlay",
  0x6969: "nfs",
  0x2fc12fc1: "zfs",
  0xf2f52010: "f2fs",
  0x65735546: "fuse",
  0x01021997: "9p",
};

/** @param root where /proc and /sys are found; default "/". */
export async function platformFeatures(root = "/"): Promise<PlatformFeatures> {
  const text = async (path: string): Promise<string> => {
    try {
      return await readFile(join(root, path), "utf8");
    } catch {
      return "";
    }
  };
  const [limits, status, meminfo, thp, mapCount] = await Promise.all(
    [
      "proc/self/limits",
      "proc/self/status",
      "proc/meminfo",
      "sys/kernel/mm/transparent_hugepage/enabled",
      "proc/sys/vm/max_map_count",
    ].map(text),
  );
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/im.exec(status ?? "")?.[1];
  const mode = /\[(always|madvise|never)\]/.exec(thp ?? "")?.[1];
  return Object.freeze({
    os: platform(),
    arch: arch(),
    kernel: release(),
    node: process.version,
    memlockLimitBytes: softLimit(limits ?? "", "Max locked memory"),
    memlockUnlimited:
      capabilities !== undefined &&
      ((BigInt(`0x${capabilities}`) >> BigInt(CAP_IPC_LOCK)) & 1n) === 1n,
    memoryBytes: kibibytes(meminfo ?? "", "MemTotal") ?? totalmem(),
    cgroupMemoryBytes: await cgroupMemoryBytes(text),
    transparentHugePages: mode as PlatformFeatures["transparentHugePages"],
    hugePageBytes: kibibytes(meminfo ?? "", "Hugepagesize"),
    hugePagesFree: numberAfter(meminfo ?? "", "HugePages_Free"),
    numaNodes: await numaNodes(root),
    mapCountMax: mapCount?.trim() ? Number(mapCount) : undefined,
    openFilesMax: softLimit(limits ?? "", "Max open files"),
  });
}

/** @param dir an existing folder this process may write to; a probe file is created in it and removed. */
export async function fileSystemFeatures(dir: string): Promise<FileSystemFeatures> {
  const { type, bavail, blocks, bsize } = await statfs(dir);
  return Object.freeze({
    type: FILE_SYSTEMS[type] ?? `0x${type.toString(16)}`,
    freeBytes: bavail * bsize,
    totalBytes: blocks * bsize,
    directIo: await probeDirectIo(dir),
  });
}

/** The library types of Node leave WebAssembly out. */
const { Memory } = (globalThis as unknown as { WebAssembly: WebAssemblyNamespace }).WebAssembly;
interface WebAssemblyNamespace {
  readonly Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
}

async function probeDirectIo(dir: string): Promise<boolean | undefined> {
  const flag: number | undefined = constants.O_DIRECT;
  if (flag === undefined) return undefined;
  let probe: string | undefined;
  try {
    probe = await mkdtemp(join(dir, ".probe-"));
    const path = join(probe, "direct");
    // Direct reads want aligned memory: that of a WebAssembly.Memory starts on a page.
    const page = new Uint8Array(new Memory({ initial: 1 }).buffer, 0, 4096);
    await (await open(path, "w")).close();
    const file = await open(path, constants.O_RDWR | flag);
    try {
      await file.write(page, 0, page.length, 0);
      return (await file.read(page, 0, page.length, 0)).bytesRead === page.length;
    } finally {
      await file.close();
    }
  } catch (e) {
    return e instanceof Error && "code" in e && e.code === "EINVAL" ? false : undefined;
  } finally {
    if (probe !== undefined) await rm(probe, { recursive: true, force: true }).catch(() => {});
  }
}

/** "Max open files   1024   4096   files": the first figure. */
function softLimit(limits: string, name: string): number | undefined {
  const value = limits
    .split("\n")
    .find((line) => line.startsWith(name))
    ?.slice(name.length)
    .trim()
    .split(/\s+/)[0];
  if (value === undefined || value === "") return undefined;
  return value === "unlimited" ? Infinity : Number(value);
}

function numberAfter(text: string, name: string): number | undefined {
  const value = new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(text)?.[1];
  return value === undefined ? undefined : Number(value);
}

function kibibytes(text: string, name: string): number | undefined {
  const value = numberAfter(text, name);
  return value === undefined ? undefined : value * 1024;
}

async function numaNodes(root: string): Promise<number[]> {
  const names = await readdir(join(root, "sys/devices/system/node")).catch(() => []);
  const nodes = names.flatMap((name) => /^node(\d+)$/.exec(name)?.[1] ?? []).map(Number);
  return nodes.length > 0 ? nodes.sort((a, b) => a - b) : [0];
}

/**
 * The lowest of `memory.max` and `memory.high` from this process's cgroup up to the root (version 2), and of the limits of
 * version 1. In a container the path of /proc/self/cgroup may not exist below the mount: then its root is the cgroup.
 */
async function cgroupMemoryBytes(text: (path: string) => Promise<string>): Promise<number> {
  const own = await text("proc/self/cgroup");
  const v2 = /^0::(.*)$/m.exec(own)?.[1];
  const v1 = /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(own)?.[1];
  const files: string[] = [];
  if (v2 !== undefined) {
    for (const dir of upwards(v2)) {
      files.push(`sys/fs/cgroup${dir}/memory.max`, `sys/fs/cgroup${dir}/memory.high`);
    }
  }
  if (v1 !== undefined) {
    for (const dir of upwards(v1)) files.push(`sys/fs/cgroup/memory${dir}/memory.limit_in_bytes`);
  }
  const limits = (await Promise.all(files.map(text)))
    .map((value) => value.trim())
    .filter((value) => /^\d+$/.test(value))
    .map(Number)
    // Version 1 writes "no limit" as the largest multiple of a page in 63 bits.
    .filter((value) => value < 2 ** 62);
  return Math.min(Infinity, ...limits);
}

/** "/a/b" → "/a/b", "/a", "". */
function upwards(path: string): string[] {
  const dirs: string[] = [];
  for (let dir = posix.normalize(path); dir !== "/" && dir !== "."; dir = posix.dirname(dir))
    dirs.push(dir);
  return [...dirs, ""];
}
