/**
 * The only door to system calls that Node does not offer, or offers too slowly. Two implementations stand behind it and
 * pass one conformance suite: the addon (native/pinion.c) and a portable one in plain Node for machines without it.
 *
 * I1 nothing here blocks the event loop, except `crc32c`, `readNow` (memory reads) and `tryLock` (a system call that never waits,
 *    once at start).
 * I2 a buffer given to an operation stays alive until the operation has ended, also when its thread exits first.
 * I3 a rejected operation rejects with a Node system error (`code`, `errno`, `syscall`): the disk layer types it.
 * I4 operations of one file must not overlap in time if their order matters; the callers see to it.
 */

export interface NativeDoor {
  readonly kind: "addon" | "portable";
  /** Why the addon is not in use, for `pinion doctor`; undefined when it is. */
  readonly degraded: string | undefined;

  /**
   * Reserves `byteCount` bytes from `offset` on, so that writing them later can neither run out of space nor change the size.
   * @param written they are durable zeros where there was no file yet, so that flushing them later changes data only: 64 MiB
   *   take about 25 ms on a fast disk
   */
  allocate(fd: number, offset: number, byteCount: number, written: boolean): Promise<void>;

  /** Writes all of `bytes` at `offset` and, with `sync`, flushes the file's data (fdatasync): one trip off the event loop. */
  writeAndFlush(fd: number, bytes: Uint8Array, offset: number, sync: boolean): Promise<void>;

  /**
   * As `writeAndFlush`, after filling in the checksums of the log records that `bytes` consists of (seal-records.ts).
   * A buffer that is not a run of whole records rejects with code `internal`; at most records before the mistake are written.
   */
  sealAndWrite(
    fd: number,
    bytes: Uint8Array,
    offset: number,
    sync: boolean,
    generation: number,
  ): Promise<void>;

  /**
   * Fills `into` from `offset` of a file if the system has all of that in memory: a copy, and no wait.
   * @param into at most 1 MiB
   * @returns false when it would have to wait, the file ends too soon, or this platform cannot tell: then it is read in the ordinary way
   */
  readNow(fd: number, into: Uint8Array, offset: number): boolean;

  /** Flushes the file's data: fdatasync, off the event loop. */
  flush(fd: number): Promise<void>;

  /** CRC32C (Castagnoli) of `bytes`, continuing from `seed` (the checksum of what came before). */
  crc32c(bytes: Uint8Array, seed?: number): number;

  /**
   * Takes the advisory lock (flock) on an open file. It goes when the file is closed or the process dies, however it dies.
   * @returns false when somebody else holds it; undefined when this machine offers no way to lock.
   */
  tryLock(fd: number): boolean | undefined;
}
