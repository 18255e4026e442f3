/**
 * The bytes a turn's change of the state value is logged as.
 *
 * | offset | size | field                                         |
 * |--------|------|-----------------------------------------------|
 * | 0      | 1    | format version, 1                             |
 * | 1      | 1    | kind: 0 whole value, 1 patch                  |
 * | 2      | rest | MessagePack, as in core's wire/value-format.ts |
 *
 * A whole value replaces the state. A patch is one array of edits, four elements each: path, op, a, b. The path is an
 * array of steps from the root: a property name, an array index or a Map key, by what stands there. Edits apply in order,
 * parents before what is nested in them, so an index counts in the array as it is after the edits before.
 *
 * | op | of          | a                                              | b                                     |
 * |----|-------------|------------------------------------------------|---------------------------------------|
 * | 0  | plain object| names to remove                                | name, value, name, value…: set in order |
 * | 1  | array       | keep, drop, insert, keep, drop, insert…        | the inserted elements, in order       |
 * | 2  | Map         | keys to remove; `true`: all                    | key, value, key, value…: set in order |
 * | 3  | Set         | members to remove; `true`: all                 | members to add, in order              |
 * | 4  | typed array | byte offset                                    | the bytes from there on               |
 *
 * `a` of an array walks the old elements from the start: keep so many, drop so many, insert so many of `b`; the rest stays.
 * A name that is removed and set again moves to the end, as it does in JavaScript.
 *
 * Frozen by golden vectors (patch-apply.test.ts).
 */
export const DELTA_VERSION = 1;

export const DeltaKind = { whole: 0, patch: 1 } as const;

export const PatchOp = { record: 0, array: 1, map: 2, set: 3, bytes: 4 } as const;
export type PatchOp = (typeof PatchOp)[keyof typeof PatchOp];

/** A property name, an array index or a Map key. */
export type Step = unknown;

/** Collects the edits of a patch. */
export class Patch {
  /** path, op, a, b, path, op, a, b… */
  readonly edits: unknown[] = [];
  /** Encoded bytes the edits take away, at least. */
  bytesRemovedMin = 0;

  add(path: readonly Step[], op: PatchOp, a: unknown, b: unknown): void {
    this.edits.push(path, op, a, b);
  }

  /** Counts a value that is removed or replaced. */
  removes(committed: unknown): void {
    this.bytesRemovedMin += encodedBytesMin(committed);
  }

  get empty(): boolean {
    return this.edits.length === 0;
  }
}

/** Values looked at per `encodedBytesMin`: enough for a row, little for a table. */
const VALUES_LOOKED_AT_MAX = 64;

/** A quick lower bound of a committed value's encoded size; exact enough for what turns usually remove. */
export function encodedBytesMin(value: unknown, budget = { left: VALUES_LOOKED_AT_MAX }): number {
  if (typeof value === "string") return 1 + value.length; // UTF-8 takes at least a byte per UTF-16 unit
  if (typeof value !== "object" || value === null || budget.left-- <= 0) return 1;
  if (ArrayBuffer.isView(value)) return 2 + value.byteLength;
  let bytes = 1;
  if (Array.isArray(value)) {
    bytes += value.length; // one byte each, at least
    for (let i = 0; i < value.length && budget.left > 0; i++) {
      bytes += encodedBytesMin(value[i], budget) - 1;
    }
  } else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const key of Object.keys(value)) {
      bytes += 1 + key.length + encodedBytesMin((value as Record<string, unknown>)[key], budget);
    }
  }
  return bytes;
}
