/** A cpio archive in the "newc" form, which is what the kernel unpacks as its first file system (Documentation/driver-api/early-userspace/buffer-format). */
import { writeSync } from "node:fs";
import { dirname } from "node:path";

const FOLDER = 0o040755;
const FILE = 0o100755;
const LINK = 0o120777;
const HEADER_BYTES = 110;

export class CpioArchive {
  readonly #fd: number;
  readonly #folders = new Set<string>(["/", "."]);
  #files = 0;
  #bytes = 0;

  /** @param fd open for writing; stays the caller's */
  constructor(fd: number) {
    this.#fd = fd;
  }

  get byteCount(): number {
    return this.#bytes;
  }

  file(path: string, content: Uint8Array): void {
    this.#folderOf(path);
    this.#entry(path, FILE, content);
  }

  link(path: string, target: string): void {
    this.#folderOf(path);
    this.#entry(path, LINK, Buffer.from(target));
  }

  end(): void {
    this.#entry("TRAILER!!!", 0, new Uint8Array());
  }

  #folderOf(path: string): void {
    const folder = dirname(path);
    if (this.#folders.has(folder)) return;
    this.#folderOf(folder);
    this.#folders.add(folder);
    this.#entry(folder, FOLDER, new Uint8Array());
  }

  #entry(path: string, mode: number, content: Uint8Array): void {
    const name = Buffer.from(`${path.replace(/^\//, "")}\0`);
    const fields = [++this.#files, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0];
    const header = `070701${fields.map((each) => each.toString(16).padStart(8, "0")).join("")}`;
    this.#write(Buffer.concat([Buffer.from(header), name]), HEADER_BYTES + name.length);
    this.#write(content, content.length);
  }

  /** Name and content end at multiples of four. */
  #write(bytes: Uint8Array, length: number): void {
    const padded = Math.ceil(length / 4) * 4;
    for (let done = 0; done < bytes.length;) done += writeSync(this.#fd, bytes, done);
    if (padded > length) writeSync(this.#fd, new Uint8Array(padded - length));
    this.#bytes += padded;
  }
}
