/**
 * The payloads of the runtime's log records. The format is frozen by golden vectors (runtime-records.test.ts).
 *
 * Every payload starts with a version byte (1). `commit` (one per turn):
 *
 * | field | present if flag | content |
 * |---|---|---|
 * | flags | always | varint, bits below |
 * | actor | always | text, records/actor-key.ts |
 * | call | 1 CALL | text session, varint sequence, text path, u32 request digest, varint acknowledged-below of the session |
 * | idempotency | 2 IDEMPOTENT | text key, varint expiry (ms since the epoch) |
 * | state | 4 DELTA | varint state version, bytes delta; 8 WHOLE: the delta is the whole value |
 * | outcome | 16 OUTCOME | bytes; 32 OK: a value, otherwise an error |
 * | closes | 64 CLOSES | varint LSN of the turn's open record |
 * | outbox | 128 OUTBOX | list of (varint ordinal, u8 kind, text target, text method, bytes args) |
 * | reminders | 256 REMINDERS | list of (u8 op, text name, …) |
 * | extents | 1024 EXTENTS | bytes: changes of the actor's extents (storage/extent/extent-delta.ts) |
 * | – | 512 PARTIAL | the turn goes on: its overlay so far, before a reentrant turn entered |
 *
 * `open` (a turn that calls another actor): what is needed to run the turn again after a crash.
 * `done`: outbox entries that were delivered, as (call, ordinal) pairs.
 */
import { lsn, NO_LSN, type Lsn } from "@pinion/core";
import type { ActorKey } from "@pinion/storage";
import { ByteReader, type ByteWriter } from "./byte-codec.ts";
import type { CallKey } from "./call-key.ts";

const VERSION = 1;

const Flag = {
  call: 1,
  idempotent: 2,
  delta: 4,
  whole: 8,
  outcome: 16,
  ok: 32,
  closes: 64,
  outbox: 128,
  reminders: 256,
  partial: 512,
  extents: 1024,
} as const;
const ALL_FLAGS = 2047;

export const OutboxKind = Object.freeze({ send: 0, effect: 1 } as const);
export type OutboxKind = (typeof OutboxKind)[keyof typeof OutboxKind];

export interface OutboxEntry {
  readonly ordinal: number;
  readonly kind: OutboxKind;
  /** The receiving actor; "" for an effect. */
  readonly target: ActorKey;
  /** Method, or effect name. */
  readonly method: string;
  readonly args: Uint8Array;
}

export interface ReminderSet {
  readonly op: "set";
  readonly name: string;
  readonly dueMs: number;
  readonly body: Uint8Array;
}
export interface ReminderCancel {
  readonly op: "cancel";
  readonly name: string;
}
export type ReminderOp = ReminderSet | ReminderCancel;

/** A key the caller chose, and until when it holds, ms since the epoch. */
export interface Idempotency {
  readonly key: string;
  readonly expiresMs: number;
}

export const NO_OUTBOX: readonly OutboxEntry[] = Object.freeze([]);
export const NO_REMINDERS: readonly ReminderOp[] = Object.freeze([]);

export interface CommitRecord {
  readonly actor: ActorKey;
  readonly call: CallKey | undefined;
  readonly digest: number;
  /** The session's client has the answers of its calls with a smaller sequence: recovery need not keep them. */
  readonly ackedBelow: number;
  readonly idempotency: Idempotency | undefined;
  readonly stateVersion: number;
  readonly delta: Uint8Array | undefined;
  readonly whole: boolean;
  readonly ok: boolean;
  readonly outcome: Uint8Array | undefined;
  /** NO_LSN when the turn opened nothing. */
  readonly closes: Lsn;
  readonly outbox: readonly OutboxEntry[];
  readonly reminders: readonly ReminderOp[];
  readonly extents: Uint8Array | undefined;
  readonly partial: boolean;
}

export interface OpenRecord {
  readonly actor: ActorKey;
  readonly call: CallKey;
  readonly digest: number;
  readonly idempotency: Idempotency | undefined;
  readonly method: string;
  readonly args: Uint8Array;
  /** 1 for the first run. */
  readonly attempt: number;
  readonly nowMs: number;
  readonly seed: number;
  readonly issuedAt: number;
  readonly chain: readonly string[];
}

export interface DoneEntry {
  readonly call: CallKey;
  readonly ordinal: number;
}

function writeCall(w: ByteWriter, call: CallKey): void {
  w.text(call.session);
  w.varint(call.seq);
  w.text(call.path);
}
const readCall = (r: ByteReader): CallKey => ({
  session: r.text(),
  seq: r.varint(),
  path: r.text(),
});

function readVersion(r: ByteReader): void {
  const version = r.u8();
  if (version !== VERSION) throw r.fail(`record version ${version} is not known here`);
}

/** Appends a commit record to `w`. */
export function writeCommit(w: ByteWriter, c: CommitRecord): void {
  w.u8(VERSION);
  w.varint(
    (c.call === undefined ? 0 : Flag.call) |
      (c.idempotency === undefined ? 0 : Flag.idempotent) |
      (c.delta === undefined ? 0 : Flag.delta) |
      (c.whole ? Flag.whole : 0) |
      (c.outcome === undefined ? 0 : Flag.outcome) |
      (c.ok ? Flag.ok : 0) |
      (c.closes === NO_LSN ? 0 : Flag.closes) |
      (c.outbox.length === 0 ? 0 : Flag.outbox) |
      (c.reminders.length === 0 ? 0 : Flag.reminders) |
      (c.extents === undefined ? 0 : Flag.extents) |
      (c.partial ? Flag.partial : 0),
  );
  w.text(c.actor);
  if (c.call !== undefined) {
    writeCall(w, c.call);
    w.u32(c.digest);
    w.varint(c.ackedBelow);
  }
  if (c.idempotency !== undefined) {
    w.text(c.idempotency.key);
    w.varint(c.idempotency.expiresMs);
  }
  if (c.delta !== undefined) {
    w.varint(c.stateVersion);
    w.bytes(c.delta);
  }
  if (c.outcome !== undefined) w.bytes(c.outcome);
  if (c.closes !== NO_LSN) w.varint(c.closes);
  if (c.outbox.length > 0) writeOutbox(w, c.outbox);
  if (c.reminders.length > 0) writeReminderOps(w, c.reminders);
  if (c.extents !== undefined) w.bytes(c.extents);
}

function writeOutbox(w: ByteWriter, outbox: readonly OutboxEntry[]): void {
  w.varint(outbox.length);
  for (const entry of outbox) {
    w.varint(entry.ordinal);
    w.u8(entry.kind);
    w.text(entry.target);
    w.text(entry.method);
    w.bytes(entry.args);
  }
}

function readOutboxEntry(r: ByteReader): OutboxEntry {
  const ordinal = r.varint();
  const kind = r.u8();
  if (kind !== OutboxKind.send && kind !== OutboxKind.effect)
    throw r.fail(`unknown outbox kind ${kind}`);
  return { ordinal, kind, target: r.text(), method: r.text(), args: r.bytes() };
}

function writeReminderOps(w: ByteWriter, ops: readonly ReminderOp[]): void {
  w.varint(ops.length);
  for (const op of ops) {
    w.u8(op.op === "set" ? 1 : 0);
    w.text(op.name);
    if (op.op === "set") {
      w.varint(op.dueMs);
      w.bytes(op.body);
    }
  }
}

function readReminderOp(r: ByteReader): ReminderOp {
  const op = r.u8();
  if (op > 1) throw r.fail(`unknown reminder operation ${op}`);
  const name = r.text();
  return op === 1
    ? { op: "set", name, dueMs: r.varint(), body: r.bytes() }
    : { op: "cancel", name };
}

/** @throws `corruption` */
export function readCommit(payload: Uint8Array): CommitRecord {
  const r = new ByteReader(payload, "commit record");
  readVersion(r);
  const flags = r.varint();
  if ((flags & ~ALL_FLAGS) !== 0) throw r.fail(`unknown flags ${flags}`);
  const has = (flag: number): boolean => (flags & flag) !== 0;
  const actor = r.text();
  const call = has(Flag.call) ? readCall(r) : undefined;
  const digest = call === undefined ? 0 : r.u32();
  const ackedBelow = call === undefined ? 0 : r.varint();
  const idempotency = has(Flag.idempotent) ? { key: r.text(), expiresMs: r.varint() } : undefined;
  const stateVersion = has(Flag.delta) ? r.varint() : 0;
  const delta = has(Flag.delta) ? r.bytes() : undefined;
  const outcome = has(Flag.outcome) ? r.bytes() : undefined;
  const closes = has(Flag.closes) ? lsn(r.varint()) : NO_LSN;
  const outbox = has(Flag.outbox) ? r.list(() => readOutboxEntry(r)) : [];
  const reminders = has(Flag.reminders) ? r.list(() => readReminderOp(r)) : [];
  const extents = has(Flag.extents) ? r.bytes() : undefined;
  r.end();
  return {
    actor,
    call,
    digest,
    ackedBelow,
    idempotency,
    stateVersion,
    delta,
    whole: has(Flag.whole),
    ok: has(Flag.ok),
    outcome,
    closes,
    outbox,
    reminders,
    extents,
    partial: has(Flag.partial),
  };
}

export function writeOpen(w: ByteWriter, o: OpenRecord): void {
  w.u8(VERSION);
  w.text(o.actor);
  writeCall(w, o.call);
  w.u32(o.digest);
  w.text(o.idempotency?.key ?? "");
  w.varint(o.idempotency?.expiresMs ?? 0);
  w.text(o.method);
  w.bytes(o.args);
  w.varint(o.attempt);
  w.varint(o.nowMs);
  w.varint(o.seed);
  w.varint(o.issuedAt);
  w.varint(o.chain.length);
  for (const id of o.chain) w.text(id);
}

/** @throws `corruption` */
export function readOpen(payload: Uint8Array): OpenRecord {
  const r = new ByteReader(payload, "open record");
  readVersion(r);
  const actor = r.text();
  const call = readCall(r);
  const digest = r.u32();
  const key = r.text();
  const expiresMs = r.varint();
  const open: OpenRecord = {
    actor,
    call,
    digest,
    idempotency: key === "" ? undefined : { key, expiresMs },
    method: r.text(),
    args: r.bytes(),
    attempt: r.varint(),
    nowMs: r.varint(),
    seed: r.varint(),
    issuedAt: r.varint(),
    chain: r.list(() => r.text()),
  };
  r.end();
  return open;
}

export function writeDone(w: ByteWriter, entries: readonly DoneEntry[]): void {
  w.u8(VERSION);
  w.varint(entries.length);
  for (const entry of entries) {
    writeCall(w, entry.call);
    w.varint(entry.ordinal);
  }
}

/** @throws `corruption` */
export function readDone(payload: Uint8Array): DoneEntry[] {
  const r = new ByteReader(payload, "done record");
  readVersion(r);
  const entries = r.list((): DoneEntry => ({ call: readCall(r), ordinal: r.varint() }));
  r.end();
  return entries;
}
