/** Iteration over the matching rows of a column, with the values of others in the same rows. */
import type { Column, RowQuery } from "./column-handle.ts";
import type { ColumnArrays, ColumnType } from "./column-types.ts";
import type { MaybePromise, Steps } from "./structure.ts";

export interface ScanQuery<T extends ColumnType, C> extends RowQuery<T> {
  /** Handles of columns whose values in the matching rows are wanted, too. */
  readonly columns?: C;
}

type ColumnsOf<C> = {
  readonly [K in keyof C]: C[K] extends Column<infer T> ? ColumnArrays[T] : never;
};

/** Matching rows of one block, with the values they have; all copies, which may be kept. */
export interface ColumnBatch<T extends ColumnType, C> {
  /** Numbers of the rows, ascending. */
  readonly rows: Float64Array;
  readonly values: ColumnArrays[T];
  readonly columns: ColumnsOf<C>;
}

export async function* scanColumn<
  T extends ColumnType,
  C extends Readonly<Record<string, Column<ColumnType>>>,
>(column: Column<T>, query: ScanQuery<T, C>): AsyncGenerator<ColumnBatch<T, C>> {
  const cursor = await column.run(column.openCursor(query));
  const others = Object.entries(query.columns ?? {});
  function* next(): Steps<ColumnBatch<T, C> | undefined> {
    const piece = yield* cursor.next();
    if (piece === undefined) return undefined;
    const { picked, count } = piece;
    const firstRow = piece.firstRow + (picked === undefined ? piece.from : 0);
    const values = yield* column.gather(firstRow, picked, count);
    const columns: Record<string, unknown> = {};
    for (const [name, other] of others) {
      columns[name] = yield* other.gather(firstRow, picked, count);
    }
    const rows = new Float64Array(count);
    for (let i = 0; i < count; i++) rows[i] = firstRow + (picked === undefined ? i : picked[i]!);
    return { rows, values, columns: columns as ColumnsOf<C> };
  }
  let look = (): MaybePromise<ColumnBatch<T, C> | undefined> => column.run(next());
  for (const [, other] of others) {
    const inner = look;
    look = () => other.reads(inner);
  }
  for (;;) {
    const batch = await look();
    if (batch === undefined) return;
    yield batch;
  }
}
