/**
 * What a shard remembers besides its actors, as the store keeps it: dedupe window, open calls, outbox. One fact each, so that
 * a checkpoint rewrites only what lives.
 *
 * | name | content |
 * |---|---|
 * | `d/<session>` | floor, last seen, list of (sequence, digest, LSN, ok, outcome) |
 * | `x/<call>` | the call's key, digest, LSN, ok, outcome, expiry: a sub-call, a send, an idempotency key |
 * | `o/<call>#<ordinal>` | an outbox entry with its sender |
 * | `p/<call>` | an open call |
 * | `position` | where in the log the records after this checkpoint begin |
 *
 * Names are bounded by the store: a call deep down a chain has a long key, of which the name then holds a digest.
 */
import { createHash } from "node:crypto";
import { lsn, type Lsn } from "@pinion/core";
import type { LogPosition } from "@pinion/storage";
import type { IncomingCall, Outcome, Session } from "../gateway/dispatcher.ts";
import { ByteReader, ByteWriter } from "../records/byte-codec.ts";
import { callKeyText, type CallKey } from "../records/call-key.ts";
import { OutboxKind, readOpen, writeOpen } from "../records/runtime-records.ts";
import { CallEntry } from "./call-entry.ts";
import type { OutboxItem } from "./outbox.ts";
import type { OpenCall, Shard } from "./shard.ts";

/** 2: open calls say which idempotency key they hold. */
const VERSION = 2;
const OLDEST_VERSION = 1;

/** Everything a shard must remember, as of its last appended record. */
export function captureFacts(shard: Shard, position: LogPosition): Map<string, Uint8Array> {
  const facts = new Map<string, Uint8Array>();
  const w = new ByteWriter();
  const put = (name: string, write: () => void): void => {
    w.reset();
    w.u8(VERSION);
    write();
    facts.set(name, w.copy());
  };
  for (const session of shard.dedupe.sessions()) {
    const entries = [...session.entries].filter(([, e]) => e.recorded);
    put(`d/${session.id}`, () => {
      w.varint(session.floor);
      w.varint(Math.floor(session.lastSeenMs));
      w.varint(entries.length);
      for (const [seq, entry] of entries) {
        w.varint(seq);
        writeEntry(w, entry);
      }
    });
  }
  for (const [key, entry] of shard.dedupe.others()) {
    if (!entry.recorded) continue;
    put(factName("x/", key), () => {
      w.text(key);
      writeEntry(w, entry);
      w.varint(entry.expiresMs);
    });
  }
  for (const item of shard.outbox.items()) {
    put(factName("o/", `${callKeyText(item.call)}#${item.entry.ordinal}`), () =>
      writeItem(w, item),
    );
  }
  for (const [key, open] of shard.opens) put(factName("p/", key), () => writeOpenCall(w, open));
  put("position", () => {
    w.varint(position.segment);
    w.varint(position.offset);
  });
  return facts;
}

/** Longest key that is part of a name as it is, in UTF-16 units: at most 3 bytes each, the store takes 1,024. */
const KEY_LENGTH_MAX = 300;

function factName(kind: string, key: string): string {
  return (
    kind + (key.length <= KEY_LENGTH_MAX ? key : createHash("sha256").update(key).digest("hex"))
  );
}

export function readPosition(fact: Uint8Array): LogPosition {
  const r = factReader("position", fact);
  return { segment: r.varint(), offset: r.varint() };
}

/** Puts one fact back into a shard that is being recovered. @throws `corruption` */
export function restoreFact(shard: Shard, name: string, value: Uint8Array): void {
  const r = factReader(name, value);
  const key = name.slice(2);
  switch (name.slice(0, 2)) {
    case "d/": {
      shard.dedupe.restoreSession(key, r.varint(), r.varint());
      for (let n = r.varint(); n > 0; n--) {
        const call: CallKey = { session: key, seq: r.varint(), path: "" };
        shard.dedupe.add(call, undefined, "", readEntry(r, call), 0);
      }
      return;
    }
    case "x/": {
      const text = r.text();
      const entry = readEntry(r, { session: "", seq: 0, path: "" });
      entry.expiresMs = r.varint();
      shard.dedupe.restoreOther(text, entry);
      return;
    }
    case "o/":
      shard.outbox.restore(readItem(r));
      return;
    case "p/":
      restoreOpen(shard, readOpenCall(r));
  }
}

function restoreOpen(shard: Shard, open: OpenCall): void {
  shard.opens.set(callKeyText(open.key), open);
}

function factReader(name: string, value: Uint8Array): ByteReader {
  const r = new ByteReader(value, `shard fact "${name}"`);
  const version = r.u8();
  if (version < OLDEST_VERSION || version > VERSION)
    throw r.fail(`fact version ${version} is not known here`);
  return r;
}

function writeEntry(w: ByteWriter, entry: CallEntry): void {
  const outcome = entry.outcome as Outcome;
  w.u32(entry.digest);
  w.varint(entry.lsn);
  w.u8(outcome.ok ? 1 : 0);
  w.bytes(outcome.bytes);
}

function readEntry(r: ByteReader, call: CallKey): CallEntry {
  return recoveredEntry(call, r.u32(), lsn(r.varint()), { ok: r.u8() === 1, bytes: r.bytes() });
}

function writeItem(w: ByteWriter, item: OutboxItem): void {
  w.text(item.sender);
  w.text(item.call.session);
  w.varint(item.call.seq);
  w.text(item.call.path);
  w.varint(item.lsn);
  w.varint(item.entry.ordinal);
  w.u8(item.entry.kind);
  w.text(item.entry.target);
  w.text(item.entry.method);
  w.bytes(item.entry.args);
}

function readItem(r: ByteReader): OutboxItem {
  const sender = r.text();
  const call: CallKey = { session: r.text(), seq: r.varint(), path: r.text() };
  const at = lsn(r.varint());
  const ordinal = r.varint();
  const kind = r.u8() === OutboxKind.effect ? OutboxKind.effect : OutboxKind.send;
  return {
    sender,
    call,
    lsn: at,
    attempts: 0,
    entry: { ordinal, kind, target: r.text(), method: r.text(), args: r.bytes() },
  };
}

function writeOpenCall(w: ByteWriter, call: OpenCall): void {
  w.varint(call.lsn);
  w.u8(call.interruptible ? 1 : 0);
  w.text(call.actor);
  w.text(call.key.session);
  w.varint(call.key.seq);
  w.text(call.key.path);
  w.u32(call.digest);
  const open = new ByteWriter();
  if (call.open !== undefined) writeOpen(open, call.open);
  w.bytes(open.view());
  w.text(call.idempotency?.key ?? "");
  w.varint(call.idempotency?.expiresMs ?? 0);
}

function readOpenCall(r: ByteReader): OpenCall {
  const at = lsn(r.varint());
  const interruptible = r.u8() === 1;
  const actor = r.text();
  const key: CallKey = { session: r.text(), seq: r.varint(), path: r.text() };
  const digest = r.u32();
  const open = r.bytes();
  const idempotencyKey = r.done ? "" : r.text();
  const expiresMs = r.done ? 0 : r.varint();
  return {
    lsn: at,
    interruptible,
    actor,
    key,
    digest,
    open: open.length === 0 ? undefined : readOpen(open),
    idempotency: idempotencyKey === "" ? undefined : { key: idempotencyKey, expiresMs },
  };
}

const NO_BYTES = new Uint8Array(0);
const NO_CHAIN: readonly string[] = Object.freeze([]);
const nobody = { reply: (): void => {} };

/** A session as recovery knows it: its client will say again what it has acknowledged. */
const recoveredSession = (id: string): Session => ({ id, ackedBelow: 0 });

/** A call without its envelope: only its identity matters any more. A class, because recovery makes one for each record. */
class RecoveredCall implements IncomingCall {
  readonly session: Session;
  readonly seq: number;
  readonly path: string;
  readonly namespace = "";
  readonly branch = "";
  readonly type = "";
  readonly key = "";
  readonly method = "";
  readonly args = NO_BYTES;
  readonly deadlineAtMs = Infinity;
  readonly attempt = 1;
  readonly issuedAt = 0;
  readonly consistency = "linearizable";
  readonly idempotencyKey = undefined;
  readonly idempotencyTtlMs = 0;
  readonly traceparent = undefined;
  readonly chain = NO_CHAIN;
  readonly sink = nobody;

  constructor(key: CallKey) {
    this.session = recoveredSession(key.session);
    this.seq = key.seq;
    this.path = key.path;
  }
}

/** A call that is run again. */
export function recoveredCall(key: CallKey, fields: Partial<IncomingCall>): IncomingCall {
  return Object.assign({}, new RecoveredCall(key), fields);
}

/** An entry whose outcome the log or the store holds. */
export function recoveredEntry(
  call: CallKey,
  digest: number,
  at: Lsn,
  outcome: Outcome,
): CallEntry {
  const entry = new CallEntry(new RecoveredCall(call), digest);
  entry.takeWaiting();
  entry.outcome = outcome;
  entry.lsn = at;
  return entry;
}
