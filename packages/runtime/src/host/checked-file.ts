/**
 * A small file that is replaced as a whole and says whether it can be trusted. Its first line is for the program, the rest for
 * people, too:
 *
 *     pinion <kind> <format version> crc32c=<8 hex digits>\n
 *     <content>
 *
 * The checksum covers kind, version and content. The file is written under another name, flushed, and renamed over the old one.
 *
 * I1 after a crash the old content is there or the new one, never a mixture.
 * I2 a file that a newer version wrote is never changed by this one.
 */
import { dirname } from "node:path";
import { isPinionError, PinionError } from "@pinion/core";
import type { DurableCell } from "@pinion/placement";
import { crc32c, type Disk } from "@pinion/storage";

/** Far beyond what any of these files holds; a damaged size must not take all memory. */
const FILE_BYTES_MAX = 64 * 1024 * 1024;

export interface CheckedFileOptions {
  /** One word: what the file holds. */
  readonly kind: string;
  /** Counts incompatible changes of the content, from 1. */
  readonly formatVersion: number;
}

export class CheckedFile implements DurableCell {
  readonly path: string;
  readonly #disk: Disk;
  readonly #options: CheckedFileOptions;
  /** Replacements run one after the other: two would write to the same new file. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(disk: Disk, path: string, options: CheckedFileOptions) {
    this.path = path;
    this.#disk = disk;
    this.#options = options;
  }

  async load(): Promise<Uint8Array | undefined> {
    const bytes = await readWhole(this.#disk, this.path);
    return bytes === undefined ? undefined : this.#content(bytes);
  }

  store(content: Uint8Array): Promise<void> {
    const next = this.#last.then(() => this.#replace(content));
    this.#last = next.catch(() => {});
    return next;
  }

  async #replace(content: Uint8Array): Promise<void> {
    const { kind, formatVersion } = this.#options;
    const head = Buffer.from(
      `pinion ${kind} ${formatVersion} crc32c=${checksum(kind, formatVersion, content)}\n`,
    );
    await replaceFile(this.#disk, this.path, Buffer.concat([head, content]), { durable: true });
  }

  #content(bytes: Buffer): Uint8Array {
    const { kind, formatVersion } = this.#options;
    const end = bytes.indexOf("\n");
    const head = /^pinion (\S+) (\d+) crc32c=([0-9a-f]{8})$/.exec(
      bytes.toString("latin1", 0, end < 0 ? 0 : end),
    );
    if (head === null || head[1] !== kind)
      throw this.#damaged(`it does not begin like a Pinion ${kind} file`);
    const version = Number(head[2]);
    const content = bytes.subarray(end + 1);
    if (checksum(kind, version, content) !== head[3]) throw this.#damaged("its checksum is wrong");
    if (version > formatVersion) {
      throw new PinionError(
        "format-too-new",
        `${this.path} was written by a newer version of Pinion (format ${version}; this version reads up to ${formatVersion}); nothing was changed`,
        { details: { path: this.path, format: version, supported: formatVersion } },
      );
    }
    return content;
  }

  #damaged(why: string): PinionError {
    return new PinionError("corruption", `${this.path} is damaged: ${why}`, {
      details: { path: this.path },
    });
  }
}

function checksum(kind: string, version: number, content: Uint8Array): string {
  const sum = crc32c(content, crc32c(Buffer.from(`${kind} ${version}`)));
  return (sum >>> 0).toString(16).padStart(8, "0");
}

/** Replaces a file's content as a whole (I1). Without `durable` a crash may bring the old content back. */
export async function replaceFile(
  disk: Disk,
  path: string,
  content: Uint8Array,
  { durable }: { durable: boolean },
): Promise<void> {
  const fresh = `${path}.new`;
  await disk.remove(fresh);
  const file = await disk.create(fresh);
  try {
    await file.write(0, content, { sync: durable });
  } finally {
    await file.close();
  }
  await disk.rename(fresh, path);
  if (durable) await disk.syncDir(dirname(path));
}

/** @returns undefined if there is no such file */
export async function readWhole(disk: Disk, path: string): Promise<Buffer | undefined> {
  let file;
  try {
    file = await disk.open(path, { readOnly: true });
  } catch (error) {
    if (isPinionError(error, "not-found")) return undefined;
    throw error;
  }
  try {
    const size = await file.size();
    if (size > FILE_BYTES_MAX)
      throw new PinionError("corruption", `${path} is damaged: it has ${size} bytes`, {
        details: { path, bytes: size },
      });
    const bytes = Buffer.alloc(size);
    const count = await file.read(0, bytes);
    return bytes.subarray(0, count);
  } finally {
    await file.close();
  }
}
