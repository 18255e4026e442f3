/**
 * What the embedded store writes into its log, and the one fact it keeps beside its volumes.
 *
 * Payload of a record (kind `user`), little endian:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 1 | version of this layout, 1 |
 * | 1 | 1 | 1: an update of a volume, 2: a volume is deleted |
 * | 2 | 2 | bytes of the name |
 * | 4 | … | name, UTF-8 |
 * | … | … | of an update: what it changed (extent/extent-delta.ts) |
 *
 * The fact "position", where in the log the records behind the checkpoint begin: u8 version 1, f64 segment, f64 offset.
 */
import { PinionError } from "@pinion/core";
import type { LogPosition } from "../log/log.ts";

const VERSION = 1;
const UPDATE = 1;
const DELETION = 2;
const HEADER_BYTES = 4;
const NAME_BYTES_MAX = 1_024;

export const POSITION_FACT = "position";
const POSITION_BYTES = 17;

export interface StoreRecord {
  readonly volume: string;
  /** Undefined: the volume is deleted. */
  readonly delta: Uint8Array | undefined;
}

/** @throws `invalid-argument` */
export function checkVolumeName(name: string): void {
  if (typeof name === "string" && name !== "" && name.isWellFormed() && !name.includes("\0")) {
    if (Buffer.byteLength(name) <= NAME_BYTES_MAX) return;
  }
  throw new PinionError(
    "invalid-argument",
    `the name of a volume is 1 to ${NAME_BYTES_MAX} bytes of text without NUL, not ${String(JSON.stringify(name)).slice(0, 80)}`,
  );
}

/** What a record of an update begins with; the delta follows, in the same bytes, so that a large one is not copied to be framed. */
export const updateHead = (volume: string): Uint8Array => headOf(volume, UPDATE);

/** The whole record. */
export const deletionRecord = (volume: string): Uint8Array => headOf(volume, DELETION);

function headOf(volume: string, operation: number): Uint8Array {
  const name = Buffer.from(volume);
  const bytes = Buffer.alloc(HEADER_BYTES + name.length);
  bytes[0] = VERSION;
  bytes[1] = operation;
  bytes.writeUInt16LE(name.length, 2);
  bytes.set(name, HEADER_BYTES);
  return bytes;
}

/** @returns a record whose delta is a view of `payload` @throws `corruption`, `format-too-new` */
export function decodeStoreRecord(payload: Uint8Array): StoreRecord {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  const [version = 0, operation] = bytes;
  if (version > VERSION) {
    throw new PinionError(
      "format-too-new",
      `a record of layout ${version}; this version reads up to ${VERSION}`,
      { details: { version, supported: VERSION } },
    );
  }
  const end = HEADER_BYTES + (bytes.length < HEADER_BYTES ? 1 : bytes.readUInt16LE(2));
  const isKnown = operation === UPDATE || (operation === DELETION && end === bytes.length);
  if (version === 0 || !isKnown || end > bytes.length || end === HEADER_BYTES)
    throw new PinionError("corruption", "a record of the store is malformed");
  const volume = bytes.toString("utf8", HEADER_BYTES, end);
  return { volume, delta: operation === UPDATE ? payload.subarray(end) : undefined };
}

export function encodePosition({ segment, offset }: LogPosition): Uint8Array {
  const bytes = Buffer.alloc(POSITION_BYTES);
  bytes[0] = VERSION;
  bytes.writeDoubleLE(segment, 1);
  bytes.writeDoubleLE(offset, 9);
  return bytes;
}

/** @throws `corruption` */
export function decodePosition(fact: Uint8Array): LogPosition {
  const bytes = Buffer.from(fact.buffer, fact.byteOffset, fact.length);
  if (bytes.length !== POSITION_BYTES || bytes[0] !== VERSION)
    throw new PinionError("corruption", "the position of the checkpoint cannot be understood");
  return { segment: bytes.readDoubleLE(1), offset: bytes.readDoubleLE(9) };
}
