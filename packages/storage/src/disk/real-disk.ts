/**
 * The machine's disk. Plain file operations go through `node:fs`; what must be one trip, or needs a system call Node
 * lacks, goes through the native door.
 *
 * I1 a file descriptor is closed only after the last operation on it has ended, and no operation starts once `close` was
 *    called: a number the system has given to another file is never written to.
 * I2 `mkdir` makes the folders it creates durable, so that `syncDir` of the innermost is enough afterwards.
 */
import { constants, read as fsRead } from "node:fs";
import { mkdir, open, readdir, rename, rm, statfs, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { assert, systemCode } from "@pinion/core";
import type { NativeDoor } from "../memory/native-door.ts";
import { nativeDoor } from "../memory/open-native-door.ts";
import { diskError } from "./disk-error.ts";
import type { CreateOptions, Disk, DiskFile } from "./disk.ts";

async function syncFolder(dir: string): Promise<void> {
  const handle = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** One read call, as often as it takes: a signal may cut it short, only 0 bytes mean the end of the file. */
function readAll(fd: number, offset: number, into: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    let done = 0;
    const step = (): void => {
      if (done === into.length) return resolve(done);
      fsRead(fd, into, done, into.length - done, offset + done, (error, count) => {
        if (error) return reject(error);
        if (count === 0) return resolve(done);
        done += count;
        step();
      });
    };
    step();
  });
}

class RealDiskFile implements DiskFile {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #door: NativeDoor;
  #running = 0;
  #closing = false;
  #idle: (() => void) | undefined;

  constructor(path: string, handle: FileHandle, door: NativeDoor) {
    this.path = path;
    this.#handle = handle;
    this.#door = door;
  }

  get descriptor(): number {
    return this.#handle.fd;
  }

  write(offset: number, bytes: Uint8Array, options: { sync: boolean }): Promise<void> {
    return this.#run("write", (fd) => this.#door.writeAndFlush(fd, bytes, offset, options.sync));
  }

  writeRecords(
    offset: number,
    bytes: Uint8Array,
    options: { sync: boolean; generation: number },
  ): Promise<void> {
    return this.#run("write", (fd) =>
      this.#door.sealAndWrite(fd, bytes, offset, options.sync, options.generation),
    );
  }

  sync(): Promise<void> {
    return this.#run("sync", (fd) => this.#door.flush(fd));
  }

  read(offset: number, into: Uint8Array): Promise<number> {
    return this.#run("read", (fd) => readAll(fd, offset, into));
  }

  readNow(offset: number, into: Uint8Array): boolean {
    return !this.#closing && this.#door.readNow(this.#handle.fd, into, offset);
  }

  size(): Promise<number> {
    return this.#run("size", async () => (await this.#handle.stat()).size);
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    try {
      await this.#handle.close();
    } catch (e) {
      throw diskError(e, "close", this.path);
    }
  }

  async #run<T>(doing: string, operation: (fd: number) => Promise<T>): Promise<T> {
    assert(!this.#closing, `${doing} ${this.path} after close`);
    this.#running++;
    try {
      return await operation(this.#handle.fd);
    } catch (e) {
      throw diskError(e, doing, this.path);
    } finally {
      if (--this.#running === 0) this.#idle?.();
    }
  }
}

export class RealDisk implements Disk {
  readonly #door: NativeDoor;

  /** @param door default: the best this thread has */
  constructor(door: NativeDoor = nativeDoor()) {
    this.#door = door;
  }

  async create(path: string, options: CreateOptions = {}): Promise<DiskFile> {
    const handle = await attempt("create", path, () => open(path, "wx+"));
    const { allocateBytes = 0, written = false } = options;
    if (allocateBytes > 0) {
      try {
        await this.#door.allocate(handle.fd, 0, allocateBytes, written);
      } catch (e) {
        // The space that was reserved before the disk was full must not stay taken by a file nobody knows.
        await handle.close().catch(() => {});
        await rm(path, { force: true }).catch(() => {});
        throw diskError(e, "allocate", path);
      }
    }
    return new RealDiskFile(path, handle, this.#door);
  }

  async open(path: string, options: { readOnly?: boolean } = {}): Promise<DiskFile> {
    const handle = await attempt("open", path, () => open(path, options.readOnly ? "r" : "r+"));
    return new RealDiskFile(path, handle, this.#door);
  }

  async list(dir: string): Promise<string[]> {
    try {
      return (await readdir(dir)).sort();
    } catch (e) {
      if (systemCode(e) === "ENOENT") return [];
      throw diskError(e, "list", dir);
    }
  }

  async mkdir(dir: string): Promise<void> {
    await attempt("mkdir", dir, async () => {
      const outermost = await mkdir(dir, { recursive: true });
      if (outermost === undefined) return;
      for (let made = dir; ; made = dirname(made)) {
        await syncFolder(dirname(made));
        if (join(made) === join(outermost)) return;
      }
    });
  }

  rename(from: string, to: string): Promise<void> {
    return attempt("rename", from, () => rename(from, to));
  }

  remove(path: string): Promise<void> {
    return attempt("remove", path, () => rm(path, { force: true }));
  }

  syncDir(dir: string): Promise<void> {
    return attempt("sync", dir, () => syncFolder(dir));
  }

  async freeBytes(dir: string): Promise<number> {
    const { bavail, bsize } = await attempt("statfs", dir, () => statfs(dir));
    return bavail * bsize;
  }
}

async function attempt<T>(doing: string, path: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (e) {
    throw diskError(e, doing, path);
  }
}
