/**
 * Looks at an LMDB file before LMDB does: opening one that is not valid ends the process, and so does reading past the end
 * of one that was cut short. LMDB keeps no checksums, so damage inside its pages stays undetected here.
 *
 * The first two pages are metas, little endian:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 18 | 2 | page flags, 8 = meta |
 * | 24 | 4 | magic 0xbeefc0de |
 * | 28 | 4 | version, 2 |
 * | 48 | 4 | page size |
 * | 144 | 8 | last page in use |
 * | 152 | 8 | transaction number: the meta with the higher one counts |
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, rmSync } from "node:fs";

const MAGIC = 0xbeefc0de;
const VERSION = 2;
const META_FLAG = 8;
const META_BYTES = 160;
const PAGE_BYTES_MIN = 4096;

interface Meta {
  readonly pageBytes: number;
  readonly lastPage: number;
  readonly transaction: number;
}

/**
 * Makes sure that LMDB can open the file, or create it.
 * A file too short to have held anything is the rest of an interrupted creation and is removed. One that ends before its last page
 * is extended with zeros: what is missing then is an error of the transaction that needs it, not of the process.
 * @throws an error with code MDB_INVALID
 */
export function prepareLmdbFile(path: string): void {
  let fd: number;
  try {
    fd = openSync(path, "r+");
  } catch (e) {
    if (e instanceof Error && "code" in e && e.code === "ENOENT") return;
    throw e;
  }
  try {
    const size = fstatSync(fd).size;
    const first = readMeta(fd, 0);
    if (!first) {
      if (size > 2 * PAGE_BYTES_MIN) {
        throw Object.assign(
          new Error("damaged or not a store of ours: its first page is not valid"),
          { code: "MDB_INVALID" },
        );
      }
      rmSync(path);
      return;
    }
    const second = readMeta(fd, first.pageBytes);
    const newest = second && second.transaction > first.transaction ? second : first;
    const needed = (newest.lastPage + 1) * newest.pageBytes;
    if (size < needed) ftruncateSync(fd, needed);
  } finally {
    closeSync(fd);
  }
}

function readMeta(fd: number, offset: number): Meta | undefined {
  const bytes = Buffer.alloc(META_BYTES);
  if (readSync(fd, bytes, 0, META_BYTES, offset) < META_BYTES) return undefined;
  const pageBytes = bytes.readUInt32LE(48);
  const valid =
    (bytes.readUInt16LE(18) & META_FLAG) !== 0 &&
    bytes.readUInt32LE(24) === MAGIC &&
    bytes.readUInt32LE(28) === VERSION &&
    pageBytes >= PAGE_BYTES_MIN &&
    pageBytes <= 65_536 &&
    (pageBytes & (pageBytes - 1)) === 0;
  if (!valid) return undefined;
  const lastPage = bytes.readBigUInt64LE(144);
  if (lastPage * BigInt(pageBytes) > 2n ** 48n) return undefined;
  return { pageBytes, lastPage: Number(lastPage), transaction: Number(bytes.readBigUInt64LE(152)) };
}
