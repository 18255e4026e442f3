/**
 * Values of the state store, frozen by golden vectors (state-values.test.ts). Little endian. All begin with
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | CRC32C of the key, then of bytes 4 … end: a value under the wrong key is as wrong as a flipped bit |
 * | 4 | 1 | version of this encoding, 1 |
 * | 5 | 1 | flags |
 * | 6 | 2 | reserved, 0 |
 *
 * Actor (flags: 1 = has a state, 2 = the state is in `state-large`):
 *
 * | 8 | 8 | LSN of its last commit |
 * | 16 | 4 | version of the definition that wrote the state |
 * | 20 | 4 | bytes of the state |
 * | 24 | … | the state, unless it is large |
 *
 * Extents (flags: 1, always): extent-table.ts. Large state, fact: bytes from 8 on. Applied LSN: 8 bytes at 8. Format: 4 bytes at 8. Superblock: u64 sequence at 8, u32 segment, u32 page.
 *
 * Extras (flags: 1 = there is a large state): u32 count of reminders at 8, then for each f64 due ms, u32 bytes of the body, u16 bytes of the name, name, body.
 */
import { lsn as toLsn, messageOf, PinionError, type Lsn } from "@pinion/core";
import { crc32c } from "../memory/crc32c.ts";
import type { CheckpointPlace } from "../segment/checkpoint-search.ts";
import type { ReminderRecord, StoredExtent } from "./state-store.ts";

const VERSION = 1;
const HEADER_BYTES = 8;
const ACTOR_HEADER_BYTES = 24;
const REMINDER_HEADER_BYTES = 14;
const HAS_STATE = 1;
const IS_LARGE = 2;
const HAS_LARGE = 1;
/** Extents without are of an encoding from before there were facts. */
const HAS_FACTS = 1;

/** A state beyond this is kept apart, so that listing actors does not read it. LMDB keeps nodes up to 2 KiB in its leaves. */
export const INLINE_STATE_BYTES_MAX = 1_536;

/** Safe integers as u64, without the cost of a BigInt. */
function putU64(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32LE(value % 2 ** 32, at);
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

function begin(length: number, flags = 0): Buffer {
  const bytes = Buffer.allocUnsafe(length).fill(0);
  bytes[4] = VERSION;
  bytes[5] = flags;
  return bytes;
}

function seal(key: Uint8Array, bytes: Buffer): Uint8Array {
  bytes.writeUInt32LE(crc32c(bytes.subarray(4), crc32c(key)));
  return bytes;
}

/** @throws Error saying what is wrong */
function unseal(key: Uint8Array, value: Uint8Array, lengthMin: number): Buffer {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  if (bytes.length < HEADER_BYTES) throw new Error(`${bytes.length} bytes are no value`);
  if (bytes.readUInt32LE() !== crc32c(bytes.subarray(4), crc32c(key)))
    throw new Error("checksum does not match");
  const version = bytes[4] as number;
  if (version > VERSION) {
    throw new PinionError(
      "format-too-new",
      `a value of encoding ${version}; this version reads up to ${VERSION}`,
    );
  }
  if (version === 0 || bytes.length < lengthMin)
    throw new Error(`${bytes.length} bytes of encoding ${version}`);
  return bytes;
}

/**
 * Runs a decoder; whatever is wrong with the bytes becomes a typed error.
 * @throws `corruption`, `format-too-new`
 */
export function decoding<T>(
  what: string,
  details: Record<string, string | number>,
  decode: () => T,
): T {
  try {
    return decode();
  } catch (e) {
    if (e instanceof PinionError) throw e;
    throw new PinionError("corruption", `${what} is damaged in the state store: ${messageOf(e)}`, {
      details,
      cause: e,
    });
  }
}

export interface ActorHeader {
  readonly lsn: Lsn;
  readonly stateVersion: number;
  readonly stateBytes: number;
  /** Undefined when there is none, or when it is large. */
  readonly state: Uint8Array | undefined;
  readonly isLarge: boolean;
}

export function encodeActor(
  key: Uint8Array,
  actor: { lsn: Lsn; stateVersion: number; state: Uint8Array | undefined },
): Uint8Array {
  const { lsn, stateVersion, state } = actor;
  const isLarge = state !== undefined && state.length > INLINE_STATE_BYTES_MAX;
  const inline = state && !isLarge ? state : undefined;
  const flags = (state ? HAS_STATE : 0) | (isLarge ? IS_LARGE : 0);
  const bytes = begin(ACTOR_HEADER_BYTES + (inline?.length ?? 0), flags);
  putU64(bytes, 8, lsn);
  bytes.writeUInt32LE(stateVersion, 16);
  bytes.writeUInt32LE(state?.length ?? 0, 20);
  if (inline) bytes.set(inline, ACTOR_HEADER_BYTES);
  return seal(key, bytes);
}

export function decodeActor(key: Uint8Array, value: Uint8Array): ActorHeader {
  const bytes = unseal(key, value, ACTOR_HEADER_BYTES);
  const flags = bytes[5] as number;
  const isLarge = (flags & IS_LARGE) !== 0;
  const stateBytes = bytes.readUInt32LE(20);
  const hasInline = (flags & HAS_STATE) !== 0 && !isLarge;
  if (bytes.length !== ACTOR_HEADER_BYTES + (hasInline ? stateBytes : 0))
    throw new Error("length does not match");
  return {
    lsn: toLsn(Number(bytes.readBigUInt64LE(8))),
    stateVersion: bytes.readUInt32LE(16),
    stateBytes,
    state: hasInline ? new Uint8Array(bytes.subarray(ACTOR_HEADER_BYTES)) : undefined,
    isLarge,
  };
}

/** A large state or a fact. */
export function encodeBlob(key: Uint8Array, blob: Uint8Array): Uint8Array {
  const bytes = begin(HEADER_BYTES + blob.length);
  bytes.set(blob, HEADER_BYTES);
  return seal(key, bytes);
}

export function decodeBlob(key: Uint8Array, value: Uint8Array): Uint8Array {
  const bytes = unseal(key, value, HEADER_BYTES);
  return new Uint8Array(bytes.buffer, bytes.byteOffset + HEADER_BYTES, bytes.length - HEADER_BYTES);
}

export function encodeAppliedLsn(key: Uint8Array, lsn: Lsn): Uint8Array {
  const bytes = begin(HEADER_BYTES + 8);
  putU64(bytes, HEADER_BYTES, lsn);
  return seal(key, bytes);
}

export function decodeAppliedLsn(key: Uint8Array, value: Uint8Array): Lsn {
  return toLsn(Number(unseal(key, value, HEADER_BYTES + 8).readBigUInt64LE(HEADER_BYTES)));
}

export function encodeSuperblock(key: Uint8Array, place: CheckpointPlace): Uint8Array {
  const bytes = begin(HEADER_BYTES + 16);
  putU64(bytes, HEADER_BYTES, place.sequence);
  bytes.writeUInt32LE(place.segment, HEADER_BYTES + 8);
  bytes.writeUInt32LE(place.page, HEADER_BYTES + 12);
  return seal(key, bytes);
}

export function decodeSuperblock(key: Uint8Array, value: Uint8Array): CheckpointPlace {
  const bytes = unseal(key, value, HEADER_BYTES + 16);
  return {
    sequence: Number(bytes.readBigUInt64LE(HEADER_BYTES)),
    segment: bytes.readUInt32LE(HEADER_BYTES + 8),
    page: bytes.readUInt32LE(HEADER_BYTES + 12),
  };
}

export function encodeFormat(key: Uint8Array, format: number): Uint8Array {
  const bytes = begin(HEADER_BYTES + 4);
  bytes.writeUInt32LE(format, HEADER_BYTES);
  return seal(key, bytes);
}

export function decodeFormat(key: Uint8Array, value: Uint8Array): number {
  return unseal(key, value, HEADER_BYTES + 4).readUInt32LE(HEADER_BYTES);
}

/** What belongs to an actor besides its record: what a checkpoint has to know to replace it. */
export interface Extras {
  readonly hasLarge: boolean;
  readonly reminders: readonly ReminderRecord[];
}

export function encodeExtras(key: Uint8Array, { hasLarge, reminders }: Extras): Uint8Array {
  const names = reminders.map(({ name }) => Buffer.from(name, "utf8"));
  let length = HEADER_BYTES + 4;
  for (const [i, { body }] of reminders.entries()) {
    length += REMINDER_HEADER_BYTES + (names[i] as Buffer).length + body.length;
  }
  const bytes = begin(length, hasLarge ? HAS_LARGE : 0);
  bytes.writeUInt32LE(reminders.length, HEADER_BYTES);
  let at = HEADER_BYTES + 4;
  for (const [i, { dueMs, body }] of reminders.entries()) {
    const name = names[i] as Buffer;
    bytes.writeDoubleLE(dueMs, at);
    bytes.writeUInt32LE(body.length, at + 8);
    bytes.writeUInt16LE(name.length, at + 12);
    bytes.set(name, at + REMINDER_HEADER_BYTES);
    bytes.set(body, at + REMINDER_HEADER_BYTES + name.length);
    at += REMINDER_HEADER_BYTES + name.length + body.length;
  }
  return seal(key, bytes);
}

export function decodeExtras(key: Uint8Array, value: Uint8Array): Extras {
  const bytes = unseal(key, value, HEADER_BYTES + 4);
  const reminders: ReminderRecord[] = [];
  let at = HEADER_BYTES + 4;
  for (let left = bytes.readUInt32LE(HEADER_BYTES); left > 0; left--) {
    const bodyAt = at + REMINDER_HEADER_BYTES + bytes.readUInt16LE(at + 12);
    const end = bodyAt + bytes.readUInt32LE(at + 8);
    if (end > bytes.length) throw new Error("a reminder ends outside of its value");
    reminders.push({
      name: bytes.toString("utf8", at + REMINDER_HEADER_BYTES, bodyAt),
      dueMs: bytes.readDoubleLE(at),
      body: new Uint8Array(bytes.subarray(bodyAt, end)),
    });
    at = end;
  }
  if (at !== bytes.length) throw new Error("bytes after the last reminder");
  return { hasLarge: ((bytes[5] as number) & HAS_LARGE) !== 0, reminders };
}

export function encodeExtents(key: Uint8Array, extents: readonly StoredExtent[]): Uint8Array {
  const texts = extents.map(({ kind, name }) => [Buffer.from(kind), Buffer.from(name)] as const);
  let length = 2;
  for (const [i, [kind, name]] of texts.entries())
    length += 18 + kind.length + name.length + (extents[i] as StoredExtent).facts.length;
  const bytes = begin(HEADER_BYTES + length, HAS_FACTS);
  bytes.writeUInt16LE(extents.length, HEADER_BYTES);
  let at = HEADER_BYTES + 2;
  for (const [i, { volume, lengthBytes, version, facts }] of extents.entries()) {
    const [kind, name] = texts[i] as (typeof texts)[number];
    bytes.writeUInt32LE(volume, at);
    bytes.writeDoubleLE(lengthBytes, at + 4);
    bytes.writeUInt16LE(version, at + 12);
    at += 14;
    for (const text of [kind, name]) {
      bytes[at] = text.length;
      bytes.set(text, at + 1);
      at += 1 + text.length;
    }
    bytes.writeUInt16LE(facts.length, at);
    bytes.set(facts, at + 2);
    at += 2 + facts.length;
  }
  return seal(key, bytes);
}

export function decodeExtents(key: Uint8Array, value: Uint8Array): StoredExtent[] {
  const bytes = unseal(key, value, HEADER_BYTES + 2);
  if (bytes[5] !== HAS_FACTS) throw new Error(`extents with flags ${bytes[5]}`);
  let at = HEADER_BYTES + 2;
  const text = (): string => {
    const start = at + 1;
    at = start + bytes.readUInt8(at);
    if (at > bytes.length) throw new Error("an extent's name ends outside of its value");
    return bytes.toString("utf8", start, at);
  };
  const extents = Array.from({ length: bytes.readUInt16LE(HEADER_BYTES) }, (): StoredExtent => {
    const volume = bytes.readUInt32LE(at);
    const lengthBytes = bytes.readDoubleLE(at + 4);
    const version = bytes.readUInt16LE(at + 12);
    at += 14;
    const kind = text();
    const name = text();
    const start = at + 2;
    at = start + bytes.readUInt16LE(at);
    if (at > bytes.length) throw new Error("an extent's facts end outside of its value");
    const facts = new Uint8Array(bytes.subarray(start, at));
    return { name, kind, version, lengthBytes, volume, facts };
  });
  if (at !== bytes.length) throw new Error("bytes after the last extent");
  if (!extents.every((e) => Number.isSafeInteger(e.lengthBytes) && e.lengthBytes >= 0))
    throw new Error("the length of an extent is none");
  return extents;
}
