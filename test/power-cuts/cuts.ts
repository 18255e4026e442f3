/**
 * Where the power goes, and what the disk has then.
 *
 * P1 everything before the last flush is there. `at` a flush nothing else is; `behind` it some of what was written since then up to any write: whole,
 *    or only some sectors of it. Writes that survive keep their order.
 * P2 the file system's own first block is written whole or not at all: it has one checksum over two sectors, and file systems rely on that.
 * P3 what was acknowledged is what the last mark before the cut says (marks.ts), whether or not the mark itself has reached the disk: a mark is
 *    written after the acknowledgement, and the flush that an acknowledgement waits for is before that in the log.
 */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, writeSync } from "node:fs";
import { seededRng, type Rng } from "@pinion/core";
import { FILES_BYTES, FILES_OFFSET, MARKS_OFFSET } from "./disk.ts";
import { MARK_BYTES, Marks } from "./marks.ts";
import { SECTOR_BYTES, type LogEntry, type LoggedWrite, type WriteLog } from "./write-log.ts";

const BLOCK_BYTES = 4_096;
/** Of the writes that survive. */
const TORN = 0.2;

export interface Cut {
  readonly kind: "at" | "behind";
  /** Entry of the last flush; -1 before the first one. */
  readonly flush: number;
  /** The first entry that came too late. */
  readonly end: number;
}

export const isFlush = (entry: LogEntry): boolean => entry.kind === "flush";

const isOfFiles = (entry: LogEntry): boolean =>
  entry.kind === "write" &&
  entry.offset >= FILES_OFFSET &&
  entry.offset < FILES_OFFSET + FILES_BYTES;

/**
 * @param wanted how many; Infinity: at every flush, and behind every write to the file system @returns in the order of the log
 */
export function planCuts(log: WriteLog, rng: Rng, wanted: number): Cut[] {
  const at: Cut[] = [];
  const behind: Cut[] = [];
  let flush = -1;
  for (const [i, entry] of log.entries.entries()) {
    if (isFlush(entry)) {
      flush = i;
      at.push({ kind: "at", flush, end: i + 1 });
    } else if (isOfFiles(entry)) behind.push({ kind: "behind", flush, end: i + 1 });
  }
  const chosen = some(rng, behind, Math.ceil(wanted / 2));
  chosen.push(...some(rng, at, Math.floor(wanted / 2)));
  return chosen.sort((a, b) => a.flush - b.flush || a.end - b.end);
}

function some(rng: Rng, cuts: Cut[], count: number): Cut[] {
  const left = [...cuts];
  const chosen: Cut[] = [];
  while (left.length > 0 && chosen.length < count)
    chosen.push(...left.splice(rng.below(left.length), 1));
  return chosen;
}

/** What was acknowledged before entry `end` (P3). */
export function marksBefore(log: WriteLog, end: number): Marks {
  for (let i = end - 1; i >= 0; i--) {
    const entry = log.entries[i];
    if (entry?.kind === "write" && entry.offset === MARKS_OFFSET)
      return new Marks(log.dataOf(entry));
  }
  return new Marks(new Uint8Array(MARK_BYTES));
}

/** Makes the disks of cuts, which come in the order of the log. */
export class DiskImages {
  readonly #log: WriteLog;
  readonly #seed: number;
  readonly #base: string;
  /** Entries that the base has. */
  #done = 0;

  /** @param base the disk as it was before the log; moves on with the cuts */
  constructor(log: WriteLog, seed: number, base: string) {
    this.#log = log;
    this.#seed = seed;
    this.#base = base;
  }

  /** @returns how many writes behind the flush have survived, and of how many */
  make(cut: Cut, path: string): { readonly survived: number; readonly of: number } {
    this.#catchUp(cut.flush);
    execFileSync("cp", ["--sparse=always", this.#base, path]);
    const rng = seededRng(this.#seed).fork(`${cut.kind} ${cut.end}`);
    const rate = rng.pick([0, 0.2, 0.5, 0.8, 1]);
    const late = this.#log.entries.slice(cut.flush + 1, cut.end);
    let survived = 0;
    const fd = openSync(path, "r+");
    try {
      for (const entry of late) {
        if (entry.kind !== "write" || !rng.chance(rate)) continue;
        survived++;
        this.#apply(fd, entry, rng.chance(TORN) ? rng : undefined);
      }
    } finally {
      closeSync(fd);
    }
    return { survived, of: late.length };
  }

  #catchUp(flush: number): void {
    const fd = openSync(this.#base, "r+");
    try {
      for (; this.#done <= flush; this.#done++) {
        const entry = this.#log.entries[this.#done];
        if (entry?.kind === "write") this.#apply(fd, entry);
      }
    } finally {
      closeSync(fd);
    }
  }

  /** @param torn says which sectors are written, if not all */
  #apply(fd: number, write: LoggedWrite, torn?: Rng): void {
    const data = this.#log.dataOf(write);
    const sectors = data.length / SECTOR_BYTES;
    if (torn === undefined || write.offset < FILES_OFFSET + BLOCK_BYTES) {
      writeAll(fd, data, write.offset); // P2
      return;
    }
    const prefix = torn.chance(0.5) ? torn.below(sectors + 1) : undefined;
    for (let sector = 0; sector < sectors; sector++) {
      if (prefix === undefined ? torn.chance(0.5) : sector >= prefix) continue;
      const at = sector * SECTOR_BYTES;
      writeAll(fd, data.subarray(at, at + SECTOR_BYTES), write.offset + at);
    }
  }
}

function writeAll(fd: number, bytes: Uint8Array, offset: number): void {
  for (let done = 0; done < bytes.length;)
    done += writeSync(fd, bytes, done, bytes.length - done, offset + done);
}
