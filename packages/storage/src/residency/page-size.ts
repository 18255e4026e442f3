/**
 * Which pages memory is made of. 1 GiB where the machine has reserved them and a large scan fills them; 2 MiB for trees and everything large,
 * because random reads cost a third less with them; 4 KiB for what is small, which would waste them.
 */
import { HostFiles } from "./host-files.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

export interface PageFacts {
  /** Reserved pages that are free, by their size in bytes. */
  readonly freeReserved: ReadonlyMap<number, number>;
  /** Anonymous memory gets 2 MiB pages: to all of it, to what asks for them, or to none. */
  readonly transparent: "always" | "madvise" | "never";
}

export function readPageFacts(files: HostFiles = new HostFiles()): PageFacts {
  const folder = "/sys/kernel/mm/hugepages";
  const freeReserved = new Map<number, number>();
  for (const name of files.names(folder)) {
    const kib = /^hugepages-(\d+)kB$/.exec(name)?.[1];
    const free = files.number(`${folder}/${name}/free_hugepages`);
    if (kib !== undefined && free !== undefined && free > 0)
      freeReserved.set(Number(kib) * KIB, free);
  }
  const enabled = files.text("/sys/kernel/mm/transparent_hugepage/enabled") ?? "";
  const chosen = /\[(\w+)\]/.exec(enabled)?.[1];
  const transparent = chosen === "always" || chosen === "madvise" ? chosen : "never";
  return { freeReserved, transparent };
}

/** `scan`: read from one end to the other. `tree`: read here and there. `metadata`: small. */
export type PageUse = "scan" | "tree" | "metadata";

export interface PageChoice {
  readonly pageBytes: 4096 | 2097152 | 1073741824;
  /** From the pages reserved at boot, not made by the kernel as it goes. */
  readonly reserved: boolean;
  /** Why it is not the size that its use would like; undefined when it is. */
  readonly shortfall: string | undefined;
}

export function pageSizeFor(use: PageUse, byteCount: number, facts: PageFacts): PageChoice {
  if (use === "metadata" || byteCount < 2 * MIB) return choice(4096);
  const free = (size: number): number => facts.freeReserved.get(size) ?? 0;
  let shortfall: string | undefined;
  if (use === "scan" && byteCount >= GIB) {
    const needed = Math.ceil(byteCount / GIB);
    // A last page that is mostly empty would cost more memory than it saves time.
    const fills = byteCount / (needed * GIB) >= 0.9;
    if (fills && free(GIB) >= needed) return choice(GIB, true);
    if (fills) shortfall = `${free(GIB)} of ${needed} pages of 1 GiB are reserved and free`;
  }
  if (facts.transparent !== "never") return choice(2 * MIB, false, shortfall);
  const needed = Math.ceil(byteCount / (2 * MIB));
  if (free(2 * MIB) >= needed) return choice(2 * MIB, true, shortfall);
  return choice(4096, false, "transparent huge pages are off, and too few of 2 MiB are reserved");
}

function choice(pageBytes: number, reserved = false, shortfall?: string): PageChoice {
  return { pageBytes: pageBytes as PageChoice["pageBytes"], reserved, shortfall };
}
