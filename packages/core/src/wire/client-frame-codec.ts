/**
 * ClientFrame ↔ bytes (actor.proto). A frame is written call by call, as callers make them, and finished when it leaves:
 * that is why its own fields come last. A call's arguments are written in place; where they ended up is reported, so that
 * a retry can send the same bytes again.
 */
import type { ActorId } from "../actor-id.ts";
import { DEFAULT_NAMESPACE, MAIN_BRANCH } from "../actor-id.ts";
import type { Consistency } from "../actor-type.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { CallMessage, type CallExtras, type ClientFrame, type Hello } from "./messages.ts";
import { ProtoReader } from "./proto-reader.ts";
import {
  BYTES,
  closeLength,
  FIXED64,
  openLength,
  VARINT,
  writeBool,
  writeFixed64,
  writeText,
  writeTextItem,
  writeUint,
} from "./proto-writer.ts";
import { TextCache } from "./text.ts";
import { NO_ARGS } from "./values.ts";

const FRAME_HELLO = (1 << 3) | BYTES;
const FRAME_CALLS = (2 << 3) | BYTES;
const FRAME_CANCELS = (3 << 3) | BYTES;
const FRAME_ACKED_BELOW = (4 << 3) | VARINT;
const FRAME_HLC_US = (5 << 3) | FIXED64;

const HELLO_VERSION = (1 << 3) | VARINT;
const HELLO_SESSION_ID = (2 << 3) | BYTES;
const HELLO_FEATURES = (3 << 3) | BYTES;
const HELLO_TOKEN = (4 << 3) | BYTES;
const HELLO_PRINCIPAL = (5 << 3) | BYTES;
const HELLO_CLIENT_NAME = (6 << 3) | BYTES;

const CALL_SEQ = (1 << 3) | VARINT;
const CALL_TYPE = (2 << 3) | BYTES;
const CALL_KEY = (3 << 3) | BYTES;
const CALL_METHOD = (4 << 3) | BYTES;
const CALL_ARGS = (5 << 3) | BYTES;
const CALL_TIMEOUT_MS = (6 << 3) | VARINT;
const CALL_ATTEMPT = (7 << 3) | VARINT;
const CALL_ISSUED_AT_US = (8 << 3) | FIXED64;
const CALL_CONSISTENCY = (9 << 3) | VARINT;
const CALL_ONE_WAY = (10 << 3) | VARINT;
const CALL_NAMESPACE = (11 << 3) | BYTES;
const CALL_BRANCH = (12 << 3) | BYTES;
const CALL_IDEMPOTENCY_KEY = (13 << 3) | BYTES;
const CALL_IDEMPOTENCY_TTL_MS = (14 << 3) | VARINT;
const CALL_TRACEPARENT = (15 << 3) | BYTES;
const CALL_PATH = (16 << 3) | BYTES;
const CALL_CHAIN = (17 << 3) | BYTES;
const CALL_TERM = (18 << 3) | VARINT;
const CALL_PRINCIPAL = (20 << 3) | BYTES;

const CANCEL_SEQ = (1 << 3) | VARINT;

/** Bounds a hostile frame: an empty item of a repeated field is two bytes on the wire and much more in memory. */
export const FRAME_CALLS_MAX = 65_536;
/** A cancellation is six bytes on the wire, and a search for its call at the host. */
export const FRAME_CANCELS_MAX = 4_096;
/** Actors a call chain runs through. */
export const CHAIN_LENGTH_MAX = 64;
const TEXT_ITEMS_MAX = 1024;

/** V8's limit for typed arrays whose bytes lie beside them. */
const ON_HEAP_BYTES_MAX = 64;
/** A call keeps at most this many times the bytes of its arguments alive. */
const KEPT_ALIVE_FACTOR_MAX = 8;

const CONSISTENCIES: readonly Consistency[] = ["linearizable", "quorum", "eventual"];

/** Actor types, methods, namespaces and branches; keys apart, because there may be many. */
const names = new TextCache(512);
const keys = new TextCache(16_384, false);

// ---------------------------------------------------------------- writing

export function writeHello(w: ByteWriter, hello: Hello): void {
  const at = openLength(w, FRAME_HELLO);
  writeUint(w, HELLO_VERSION, hello.protocolVersion);
  writeText(w, HELLO_SESSION_ID, hello.sessionId);
  for (const feature of hello.features) writeTextItem(w, HELLO_FEATURES, feature);
  writeText(w, HELLO_TOKEN, hello.bearerToken);
  writeText(w, HELLO_PRINCIPAL, hello.principal);
  writeText(w, HELLO_CLIENT_NAME, hello.clientName);
  closeLength(w, at);
}

/** Starts a call in the frame; then come `writeCallHeader`, `openCallArgs` … `closeLength`, and `closeLength` of this. */
export function openCall(w: ByteWriter): number {
  return openLength(w, FRAME_CALLS);
}

/**
 * @param timeoutMs 0: no deadline.
 * @param issuedAtUs 0: the frame's own time.
 */
export function writeCallHeader(
  w: ByteWriter,
  seq: number,
  target: ActorId,
  method: string,
  timeoutMs: number,
  attempt: number,
  issuedAtUs: number,
  extras: CallExtras | undefined,
): void {
  writeUint(w, CALL_SEQ, seq);
  writeText(w, CALL_TYPE, target.type);
  writeText(w, CALL_KEY, target.key);
  writeText(w, CALL_METHOD, method);
  if (timeoutMs > 0) writeUint(w, CALL_TIMEOUT_MS, Math.min(Math.ceil(timeoutMs), 0xffffffff));
  if (attempt > 1) writeUint(w, CALL_ATTEMPT, attempt);
  writeFixed64(w, CALL_ISSUED_AT_US, issuedAtUs);
  if (target.namespace !== DEFAULT_NAMESPACE) writeText(w, CALL_NAMESPACE, target.namespace);
  if (target.branch !== MAIN_BRANCH) writeText(w, CALL_BRANCH, target.branch);
  if (extras !== undefined) writeExtras(w, extras);
}

function writeExtras(w: ByteWriter, extras: CallExtras): void {
  writeUint(w, CALL_CONSISTENCY, CONSISTENCIES.indexOf(extras.consistency ?? "linearizable"));
  writeBool(w, CALL_ONE_WAY, extras.oneWay ?? false);
  writeText(w, CALL_IDEMPOTENCY_KEY, extras.idempotencyKey ?? "");
  writeUint(w, CALL_IDEMPOTENCY_TTL_MS, Math.ceil(extras.idempotencyTtlMs ?? 0));
  writeText(w, CALL_TRACEPARENT, extras.traceparent ?? "");
  writeText(w, CALL_PATH, extras.path ?? "");
  if (extras.chain !== undefined) for (const id of extras.chain) writeTextItem(w, CALL_CHAIN, id);
  writeUint(w, CALL_TERM, extras.term ?? 0);
  writeText(w, CALL_PRINCIPAL, extras.principal ?? "");
}

export function openCallArgs(w: ByteWriter): number {
  return openLength(w, CALL_ARGS);
}

export function writeCancel(w: ByteWriter, seq: number): void {
  const at = openLength(w, FRAME_CANCELS);
  writeUint(w, CANCEL_SEQ, seq);
  closeLength(w, at);
}

/** The frame's own fields, last. */
export function writeClientFrameEnd(w: ByteWriter, ackedBelow: number, hlcUs: number): void {
  writeUint(w, FRAME_ACKED_BELOW, ackedBelow);
  writeFixed64(w, FRAME_HLC_US, hlcUs);
}

// ---------------------------------------------------------------- reading

/**
 * Arguments of the calls may be views of `bytes`.
 * @throws `malformed-frame`
 */
export function decodeClientFrame(bytes: Uint8Array): ClientFrame {
  const r = new ProtoReader(bytes);
  const calls: CallMessage[] = [];
  const cancels: number[] = [];
  let hello: Hello | undefined;
  let ackedBelow = 0;
  let hlcUs = 0;
  while (r.at < r.end) {
    const tag = r.tag();
    switch (tag) {
      case FRAME_CALLS:
        if (calls.length === FRAME_CALLS_MAX)
          throw r.malformed(`more than ${FRAME_CALLS_MAX} calls in a frame`);
        calls.push(readCall(r));
        break;
      case FRAME_HELLO:
        hello = readHello(r);
        break;
      case FRAME_CANCELS:
        if (cancels.length === FRAME_CANCELS_MAX)
          throw r.malformed(`more than ${FRAME_CANCELS_MAX} cancellations in a frame`);
        cancels.push(readCancel(r));
        break;
      case FRAME_ACKED_BELOW:
        ackedBelow = r.uint();
        break;
      case FRAME_HLC_US:
        hlcUs = r.fixed64();
        break;
      default:
        r.skip(tag);
    }
  }
  for (const call of calls) if (call.issuedAtUs === 0) call.issuedAtUs = hlcUs;
  return { hello, calls, cancels, ackedBelow, hlcUs };
}

function readCall(r: ProtoReader): CallMessage {
  const outerEnd = r.end;
  r.end = r.length();
  const call = new CallMessage();
  while (r.at < r.end) {
    const tag = r.tag();
    switch (tag) {
      case CALL_SEQ:
        call.seq = r.uint();
        break;
      case CALL_TYPE:
        call.type = r.name(names);
        break;
      case CALL_KEY:
        call.key = r.name(keys);
        break;
      case CALL_METHOD:
        call.method = r.name(names);
        break;
      case CALL_ARGS:
        call.args = readArgsBytes(r);
        break;
      case CALL_TIMEOUT_MS:
        call.timeoutMs = r.uint32();
        break;
      default:
        readRareField(r, call, tag);
    }
  }
  r.end = outerEnd;
  if (call.seq === 0) throw r.malformed("a call without a sequence number");
  return call;
}

/**
 * A view of the frame, or a copy where the view would keep much more alive than itself: a call may wait for minutes, and the
 * buffer under its frame is the network's, 64 KiB of it. Up to 64 bytes live on the engine's heap, where a copy
 * costs no more than a view.
 */
function readArgsBytes(r: ProtoReader): Uint8Array {
  const end = r.length();
  const start = r.at;
  r.at = end;
  const count = end - start;
  if (count === 0) return NO_ARGS; // no bytes mean no arguments
  const { bytes } = r;
  if (count > ON_HEAP_BYTES_MAX && count * KEPT_ALIVE_FACTOR_MAX >= bytes.buffer.byteLength) {
    return bytes.subarray(start, end);
  }
  const copy = new Uint8Array(count);
  if (count > ON_HEAP_BYTES_MAX) copy.set(bytes.subarray(start, end));
  else for (let i = 0; i < count; i++) copy[i] = bytes[start + i] as number;
  return copy;
}

/** Apart from the loop above, so that the loop stays small enough to be optimised well. */
function readRareField(r: ProtoReader, call: CallMessage, tag: number): void {
  switch (tag) {
    case CALL_ATTEMPT:
      call.attempt = Math.max(1, r.uint32());
      break;
    case CALL_ISSUED_AT_US:
      call.issuedAtUs = r.fixed64();
      break;
    case CALL_CONSISTENCY:
      call.consistency = readConsistency(r);
      break;
    case CALL_ONE_WAY:
      call.oneWay = r.bool();
      break;
    case CALL_NAMESPACE:
      call.namespace = r.name(names) || DEFAULT_NAMESPACE;
      break;
    case CALL_BRANCH:
      call.branch = r.name(names) || MAIN_BRANCH;
      break;
    case CALL_IDEMPOTENCY_KEY:
      call.idempotencyKey = r.text() || undefined;
      break;
    case CALL_IDEMPOTENCY_TTL_MS:
      call.idempotencyTtlMs = r.uint();
      break;
    case CALL_TRACEPARENT:
      call.traceparent = r.text() || undefined;
      break;
    case CALL_PATH:
      call.path = r.text();
      break;
    case CALL_CHAIN:
      readChainItem(r, call);
      break;
    case CALL_TERM:
      call.term = r.uint();
      break;
    case CALL_PRINCIPAL:
      call.principal = r.text();
      break;
    default:
      r.skip(tag);
  }
}

function readChainItem(r: ProtoReader, call: CallMessage): void {
  if (call.chain.length === CHAIN_LENGTH_MAX)
    throw r.malformed(`a call chain of more than ${CHAIN_LENGTH_MAX} actors`);
  // All calls share one empty chain until they have their own.
  if (call.chain.length === 0) call.chain = [r.text()];
  else (call.chain as string[]).push(r.text());
}

/** A consistency we do not know must not silently become a weaker one. */
export function readConsistency(r: ProtoReader): Consistency {
  const consistency = CONSISTENCIES[r.uint32()];
  if (consistency === undefined) throw r.malformed("an unknown consistency");
  return consistency;
}

export function consistencyNumber(consistency: Consistency): number {
  return CONSISTENCIES.indexOf(consistency);
}

function readCancel(r: ProtoReader): number {
  const outerEnd = r.end;
  r.end = r.length();
  let seq = 0;
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === CANCEL_SEQ) seq = r.uint();
    else r.skip(tag);
  }
  r.end = outerEnd;
  return seq;
}

function readHello(r: ProtoReader): Hello {
  const outerEnd = r.end;
  r.end = r.length();
  let protocolVersion = 0;
  let sessionId = "";
  let bearerToken = "";
  let principal = "";
  let clientName = "";
  const features: string[] = [];
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === HELLO_VERSION) protocolVersion = r.uint32();
    else if (tag === HELLO_SESSION_ID) sessionId = r.text();
    else if (tag === HELLO_FEATURES) {
      if (features.length === TEXT_ITEMS_MAX) throw r.malformed("too many features");
      features.push(r.text());
    } else if (tag === HELLO_TOKEN) bearerToken = r.text();
    else if (tag === HELLO_PRINCIPAL) principal = r.text();
    else if (tag === HELLO_CLIENT_NAME) clientName = r.text();
    else r.skip(tag);
  }
  r.end = outerEnd;
  return { protocolVersion, sessionId, features, bearerToken, principal, clientName };
}
