/**
 * `column(type, options)`: many values of one type, in rows. Blocks of 64 KiB that are written once, each as small as its values allow, and a
 * tail that grows in place; scans skip blocks by least and greatest value. Format: column-layout.ts, column-encoding.ts.
 */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { GROW_BYTES } from "../extent/growth.ts";
import { NumberColumn, type NumberColumnType } from "./column-aggregates.ts";
import { Column, type ColumnSettings } from "./column-handle.ts";
import type { ScanKernels } from "./column-kernels.ts";
import { COLUMN_VERSION } from "./column-layout.ts";
import { STORED_TYPES, type ColumnType } from "./column-types.ts";
import { resolveGrow, type StructureDefinition } from "./structure.ts";

export interface ColumnOptions {
  /**
   * `auto` (default): each full block is stored as runs, packed or as deltas where that saves a quarter. `plain`: never, for columns
   * that `unsafeView` is used on, or whose old rows are set often.
   */
  readonly encoding?: "auto" | "plain";
  /** Sets the default of `grow`: 16 MiB for `hot` (default), 256 MiB for `scan`. */
  readonly use?: "hot" | "scan";
  /** Room the extent gains at a time at most: bytes, or "16MiB". */
  readonly grow?: string | number;
  /** Inner loops of scans. Default: the addon's where it is built, else JavaScript; the results are the same. */
  readonly kernels?: ScanKernels;
}

export type ColumnHandle<T extends ColumnType> = T extends NumberColumnType
  ? NumberColumn<T>
  : Column<T>;

/**
 * @param type of every value: f64, f32, i32, i64 (bigints), or string, for strings that repeat: at most 98,304 different ones, 4
 *   MiB in all. There is no null: use NaN, or a value that means it.
 * @throws `config-invalid`
 */
export function column<T extends ColumnType>(
  type: T,
  options: ColumnOptions = {},
): StructureDefinition<ColumnHandle<T>> {
  const { encoding = "auto", use = "hot", grow, kernels } = options;
  if (!Object.hasOwn(STORED_TYPES, type)) throw unknown("type", type, Object.keys(STORED_TYPES));
  if (encoding !== "auto" && encoding !== "plain")
    throw unknown("encoding", encoding, ["auto", "plain"]);
  if (use !== "hot" && use !== "scan") throw unknown("use", use, ["hot", "scan"]);
  const cap = resolveGrow(grow, use === "hot" ? GROW_BYTES.hotColumn : GROW_BYTES.scan);
  const settings: ColumnSettings = {
    stored: STORED_TYPES[type],
    encode: encoding === "auto",
    ...(kernels && { kernels }),
  };
  return Object.freeze({
    kind: "column",
    version: COLUMN_VERSION,
    options: Object.freeze({ ...cap, type, encoding }),
    open: (extent: ExtentAccess) =>
      (type === "string"
        ? new Column<"string">(extent, settings)
        : new NumberColumn<NumberColumnType>(extent, settings)) as unknown as ColumnHandle<T>,
  });
}

function unknown(option: string, value: unknown, known: readonly string[]): PinionError {
  return new PinionError(
    "config-invalid",
    `${option} of a column is ${String(value)}; it is one of ${known.join(", ")}`,
  );
}
