/**
 * Memory outside the heap without the addon: ordinary buffers. Nothing is locked, and nobody can tell what is in memory; the rest keeps
 * its promises, so that what is built on it need not know.
 *
 * State: a region's content as pieces in order, each an ArrayBuffer; what lies between them was never touched.
 *
 * P1 a range has a buffer of its own only while it has a view: then exactly one piece covers it, and that buffer is the view.
 * P2 files are read into a buffer of this file's own and copied: one that somebody transferred and lost in the meantime is never
 *    written to.
 * P3 what a range holds whose view was transferred by somebody else is undefined: the memory went with it.
 */
import { read, readSync } from "node:fs";
import { promisify } from "node:util";
import { assert, fromSystemError, messageOf, PinionError } from "@pinion/core";
import { crc32c } from "./crc32c.ts";
import { kernelCounts } from "./kernel-counts.ts";
import {
  type LoadResult,
  type LoadRun,
  type LockDenial,
  type MemoryDoor,
  type MemoryFacts,
  type Region,
  type RegionOptions,
} from "./memory-door.ts";
import {
  assertMapping,
  assertRange,
  assertRegion,
  assertRun,
  CHECK_BYTES,
  PAGE_BYTES,
  ViewedPages,
} from "./region-range.ts";

const readFile = promisify(read);
const READ_AT_ONCE_BYTES = 1 << 20;

/** Where a file region's content comes from. */
interface Source {
  readonly fd: number;
  readonly offset: number;
}

interface Piece {
  readonly offset: number;
  readonly byteCount: number;
  /** Of length 0 once its view was transferred. */
  buffer: ArrayBuffer;
  readonly viewed: boolean;
}

export class PortableMemory implements MemoryDoor {
  readonly kind = "portable";
  readonly degraded: string | undefined;

  constructor(degraded?: string) {
    this.degraded = degraded;
  }

  reserve(byteCount: number, options: RegionOptions = {}): Region {
    assertRegion(byteCount, options.reservedPageBytes);
    if (options.reservedPageBytes !== undefined)
      throw new PinionError("overloaded", "ordinary buffers have no reserved pages");
    return new PortableRegion(byteCount, undefined);
  }

  mapFile(fd: number, offset: number, byteCount: number): Region {
    assertMapping(fd, offset, byteCount);
    return new PortableRegion(byteCount, { fd, offset });
  }

  guardedCopy(from: Region, offset: number, into: Uint8Array): boolean {
    assert(from instanceof PortableRegion, "a region of another door");
    return from.copyTo(offset, into);
  }

  facts(): MemoryFacts {
    return {
      lockableBytes: 0,
      ...kernelCounts(),
      majorFaults: undefined,
      minorFaults: undefined,
    };
  }

  bindThread(): boolean {
    return false;
  }
}

class PortableRegion implements Region {
  readonly byteCount: number;
  readonly kind: "anonymous" | "file";
  readonly #source: Source | undefined;
  readonly #viewed: ViewedPages;
  readonly #views = new Map<ArrayBuffer, Piece>();
  /** In order, none overlaps another. */
  #pieces: Piece[] = [];
  #released = false;

  constructor(byteCount: number, source: Source | undefined) {
    this.byteCount = byteCount;
    this.kind = source ? "file" : "anonymous";
    this.#source = source;
    this.#viewed = new ViewedPages(byteCount);
  }

  async populate(offset: number, byteCount: number): Promise<void> {
    this.#check(offset, byteCount);
    if (!this.#source) return;
    for (const gap of this.#gaps(offset, byteCount)) {
      for (let at = gap.offset; at < gap.offset + gap.byteCount; at += READ_AT_ONCE_BYTES) {
        const count = Math.min(READ_AT_ONCE_BYTES, gap.offset + gap.byteCount - at);
        const { fd, offset: base } = this.#source;
        const bytes = await readAll(fd, base + at, count);
        if (bytes.length < count) throw cutShort(base + at + bytes.length);
        if (this.#released) return;
        // Somebody may have looked meanwhile, and written.
        for (const { offset: from, byteCount: length } of this.#gaps(at, count))
          this.#write(from, bytes.subarray(from - at, from - at + length));
      }
    }
  }

  async load(runs: readonly LoadRun[]): Promise<LoadResult> {
    this.#check(0, 0);
    for (const run of runs) assertRun(this.byteCount, run);
    const damaged: number[] = [];
    const short: number[] = [];
    for (const run of runs) {
      for (let at = 0; at < run.byteCount; at += READ_AT_ONCE_BYTES) {
        const count = Math.min(READ_AT_ONCE_BYTES, run.byteCount - at);
        const bytes = await readAll(run.fd, run.fileOffset + at, count);
        if (!this.#released) this.#write(run.regionOffset + at, bytes);
        for (let page = 0; run.checks && page + PAGE_BYTES <= bytes.length; page += PAGE_BYTES) {
          const check = ((at + page) / PAGE_BYTES) * CHECK_BYTES;
          if (!verify(bytes.subarray(page, page + PAGE_BYTES), run.checks, check))
            damaged.push(run.regionOffset + at + page);
        }
        if (bytes.length === count) continue;
        short.push(run.regionOffset + at + bytes.length);
        break;
      }
    }
    return { damaged: damaged.sort((a, b) => a - b), short: short.sort((a, b) => a - b) };
  }

  lock(offset: number, byteCount: number): Promise<LockDenial | undefined> {
    return Promise.resolve().then(() => {
      this.#check(offset, byteCount);
      return "unsupported";
    });
  }

  unlock(offset: number, byteCount: number): void {
    this.#check(offset, byteCount);
  }

  discard(offset: number, byteCount: number): void {
    this.#check(offset, byteCount);
    for (const piece of this.#overlapping(offset, byteCount)) {
      if (!piece.viewed || piece.buffer.byteLength === 0) continue;
      const from = Math.max(offset, piece.offset);
      const to = Math.min(offset + byteCount, piece.offset + piece.byteCount);
      this.#original(from, new Uint8Array(piece.buffer, from - piece.offset, to - from));
    }
    this.#cutOut(offset, byteCount);
  }

  residentBytes(offset: number, byteCount: number): undefined {
    this.#check(offset, byteCount);
  }

  async measure(offset: number, byteCount: number): Promise<undefined> {
    this.#check(offset, byteCount);
  }

  async moveTo(offset: number, byteCount: number): Promise<undefined> {
    this.#check(offset, byteCount);
  }

  readonly policyDenied = undefined;

  view(offset: number, byteCount: number): ArrayBuffer {
    this.#check(offset, byteCount, 1);
    assert(
      offset % PAGE_BYTES === 0 && byteCount > 0,
      `a view of ${byteCount} bytes from ${offset}`,
    );
    this.#viewed.claim(offset, byteCount);
    let buffer: ArrayBuffer;
    try {
      buffer = this.#take(offset, byteCount);
    } catch (e) {
      this.#viewed.free(offset, byteCount);
      throw e;
    }
    const piece: Piece = { offset, byteCount, buffer, viewed: true };
    this.#insert(piece);
    this.#views.set(buffer, piece);
    return buffer;
  }

  detach(buffer: ArrayBuffer): void {
    const piece = this.#views.get(buffer);
    if (!piece) return;
    this.#views.delete(buffer);
    this.#viewed.free(piece.offset, piece.byteCount);
    const at = this.#pieces.indexOf(piece);
    // P3: what was transferred by somebody else is not ours any more.
    if (buffer.byteLength === 0) this.#pieces.splice(at, 1);
    else this.#pieces[at] = { ...piece, buffer: buffer.transfer(), viewed: false };
  }

  release(): void {
    this.#check(0, 0);
    for (const buffer of this.#views.keys()) if (buffer.byteLength > 0) buffer.transfer();
    this.#views.clear();
    this.#pieces = [];
    this.#released = true;
  }

  /** @returns false when the file it comes from has less, or fails */
  copyTo(offset: number, into: Uint8Array): boolean {
    this.#check(offset, into.length, 1);
    try {
      for (const gap of this.#gaps(offset, into.length)) {
        const from = gap.offset - offset;
        this.#original(gap.offset, into.subarray(from, from + gap.byteCount));
      }
    } catch {
      return false;
    }
    for (const piece of this.#overlapping(offset, into.length)) {
      const from = Math.max(offset, piece.offset);
      const to = Math.min(offset + into.length, piece.offset + piece.buffer.byteLength);
      if (to > from)
        into.set(new Uint8Array(piece.buffer, from - piece.offset, to - from), from - offset);
    }
    return true;
  }

  /** The range's content in a buffer of its own; its pieces are gone. */
  #take(offset: number, byteCount: number): ArrayBuffer {
    const [only, ...others] = this.#overlapping(offset, byteCount);
    if (only?.offset === offset && only.byteCount === byteCount && others.length === 0) {
      this.#pieces.splice(this.#pieces.indexOf(only), 1);
      return only.buffer;
    }
    const buffer = allocate(byteCount);
    if (!this.copyTo(offset, new Uint8Array(buffer)))
      throw cutShort((this.#source?.offset ?? 0) + offset);
    this.#cutOut(offset, byteCount);
    return buffer;
  }

  /** Into views where there are any, else into pieces of their own. */
  #write(offset: number, bytes: Uint8Array): void {
    for (const { offset: from, byteCount } of this.#gaps(offset, bytes.length))
      this.#insert({ offset: from, byteCount, buffer: allocate(byteCount), viewed: false });
    for (const piece of this.#overlapping(offset, bytes.length)) {
      const from = Math.max(offset, piece.offset);
      const to = Math.min(offset + bytes.length, piece.offset + piece.buffer.byteLength);
      if (to > from)
        new Uint8Array(piece.buffer).set(
          bytes.subarray(from - offset, to - offset),
          from - piece.offset,
        );
    }
  }

  /** What a range holds that was never touched: zeros, or what the file says. @throws `io-error` */
  #original(offset: number, into: Uint8Array): void {
    if (!this.#source) {
      into.fill(0);
      return;
    }
    const { fd, offset: base } = this.#source;
    for (let done = 0; done < into.length;) {
      let count: number;
      try {
        count = readSync(fd, into, done, into.length - done, base + offset + done);
      } catch (e) {
        throw fromSystemError(e, "reading a mapped file");
      }
      if (count === 0) throw cutShort(base + offset + done);
      done += count;
    }
  }

  /** Removes what is not viewed of a range. */
  #cutOut(offset: number, byteCount: number): void {
    const end = offset + byteCount;
    for (const piece of this.#overlapping(offset, byteCount)) {
      if (piece.viewed) continue;
      const pieceEnd = piece.offset + piece.byteCount;
      const rest = [
        { offset: piece.offset, byteCount: Math.max(0, offset - piece.offset) },
        { offset: end, byteCount: Math.max(0, pieceEnd - end) },
      ]
        .filter((part) => part.byteCount > 0)
        .map((part) => {
          const from = part.offset - piece.offset;
          const buffer = piece.buffer.slice(from, from + part.byteCount);
          return { ...part, buffer, viewed: false };
        });
      this.#pieces.splice(this.#pieces.indexOf(piece), 1, ...rest);
    }
  }

  #insert(piece: Piece): void {
    this.#pieces.splice(this.#firstAfter(piece.offset), 0, piece);
  }

  /** Place of the first piece that begins behind `offset`. */
  #firstAfter(offset: number): number {
    let low = 0;
    let high = this.#pieces.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#pieces[middle]!.offset <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #overlapping(offset: number, byteCount: number): Piece[] {
    const first = Math.max(0, this.#firstAfter(offset) - 1);
    const last = this.#firstAfter(offset + byteCount - 1);
    return this.#pieces
      .slice(first, last)
      .filter((piece) => piece.offset + piece.byteCount > offset);
  }

  /** The parts of a range that no piece covers. */
  #gaps(offset: number, byteCount: number): { offset: number; byteCount: number }[] {
    const gaps: { offset: number; byteCount: number }[] = [];
    let at = offset;
    for (const piece of this.#overlapping(offset, byteCount)) {
      if (piece.offset > at) gaps.push({ offset: at, byteCount: piece.offset - at });
      at = piece.offset + piece.byteCount;
    }
    if (at < offset + byteCount) gaps.push({ offset: at, byteCount: offset + byteCount - at });
    return gaps;
  }

  #check(offset: number, byteCount: number, unitBytes = PAGE_BYTES): void {
    assert(!this.#released, "the region was released");
    assertRange(this.byteCount, offset, byteCount, unitBytes);
  }
}

function allocate(byteCount: number): ArrayBuffer {
  try {
    return new ArrayBuffer(byteCount);
  } catch (e) {
    throw new PinionError("overloaded", `${byteCount} bytes of memory: ${messageOf(e)}`);
  }
}

function cutShort(fileOffset: number): PinionError {
  return new PinionError("io-error", `a mapped file ends at byte ${fileOffset}`);
}

/** Fewer bytes only where the file ends. @throws `io-error` */
async function readAll(fd: number, offset: number, byteCount: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(allocate(byteCount));
  let done = 0;
  while (done < byteCount) {
    try {
      const { bytesRead } = await readFile(fd, bytes, done, byteCount - done, offset + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    } catch (e) {
      throw fromSystemError(e, "reading into memory");
    }
  }
  return bytes.subarray(0, done);
}

function verify(page: Uint8Array, checks: Uint8Array, at: number): boolean {
  const expected = new DataView(checks.buffer, checks.byteOffset + at).getUint32(
    CHECK_BYTES - 4,
    true,
  );
  return crc32c(page, crc32c(checks.subarray(at, at + CHECK_BYTES - 4))) === expected;
}
