/** Reads a file into several buffers at once, on libuv's threads: what an `IoScheduler` needs of a disk. */
import { read, readv } from "node:fs";

/** What is left of `into` once `done` bytes are in it. */
function rest(into: readonly Uint8Array[], done: number): Uint8Array[] {
  let skip = done;
  return into.flatMap((bytes) => {
    const from = Math.min(skip, bytes.length);
    skip -= from;
    return from < bytes.length ? [bytes.subarray(from)] : [];
  });
}

/** Resolves to the bytes read, fewer than `into` holds only at the end of the file. @throws what the system says */
export function readVectored(
  fd: number,
  offset: number,
  into: readonly Uint8Array[],
): Promise<number> {
  return new Promise((resolve, reject) => {
    let wanted = 0;
    for (const { length } of into) wanted += length;
    let done = 0;
    const came = (error: Error | null, count: number): void => {
      if (error) return reject(error);
      done += count;
      // A signal may cut a read short; only 0 bytes mean the end.
      if (count === 0 || done === wanted) return resolve(done);
      readv(fd, rest(into, done), offset + done, came);
    };
    const [first] = into;
    if (into.length === 1 && first !== undefined) read(fd, first, 0, wanted, offset, came);
    else readv(fd, into, offset, came);
  });
}
