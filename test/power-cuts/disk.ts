/** The disk that the guest writes to, as a file: a partition with ext4, and one for the marks (marks.ts). */
import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { SECTOR_BYTES } from "./write-log.ts";

const MIB = 1024 * 1024;
export const FILES_OFFSET = MIB;
export const FILES_BYTES = 192 * MIB;
export const MARKS_OFFSET = FILES_OFFSET + FILES_BYTES;
const DISK_BYTES = MARKS_OFFSET + MIB;
const LINUX = 0x83;

/** Writes an empty disk. */
export function makeDisk(path: string): void {
  const fd = openSync(path, "w");
  try {
    ftruncateSync(fd, DISK_BYTES);
    writeSync(fd, partitionTable());
  } finally {
    closeSync(fd);
  }
  // All of it written now: otherwise the guest would go on with that behind the test's back.
  const options = [`offset=${FILES_OFFSET}`, "lazy_itable_init=0", "lazy_journal_init=0"];
  execFileSync("mkfs.ext4", [
    ...["-q", "-F", "-b", "4096", "-J", "size=8", "-E", options.join(",")],
    ...[path, `${FILES_BYTES / 4096}`],
  ]);
}

/** A master boot record. */
function partitionTable(): Uint8Array {
  const table = Buffer.alloc(SECTOR_BYTES);
  const partitions = [
    [FILES_OFFSET, FILES_BYTES],
    [MARKS_OFFSET, DISK_BYTES - MARKS_OFFSET],
  ] as const;
  for (const [i, [offset, byteCount]] of partitions.entries()) {
    const at = 446 + 16 * i;
    table[at + 4] = LINUX;
    table.writeUInt32LE(offset / SECTOR_BYTES, at + 8);
    table.writeUInt32LE(byteCount / SECTOR_BYTES, at + 12);
  }
  table.writeUInt16LE(0xaa55, SECTOR_BYTES - 2);
  return table;
}
