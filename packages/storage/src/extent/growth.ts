/** How much room an extent gains at a time, at most, by what it holds and how it is read. */
import { PinionError } from "@pinion/core";
import type { ExtentUsage } from "./extent-usage.ts";

const MIB = 2 ** 20;

export const GROW_BYTES = Object.freeze({
  default: 64 * MIB,
  /** Columns that live in memory: more of them fit side by side. */
  hotColumn: 16 * MIB,
  /** Read from end to end: long runs. */
  scan: 256 * MIB,
  /** Partitions of a graph may be from 4 to 128 MiB. */
  graphMin: 4 * MIB,
  graphMax: 128 * MIB,
});

/** The first room of an extent in memory. */
const GRAIN_BYTES = 64 * 1024;

export interface GrowthCap {
  readonly growBytes: number;
  /** Somebody has chosen it, so that it stays whatever is measured. */
  readonly growChosen: boolean;
}

/** What a kind has where no definition says otherwise. */
export function growBytesOfKind(kind: string): number {
  return kind === "column" ? GROW_BYTES.hotColumn : GROW_BYTES.default;
}

/** The cap of one extent. */
export class ExtentGrowth {
  /** What its definition says; until then, what its kind has. */
  cap: GrowthCap;
  readonly #kind: string;
  readonly #usage: ExtentUsage;

  constructor(kind: string, usage: ExtentUsage) {
    this.#kind = kind;
    this.#usage = usage;
    this.cap = { growBytes: growBytesOfKind(kind), growChosen: false };
  }

  /** What turns out to be mostly scanned gets the cap of scans, unless another was chosen; partitions of graphs stay within theirs. */
  get bytes(): number {
    const { growBytes, growChosen } = this.cap;
    if (growChosen || !this.#usage.isScanned) return growBytes;
    return this.#kind === "graph" ? GROW_BYTES.graphMax : Math.max(growBytes, GROW_BYTES.scan);
  }
}

/** Capacity for a length: twice as much from 64 KiB up to 2 MiB, so that small extents stay small; a quarter more beyond. Never more than the cap. */
export function capacityFor(lengthBytes: number, growBytes: number): number {
  let capacity = GRAIN_BYTES;
  while (capacity < lengthBytes && capacity < 2 * MIB) capacity += Math.min(capacity, growBytes);
  if (capacity >= lengthBytes) return capacity;
  const room = Math.min(lengthBytes / 4, growBytes);
  return Math.ceil((lengthBytes + room) / (2 * MIB)) * 2 * MIB;
}

/** Of a turn that adds more room than it writes. */
export function growthTooLarge(
  { name, kind }: { readonly name: string; readonly kind: string },
  growBytes: number,
  asked: number,
): PinionError {
  return new PinionError(
    "write-set-too-large",
    `extent "${name}" would gain ${asked} bytes of room in one turn; a ${kind} like it gains at most ${growBytes} beyond what is written (grow): spread it over several calls, or choose a larger grow`,
    { details: { extent: name, kind, growBytes, asked } },
  );
}
