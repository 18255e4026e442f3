/**
 * One immutable version of an actor's state value. Turns, readonly views and checkpoints hold a version by reference: a
 * next version shares whatever a turn did not change, so keeping an old one costs nothing (P7, P8).
 *
 * I1 nothing reachable from a version is ever written, and none of it is handed out but through views and copies.
 * I2 `bytesAtMost` is never less than the encoded size.
 */
import {
  ByteWriter,
  decodeValue,
  isPinionError,
  messageOf,
  PinionError,
  SLAB_BYTES,
  writeValue,
} from "@pinion/core";
import { CopyIn } from "./copy-in.ts";
import { STATE_BYTES_MAX, stateTooLarge } from "./limits.ts";
import { DELTA_VERSION, DeltaKind } from "./patch-format.ts";
import { plainCopy, sharedPlain } from "./plain.ts";

/** Twice the bound: a value far beyond it is given up early, and a patch beyond it is no use. */
const scratch = new ByteWriter(SLAB_BYTES, 2 * STATE_BYTES_MAX);

/** Bytes before the value in a delta. */
export const DELTA_HEADER_BYTES = 2;

export class StateVersion<S = unknown> {
  /** Never there: ties a version to the type its views have. */
  declare readonly shows: S;
  /** Committed form; only for this folder. */
  readonly tree: unknown;
  /** `tree` may hold tables, which the codec does not know. */
  readonly tables: boolean;
  #bytesAtMost: number;

  /** @param bytesAtMost −1: not known yet. */
  constructor(tree: unknown, tables: boolean, bytesAtMost = -1) {
    this.tree = tree;
    this.tables = tables;
    this.#bytesAtMost = bytesAtMost;
  }

  /** Upper bound of the encoded size; measures it when nothing is known. */
  get bytesAtMost(): number {
    if (this.#bytesAtMost < 0) this.measure();
    return this.#bytesAtMost;
  }

  /** Encoded size, exactly. Encodes the whole value. @throws `state-too-large` */
  measure(): number {
    this.#write();
    const bytes = scratch.position - scratch.base;
    scratch.reset();
    return this.#measured(bytes);
  }

  /** The value for the store, in memory of its own. @throws `state-too-large` */
  encode(): Uint8Array {
    this.#write();
    const bytes = takeCopy();
    this.#measured(bytes.length);
    return bytes;
  }

  /** A delta that replaces whatever was there. @throws `state-too-large` */
  encodeWhole(): Uint8Array {
    scratch.byte(DELTA_VERSION);
    scratch.byte(DeltaKind.whole);
    this.#write();
    const bytes = takeCopy();
    this.#measured(bytes.length - DELTA_HEADER_BYTES);
    return bytes;
  }

  #write(): void {
    try {
      writeValue(scratch, this.tables ? sharedPlain(this.tree) : this.tree, "state");
    } catch (e) {
      scratch.reset();
      throw isPinionError(e, "frame-too-large") ? stateTooLarge(2 * STATE_BYTES_MAX, false) : e;
    }
  }

  #measured(bytes: number): number {
    if (bytes > STATE_BYTES_MAX) throw stateTooLarge(bytes, true);
    this.#bytesAtMost = bytes;
    return bytes;
  }
}

function takeCopy(): Uint8Array {
  const copy = Buffer.allocUnsafe(scratch.position - scratch.base);
  scratch.buffer.copy(copy, 0, scratch.base, scratch.position);
  scratch.reset();
  return copy;
}

/** The delta of a patch; undefined when it is too long to be any use. */
export function encodePatch(edits: readonly unknown[], tables: boolean): Uint8Array | undefined {
  scratch.byte(DELTA_VERSION);
  scratch.byte(DeltaKind.patch);
  try {
    writeValue(scratch, tables ? sharedPlain(edits) : edits, "patch");
  } catch (e) {
    scratch.reset();
    if (isPinionError(e, "frame-too-large")) return undefined;
    throw e;
  }
  return takeCopy();
}

/**
 * A state value made by code (`state()`, a migrate step) as the first version.
 * @throws `not-serializable` naming the path, `state-too-large`
 */
export function freezeState<S>(value: S): StateVersion<S> {
  const copier = new CopyIn();
  const tree = copier.copy(value, () => "state", 0);
  return new StateVersion<S>(tree, copier.tables);
}

/** A version as the store keeps it. @throws `corruption` */
export function decodeState<S = unknown>(bytes: Uint8Array): StateVersion<S> {
  return versionFromBytes(bytes, 0);
}

export function versionFromBytes<S>(bytes: Uint8Array, start: number): StateVersion<S> {
  const length = bytes.length - start;
  if (length > STATE_BYTES_MAX)
    throw corruptState(`it takes ${length} bytes; at most ${STATE_BYTES_MAX} are ever written`);
  const copier = new CopyIn();
  let tree: unknown;
  try {
    tree = copier.copy(decodeValue(bytes, start), () => "state", 0);
  } catch (e) {
    throw corruptState(messageOf(e), e);
  }
  return new StateVersion<S>(tree, copier.tables, length);
}

export function corruptState(why: string, cause?: unknown): PinionError {
  return new PinionError("corruption", `a stored state value cannot be read: ${why}`, {
    details: { why },
    cause,
  });
}

/** The value as plain JavaScript that belongs to the caller: for migrate steps and for people. */
export function plainState<S>(version: StateVersion<S>): S {
  return plainCopy(version.tree) as S;
}
