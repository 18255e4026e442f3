/**
 * One host a data directory: an advisory lock on the file `lock` in it, which the kernel takes away when the holder dies,
 * however it dies. The file's text only names the holder, for the message a second host gets.
 *
 * I1 whoever holds the lock writes its name after taking it and never removes the file: a removed file could be locked a
 *    second time under the same name.
 * I2 where nothing can lock (no addon and no `flock` command, or a file system without locks) the name in the file decides: its
 *    process must be gone, or be another one that got the same number.
 */
import { open, readFile, type FileHandle } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { PinionError } from "@pinion/core";
import type { NativeDoor } from "../memory/native-door.ts";
import { nativeDoor } from "../memory/open-native-door.ts";
import { diskError } from "./disk-error.ts";

export const LOCK_FILE = "lock";

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When the process started, in the kernel's ticks since boot: tells two processes with the same number apart. */
  readonly startTicks: string;
}

export interface DataDirLock {
  /** False when only the name in the file protects the directory (I2). */
  readonly enforced: boolean;
  release(): Promise<void>;
}

/**
 * Takes the lock of an existing data directory.
 * @throws `data-dir-locked` naming the process that holds it, `disk-read-only`, `not-found`, `io-error`
 */
export async function lockDataDir(
  dir: string,
  door: NativeDoor = nativeDoor(),
): Promise<DataDirLock> {
  const path = join(dir, LOCK_FILE);
  let handle: FileHandle;
  try {
    handle = await open(path, "a+");
  } catch (e) {
    throw diskError(e, "lock", path);
  }
  try {
    const got = door.tryLock(handle.fd);
    const holder = await readHolder(path);
    if (got === false || (got === undefined && holder && (await isAlive(holder))))
      throw lockedBy(dir, holder);
    await handle.truncate(0);
    await handle.write(`${JSON.stringify(await ownName())}\n`);
    return { enforced: got === true, release: () => release(handle) };
  } catch (e) {
    await handle.close().catch(() => {});
    throw diskError(e, "lock", path);
  }
}

/** Closing the file gives the lock back; an emptied name is for those who cannot lock (I2). */
async function release(handle: FileHandle): Promise<void> {
  await handle.truncate(0).catch(() => {});
  await handle.close();
}

function lockedBy(dir: string, holder: Holder | undefined): PinionError {
  const who = !holder
    ? "another process"
    : holder.pid === process.pid && holder.host === hostname()
      ? "this process already"
      : `process ${holder.pid}${holder.host === hostname() ? "" : ` on ${holder.host}`}`;
  return new PinionError(
    "data-dir-locked",
    `the data directory ${dir} is in use by ${who}; stop that host first, or choose another directory`,
    { details: { dir, pid: holder?.pid ?? null, host: holder?.host ?? null } },
  );
}

async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    if (typeof value !== "object" || value === null) return undefined;
    const { pid, host, startTicks } = value as Record<string, unknown>;
    if (typeof pid !== "number" || typeof host !== "string" || typeof startTicks !== "string")
      return undefined;
    return { pid, host, startTicks };
  } catch {
    return undefined; // empty, or written half: its holder has not got to its name
  }
}

async function ownName(): Promise<Holder> {
  return {
    pid: process.pid,
    host: hostname(),
    startTicks: (await startTicksOf(process.pid)) ?? "",
  };
}

async function isAlive(holder: Holder): Promise<boolean> {
  if (holder.host !== hostname()) return true; // not ours to judge: a person has to
  try {
    process.kill(holder.pid, 0);
  } catch (e) {
    return e instanceof Error && "code" in e && e.code === "EPERM";
  }
  const ticks = await startTicksOf(holder.pid);
  return ticks === undefined || holder.startTicks === "" || ticks === holder.startTicks;
}

/** Field 22 of /proc/<pid>/stat. The second field, the command in parentheses, may hold anything: count from its end. */
async function startTicksOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}
