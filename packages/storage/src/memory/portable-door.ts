/**
 * The native door in plain Node: what runs where the addon could not be built. Same results, some of them slower: a
 * write and its flush are two trips through the thread pool, checksums of records are computed on the event loop,
 * and space is reserved by writing zeros.
 */
import { spawnSync } from "node:child_process";
import { fdatasync, fstat, write } from "node:fs";
import { promisify } from "node:util";
import { crc32c } from "@node-rs/crc32";
import type { NativeDoor } from "./native-door.ts";
import { sealRecords } from "./seal-records.ts";

const fileStat = promisify(fstat);
const ZEROS = new Uint8Array(1 << 20);

function flush(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(fd, (error) => (error ? reject(error) : resolve()));
  });
}

/** A write may be cut short by a signal or a filling disk: goes on until everything is written or an error says why not. */
function writeAll(fd: number, bytes: Uint8Array, offset: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let done = 0;
    const step = (): void => {
      if (done === bytes.length) return resolve();
      write(fd, bytes, done, bytes.length - done, offset + done, (error, written) => {
        if (error) return reject(error);
        done += written;
        step();
      });
    };
    step();
  });
}

export class PortableDoor implements NativeDoor {
  readonly kind = "portable";
  readonly degraded: string | undefined;

  constructor(degraded?: string) {
    this.degraded = degraded;
  }

  async allocate(fd: number, offset: number, byteCount: number, written: boolean): Promise<void> {
    const end = offset + byteCount;
    const { size } = await fileStat(fd);
    // What lies before the end of the file stays as it is: a hole in it is not filled.
    for (let at = Math.max(offset, size); at < end; at += ZEROS.length) {
      await writeAll(fd, ZEROS.subarray(0, Math.min(ZEROS.length, end - at)), at);
    }
    if (written) await flush(fd);
  }

  async writeAndFlush(fd: number, bytes: Uint8Array, offset: number, sync: boolean): Promise<void> {
    await writeAll(fd, bytes, offset);
    if (sync) await flush(fd);
  }

  async sealAndWrite(
    fd: number,
    bytes: Uint8Array,
    offset: number,
    sync: boolean,
    generation: number,
  ): Promise<void> {
    sealRecords(bytes, bytes.length, generation, offset);
    await this.writeAndFlush(fd, bytes, offset, sync);
  }

  /** Node reads in the one way or the other. */
  readNow(): boolean {
    return false;
  }

  flush(fd: number): Promise<void> {
    return flush(fd);
  }

  crc32c(bytes: Uint8Array, seed = 0): number {
    return crc32c(bytes, seed);
  }

  /**
   * Node has no flock, but util-linux and busybox have: the lock belongs to the open file, which the child shares with us,
   * so it stays when the child exits.
   */
  tryLock(fd: number): boolean | undefined {
    const { status, error } = spawnSync("flock", ["-n", "3"], {
      stdio: ["ignore", "ignore", "ignore", fd],
    });
    return error || status === null || status > 1 ? undefined : status === 0;
  }
}
