/** An open file of a `SimDisk`: one queue of operations over one image (sim-disk.ts has the invariants). */
import { assert, systemCode, type Rng } from "@pinion/core";
import { crc32c } from "@node-rs/crc32";
import { sealRecords } from "../memory/seal-records.ts";
import { diskError } from "./disk-error.ts";
import type { DiskFile } from "./disk.ts";
import { SECTOR_BYTES, type SimFileImage } from "./sim-file-image.ts";
import type { SimOperationKind, SimOperations, SimQueue } from "./sim-operations.ts";

/** A write from its call to its effect. */
export interface SimWrite {
  readonly file: SimFileImage;
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** Of the log segment, when `bytes` are records to be sealed. */
  readonly generation: number | undefined;
}

/** What goes to the disk: the bytes themselves, or for records a sealed copy. */
export function sealed(write: SimWrite): Uint8Array {
  if (write.generation === undefined) return write.bytes;
  const bytes = write.bytes.slice();
  sealRecords(bytes, bytes.length, write.generation, write.offset);
  return bytes;
}

/** What a file needs of its disk. */
export interface SimDiskContext {
  readonly operations: SimOperations;
  readonly rng: Rng;
  /** Writes that were issued and have not taken effect: a crash may apply them in part. */
  readonly issued: Set<SimWrite>;
  /** Whether the system happens to have the bytes of a read in memory. */
  isInMemory(): boolean;
  /** @throws EROFS, or EBADF for a file opened to be read */
  needWritable(): void;
  /** @throws ENOSPC */
  needRoom(byteCount: number): void;
}

export class SimDiskFile implements DiskFile {
  readonly path: string;
  readonly #file: SimFileImage;
  readonly #disk: SimDiskContext;
  readonly #queue: SimQueue;
  #closed = false;

  constructor(path: string, file: SimFileImage, disk: SimDiskContext) {
    this.path = path;
    this.#file = file;
    this.#disk = disk;
    this.#queue = disk.operations.queue();
  }

  write(offset: number, bytes: Uint8Array, options: { sync: boolean }): Promise<void> {
    return this.#write({ file: this.#file, offset, bytes, generation: undefined }, options.sync);
  }

  writeRecords(
    offset: number,
    bytes: Uint8Array,
    options: { sync: boolean; generation: number },
  ): Promise<void> {
    return this.#write(
      { file: this.#file, offset, bytes, generation: options.generation },
      options.sync,
    );
  }

  sync(): Promise<void> {
    return this.#run("sync", () => this.#sync());
  }

  read(offset: number, into: Uint8Array): Promise<number> {
    return this.#run("read", async () => {
      await this.#disk.operations.begin("read", this.path, into.length);
      return this.#file.read(offset, into);
    });
  }

  /** No operation of the disk: nothing goes wrong. */
  readNow(offset: number, into: Uint8Array): boolean {
    if (this.#closed || !this.#disk.isInMemory()) return false;
    return this.#file.read(offset, into) === into.length;
  }

  size(): Promise<number> {
    return this.#run("size", async () => {
      await this.#disk.operations.begin("size", this.path, 0);
      return this.#file.size;
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    const closing = this.#run("close", () => this.#disk.operations.begin("close", this.path, 0));
    this.#closed = true;
    await closing;
  }

  #write(write: SimWrite, sync: boolean): Promise<void> {
    const before = crc32c(write.bytes);
    this.#disk.issued.add(write);
    return this.#run("write", async () => {
      try {
        await this.#disk.operations.begin("write", this.path, write.bytes.length);
        assert(
          crc32c(write.bytes) === before,
          `bytes being written to ${this.path} at ${write.offset} were changed`,
        );
        this.#disk.needWritable();
        this.#disk.needRoom(write.offset + write.bytes.length - this.#file.allocatedBytes);
        const bytes = sealed(write);
        this.#file.write(write.offset, bytes, this.#disk.rng);
        if (write.generation !== undefined) write.bytes.set(bytes);
      } catch (e) {
        if (systemCode(e) === "EIO" || systemCode(e) === "ENOSPC") this.#writePart(write);
        throw e;
      } finally {
        if (!this.#disk.operations.halted) this.#disk.issued.delete(write);
      }
      if (sync) await this.#sync();
    });
  }

  /** A failed write may have written its first sectors. */
  #writePart(write: SimWrite): void {
    const sectors = Math.floor(
      Math.max(0, this.#file.allocatedBytes - write.offset) / SECTOR_BYTES,
    );
    const part = Math.min(write.bytes.length, this.#disk.rng.below(sectors + 1) * SECTOR_BYTES);
    this.#file.write(write.offset, write.bytes.subarray(0, part), this.#disk.rng);
  }

  async #sync(): Promise<void> {
    try {
      await this.#disk.operations.begin("sync", this.path, 0);
    } catch (e) {
      this.#file.failSync(this.#disk.rng);
      throw e;
    }
    this.#file.sync();
  }

  async #run<T>(kind: SimOperationKind, steps: () => Promise<T>): Promise<T> {
    assert(!this.#closed, `${kind} ${this.path} after close`);
    return this.#queue.run(async () => {
      try {
        return await steps();
      } catch (e) {
        throw diskError(e, kind, this.path);
      }
    });
  }
}
