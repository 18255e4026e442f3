/**
 * The seam through which every file of the store is touched. `RealDisk` goes through the native door;
 * `SimDisk` (disk/sim-disk.ts) keeps files in memory and, by seed, drops unsynced writes at a crash, tears
 * them, flips bits and returns EIO or ENOSPC. Both pass one conformance suite.
 *
 * What a caller may rely on:
 * I1 bytes are durable once a `write` with `sync: true`, or a later one on the same file, has resolved. Before that any
 *    subset of the unsynced 512-byte sectors may survive a crash.
 * I2 a file's existence, and a rename, are durable once `syncDir` of its folder has resolved.
 * I3 a rejected sync says nothing about which bytes are durable, and a later success does not either
 *    (the page cache may have dropped them): the owner must stop trusting the file.
 * I4 nothing here blocks the event loop.
 *
 * Errors are `PinionError`s: `disk-full`, `disk-read-only`, `io-error`, `not-found`.
 */

export interface CreateOptions {
  /** Zeros whose space is reserved, so that later writes need none. */
  readonly allocateBytes?: number;
  /** The zeros are on the disk, so that flushing later writes changes data only. */
  readonly written?: boolean;
}

export interface Disk {
  /** Creates a file that must not exist. */
  create(path: string, options?: CreateOptions): Promise<DiskFile>;
  /** Opens an existing file. @throws `not-found` */
  open(path: string, options?: { readOnly?: boolean }): Promise<DiskFile>;
  /** Names in a folder, sorted; empty if it does not exist. */
  list(dir: string): Promise<string[]>;
  /** Creates a folder and its parents, durably; it may exist. */
  mkdir(dir: string): Promise<void>;
  /** Atomically replaces `to`. Durable after `syncDir` of the folder. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; absent is fine. */
  remove(path: string): Promise<void>;
  /** Makes creations, renames and removals in `dir` durable. */
  syncDir(dir: string): Promise<void>;
  /** Bytes still free for this store, for `/ready` and `pinion doctor`. */
  freeBytes(dir: string): Promise<number>;
}

export interface DiskFile {
  readonly path: string;
  /** Of a real file, until it is closed: for reads by the native door. */
  readonly descriptor?: number;
  /**
   * Writes `bytes` at `offset` and, with `sync`, flushes the file (fdatasync) in the same trip off the event
   * loop. `bytes` must not change until this resolves. Writes of one file are issued one at a time by the caller.
   */
  write(offset: number, bytes: Uint8Array, options: { sync: boolean }): Promise<void>;
  /**
   * As `write`, but first fills in the checksums of the log records that `bytes` consists of
   * (memory/seal-records.ts), off the event loop where the platform can.
   */
  writeRecords(
    offset: number,
    bytes: Uint8Array,
    options: { sync: boolean; generation: number },
  ): Promise<void>;
  /** Flushes what was written before. */
  sync(): Promise<void>;
  /** Fills `into` from `offset`; resolves to the bytes read, fewer only at the end of the file. */
  read(offset: number, into: Uint8Array): Promise<number>;
  /**
   * Fills `into` if that needs no wait: the system has it in memory. What is being written meanwhile may be seen or not.
   * @returns false when it would have to wait, for whatever reason: `read` then
   */
  readNow?(offset: number, into: Uint8Array): boolean;
  /** Bytes in the file, allocated ones included. */
  size(): Promise<number>;
  /** Waits for what was started before. Harmless when repeated; anything else afterwards is a mistake of ours (`internal`). */
  close(): Promise<void>;
}
