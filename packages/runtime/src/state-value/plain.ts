/**
 * State values as ordinary JavaScript: for the codec, which knows no tables and no views, and for people.
 */
import { nodeBehind } from "./draft-node.ts";
import { copyLeaf, isBinary } from "./leaf-draft.ts";
import { STATE_DEPTH_MAX } from "./limits.ts";
import { OrderedTable, type TableKey } from "./ordered-table.ts";

/**
 * A committed value with native Maps, Sets and objects in place of tables. Shares what needs no change: only to be read.
 */
export function sharedPlain(committed: unknown): unknown {
  if (typeof committed !== "object" || committed === null) return committed;
  if (committed instanceof OrderedTable) return fromTable(committed, sharedPlain);
  if (Array.isArray(committed)) {
    let copy: unknown[] | undefined;
    for (let i = 0; i < committed.length; i++) {
      const plain = sharedPlain(committed[i]);
      if (plain !== committed[i]) (copy ??= [...(committed as unknown[])])[i] = plain;
    }
    return copy ?? committed;
  }
  if (Object.getPrototypeOf(committed) !== Object.prototype) return committed; // a leaf
  const record = committed as Readonly<Record<string, unknown>>;
  let copy: Record<string, unknown> | undefined;
  for (const key of Object.keys(record)) {
    const plain = sharedPlain(record[key]);
    if (plain !== record[key]) (copy ??= { ...record })[key] = plain;
  }
  return copy ?? committed;
}

/** A committed value as a copy that belongs to the caller. */
export function plainCopy(committed: unknown): unknown {
  if (typeof committed !== "object" || committed === null) return committed;
  if (committed instanceof OrderedTable) return fromTable(committed, plainCopy);
  if (Array.isArray(committed)) return committed.map(plainCopy);
  if (committed instanceof Date || isBinary(committed)) return copyLeaf(committed);
  const copy: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(committed)) copy[key] = plainCopy(value);
  return copy;
}

function fromTable(table: OrderedTable, plain: (value: unknown) => unknown): unknown {
  if (table.kind === "set") return new Set(table.keys());
  if (table.kind === "map") {
    const map = new Map<TableKey, unknown>();
    for (const key of table.keys()) map.set(key, plain(table.get(key)));
    return map;
  }
  const record: Record<string, unknown> = {};
  for (const key of table.keys()) record[key as string] = plain(table.get(key));
  return record;
}

/**
 * Any value with the views in it replaced by what they stand for now. Views of what was not changed become the committed
 * value itself, so the result is only to be encoded, before the next write.
 */
export function plainOf(value: unknown): unknown {
  return replaceViews(value, 0);
}

function replaceViews(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null || depth > STATE_DEPTH_MAX) return value;
  const node = nodeBehind(value);
  if (node !== undefined) {
    node.session.noticeLeaves();
    return sharedPlain(node.settle());
  }
  if (Array.isArray(value)) {
    let copy: unknown[] | undefined;
    for (let i = 0; i < value.length; i++) {
      const plain = replaceViews(value[i], depth + 1);
      if (plain !== value[i]) (copy ??= [...(value as unknown[])])[i] = plain;
    }
    return copy ?? value;
  }
  if (Object.getPrototypeOf(value) === Object.prototype) {
    const record = value as Readonly<Record<string, unknown>>;
    let copy: Record<string, unknown> | undefined;
    for (const key of Object.keys(record)) {
      const plain = replaceViews(record[key], depth + 1);
      if (plain !== record[key]) (copy ??= { ...record })[key] = plain;
    }
    return copy ?? value;
  }
  return value;
}
