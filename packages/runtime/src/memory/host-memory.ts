/**
 * How much memory the extents of a host's actors may take, over all its workers: what the machine and its control groups allow, less what the host
 * needs otherwise (storage/residency/memory-budget.ts).
 */
import {
  BudgetCounter,
  memoryBudget,
  memoryDoor,
  readMemoryLimits,
  resolveMemoryBudgetOptions,
  TypeBudgetTable,
  type MemoryBudget,
  type MemoryLimits,
} from "@pinion/storage";

/** Of a host's options. */
export interface MemorySettings {
  /** Share of the usable memory that pins may take, 0 … 0.9. */
  readonly pinShare: number;
  /** Bytes that pins may take at most, whatever the share gives; undefined: no further bound. */
  readonly pinBytesMax: number | undefined;
}

export interface HostMemory {
  readonly limits: MemoryLimits;
  readonly budget: MemoryBudget;
  /** Bytes that all workers together may pin. */
  readonly pinBytes: number;
  /** What the workers count in (BudgetCounter). */
  readonly shared: SharedArrayBuffer;
  /** And for types with bounds of their own (TypeBudgetTable). */
  readonly typesShared: SharedArrayBuffer;
  /** Of each worker, for pages that are not pinned. */
  readonly poolBytes: number;
}

/** A larger pool costs 17 MiB for each GiB before the first page is in it. */
const POOL_BYTES_MAX = 512 * 1024 * 1024;
const POOL_BYTES_MIN = 1024 * 1024;

/** Staging, sockets, stacks: about what a worker takes that is neither heap nor arena. */
const BUFFER_BYTES_PER_WORKER = 128 * 1024 * 1024;
/** LMDB's index of the log. */
const INDEX_BYTES = 32 * 1024 * 1024;

/** Reads the machine's limits: once, at the start of a host. */
export function hostMemory(
  settings: MemorySettings,
  workers: number,
  workerHeapBytes: number,
): HostMemory {
  const limits = readMemoryLimits();
  const budget = memoryBudget(
    {
      limitBytes: limits.limitBytes,
      lockableBytes: memoryDoor().facts().lockableBytes,
      workers,
      heapBytesPerWorker: workerHeapBytes,
      bufferBytes: workers * BUFFER_BYTES_PER_WORKER,
      indexBytes: INDEX_BYTES,
    },
    resolveMemoryBudgetOptions({ pinShare: settings.pinShare }),
  );
  const pinBytes = Math.min(budget.pinBytes, settings.pinBytesMax ?? Infinity);
  const poolBytes = Math.floor(Math.min(budget.poolBytes / workers, POOL_BYTES_MAX));
  return {
    limits,
    budget,
    pinBytes,
    shared: BudgetCounter.create(pinBytes, workers).shared,
    typesShared: TypeBudgetTable.create(workers).shared,
    poolBytes: Math.max(POOL_BYTES_MIN, poolBytes),
  };
}
