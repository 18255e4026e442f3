/** What a turn changed of a table with values (a Map, or an object with many keys), as edits of a patch. */
import { DraftNode } from "./draft-node.ts";
import type { OrderedTable, TableEdit, TableKey } from "./ordered-table.ts";
import type { Patch, PatchOp, Step } from "./patch-format.ts";

/**
 * @param settled the table as `edit.commit` made it.
 * @param pending keys under which `edit` may hold changed children.
 */
export function describeTable(
  edit: TableEdit,
  settled: OrderedTable,
  pending: Iterable<TableKey>,
  op: PatchOp,
  patch: Patch,
  path: readonly Step[],
): void {
  const { base, cleared } = edit;
  const removed = new Set(edit.removedKeys());
  for (const key of removed) patch.removes(base.get(key));
  const assigned: unknown[] = [];
  for (const key of edit.changedKeys()) {
    const inPlace = !cleared && !removed.has(key) && base.has(key);
    const value = settled.get(key);
    if (inPlace) {
      if (Object.is(value, base.get(key))) continue;
      patch.removes(base.get(key));
    }
    assigned.push(key, value);
  }
  const nested: [TableKey, DraftNode][] = [];
  for (const key of pending) {
    const child = edit.get(key);
    if (!(child instanceof DraftNode)) continue;
    if (child.nested) nested.push([key, child]);
    else {
      patch.removes(base.get(key));
      assigned.push(key, settled.get(key));
    }
  }
  const removes = cleared && base.size > 0 ? true : [...removed];
  if (removes === true || removes.length + assigned.length > 0)
    patch.add(path, op, removes, assigned);
  for (const [key, child] of nested) child.describe(patch, [...path, key]);
}
