/**
 * Where finished segments are kept beyond the machine's own disk. A segment in the archive is exactly the bytes of the
 * file that count, under a name that says what it is and what its bytes sum to.
 *
 * I1 an object is there whole or not at all; `put` resolves once it is durable.
 * I2 objects never change: putting the same segment again does nothing.
 * I3 `get` ends with `corruption` if the bytes are not those that were put.
 */
import { isPinionError, PinionError } from "@pinion/core";
import { crc32c } from "@node-rs/crc32";
import type { Disk, DiskFile } from "../disk/disk.ts";

export interface ArchivedSegment {
  readonly worker: number;
  readonly sequence: number;
  readonly generation: number;
  readonly bytes: number;
  /** CRC32C of all of them. */
  readonly checksum: number;
}

export interface SegmentArchive {
  /**
   * @param content the segment's bytes, in order; each piece is valid until the next is asked for
   * @throws `corruption` when the content does not match `segment`; else what the store throws
   */
  put(
    segment: ArchivedSegment,
    content: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void>;
  /** @throws `not-found`, `corruption` (possibly after the last byte) */
  get(segment: ArchivedSegment): AsyncIterable<Uint8Array>;
  /** The worker's segments, ascending. */
  list(worker: number): Promise<ArchivedSegment[]>;
  /** Absent is fine. */
  remove(segment: ArchivedSegment): Promise<void>;
}

const READ_BYTES = 1 << 20;
const NAME = /^(\d{16})-([0-9a-f]{12})-(\d+)-([0-9a-f]{8})\.seg$/;

export function archivedName(segment: ArchivedSegment): string {
  const { sequence, generation, bytes, checksum } = segment;
  const hex = (n: number, digits: number): string => n.toString(16).padStart(digits, "0");
  return `${String(sequence).padStart(16, "0")}-${hex(generation, 12)}-${bytes}-${hex(checksum, 8)}.seg`;
}

export function parseArchivedName(worker: number, name: string): ArchivedSegment | undefined {
  const [, sequence, generation, bytes, checksum] = NAME.exec(name) ?? [];
  if (checksum === undefined) return undefined;
  return {
    worker,
    sequence: Number(sequence),
    generation: parseInt(generation!, 16),
    bytes: Number(bytes),
    checksum: parseInt(checksum, 16),
  };
}

/** An archive in a folder: another disk, a network file system. */
export class FilesystemArchive implements SegmentArchive {
  readonly #disk: Disk;
  readonly #dir: string;

  constructor(disk: Disk, dir: string) {
    this.#disk = disk;
    this.#dir = dir;
  }

  async put(
    segment: ArchivedSegment,
    content: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const folder = this.#folder(segment.worker);
    const name = archivedName(segment);
    await this.#disk.mkdir(folder);
    if ((await this.#disk.list(folder)).includes(name)) return;
    const part = `${folder}/${name}.part`;
    await this.#disk.remove(part);
    const file = await this.#disk.create(part);
    try {
      await this.#fill(file, segment, content, signal);
      await file.close();
      await this.#disk.rename(part, `${folder}/${name}`);
      await this.#disk.syncDir(folder);
    } catch (e) {
      await file.close().catch(() => {});
      await this.#disk.remove(part).catch(() => {});
      throw e;
    }
  }

  async *get(segment: ArchivedSegment): AsyncGenerator<Uint8Array, void, void> {
    const path = `${this.#folder(segment.worker)}/${archivedName(segment)}`;
    const file = await this.#disk.open(path, { readOnly: true });
    try {
      const chunk = new Uint8Array(READ_BYTES);
      let checksum = 0;
      let at = 0;
      for (;;) {
        const read = await file.read(at, chunk);
        if (read === 0) break;
        const piece = chunk.subarray(0, read);
        checksum = crc32c(piece, checksum);
        at += read;
        yield piece;
      }
      verify(segment, at, checksum, path);
    } finally {
      await file.close();
    }
  }

  async list(worker: number): Promise<ArchivedSegment[]> {
    const names = await this.#disk.list(this.#folder(worker));
    return names
      .map((name) => parseArchivedName(worker, name))
      .filter((segment) => segment !== undefined);
  }

  async remove(segment: ArchivedSegment): Promise<void> {
    const folder = this.#folder(segment.worker);
    await this.#disk.remove(`${folder}/${archivedName(segment)}`);
    await this.#disk.syncDir(folder).catch((e: unknown) => {
      // The folder was never created: the object was never there.
      if (!isPinionError(e, "not-found")) throw e;
    });
  }

  #folder(worker: number): string {
    return `${this.#dir}/worker-${worker}`;
  }

  async #fill(
    file: DiskFile,
    segment: ArchivedSegment,
    content: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    let checksum = 0;
    let at = 0;
    for await (const piece of content) {
      signal.throwIfAborted();
      checksum = crc32c(piece, checksum);
      await file.write(at, piece, { sync: false });
      at += piece.length;
    }
    verify(segment, at, checksum, file.path);
    await file.sync();
  }
}

function verify(segment: ArchivedSegment, bytes: number, checksum: number, path: string): void {
  if (bytes === segment.bytes && checksum === segment.checksum) return;
  throw new PinionError(
    "corruption",
    `log segment ${segment.sequence} does not match its checksum on its way through the archive`,
    {
      details: { segment: segment.sequence, path, bytes, expectedBytes: segment.bytes },
    },
  );
}
