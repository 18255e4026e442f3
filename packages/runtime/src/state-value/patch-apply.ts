/**
 * Applies a logged delta to the version it was made from (recovery, checkpoints, replicas). Its input may be damaged or
 * hostile: whatever does not fit the version it is applied to is `corruption`, and that version is unchanged.
 *
 * I1 containers of the given version are never written: each one an edit reaches is copied first, once per delta.
 */
import { decodeValue, isPinionError, messageOf } from "@pinion/core";
import { CopyIn } from "./copy-in.ts";
import { bytesOf, copyLeaf, isBinary, type BinaryLeaf } from "./leaf-draft.ts";
import { STATE_BYTES_MAX } from "./limits.ts";
import { OrderedTable, TableEdit, type TableKey } from "./ordered-table.ts";
import { DELTA_VERSION, DeltaKind, PatchOp } from "./patch-format.ts";
import { WIDE_RECORD_KEYS } from "./record-draft.ts";
import { MEMBER } from "./set-draft.ts";
import {
  corruptState,
  DELTA_HEADER_BYTES,
  StateVersion,
  versionFromBytes,
} from "./state-version.ts";

/** @throws `corruption` */
export function applyDelta<S>(
  base: StateVersion<S> | undefined,
  delta: Uint8Array,
): StateVersion<S> {
  if (delta[0] !== DELTA_VERSION)
    throw corruptState(`format version ${delta[0]} of a delta is not known`);
  if (delta[1] === DeltaKind.whole) return versionFromBytes(delta, DELTA_HEADER_BYTES);
  if (delta[1] !== DeltaKind.patch) throw corruptState(`kind ${delta[1]} of a delta is not known`);
  if (base === undefined) throw corruptState("a patch comes before any whole value");
  try {
    return new PatchApplication(base).apply(decodeValue(delta, DELTA_HEADER_BYTES), delta.length);
  } catch (e) {
    throw isPinionError(e, "corruption") ? e : corruptState(messageOf(e), e);
  }
}

/** While a delta is applied, tables in the tree are edits. */
type Writable = Record<string, unknown> | unknown[] | TableEdit | BinaryLeaf;

class PatchApplication<S> {
  readonly #base: StateVersion<S>;
  /** Containers of the new version that are ours to write. */
  readonly #own = new Set<unknown>();
  readonly #copier = new CopyIn();
  #tree: unknown;

  constructor(base: StateVersion<S>) {
    this.#base = base;
    this.#tree = base.tree;
  }

  apply(edits: unknown, deltaBytes: number): StateVersion<S> {
    const list = arrayOf(edits, "the edits");
    if (list.length % 4 !== 0) throw corruptState("a patch ends within an edit");
    for (let i = 0; i < list.length; i += 4) {
      const path = arrayOf(list[i], "a path");
      this.#edit(path, list[i + 1], list[i + 2], list[i + 3]);
    }
    const next = this.#settle(this.#tree);
    const version = new StateVersion<S>(
      next,
      this.#base.tables || this.#copier.tables,
      this.#base.bytesAtMost + deltaBytes,
    );
    if (version.bytesAtMost > STATE_BYTES_MAX) version.measure();
    return version;
  }

  #edit(path: readonly unknown[], op: unknown, a: unknown, b: unknown): void {
    const target = this.#reach(path);
    switch (op) {
      case PatchOp.record:
        return this.#editRecord(
          target,
          arrayOf(a, "the removed names"),
          arrayOf(b, "the set names"),
          path,
        );
      case PatchOp.array:
        return this.#editArray(
          target,
          arrayOf(a, "the runs"),
          arrayOf(b, "the inserted elements"),
          path,
        );
      case PatchOp.map:
      case PatchOp.set:
        return this.#editTable(
          target,
          op,
          a === true || arrayOf(a, "the removed keys"),
          arrayOf(b, "the set keys"),
          path,
        );
      case PatchOp.bytes:
        return editBytes(target, a, b);
      default:
        throw corruptState(`edit ${String(op)} of a patch is not known`);
    }
  }

  /** The container at `path`, copied if it is still the old version's, and so is each one above it. */
  #reach(path: readonly unknown[]): Writable {
    let at = this.#writable(this.#tree);
    this.#tree = at;
    for (const step of path) {
      const child = this.#writable(childOf(at, step));
      putChild(at, step, child);
      at = child;
    }
    return at;
  }

  #writable(container: unknown): Writable {
    if (typeof container !== "object" || container === null)
      throw corruptState("an edit's path leads to no container");
    if (this.#own.has(container)) return container as Writable;
    const copy = writableCopy(container);
    this.#own.add(copy);
    return copy;
  }

  #taken(value: unknown, path: readonly unknown[]): unknown {
    return this.#copier.copy(value, () => "state", path.length + 1);
  }

  #editRecord(
    target: Writable,
    removed: readonly unknown[],
    assigned: readonly unknown[],
    path: readonly unknown[],
  ): void {
    if (assigned.length % 2 !== 0) throw corruptState("a property without a value");
    const wide = target instanceof TableEdit && target.kind === "record";
    if (!wide && !isRecord(target)) throw corruptState("an edit of an object does not lead to one");
    for (const name of removed) {
      if (typeof name !== "string") throw corruptState("a property name that is not a string");
      const known = wide
        ? target.delete(name)
        : Object.hasOwn(target, name) && Reflect.deleteProperty(target, name);
      if (!known) throw corruptState("a property to remove is not there");
    }
    for (let i = 0; i < assigned.length; i += 2) {
      const name = assigned[i];
      if (typeof name !== "string" || name === "__proto__")
        throw corruptState("a property name that cannot be");
      const value = this.#taken(assigned[i + 1], path);
      if (wide) target.set(name, value);
      else (target as Record<string, unknown>)[name] = value;
    }
  }

  #editArray(
    target: Writable,
    runs: readonly unknown[],
    inserted: readonly unknown[],
    path: readonly unknown[],
  ): void {
    if (!Array.isArray(target)) throw corruptState("an edit of an array does not lead to one");
    if (runs.length % 3 !== 0) throw corruptState("an array edit ends within a run");
    const result: unknown[] = [];
    let from = 0;
    let next = 0;
    for (let i = 0; i < runs.length; i += 3) {
      const keep = countOf(runs[i], target.length - from);
      for (let n = 0; n < keep; n++) result.push(target[from + n]);
      from += keep;
      from += countOf(runs[i + 1], target.length - from);
      const insert = countOf(runs[i + 2], inserted.length - next);
      for (let n = 0; n < insert; n++) result.push(this.#taken(inserted[next + n], path));
      next += insert;
    }
    if (next !== inserted.length) throw corruptState("an array edit has elements left over");
    for (; from < target.length; from++) result.push(target[from]);
    target.length = 0;
    for (const element of result) target.push(element);
  }

  #editTable(
    target: Writable,
    op: typeof PatchOp.map | typeof PatchOp.set,
    removed: true | readonly unknown[],
    assigned: readonly unknown[],
    path: readonly unknown[],
  ): void {
    const kind = op === PatchOp.map ? "map" : "set";
    if (!(target instanceof TableEdit) || target.kind !== kind)
      throw corruptState(`an edit of a ${kind} does not lead to one`);
    if (removed === true) target.clear();
    else {
      for (const key of removed) {
        if (!target.delete(tableKey(key))) throw corruptState("a key to remove is not there");
      }
    }
    const step = kind === "map" ? 2 : 1;
    if (assigned.length % step !== 0) throw corruptState("a key without a value");
    for (let i = 0; i < assigned.length; i += step) {
      target.set(
        tableKey(assigned[i]),
        kind === "map" ? this.#taken(assigned[i + 1], path) : MEMBER,
      );
    }
  }

  /** Edits back into tables, and objects that have become large too. */
  #settle(node: unknown): unknown {
    if (!this.#own.has(node)) return node;
    if (node instanceof TableEdit) {
      const pending = [...node.keys()].filter((key) => this.#own.has(node.get(key)));
      return node.commit(pending, (value) => this.#settle(value));
    }
    if (Array.isArray(node)) {
      for (let i = 0; i < node.length; i++)
        if (this.#own.has(node[i])) node[i] = this.#settle(node[i]);
      return node;
    }
    if (!isRecord(node)) return node;
    const keys = Object.keys(node);
    for (const key of keys) if (this.#own.has(node[key])) node[key] = this.#settle(node[key]);
    if (keys.length <= WIDE_RECORD_KEYS) return node;
    this.#copier.tables = true;
    return OrderedTable.of("record", new Map(keys.map((key) => [key, node[key]])));
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype
  );
}

function writableCopy(container: object): Writable {
  if (container instanceof OrderedTable) return container.edit();
  if (Array.isArray(container)) return [...(container as unknown[])];
  if (isBinary(container)) return copyLeaf(container) as BinaryLeaf;
  if (isRecord(container)) return { ...container };
  throw corruptState("an edit's path leads to no container");
}

function childOf(container: Writable, step: unknown): unknown {
  if (Array.isArray(container)) {
    if (typeof step === "number" && step < container.length && Object.hasOwn(container, step))
      return container[step];
  } else if (container instanceof TableEdit) {
    const key = tableKey(step);
    if (container.kind !== "set" && container.has(key)) return container.get(key);
  } else if (isRecord(container) && typeof step === "string" && Object.hasOwn(container, step)) {
    return container[step];
  }
  throw corruptState("an edit's path leads nowhere");
}

function putChild(container: Writable, step: unknown, child: unknown): void {
  if (Array.isArray(container)) container[step as number] = child;
  else if (container instanceof TableEdit) container.place(step as TableKey, child);
  else (container as Record<string, unknown>)[step as string] = child;
}

function editBytes(target: Writable, offset: unknown, bytes: unknown): void {
  if (!isBinary(target)) throw corruptState("an edit of bytes does not lead to any");
  const into = bytesOf(target);
  if (!(bytes instanceof Uint8Array)) throw corruptState("an edit of bytes has none");
  into.set(bytes, countOf(offset, into.length - bytes.length));
}

function arrayOf(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw corruptState(`${what} of a patch are missing`);
  return value as readonly unknown[];
}

function countOf(value: unknown, atMost: number): number {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= atMost)
    return value as number;
  throw corruptState(`${String(value)} is not a count up to ${atMost}`);
}

function tableKey(value: unknown): TableKey {
  if (typeof value === "object" && value !== null)
    throw corruptState("a key that is not a primitive");
  return value as TableKey;
}
