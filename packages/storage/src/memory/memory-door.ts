/**
 * Memory that is not JavaScript's: address space, locked pages, views that can be taken back. The addon and a portable
 * implementation (ordinary buffers) stand behind it under one conformance suite.
 *
 * M1 nothing here waits on the event loop for a disk or a page fault: what brings memory in returns a promise and runs on a thread.
 * M2 a region's memory lives until it was released and no view and no running operation needs it: a view that is left over after worker exit,
 *    `transfer()`, a growth or a release never reads freed memory. It is detached (length 0) instead; a buffer that `transfer()` made of it
 *    is not ours to detach: it shows the memory, whoever uses it next, and zeros once its thread has ended.
 * M3 nothing throws for want of privilege: a lock that is not granted says so, and the memory stays usable.
 * M4 an operation on a released region is a mistake of ours (`internal`).
 */

/** Bytes of a region's unit of commitment: huge pages and NUMA policy are per chunk. */
export const CHUNK_BYTES = 2 * 1024 * 1024;

export type LockDenial = "limit" | "privilege" | "unsupported";

/**
 * The NUMA nodes that memory comes from as it is touched first. `local`: the node of who touches it. `bind`: these and no others; **the system ends the
 * process when they are full**, so look first. `preferred`: the first of these, elsewhere if it is full. `interleave`: each of these in turn,
 * page by page, huge pages as wholes.
 */
export type NumaPolicy =
  | { readonly kind: "local" }
  | { readonly kind: "interleave" | "bind" | "preferred"; readonly nodes: readonly number[] };

export interface RegionOptions {
  /** For all of it. Default `local`. */
  readonly numa?: NumaPolicy;
  /**
   * Made of pages of this size that the machine has reserved: 2 MiB or 1 GiB. The region is a number of them, all set aside at once. They are given back
   * as wholes, by `discard` of all of it or by `release`. Default: ordinary memory.
   */
  readonly reservedPageBytes?: number;
}

export interface PopulateOptions {
  /** Asks for 2 MiB pages, which the kernel may not have, or for none; it stays so for the range. Default: as it is, none at first. */
  readonly hugePages?: boolean;
  /** For this range instead of the region's, from now on. A range with a policy of its own is a mapping of its own: for exceptions. */
  readonly numa?: NumaPolicy;
}

/** Where a range is, as the kernel says. */
export interface RangePlacement {
  /** By node: of more than 16,384 pages a sample, multiplied. Undefined where nobody can tell, as in a sandbox without `move_pages`. */
  readonly bytesByNode: ReadonlyMap<number, number> | undefined;
  /** In pages of 2 MiB or more; undefined where nobody can tell. Before Linux 6.7, of a mapping that goes beyond the range, the part that falls to it. */
  readonly hugeBytes: number | undefined;
}

/** Pages to bring in from one file, next to each other in the file and in memory. */
export interface LoadRun {
  readonly fd: number;
  readonly fileOffset: number;
  readonly regionOffset: number;
  readonly byteCount: number;
  /**
   * For each 4,096 bytes of the run 32 bytes: the 28 bytes their checksum begins with (page-entry.ts) and the u32 checksum, little endian; what
   * does not match is reported, not thrown. Undefined: not verified.
   */
  readonly checks?: Uint8Array;
}

export interface LoadResult {
  /** Offsets in the region of pages that do not match. */
  readonly damaged: readonly number[];
  /** Offsets in the region where a file ended too soon. */
  readonly short: readonly number[];
}

export interface Region {
  readonly byteCount: number;
  readonly kind: "anonymous" | "file";

  /**
   * Brings a range into memory (file regions: with the file's content), off the event loop.
   * @throws `overloaded` when there is no memory, `io-error` when the file has no such bytes any more
   */
  populate(offset: number, byteCount: number, options?: PopulateOptions): Promise<void>;
  /**
   * Reads files straight into the region, past the page cache where that works, verifying. Whole pages. A file must stay open until then.
   * @throws `io-error`, `overloaded`
   */
  load(runs: readonly LoadRun[]): Promise<LoadResult>;
  /**
   * Keeps a range from being paged out: what is there, and the rest once it is touched; nothing is brought in. Locks do not nest.
   * All of the range is locked (undefined) or nothing of it.
   */
  lock(offset: number, byteCount: number): Promise<LockDenial | undefined>;
  unlock(offset: number, byteCount: number): void;
  /**
   * Gives the memory of a range back, locked or not; it reads as zeros (file regions: as the file) afterwards. Whole chunks or pages.
   * Nobody promises that a lock survives it. On the event loop: 64 MiB of huge pages take 0.3 ms, of small ones 5.
   */
  discard(offset: number, byteCount: number): void;
  /** Bytes of the range that are in memory now; undefined where nobody can tell. */
  residentBytes(offset: number, byteCount: number): number | undefined;
  /** Where the range is now, off the event loop; undefined where nobody can tell. */
  measure(offset: number, byteCount: number): Promise<RangePlacement | undefined>;
  /**
   * Moves what is in memory of a range to a node, off the event loop; the content stays and so do locks. Who touches a page meanwhile waits for
   * that page. What the system does not want to move (pages of running reads, reserved pages) stays.
   * @returns bytes that are on the node now; undefined where memory cannot be moved
   */
  moveTo(offset: number, byteCount: number, node: number): Promise<number | undefined>;
  /** Why it does not have the policy that was asked for, such as `EPERM`; undefined when it has, or nobody can tell. */
  readonly policyDenied: string | undefined;
  /**
   * The memory of a range as one ArrayBuffer, until it is detached. It begins at a multiple of 4,096; at most one buffer covers a page at a time.
   * Its memory counts as nothing for V8's garbage collector, except that a view of 64 MiB or more starts one. Who touches
   * what is not in memory waits for it. Native operations of others (`fs.write`) on a buffer must have ended before it is detached.
   */
  view(offset: number, byteCount: number): ArrayBuffer;
  /** Takes a buffer back: it and everything made over it have length 0 from now on. Harmless for one that is detached. */
  detach(buffer: ArrayBuffer): void;
  /** Detaches what is left of its views and gives everything back, once running operations have ended. */
  release(): void;
}

/** Where the process stands, as the kernel says. Reads /proc, on the event loop: 0.2 ms, and 1.5 µs for each mapping of the process. */
export interface MemoryFacts {
  /** RLIMIT_MEMLOCK in bytes, Infinity without a limit or with CAP_IPC_LOCK; 0 where nothing can be locked at all. */
  readonly lockableBytes: number;
  /** Bytes locked by this process; undefined where nobody can tell. */
  readonly lockedBytes: number | undefined;
  readonly mappings: number | undefined;
  readonly mappingsMax: number | undefined;
  /** Faults of this thread that waited for a disk. */
  readonly majorFaults: number | undefined;
  readonly minorFaults: number | undefined;
}

export interface MemoryDoor {
  readonly kind: "addon" | "portable";
  /** Why the addon is not in use; undefined when it is. */
  readonly degraded: string | undefined;
  /**
   * Address space, a multiple of `CHUNK_BYTES`, aligned to it; no memory before `populate`, `load` or the first write. Not inherited by child
   * processes, not in core dumps. @throws `overloaded` also when too few pages of the wanted size are reserved and free
   */
  reserve(byteCount: number, options?: RegionOptions): Region;
  /** A private mapping of part of a file: changes stay in memory. Multiples of 4,096. @throws `corruption` when the file ends before */
  mapFile(fd: number, offset: number, byteCount: number): Region;
  /**
   * Copies out of a region although a disk error or a file cut short may hit the mapping.
   * @returns false when it did
   */
  guardedCopy(from: Region, offset: number, into: Uint8Array): boolean;
  facts(): MemoryFacts;
  /** Binds the calling worker's thread to processors. @returns false where that is not possible */
  bindThread(cpus: readonly number[]): boolean;
}
