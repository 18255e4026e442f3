/**
 * `host.json` in the data directory: where the running host is reached, for the command line and for people.
 *
 * H1 it is advice, not truth: after a kill it stays behind. Whoever reads it gets told whether its process still runs.
 */
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { RealDisk, type Disk } from "@pinion/storage";
import { readWhole, replaceFile } from "./checked-file.ts";

export const HOST_INFO_FILE = "host.json";

export interface HostInfo {
  readonly pid: number;
  /** Name of the machine: another machine's pid says nothing here. */
  readonly machine: string;
  /** When the process began, in the kernel's ticks since boot: tells two processes of one number apart. Empty where unknown. */
  readonly startTicks: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly version: string;
  readonly hostId: string;
  readonly incarnation: number;
  /** "name:port" of each worker's gateway. */
  readonly endpoints: readonly string[];
  readonly adminEndpoint: string;
  /** "values", or the module the actors come from. */
  readonly actors: string;
}

export interface FoundHost {
  readonly info: HostInfo;
  /** False when the process named in it is gone: the host was killed. */
  readonly running: boolean;
}

export async function writeHostInfo(
  disk: Disk,
  dir: string,
  info: Omit<HostInfo, "pid" | "machine" | "startTicks">,
): Promise<void> {
  const own: HostInfo = {
    pid: process.pid,
    machine: hostname(),
    startTicks: await startTicksOf(process.pid),
    ...info,
  };
  const text = `${JSON.stringify(own, undefined, 2)}\n`;
  await replaceFile(disk, join(dir, HOST_INFO_FILE), Buffer.from(text), { durable: false });
}

export function removeHostInfo(disk: Disk, dir: string): Promise<void> {
  return disk.remove(join(dir, HOST_INFO_FILE));
}

/** Who runs, or ran, on a data directory; undefined when nobody says. @throws errors of the disk */
export async function readHostInfo(
  dir: string,
  disk: Disk = new RealDisk(),
): Promise<FoundHost | undefined> {
  const bytes = await readWhole(disk, join(dir, HOST_INFO_FILE));
  const info = bytes === undefined ? undefined : parseInfo(bytes);
  return info === undefined ? undefined : { info, running: await isRunning(info) };
}

function parseInfo(bytes: Buffer): HostInfo | undefined {
  try {
    const info = JSON.parse(bytes.toString("utf8")) as Partial<HostInfo> | null;
    // A damaged one says nothing, as if it were not there (H1).
    const usable =
      typeof info?.pid === "number" &&
      typeof info.adminEndpoint === "string" &&
      Array.isArray(info.endpoints);
    return usable ? (info as HostInfo) : undefined;
  } catch {
    return undefined;
  }
}

async function isRunning(info: HostInfo): Promise<boolean> {
  if (info.machine !== hostname()) return true; // not ours to judge
  try {
    process.kill(info.pid, 0);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
  const ticks = await startTicksOf(info.pid);
  return ticks === "" || info.startTicks === "" || ticks === info.startTicks;
}

/** Field 22 of /proc/<pid>/stat; the second one, in parentheses, may hold anything. */
async function startTicksOf(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}
