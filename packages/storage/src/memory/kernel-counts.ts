/**
 * What only /proc says about this process's memory. Read when asked, on the event loop: 0.2 ms, and 1.5 µs for each mapping;
 * files in memory, no disk.
 */
import { readFileSync } from "node:fs";

export interface KernelCounts {
  readonly lockedBytes: number | undefined;
  readonly mappings: number | undefined;
  readonly mappingsMax: number | undefined;
}

const NEWLINE = 10;

export function kernelCounts(): KernelCounts {
  const locked = /^VmLck:\s*(\d+) kB/m.exec(read("/proc/self/status")?.toString("latin1") ?? "");
  const maps = read("/proc/self/maps");
  const max = read("/proc/sys/vm/max_map_count")?.toString("latin1").trim();
  return {
    lockedBytes: locked ? Number(locked[1]) * 1024 : undefined,
    mappings: maps && lines(maps),
    mappingsMax: max ? Number(max) : undefined,
  };
}

function read(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

function lines(text: Buffer): number {
  let count = 0;
  for (let at = text.indexOf(NEWLINE); at !== -1; at = text.indexOf(NEWLINE, at + 1)) count++;
  return count;
}
