/**
 * The files of a log directory and their names:
 *
 * | name | what it is |
 * |---|---|
 * | `<16 digits>.log` | a segment; has a flushed header, always |
 * | `<16 digits>.new` | a segment being created or rewritten; worthless after a crash |
 * | `spare-<hex>.free` | a file of full size whose segment is gone, waiting to be used again |
 *
 * A recycled file's blocks are allocated and usually written already, so flushing what is written into it changes no metadata of the
 * file system; that makes a flush cheaper than in a growing file (docs/decisions has the figures).
 *
 * I1 a segment gets its final name after its header, and whatever it is created with, were flushed; the name is durable when
 *    `create` and `rewrite` resolve.
 * I2 a failed creation leaves no file behind that is counted as a segment, and returns its space.
 * I3 at most `sparesMax` spare files are kept, and none where a full disk has no room for a file that is needed.
 */
import { isPinionError } from "@pinion/core";
import type { CreateOptions, Disk, DiskFile } from "../disk/disk.ts";
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
  segmentName,
  sequenceOfName,
  type SegmentHeader,
} from "./segment-header.ts";
import type { WritableSegment } from "./staging-buffer.ts";

const SPARE = /^spare-[0-9a-f]+\.free$/;
const NEW = /^\d{16}\.new$/;
const COPY_BYTES = 1 << 20;
/** Of a new file that an opening begins with: nobody should wait for 64 MiB of zeros who waits for a host. */
const OPENING_BYTES_MAX = 8 << 20;
/** The second has room for the longest record there is (`PAYLOAD_BYTES_MAX`), the third is an ordinary one. */
const GROWTH = 4;

export interface SegmentFilesOptions {
  readonly disk: Disk;
  readonly dir: string;
  readonly newGeneration: () => number;
  readonly segmentBytes: number;
  readonly sparesMax: number;
  /** Records are flushed as they come: files are written once before, which makes each flush cheaper. */
  readonly flushed: boolean;
}

/** What is in the directory. */
export interface LogDirectory {
  /** Ascending. */
  readonly sequences: readonly number[];
  /** Creations that never ended. */
  readonly unfinished: readonly string[];
}

export class SegmentFiles {
  readonly disk: Disk;
  readonly dir: string;
  readonly segmentBytes: number;
  /** A number for a new life of a file: 48 bits, never the same twice. */
  readonly newGeneration: () => number;
  readonly #sparesMax: number;
  readonly #flushed: boolean;
  /** Names of spare files, of `segmentBytes` as far as is known. */
  readonly #spares: string[] = [];

  constructor(options: SegmentFilesOptions) {
    this.disk = options.disk;
    this.dir = options.dir;
    this.segmentBytes = options.segmentBytes;
    this.newGeneration = options.newGeneration;
    this.#sparesMax = options.sparesMax;
    this.#flushed = options.flushed;
  }

  get spareCount(): number {
    return this.#spares.length;
  }

  /**
   * How large the file of a segment is to be: a spare one is ready in full size, a new one has to be written first, so an opening begins with a
   * short one and the next is longer.
   * @param before file size of the segment before; undefined at an opening
   */
  bytesAfter(before: number | undefined): number {
    if (this.#spares.length > 0) return this.segmentBytes;
    const bytes = before === undefined ? OPENING_BYTES_MAX : before * GROWTH;
    return Math.min(this.segmentBytes, bytes);
  }

  path(name: string): string {
    return `${this.dir}/${name}`;
  }

  segmentPath(sequence: number): string {
    return this.path(segmentName(sequence));
  }

  /** Reads the directory, creating it if need be, and takes note of its spare files. */
  async scan(): Promise<LogDirectory> {
    await this.disk.mkdir(this.dir);
    const sequences: number[] = [];
    const unfinished: string[] = [];
    for (const name of await this.disk.list(this.dir)) {
      const sequence = sequenceOfName(name);
      if (sequence !== undefined) sequences.push(sequence);
      else if (NEW.test(name)) unfinished.push(name);
      else if (SPARE.test(name)) this.#spares.push(name);
    }
    return { sequences: sequences.sort((a, b) => a - b), unfinished };
  }

  /** Removes what unfinished creations left, and spare files beyond the bound. */
  async tidy(unfinished: readonly string[]): Promise<void> {
    for (const name of unfinished) await this.disk.remove(this.path(name));
    for (const name of this.#spares.splice(this.#sparesMax))
      await this.disk.remove(this.path(name));
  }

  /** @throws `not-found`, `corruption`, `format-too-new` */
  async readHeader(file: DiskFile): Promise<SegmentHeader> {
    const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
    const read = await file.read(0, bytes);
    return decodeSegmentHeader(bytes.subarray(0, read), file.path);
  }

  /**
   * Creates a segment out of a spare file or a new one. `fill` writes what it begins with behind the header; the header is
   * flushed after it.
   * @throws `disk-full`, `disk-read-only`, `io-error`: nothing is left behind (I2)
   */
  async create(
    header: SegmentHeader,
    fill?: (segment: WritableSegment) => Promise<void>,
  ): Promise<WritableSegment> {
    const unfinished = this.path(`${String(header.sequence).padStart(16, "0")}.new`);
    const file = await this.#takeFile(unfinished, header.fileBytes);
    try {
      const { sequence, generation, fileBytes } = header;
      const segment = { sequence, generation, fileBytes, file };
      await fill?.(segment);
      await file.write(0, encodeSegmentHeader(header), { sync: true });
      await this.disk.rename(unfinished, this.segmentPath(sequence));
      await this.disk.syncDir(this.dir);
      return segment;
    } catch (e) {
      await this.#discard(file, unfinished);
      throw e;
    }
  }

  /**
   * Writes the first `endBytes` of a segment into a new file of that size, flushes it and puts it in the segment's place: frees
   * what lies behind, and makes sure of bytes whose flush is in doubt.
   */
  async rewrite(sequence: number, endBytes: number): Promise<void> {
    const unfinished = this.path(`${String(sequence).padStart(16, "0")}.new`);
    const from = await this.disk.open(this.segmentPath(sequence), { readOnly: true });
    let to: DiskFile | undefined;
    try {
      to = await this.#createFile(unfinished, { allocateBytes: endBytes });
      const chunk = new Uint8Array(Math.min(COPY_BYTES, endBytes));
      for (let at = 0; at < endBytes; at += chunk.length) {
        const part = chunk.subarray(0, Math.min(chunk.length, endBytes - at));
        part.fill(0, await from.read(at, part));
        await to.write(at, part, { sync: false });
      }
      await to.sync();
      await to.close();
      to = undefined;
      await this.disk.rename(unfinished, this.segmentPath(sequence));
      await this.disk.syncDir(this.dir);
    } catch (e) {
      if (to) await this.#discard(to, unfinished);
      else await this.disk.remove(unfinished).catch(() => {});
      throw e;
    } finally {
      await from.close();
    }
  }

  /**
   * Takes a segment's file out of the log, durably: keeps it as a spare if it fits, else removes it. Durably, so that taking
   * several out, one after the other from an end of the log, never leaves a gap.
   */
  async recycle(sequence: number, fileBytes: number): Promise<void> {
    const path = this.segmentPath(sequence);
    if (fileBytes === this.segmentBytes && this.#spares.length < this.#sparesMax) {
      const name = `spare-${this.newGeneration().toString(16)}.free`;
      await this.disk.rename(path, this.path(name));
      this.#spares.push(name);
    } else {
      await this.disk.remove(path);
    }
    await this.disk.syncDir(this.dir);
  }

  /** A file under the name `path`: a spare if one fits, else a new one. */
  async #takeFile(path: string, fileBytes: number): Promise<DiskFile> {
    while (fileBytes === this.segmentBytes) {
      const name = this.#spares.pop();
      if (name === undefined) break;
      await this.disk.rename(this.path(name), path);
      const file = await this.disk.open(path);
      if ((await file.size()) === fileBytes) return file;
      await file.close();
      await this.disk.remove(path);
    }
    // What an earlier attempt may have left under this name is worthless.
    await this.disk.remove(path);
    return this.#createFile(path, { allocateBytes: fileBytes, written: this.#flushed });
  }

  /** On a full disk spare files are worth less than the one that is needed now. */
  async #createFile(path: string, options: CreateOptions): Promise<DiskFile> {
    for (;;) {
      try {
        return await this.disk.create(path, options);
      } catch (e) {
        const spare = this.#spares.pop();
        if (spare === undefined || !isPinionError(e, "disk-full")) throw e;
        await this.disk.remove(this.path(spare));
      }
    }
  }

  async #discard(file: DiskFile, path: string): Promise<void> {
    await file.close().catch(() => {});
    await this.disk.remove(path).catch(() => {});
  }
}
