/** Columns of text that line up. */
import type { Paint } from "./style.ts";

export interface Column {
  readonly title: string;
  /** Default: left. */
  readonly align?: "left" | "right";
}

/** Rows below a dim head; no trailing blanks, so that the last column may be long. */
export function textTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  paint: Paint,
): string {
  const widths = columns.map((column, i) =>
    Math.max(column.title.length, ...rows.map((row) => (row[i] ?? "").length)),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map((column, i) =>
        column.align === "right"
          ? (cells[i] ?? "").padStart(widths[i] ?? 0)
          : (cells[i] ?? "").padEnd(widths[i] ?? 0),
      )
      .join("  ")
      .trimEnd();
  const head = paint("dim", line(columns.map((column) => column.title)));
  return [head, ...rows.map(line)].join("\n");
}

/** "key  value" lines under each other. */
export function fieldList(fields: readonly (readonly [string, string])[], paint: Paint): string {
  const width = Math.max(0, ...fields.map(([name]) => name.length));
  return fields
    .map(([name, value]) => {
      // Further lines of a value stand below its first.
      const text = value.replaceAll("\n", `\n${" ".repeat(width + 2)}`);
      return `${paint("dim", name.padEnd(width))}  ${text}`;
    })
    .join("\n");
}
