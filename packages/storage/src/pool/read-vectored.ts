/** Reads a file into several buffers at once, on libuv's threads: what an `IoScheduler` needs of a disk. */
import { readv } from "node:fs";

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
    const step = (done: number): void => {
      readv(fd, done === 0 ? into : rest(into, done), offset + done, (error, count) => {
        if (error) return reject(error);
        // A signal may cut a read short; only 0 bytes mean the end.
        if (count === 0 || done + count === wanted) return resolve(done + count);
        step(done + count);
      });
    };
    step(0);
  });
}
