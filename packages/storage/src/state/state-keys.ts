/**
 * Tables and keys of the state store. Numbers in keys are big endian, so that the order of bytes is the order of numbers; text
 * is UTF-8 and holds no NUL, so that a NUL ends it.
 *
 * | table | key | value (state-values.ts) |
 * |---|---|---|
 * | state-meta | "format" | format version |
 * | state-meta | "shard" u16 shard | applied LSN |
 * | state-actors | u16 shard, actor | header, and the state if it is small |
 * | state-large | u16 shard, actor | a larger state |
 * | state-extras | u16 shard, actor | all reminders, and whether there is a large state; absent when there is neither |
 * | state-due | u16 shard, f64 due ms, actor, NUL, name | empty: an index of the reminders |
 * | state-facts | u16 shard, name | the fact |
 * | state-extents | u16 shard, actor | its extents (extent-table.ts) |
 *
 * A due time is a non-negative double: the bits of such numbers, read as integers, are in the order of the numbers.
 */
import { PinionError, SHARD_COUNT_MAX, type ShardId } from "@pinion/core";
import type { ActorKey } from "./state-store.ts";

export const Table = Object.freeze({
  meta: "state-meta",
  actors: "state-actors",
  large: "state-large",
  extras: "state-extras",
  due: "state-due",
  facts: "state-facts",
  extents: "state-extents",
} as const);

export const ACTOR_KEY_BYTES_MAX = 1_024;
export const REMINDER_NAME_BYTES_MAX = 512;
export const FACT_NAME_BYTES_MAX = 1_024;

const SHARD_BYTES = 2;
const DUE_BYTES = 8;

export const FORMAT_KEY: Uint8Array = Buffer.from("format");

/** @throws `invalid-argument` */
function textBytes(what: string, text: string, bytesMax: number): Buffer {
  return checkText(what, text, bytesMax, Buffer.from(text, "utf8"), 0);
}

/** @param from where the text begins in `bytes` @throws `invalid-argument` */
function checkText(
  what: string,
  text: string,
  bytesMax: number,
  bytes: Buffer,
  from: number,
): Buffer {
  const byteCount = bytes.length - from;
  if (byteCount === 0 || byteCount > bytesMax || bytes.includes(0, from)) {
    throw new PinionError(
      "invalid-argument",
      `${what} ${JSON.stringify(text.slice(0, 80))} must be 1 to ${bytesMax} bytes of UTF-8 without NUL`,
    );
  }
  return bytes;
}

/** @throws `invalid-argument` */
function checkShard(shard: ShardId): void {
  if (!Number.isInteger(shard) || shard < 0 || shard >= SHARD_COUNT_MAX) {
    throw new PinionError("invalid-argument", `shard ${shard} must be 0 to ${SHARD_COUNT_MAX - 1}`);
  }
}

/** @throws `invalid-argument` */
function shardBytes(shard: ShardId): Buffer {
  checkShard(shard);
  const bytes = Buffer.alloc(SHARD_BYTES);
  bytes.writeUInt16BE(shard);
  return bytes;
}

export const shardKey = (shard: ShardId): Uint8Array =>
  Buffer.concat([Buffer.from("shard"), shardBytes(shard)]);

export const volumesKey = (shard: ShardId): Uint8Array =>
  Buffer.concat([Buffer.from("volumes"), shardBytes(shard)]);

export function actorKeyBytes(shard: ShardId, actor: ActorKey): Uint8Array {
  checkShard(shard);
  // In one piece: there is a key for each change.
  const key = Buffer.allocUnsafe(SHARD_BYTES + Buffer.byteLength(actor));
  key.writeUInt16BE(shard);
  key.write(actor, SHARD_BYTES);
  return checkText("actor key", actor, ACTOR_KEY_BYTES_MAX, key, SHARD_BYTES);
}

export const factKey = (shard: ShardId, name: string): Uint8Array =>
  Buffer.concat([shardBytes(shard), textBytes("fact name", name, FACT_NAME_BYTES_MAX)]);

/** Everything after the shard, as text: the actor or the name of a fact. */
export const textOfKey = (key: Uint8Array): string =>
  Buffer.from(key.buffer, key.byteOffset, key.length).toString("utf8", SHARD_BYTES);

/** First key of a shard whose text starts with `prefix` and comes after `after`. */
export function firstKey(shard: ShardId, prefix: string, after?: string): Uint8Array {
  const start = Buffer.concat([shardBytes(shard), Buffer.from(prefix)]);
  if (after === undefined) return start;
  // The key that follows `after` directly: text holds no NUL.
  const next = Buffer.concat([shardBytes(shard), Buffer.from(after), Buffer.alloc(1)]);
  return Buffer.compare(start, next) > 0 ? start : next;
}

/** First key beyond those of a shard whose text starts with `prefix`; undefined when none can be. */
export function endKey(shard: ShardId, prefix: string): Uint8Array | undefined {
  const key = Buffer.concat([shardBytes(shard), Buffer.from(prefix)]);
  let last = key.length - 1;
  while (last >= 0 && key[last] === 0xff) last--;
  if (last < 0) return undefined;
  const end = Buffer.from(key.subarray(0, last + 1));
  end[last] = (end[last] as number) + 1;
  return end;
}

export interface DuePosition {
  readonly dueMs: number;
  readonly actor: ActorKey;
  readonly name: string;
}

/** @throws `invalid-argument` */
export function dueKey(shard: ShardId, { dueMs, actor, name }: DuePosition): Uint8Array {
  return Buffer.concat([
    dueTimeKey(shard, dueMs),
    textBytes("actor key", actor, ACTOR_KEY_BYTES_MAX),
    Buffer.alloc(1),
    textBytes("reminder name", name, REMINDER_NAME_BYTES_MAX),
  ]);
}

/** First key of a shard that is due at `dueMs` or later. @throws `invalid-argument` */
export function dueTimeKey(shard: ShardId, dueMs: number): Uint8Array {
  if (!(dueMs >= 0 && dueMs < Infinity)) {
    throw new PinionError("invalid-argument", `due time ${dueMs} must be a number of ms from 0 on`);
  }
  const due = Buffer.alloc(DUE_BYTES);
  due.writeDoubleBE(dueMs);
  return Buffer.concat([shardBytes(shard), due]);
}

/** Key directly after that of a reminder. */
export const afterDueKey = (shard: ShardId, position: DuePosition): Uint8Array =>
  Buffer.concat([dueKey(shard, position), Buffer.alloc(1)]);

export function parseDueKey(key: Uint8Array): DuePosition {
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.length);
  const text = bytes.toString("utf8", SHARD_BYTES + DUE_BYTES);
  const nul = text.indexOf("\0");
  return {
    dueMs: bytes.readDoubleBE(SHARD_BYTES),
    actor: text.slice(0, nul),
    name: text.slice(nul + 1),
  };
}
