/** What a log is opened with: units, defaults, bounds. */
import {
  PinionError,
  noTelemetry,
  randomSeed,
  SHARD_COUNT_MAX,
  systemClock,
  type Clock,
  type Telemetry,
} from "@pinion/core";
import type { Disk } from "../disk/disk.ts";
import type { KvStore } from "../kv/kv-store.ts";
import type { SegmentArchive } from "./archive.ts";
import { flushPolicy, parseFlushPolicy } from "./flush-policy.ts";
import type { FlushPolicy } from "./log.ts";
import { recordBytes } from "./record-format.ts";
import { headsPayloadBytes } from "./shard-heads.ts";

export interface ArchiveOptions {
  readonly store: SegmentArchive;
  /** Finished segments that may wait for the archive before appends are refused. Default 64, 1 … 100,000. */
  readonly backlogSegmentsMax?: number;
  /** Bytes of them, likewise. Default 4 GiB, at least one segment. */
  readonly backlogBytesMax?: number;
  /** Share of both bounds below which appends are taken again. Default 0.5, 0 … 1. */
  readonly resumeAt?: number;
}

export interface LogOptions {
  readonly disk: Disk;
  /** Holds the segment index. May hold other things, too. */
  readonly kv: KvStore;
  /** Folder of this log alone; created if need be. */
  readonly dir: string;
  /** Number of the worker that owns the log; an existing log of another worker is refused. Default 0. */
  readonly worker?: number;
  /** Shards are numbered from 0 up to this, exclusive. Default 256; may grow, not shrink below what the log holds. */
  readonly shardCount?: number;
  /** A policy, or its text such as `batched(100)`. Default `group`. */
  readonly flush?: FlushPolicy | string;
  /** Size of a segment file, a multiple of 4 KiB, 64 KiB … 1 GiB. Default 64 MiB. Applies to new segments. */
  readonly segmentBytes?: number;
  /** Size of each of the two staging buffers, a multiple of 8, 16 KiB … 256 MiB. Default 8 MiB. */
  readonly stagingBytes?: number;
  /** Share of a segment that is full when the next one is prepared. Default 0.8, 0 … 1; once that came too late, four are kept ready. */
  readonly prepareAt?: number;
  /** Pause after a flush before a marker vouches for it. Default 10 ms, 1 … 10,000. */
  readonly idleMarkerMs?: number;
  /** Files of removed segments kept to be used again. Default 4, 0 … 64. */
  readonly sparesMax?: number;
  /** Readers at a time. Default 64, 1 … 10,000. */
  readonly readersMax?: number;
  /** Segment files kept open that nobody reads. Default 16, 0 … 1,000. */
  readonly idleFilesMax?: number;
  /** `append`s that may wait for room. Default 1,024, 1 … 1,000,000. */
  readonly appendQueueMax?: number;
  /** Where finished segments are copied. None by default. */
  readonly archive?: ArchiveOptions;
  readonly clock?: Clock;
  /**
   * Numbers the lives of files. Default: 48 bits of the machine's entropy, deliberately not a seeded source: a number that comes
   * twice would make records of an earlier life look valid.
   */
  readonly newGeneration?: () => number;
  readonly telemetry?: Telemetry;
}

export type ResolvedArchiveOptions = Required<ArchiveOptions>;
export type ResolvedLogOptions = Readonly<
  Required<Omit<LogOptions, "flush" | "archive">> & {
    flush: FlushPolicy;
    archive: ResolvedArchiveOptions | undefined;
  }
>;

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

interface Bound {
  readonly min: number;
  readonly max: number;
  /** Whole multiples of this; absent for fractions. */
  readonly unit?: number;
}

const BOUNDS = {
  worker: { min: 0, max: 65_535, unit: 1 },
  shardCount: { min: 1, max: SHARD_COUNT_MAX, unit: 1 },
  segmentBytes: { min: 64 * KIB, max: GIB, unit: 4 * KIB },
  stagingBytes: { min: 16 * KIB, max: 256 * MIB, unit: 8 },
  prepareAt: { min: 0, max: 1 },
  idleMarkerMs: { min: 1, max: 10_000 },
  sparesMax: { min: 0, max: 64, unit: 1 },
  readersMax: { min: 1, max: 10_000, unit: 1 },
  idleFilesMax: { min: 0, max: 1000, unit: 1 },
  appendQueueMax: { min: 1, max: 1_000_000, unit: 1 },
} as const satisfies Record<string, Bound>;

const ARCHIVE_BOUNDS = {
  backlogSegmentsMax: { min: 1, max: 100_000, unit: 1 },
  backlogBytesMax: { min: 64 * KIB, max: Number.MAX_SAFE_INTEGER, unit: 1 },
  resumeAt: { min: 0, max: 1 },
} as const satisfies Record<string, Bound>;

/** @throws `config-invalid`, naming the key, its value and the bound it breaks */
export function resolveLogOptions(options: LogOptions): ResolvedLogOptions {
  const { flush = flushPolicy.group, archive } = options;
  const resolved = {
    disk: options.disk,
    kv: options.kv,
    dir: options.dir.replace(/\/+$/, ""),
    worker: options.worker ?? 0,
    shardCount: options.shardCount ?? 256,
    flush: typeof flush === "string" ? parseFlushPolicy(flush) : flush,
    segmentBytes: options.segmentBytes ?? 64 * MIB,
    stagingBytes: options.stagingBytes ?? 8 * MIB,
    prepareAt: options.prepareAt ?? 0.8,
    idleMarkerMs: options.idleMarkerMs ?? 10,
    sparesMax: options.sparesMax ?? 4,
    readersMax: options.readersMax ?? 64,
    idleFilesMax: options.idleFilesMax ?? 16,
    appendQueueMax: options.appendQueueMax ?? 1024,
    archive: archive && resolveArchive(archive),
    clock: options.clock ?? systemClock,
    newGeneration: options.newGeneration ?? randomSeed,
    telemetry: options.telemetry ?? noTelemetry,
  };
  check("log", BOUNDS, resolved);
  const { segmentBytes, shardCount } = resolved;
  const headsBytes = recordBytes(headsPayloadBytes(shardCount));
  if (headsBytes * 4 > segmentBytes) {
    throw invalid(
      "log.segmentBytes",
      segmentBytes,
      `must be at least ${headsBytes * 4} for ${shardCount} shards`,
    );
  }
  return Object.freeze(resolved);
}

function resolveArchive(options: ArchiveOptions): ResolvedArchiveOptions {
  const resolved = {
    store: options.store,
    backlogSegmentsMax: options.backlogSegmentsMax ?? 64,
    backlogBytesMax: options.backlogBytesMax ?? 4 * GIB,
    resumeAt: options.resumeAt ?? 0.5,
  };
  check("log.archive", ARCHIVE_BOUNDS, resolved);
  return Object.freeze(resolved);
}

function check<B extends Record<string, Bound>>(
  section: string,
  bounds: B,
  values: Record<keyof B, number>,
): void {
  for (const [key, { min, max, unit }] of Object.entries<Bound>(bounds)) {
    const value = values[key]!;
    if (!(value >= min && value <= max))
      throw invalid(`${section}.${key}`, value, `must be from ${min} to ${max}`);
    if (unit !== undefined && value % unit !== 0) {
      throw invalid(
        `${section}.${key}`,
        value,
        unit === 1 ? "must be a whole number" : `must be a multiple of ${unit}`,
      );
    }
  }
}

function invalid(key: string, value: number, relation: string): PinionError {
  return new PinionError("config-invalid", `${key} is ${value}: it ${relation}`, {
    details: { key, value },
  });
}
