/** The structures that extents hold. */
export { blob, type BlobHandle, type BlobInfo, type BlobOptions, type BlobStats } from "./blob.ts";
export { bytes, type BytesHandle, type BytesOptions } from "./bytes.ts";
export type { BytesView } from "./bytes-view.ts";
export { column, type ColumnHandle, type ColumnOptions } from "./column.ts";
export type { NumberColumn } from "./column-aggregates.ts";
export type { Column } from "./column-handle.ts";
export {
  checkDeclarations,
  handlesClass,
  type HandlesClass,
  type StructureDeclarations,
  type StructureHandles,
} from "./declarations.ts";
export {
  graph,
  type EdgeOptions,
  type GraphCounts,
  type GraphHandle,
  type GraphOptions,
} from "./graph.ts";
export {
  log,
  type EntryQuery,
  type LogEntry,
  type LogHandle,
  type LogStructureOptions,
  type TimeQuery,
} from "./log.ts";
export { map, type MapHandle, type MapOptions } from "./map.ts";
export {
  measurePartition,
  partitionByLabelPropagation,
  type EdgeArrays,
  type Partition,
  type PartitionOptions,
} from "./partitioner.ts";
export type {
  MaybePromise,
  StructureDefinition,
  StructureKind,
  StructureOptions,
} from "./structure.ts";
