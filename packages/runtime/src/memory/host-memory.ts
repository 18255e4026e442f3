/**
 * How much memory the extents of a host's actors may take, over all its workers: what the machine and its control groups allow, less what the host
 * needs otherwise (storage/residency/memory-budget.ts).
 */
import {
  BudgetCounter,
  HostFiles,
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
  /** Bytes that the pool of a worker may take at most. */
  readonly poolBytesMax: number;
}

/** What a host would do on this machine. */
export interface HostMemoryPlan {
  readonly limits: MemoryLimits;
  readonly budget: MemoryBudget;
  /** Bytes that all workers together may pin. */
  readonly pinBytes: number;
  /** What the host takes under load before anything is pinned: with less the system ends it. */
  readonly neededBytes: number;
}

export interface HostMemory extends HostMemoryPlan {
  /** What the workers count in (BudgetCounter). */
  readonly shared: SharedArrayBuffer;
  /** And for types with bounds of their own (TypeBudgetTable). */
  readonly typesShared: SharedArrayBuffer;
  /** Of each worker, for pages that are not pinned. */
  readonly poolBytes: number;
}

const POOL_BYTES_MIN = 1024 * 1024;

/** Staging, sockets, stacks: about what a worker takes that is neither heap nor arena. */
const BUFFER_BYTES_PER_WORKER = 128 * 1024 * 1024;
/** LMDB's index of the log. */
const INDEX_BYTES = 32 * 1024 * 1024;

/** Measured with one worker under load: in 384 MiB the system kills it, 640 MiB hold. */
const FIRST_WORKER_BYTES = 640 * 1024 * 1024;

/** Reads the machine's limits: once, at the start of a host. @param files where /proc and /sys are read */
export function hostMemory(
  settings: MemorySettings,
  workers: number,
  workerHeapBytes: number,
  files?: HostFiles,
): HostMemory {
  const plan = hostMemoryPlan(settings, workers, workerHeapBytes, files);
  const { budget, pinBytes } = plan;
  const poolBytes = Math.floor(Math.min(budget.poolBytes / workers, settings.poolBytesMax));
  return {
    ...plan,
    shared: BudgetCounter.create(pinBytes, workers).shared,
    typesShared: TypeBudgetTable.create(workers).shared,
    poolBytes: Math.max(POOL_BYTES_MIN, poolBytes),
  };
}

/** As `hostMemory`, for who only wants to know. */
export function hostMemoryPlan(
  settings: MemorySettings,
  workers: number,
  workerHeapBytes: number,
  files = new HostFiles(),
): HostMemoryPlan {
  const limits = readMemoryLimits(files);
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
  return {
    limits,
    budget,
    pinBytes: Math.min(budget.pinBytes, settings.pinBytesMax ?? Infinity),
    neededBytes: FIRST_WORKER_BYTES + (workers - 1) * BUFFER_BYTES_PER_WORKER,
  };
}
