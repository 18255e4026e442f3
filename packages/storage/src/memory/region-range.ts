/**
 * What both kinds of region check before they do anything: ranges, and that no two buffers show the same bytes, because taking one back
 * would leave the other. A mistake is ours: `internal`.
 */
import { fstatSync } from "node:fs";
import { assert, PinionError } from "@pinion/core";
import { CHUNK_BYTES, type LoadRun } from "./memory-door.ts";

export const PAGE_BYTES = 4096;
/** Of a page: the 28 bytes its checksum begins with, and the checksum. */
export const CHECK_BYTES = 32;
const RESERVED_PAGES: readonly number[] = [CHUNK_BYTES, 1024 * 1024 * 1024];

export function assertRegion(byteCount: number, reservedPageBytes = CHUNK_BYTES): void {
  assert(
    Number.isSafeInteger(byteCount) &&
      byteCount > 0 &&
      RESERVED_PAGES.includes(reservedPageBytes) &&
      byteCount % reservedPageBytes === 0,
    `a region of ${byteCount} bytes is not a number of pages of ${reservedPageBytes}`,
  );
}

/** @param unitBytes what offset and length are multiples of */
export function assertRange(
  regionBytes: number,
  offset: number,
  byteCount: number,
  unitBytes = PAGE_BYTES,
): void {
  assert(
    Number.isSafeInteger(offset) &&
      Number.isSafeInteger(byteCount) &&
      offset >= 0 &&
      byteCount >= 0 &&
      byteCount <= regionBytes - offset &&
      offset % unitBytes === 0 &&
      byteCount % unitBytes === 0,
    `bytes ${offset} to ${offset + byteCount} of a region of ${regionBytes}`,
  );
}

export function assertRun(regionBytes: number, run: LoadRun): void {
  assertRange(regionBytes, run.regionOffset, run.byteCount);
  assert(
    run.byteCount > 0 &&
      Number.isSafeInteger(run.fileOffset) &&
      run.fileOffset >= 0 &&
      (run.checks === undefined ||
        run.checks.length === (run.byteCount / PAGE_BYTES) * CHECK_BYTES),
    `a run of ${run.byteCount} bytes from ${run.fileOffset} with ${run.checks?.length} bytes of checks`,
  );
}

/**
 * A file that is too short would be found out by SIGBUS in the first turn that touches the missing part.
 * @throws `corruption` when the file ends before the range does
 */
export function assertMapping(fd: number, offset: number, byteCount: number): void {
  assert(
    fd >= 0 &&
      Number.isSafeInteger(offset) &&
      offset >= 0 &&
      offset % PAGE_BYTES === 0 &&
      byteCount > 0 &&
      byteCount % PAGE_BYTES === 0,
    `a mapping of ${byteCount} bytes from ${offset}`,
  );
  const { size } = fstatSync(fd);
  if (size < offset + byteCount) {
    throw new PinionError(
      "corruption",
      `a file of ${size} bytes is to be mapped up to byte ${offset + byteCount}`,
      { details: { fileBytes: size, offset, byteCount } },
    );
  }
}

/** One bit for each page of a region: a buffer shows it. 64 GiB take 2 MiB, which the system provides as they are used. */
export class ViewedPages {
  readonly #words: Uint32Array;

  constructor(regionBytes: number) {
    this.#words = new Uint32Array(Math.ceil(regionBytes / PAGE_BYTES / 32));
  }

  claim(offset: number, byteCount: number): void {
    let taken = 0;
    this.#each(offset, byteCount, (at, mask) => (taken |= this.#words[at]! & mask));
    assert(taken === 0, `two buffers over bytes ${offset} to ${offset + byteCount} of a region`);
    this.#each(offset, byteCount, (at, mask) => (this.#words[at]! |= mask));
  }

  free(offset: number, byteCount: number): void {
    this.#each(offset, byteCount, (at, mask) => (this.#words[at]! &= ~mask));
  }

  #each(offset: number, byteCount: number, visit: (at: number, mask: number) => void): void {
    const end = Math.ceil((offset + byteCount) / PAGE_BYTES);
    for (let page = offset / PAGE_BYTES; page < end;) {
      const bit = page % 32;
      const bits = Math.min(32 - bit, end - page);
      visit((page - bit) / 32, bits === 32 ? -1 : ((1 << bits) - 1) << bit);
      page += bits;
    }
  }
}
