/**
 * The log that QEMU's `blklogwrites` keeps, in the form of Linux's dm-log-writes, little-endian, in sectors of 512 bytes:
 *
 * | where               | what                                                              |
 * |---------------------|-------------------------------------------------------------------|
 * | sector 0            | u64 magic, u64 version 1, u64 number of entries, u32 sector size  |
 * | then, for each entry | a sector: u64 sector, u64 number of sectors, u64 flags, u64 0    |
 * |                     | that many sectors of data, unless it is a discard                 |
 *
 * An entry is there before the guest is told that its write or flush is done, and stands where it was done: so a flush covers all entries before
 * it, and what was under way when it began comes behind it. Writes with "force unit access" are not told apart: the guest's disk must not offer
 * that (a virtio disk does not).
 */
import { closeSync, openSync, readSync } from "node:fs";

export const SECTOR_BYTES = 512;
const MAGIC = 0x6a_7366_7773_6872n;
const FLUSH = 1n;

export interface LoggedWrite {
  readonly kind: "write";
  /** Where on the disk. */
  readonly offset: number;
  readonly byteCount: number;
  /** Where its bytes are in the log. */
  readonly dataAt: number;
}

export type LogEntry = LoggedWrite | { readonly kind: "flush" };

export class WriteLog {
  readonly entries: readonly LogEntry[];
  readonly #fd: number;

  /** @throws an error that says why it is no such log */
  constructor(path: string) {
    this.#fd = openSync(path, "r");
    const head = this.#read(0, SECTOR_BYTES);
    if (head.readBigUInt64LE(0) !== MAGIC) throw new Error(`${path} is not a log of writes`);
    if (head.readUInt32LE(24) !== SECTOR_BYTES)
      throw new Error(`${path} has sectors of ${head.readUInt32LE(24)} bytes`);
    const entryCount = Number(head.readBigUInt64LE(16));
    const entries: LogEntry[] = [];
    for (let at = SECTOR_BYTES; entries.length < entryCount;) {
      const entry = this.#read(at, 32);
      at += SECTOR_BYTES;
      const flags = entry.readBigUInt64LE(16);
      if (flags === FLUSH) entries.push({ kind: "flush" });
      else if (flags === 0n) {
        const offset = Number(entry.readBigUInt64LE(0)) * SECTOR_BYTES;
        const byteCount = Number(entry.readBigUInt64LE(8)) * SECTOR_BYTES;
        entries.push({ kind: "write", offset, byteCount, dataAt: at });
        at += byteCount;
      } else throw new Error(`entry ${entries.length} of ${path} has flags ${flags}`);
    }
    this.entries = entries;
  }

  dataOf({ dataAt, byteCount }: LoggedWrite): Buffer {
    return this.#read(dataAt, byteCount);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #read(at: number, byteCount: number): Buffer {
    const into = Buffer.alloc(byteCount);
    for (let done = 0; done < byteCount;) {
      const count = readSync(this.#fd, into, done, byteCount - done, at + done);
      if (count === 0) throw new Error(`the log of writes ends before byte ${at + byteCount}`);
      done += count;
    }
    return into;
  }
}
