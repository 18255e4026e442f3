export * from "./disk/disk.ts";
export { lockDataDir, type DataDirLock } from "./disk/data-dir-lock.ts";
export { RealDisk } from "./disk/real-disk.ts";
export { SimDisk, type SimCrashOptions, type SimDiskOptions } from "./disk/sim-disk.ts";
export type {
  SimFaultRule,
  SimOperation,
  SimOperationKind,
  SimOptions,
} from "./disk/sim-operations.ts";
export * from "./kv/kv-store.ts";
export { LmdbKv } from "./kv/lmdb-kv.ts";
export {
  ShardStore,
  type ShardStoreOptions,
  type ShardStoreStats,
  type VolumeChanges,
} from "./store/shard-store.ts";
export { PagePool, type PagePoolOptions } from "./store/page-pool.ts";
export type { BufferPoolStats } from "./pool/pool-metrics.ts";
export type { VolumeWrite } from "./store/shard-commit.ts";
export { SimKv, type SimKvOptions } from "./kv/sim-kv.ts";
export {
  ActorExtents,
  type ExtentDeclarations,
  type ExtentsOwner,
  type HotExtentOfActor,
  type LoggedDelta,
} from "./extent/actor-extents.ts";
export type { ExtentsTurn, FinishedExtents, TurnExtents } from "./extent/extents-turn.ts";
export {
  attributesProblem,
  flagsProblem,
  LINK_KINDS,
  LINKS_MAX,
  NO_FACTS,
  OPPOSITE,
  storedFacts,
  withLink,
  withoutLink,
  type ExtentAttributes,
  type ExtentFacts,
  type ExtentFlags,
  type ExtentLink,
  type LinkKind,
  type TimeBucket,
} from "./extent/extent-facts.ts";
export { connectionsOf, type ConnectedExtent } from "./extent/connections.ts";
export { growBytesOfKind, type GrowthCap } from "./extent/growth.ts";
export type { LearnedLink } from "./extent/learned-links.ts";
export {
  TurnExtentIndex,
  type ExtentConnection,
  type ExtentIndexView,
  type IndexScope,
} from "./extent/turn-extent-index.ts";
export type { ExtentIndex, ExtentQuery } from "./extent/extent-index.ts";
export type { AccessCounts } from "./extent/extent-usage.ts";
export type { ExtentAccess } from "./extent/extent-access.ts";
export type { ExtentImage } from "./extent/extent-image.ts";
export { PAGE_BYTES } from "./segment/page-entry.ts";
export {
  unwrittenBounds,
  unwrittenFailure,
  UnwrittenPages,
  type UnwrittenBounds,
} from "./extent/unwritten-pages.ts";
export {
  BufferMemory,
  type ExtentMemory,
  type ExtentMemorySource,
} from "./extent/extent-memory.ts";
export {
  PinnedResidency,
  PlainResidency,
  type ExtentResidency,
  type ResidentActor,
} from "./extent/extent-residency.ts";
export { Arena, type ArenaStats, type BlockOptions } from "./extent/arena.ts";
export { MemoryExtent } from "./extent/memory-extent.ts";
export { crc32c } from "./memory/crc32c.ts";
export type { NativeDoor } from "./memory/native-door.ts";
export { nativeDoor } from "./memory/open-native-door.ts";
export {
  fileSystemFeatures,
  platformFeatures,
  type FileSystemFeatures,
  type PlatformFeatures,
} from "./memory/platform-features.ts";
export { PortableDoor } from "./memory/portable-door.ts";
export {
  RECORD_ALIGN_BYTES,
  RECORD_HEADER_BYTES,
  recordChecksum,
  sealRecords,
} from "./memory/seal-records.ts";
export * from "./log/log.ts";
export {
  flushPolicy,
  parseFlushPolicy,
  describeFlushPolicy,
  FLUSH_POLICY_FORMS,
} from "./log/flush-policy.ts";
export { openLog, SegmentedLog, type LogStats } from "./log/segmented-log.ts";
export type { LogOptions, ArchiveOptions } from "./log/log-options.ts";
export type { FlushKind, FlushStats, HistogramSummary, RefusalReason } from "./log/log-metrics.ts";
export type { OpeningReport } from "./log/log-opening.ts";
export type { SegmentEntry, SegmentStatus } from "./log/log-index.ts";
export type { ArchiveHealth } from "./log/archiver.ts";
export { FilesystemArchive, type ArchivedSegment, type SegmentArchive } from "./log/archive.ts";
export { KvStateStore, STATE_BYTES_MAX, type KvStateStoreOptions } from "./state/kv-state-store.ts";
export { SegmentStateStore, type SegmentStateStoreOptions } from "./state/segment-state-store.ts";
export { isOfOneActor, putAhead } from "./state/put-ahead.ts";
export * from "./state/state-store.ts";
export * from "./structures/index.ts";
export * from "./residency/index.ts";
export { memoryDoor } from "./memory/open-memory-door.ts";
export type {
  LockDenial,
  MemoryDoor,
  MemoryFacts,
  NumaPolicy,
  PopulateOptions,
  RangePlacement,
  Region,
  RegionOptions,
} from "./memory/memory-door.ts";
export * from "./embedded/index.ts";
