/** What an embedded store is opened with: units, defaults, bounds. */
import { PinionError, randomSeed, systemClock, type Clock } from "@pinion/core";
import type { Disk } from "../disk/disk.ts";
import type { ExtentResidency } from "../extent/extent-residency.ts";
import type { KvStore } from "../kv/kv-store.ts";
import { flushPolicy, parseFlushPolicy } from "../log/flush-policy.ts";
import type { FlushPolicy } from "../log/log.ts";

const MIB = 1024 * 1024;

export interface StoreSettings {
  /** A policy, or its text such as `batched(100)`: what an update that has resolved may rely on. Default `group`. */
  readonly flush?: FlushPolicy | string;
  /** Size of a file of the log, a multiple of 4 KiB, 64 KiB … 1 GiB. An update larger than that is refused. Default 32 MiB. */
  readonly logSegmentBytes?: number;
  /** Bytes of log that start a checkpoint: about what a start after a crash has to read. Default 64 MiB, 64 KiB … 1 TiB. */
  readonly checkpointLogBytes?: number;
  /**
   * Bytes of changed pages of extents that start a checkpoint; while there are twice as many, updates wait, and are refused while checkpoints fail.
   * Default 512 MiB, 64 KiB … 1 TiB.
   */
  readonly checkpointDirtyBytes?: number;
  /** Longest time a change waits for a checkpoint. Default 60,000 ms, 100 … 86,400,000. */
  readonly checkpointMs?: number;
  /** Updates of one volume that may wait, and reads of it that may be under way. Default 1,000, 1 … 1,000,000. */
  readonly waitingMax?: number;
  readonly clock?: Clock;
  /** Told of what did not work and is tried again, such as a checkpoint on a full disk. Default: nobody; `stats` has the last. */
  readonly onWarning?: (error: PinionError) => void;
}

export interface StoreOptions extends StoreSettings {
  /** Folder of this store alone; created if need be. */
  readonly dir: string;
  /**
   * Bytes of extents that are kept in memory at most. Default: two fifths of what the machine and its control groups leave beside the JavaScript
   * heap. 0: nothing is pinned, everything is read page by page.
   */
  readonly pinBytesMax?: number;
}

/** Where a store keeps what it has: tests give it a disk and an index that fail on request. */
export interface StorePorts {
  readonly disk: Disk;
  /** Stays its owner's, as `residency` does. */
  readonly index: KvStore;
  readonly residency: ExtentResidency;
  /** A number below 2^48, never the same twice. */
  readonly newGeneration?: () => number;
  /** Pages of a segment of the state store, at most 16,384: with few of them segments are cleaned soon. */
  readonly segmentPages?: number;
}

export type ResolvedStoreSettings = Readonly<
  Required<Omit<StoreSettings, "flush">> & { flush: FlushPolicy; newGeneration: () => number }
>;

const BOUNDS = {
  logSegmentBytes: { min: 64 * 1024, max: 1024 * MIB },
  checkpointLogBytes: { min: 64 * 1024, max: 1024 * 1024 * MIB },
  checkpointDirtyBytes: { min: 64 * 1024, max: 1024 * 1024 * MIB },
  checkpointMs: { min: 100, max: 86_400_000 },
  waitingMax: { min: 1, max: 1_000_000 },
} as const;

/** @throws `config-invalid`, naming the key, its value and the bound it breaks */
export function resolveStoreSettings(
  settings: StoreSettings,
  newGeneration: () => number = randomSeed,
): ResolvedStoreSettings {
  const { flush = flushPolicy.group } = settings;
  const resolved = {
    flush: typeof flush === "string" ? parseFlushPolicy(flush) : flush,
    logSegmentBytes: settings.logSegmentBytes ?? 32 * MIB,
    checkpointLogBytes: settings.checkpointLogBytes ?? 64 * MIB,
    checkpointDirtyBytes: settings.checkpointDirtyBytes ?? 512 * MIB,
    checkpointMs: settings.checkpointMs ?? 60_000,
    waitingMax: settings.waitingMax ?? 1_000,
    clock: settings.clock ?? systemClock,
    onWarning: settings.onWarning ?? (() => {}),
    newGeneration,
  };
  for (const [key, { min, max }] of Object.entries(BOUNDS)) {
    const value = resolved[key as keyof typeof BOUNDS];
    if (Number.isInteger(value) && value >= min && value <= max) continue;
    throw new PinionError(
      "config-invalid",
      `${key} is ${value}: it must be a whole number from ${min} to ${max}`,
      { details: { key, value, min, max } },
    );
  }
  return Object.freeze(resolved);
}
