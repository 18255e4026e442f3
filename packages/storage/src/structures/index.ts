/** The structures that extents hold. */
export { column, type ColumnHandle, type ColumnOptions } from "./column.ts";
export type { NumberColumn } from "./column-aggregates.ts";
export type { Column } from "./column-handle.ts";
export { map, type MapHandle, type MapOptions } from "./map.ts";
export type {
  MaybePromise,
  StructureDefinition,
  StructureKind,
  StructureOptions,
} from "./structure.ts";
