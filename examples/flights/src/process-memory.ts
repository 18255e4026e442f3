/** What the kernel says of a process's memory. */
import { readFile } from "node:fs/promises";

export interface ProcessMemory {
  /** RAM. */
  readonly residentBytes: number;
  /** Of it, what may not be paged out. */
  readonly lockedBytes: number;
}

/** Undefined where there is no /proc. */
export async function processMemory(pid: number): Promise<ProcessMemory | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
    const kib = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1]);
    return { residentBytes: kib("Rss") * 1024, lockedBytes: kib("Locked") * 1024 };
  } catch {
    return undefined;
  }
}
