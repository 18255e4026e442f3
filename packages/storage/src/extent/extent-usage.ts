/**
 * How an extent is used, as measured: what kinds of accesses turns make, and heat. In memory only, from the activation on.
 *
 * An access that begins where an earlier one of its turn has ended, or less than a page behind it, is sequential; two such streams are followed, so
 * that a structure may look into its directory in between. A stream that has read `SCAN_BYTES` is a scan from there on.
 */
import { Heat } from "../residency/heat.ts";

/** Kinds of accesses as bits, for a turn to note which it has made. */
export const Access = { random: 1, sequential: 2, scan: 4, write: 8 } as const;

export interface AccessCounts {
  readonly random: number;
  readonly sequential: number;
  readonly scan: number;
  readonly write: number;
}

/** 256 KiB. */
export const SCAN_BYTES = 256 * 1024;
/** Before so much was read nothing is known of how an extent is mostly read: 4 MiB. */
const KNOWN_FROM_BYTES = 4 * 1024 * 1024;
const SCAN_SHARE = 0.75;
const GAP_BYTES = 4_096;

/**
 * What a turn adds to heat, by the most demanding access it made: a page that is looked up somewhere has to be in memory, one that is read in order can be
 * read ahead, and a scan reads most pages once.
 */
const WEIGHT_RANDOM_OR_WRITE = 1;
const WEIGHT_SEQUENTIAL = 0.5;
const WEIGHT_SCAN = 0.25;

/** @param made bits of `Access` */
export function heatWeightOf(made: number): number {
  if ((made & (Access.random | Access.write)) !== 0) return WEIGHT_RANDOM_OR_WRITE;
  if ((made & Access.sequential) !== 0) return WEIGHT_SEQUENTIAL;
  return (made & Access.scan) === 0 ? 0 : WEIGHT_SCAN;
}

/** What is counted of a turn, and of all turns together. */
class AccessTally {
  random = 0;
  sequential = 0;
  scan = 0;
  write = 0;
  /** Bytes of reads, and of those that were scans. */
  readBytes = 0;
  scannedBytes = 0;

  add(other: AccessTally): void {
    this.random += other.random;
    this.sequential += other.sequential;
    this.scan += other.scan;
    this.write += other.write;
    this.readBytes += other.readBytes;
    this.scannedBytes += other.scannedBytes;
  }
}

export class ExtentUsage extends AccessTally {
  /** Sum of what turns have added to heat, without fading: how much is new since somebody last looked. */
  heatTotal = 0;
  readonly heat = new Heat();

  get counts(): AccessCounts {
    const { random, sequential, scan, write } = this;
    return { random, sequential, scan, write };
  }

  /** Mostly read from end to end. */
  get isScanned(): boolean {
    return this.readBytes >= KNOWN_FROM_BYTES && this.scannedBytes >= SCAN_SHARE * this.readBytes;
  }

  /** A turn is over that made these accesses. */
  used(accesses: AccessStreams, nowMs: number): void {
    this.add(accesses);
    const weight = heatWeightOf(accesses.made);
    this.heat.touch(nowMs, weight);
    this.heatTotal += weight;
  }
}

/** Where no stream goes on. */
const NOWHERE = -GAP_BYTES;

const goesOn = (next: number, offset: number): boolean =>
  offset >= next && offset - next < GAP_BYTES;

/** The accesses of one turn to one extent; they count in its usage when the turn ends: a turn may make very many. */
export class AccessStreams extends AccessTally {
  /** Where two streams go on, and how much each has read; the first was read last. */
  #next = NOWHERE;
  #run = 0;
  #otherNext = NOWHERE;
  #otherRun = 0;

  /** Bits of `Access`. */
  get made(): number {
    return (
      (this.random > 0 ? Access.random : 0) |
      (this.sequential > 0 ? Access.sequential : 0) |
      (this.scan > 0 ? Access.scan : 0) |
      (this.write > 0 ? Access.write : 0)
    );
  }

  /** @returns the kind, a bit of `Access` */
  read(offset: number, byteCount: number): number {
    let isNext = goesOn(this.#next, offset);
    if (!isNext) {
      isNext = goesOn(this.#otherNext, offset);
      const run = isNext ? this.#otherRun : 0;
      this.#otherNext = this.#next;
      this.#otherRun = this.#run;
      this.#run = run;
    }
    this.#next = offset + byteCount;
    this.#run += byteCount;
    this.readBytes += byteCount;
    if (this.#run >= SCAN_BYTES) {
      this.scan++;
      this.scannedBytes += byteCount;
      return Access.scan;
    }
    if (isNext) {
      this.sequential++;
      return Access.sequential;
    }
    this.random++;
    return Access.random;
  }
}
