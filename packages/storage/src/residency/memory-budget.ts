/**
 * Divides the memory a host may have. Pure arithmetic over what memory-limits.ts and the memory door tell.
 *
 * usable = limit − heaps of the workers − buffers − index − page tables (0.2 % of the limit) − max(512 MiB, 10 % of the limit).
 * Of what is usable, pins get at most their share (40 %), overlays of turns theirs (10 %), and the pool all the rest, at least 10 %.
 */
import { checkBounds, invalidOption } from "./option-bounds.ts";

const MIB = 1024 * 1024;
const PAGE_TABLES_SHARE = 0.002;
const HEADROOM_SHARE = 0.1;
const HEADROOM_BYTES_MIN = 512 * MIB;
const POOL_SHARE_MIN = 0.1;

export interface MemoryBudgetOptions {
  /** Of what is usable, for pins. Default 0.4, 0 … 0.9. */
  readonly pinShare?: number;
  /** Of what is usable, for what running turns have written. Default 0.1, 0 … 0.9. */
  readonly overlayShare?: number;
}

export type ResolvedMemoryBudgetOptions = Readonly<Required<MemoryBudgetOptions>>;

/** @throws `config-invalid` */
export function resolveMemoryBudgetOptions(
  options: MemoryBudgetOptions = {},
): ResolvedMemoryBudgetOptions {
  const resolved = {
    pinShare: options.pinShare ?? 0.4,
    overlayShare: options.overlayShare ?? 0.1,
  };
  checkBounds(
    "memory",
    { pinShare: { min: 0, max: 0.9 }, overlayShare: { min: 0, max: 0.9 } },
    resolved,
  );
  const sum = resolved.pinShare + resolved.overlayShare;
  if (sum > 1 - POOL_SHARE_MIN) {
    throw invalidOption(
      "memory.pinShare + memory.overlayShare",
      sum,
      `must be at most ${1 - POOL_SHARE_MIN}: the pool keeps ${POOL_SHARE_MIN}`,
    );
  }
  return Object.freeze(resolved);
}

export interface MemoryDemands {
  /** `MemoryLimits.limitBytes`. */
  readonly limitBytes: number;
  /** `MemoryFacts.lockableBytes`; Infinity without a limit. */
  readonly lockableBytes: number;
  readonly workers: number;
  /** What each worker's JavaScript heap may grow to (`resourceLimits`). */
  readonly heapBytesPerWorker: number;
  /** Staging, sockets, threads: native memory that is neither heap nor arena. */
  readonly bufferBytes: number;
  /** What LMDB keeps in memory. */
  readonly indexBytes: number;
}

export interface MemoryBudget {
  readonly limitBytes: number;
  /** What is taken off before anything is divided. */
  readonly heapBytes: number;
  readonly pageTableBytes: number;
  readonly headroomBytes: number;
  /** Never below 0. */
  readonly usableBytes: number;
  /** What may be resident by pins, over all workers. */
  readonly pinBytes: number;
  /** What of it can be locked. Beyond it pins are resident, not locked. */
  readonly lockBytes: number;
  readonly overlayBytes: number;
  readonly poolBytes: number;
  /** What a user should know: nothing is left to divide, or locks are limited. */
  readonly notes: readonly string[];
}

export function memoryBudget(
  demands: MemoryDemands,
  options: ResolvedMemoryBudgetOptions = resolveMemoryBudgetOptions(),
): MemoryBudget {
  const { limitBytes, workers, heapBytesPerWorker, bufferBytes, indexBytes } = demands;
  const heapBytes = workers * heapBytesPerWorker;
  const pageTableBytes = Math.ceil(limitBytes * PAGE_TABLES_SHARE);
  const headroomBytes = Math.max(HEADROOM_BYTES_MIN, Math.ceil(limitBytes * HEADROOM_SHARE));
  const left = limitBytes - heapBytes - bufferBytes - indexBytes - pageTableBytes - headroomBytes;
  const usableBytes = Math.max(0, Math.floor(left));
  const pinBytes = Math.floor(usableBytes * options.pinShare);
  const lockBytes = Math.min(pinBytes, demands.lockableBytes);
  const overlayBytes = Math.floor(usableBytes * options.overlayShare);
  const notes: string[] = [];
  if (usableBytes === 0) {
    notes.push(
      `no memory is left for pins and pool: of ${mib(limitBytes)} the heaps may take ${mib(heapBytes)}, ` +
        `buffers and index ${mib(bufferBytes + indexBytes)}, and ${mib(headroomBytes)} are kept free`,
    );
  }
  if (lockBytes < pinBytes) {
    notes.push(
      `only ${mib(lockBytes)} of ${mib(pinBytes)} for pins can be locked (RLIMIT_MEMLOCK): the rest is resident, not locked`,
    );
  }
  return {
    limitBytes,
    heapBytes,
    pageTableBytes,
    headroomBytes,
    usableBytes,
    pinBytes,
    lockBytes,
    overlayBytes,
    poolBytes: usableBytes - pinBytes - overlayBytes,
    notes,
  };
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}
