/** The structures that extents hold. */
export { column, type ColumnHandle, type ColumnOptions } from "./column.ts";
export { map, type MapOptions } from "./map.ts";
export type {
  MaybePromise,
  StructureDefinition,
  StructureKind,
  StructureOptions,
} from "./structure.ts";
