/** The unary messages ↔ bytes (actor.proto): CallRequest, CallResponse, DescribeRequest. Not a hot path. */
import { DEFAULT_NAMESPACE, MAIN_BRANCH } from "../actor-id.ts";
import type { Consistency } from "../actor-type.ts";
import { ByteWriter } from "./byte-writer.ts";
import { consistencyNumber, readConsistency } from "./client-frame-codec.ts";
import type { CallRequest, CallResponse } from "./messages.ts";
import { ProtoReader } from "./proto-reader.ts";
import {
  BYTES,
  FIXED64,
  VARINT,
  writeBool,
  writeBytes,
  writeFixed64,
  writeText,
  writeUint,
} from "./proto-writer.ts";

const REQ_TYPE = (1 << 3) | BYTES;
const REQ_KEY = (2 << 3) | BYTES;
const REQ_METHOD = (3 << 3) | BYTES;
const REQ_JSON_ARGS = (4 << 3) | BYTES;
const REQ_ARGS = (5 << 3) | BYTES;
const REQ_WANT_JSON = (6 << 3) | VARINT;
const REQ_NAMESPACE = (7 << 3) | BYTES;
const REQ_BRANCH = (8 << 3) | BYTES;
const REQ_TIMEOUT_MS = (9 << 3) | VARINT;
const REQ_IDEMPOTENCY_KEY = (10 << 3) | BYTES;
const REQ_IDEMPOTENCY_TTL_MS = (11 << 3) | VARINT;
const REQ_SESSION_ID = (12 << 3) | BYTES;
const REQ_SEQ = (13 << 3) | VARINT;
const REQ_ACKED_BELOW = (14 << 3) | VARINT;
const REQ_CONSISTENCY = (15 << 3) | VARINT;
const REQ_TRACEPARENT = (16 << 3) | BYTES;
const REQ_TOKEN = (17 << 3) | BYTES;
const REQ_PRINCIPAL = (18 << 3) | BYTES;
const REQ_HLC_US = (19 << 3) | FIXED64;

const RES_VALUE = (1 << 3) | BYTES;
const RES_JSON_VALUE = (2 << 3) | BYTES;
const RES_LSN = (3 << 3) | VARINT;
const RES_SHARD = (4 << 3) | VARINT;
const RES_HLC_US = (5 << 3) | FIXED64;

const NOTHING: Uint8Array = new Uint8Array(0);

export function encodeCallRequest(request: CallRequest): Uint8Array {
  const w = new ByteWriter(1024);
  writeText(w, REQ_TYPE, request.type);
  writeText(w, REQ_KEY, request.key);
  writeText(w, REQ_METHOD, request.method);
  writeText(w, REQ_JSON_ARGS, request.jsonArgs);
  writeBytes(w, REQ_ARGS, request.args);
  writeBool(w, REQ_WANT_JSON, request.wantJson);
  if (request.namespace !== DEFAULT_NAMESPACE) writeText(w, REQ_NAMESPACE, request.namespace);
  if (request.branch !== MAIN_BRANCH) writeText(w, REQ_BRANCH, request.branch);
  writeUint(w, REQ_TIMEOUT_MS, Math.ceil(request.timeoutMs));
  writeText(w, REQ_IDEMPOTENCY_KEY, request.idempotencyKey);
  writeUint(w, REQ_IDEMPOTENCY_TTL_MS, Math.ceil(request.idempotencyTtlMs));
  writeText(w, REQ_SESSION_ID, request.sessionId);
  writeUint(w, REQ_SEQ, request.seq);
  writeUint(w, REQ_ACKED_BELOW, request.ackedBelow);
  writeUint(w, REQ_CONSISTENCY, consistencyNumber(request.consistency));
  writeText(w, REQ_TRACEPARENT, request.traceparent);
  writeText(w, REQ_TOKEN, request.bearerToken);
  writeText(w, REQ_PRINCIPAL, request.principal);
  writeFixed64(w, REQ_HLC_US, request.hlcUs);
  return w.take();
}

/** @throws `malformed-frame` */
export function decodeCallRequest(bytes: Uint8Array): CallRequest {
  const r = new ProtoReader(bytes);
  const request = {
    type: "",
    key: "",
    method: "",
    jsonArgs: "",
    args: NOTHING,
    wantJson: false,
    namespace: DEFAULT_NAMESPACE,
    branch: MAIN_BRANCH,
    timeoutMs: 0,
    idempotencyKey: "",
    idempotencyTtlMs: 0,
    sessionId: "",
    seq: 0,
    ackedBelow: 0,
    consistency: "linearizable" as Consistency,
    traceparent: "",
    bearerToken: "",
    principal: "",
    hlcUs: 0,
  };
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === REQ_TYPE) request.type = r.text();
    else if (tag === REQ_KEY) request.key = r.text();
    else if (tag === REQ_METHOD) request.method = r.text();
    else if (tag === REQ_JSON_ARGS) request.jsonArgs = r.text();
    else if (tag === REQ_ARGS) request.args = r.view();
    else if (tag === REQ_WANT_JSON) request.wantJson = r.bool();
    else if (tag === REQ_NAMESPACE) request.namespace = r.text() || DEFAULT_NAMESPACE;
    else if (tag === REQ_BRANCH) request.branch = r.text() || MAIN_BRANCH;
    else if (tag === REQ_TIMEOUT_MS) request.timeoutMs = r.uint32();
    else if (tag === REQ_IDEMPOTENCY_KEY) request.idempotencyKey = r.text();
    else if (tag === REQ_IDEMPOTENCY_TTL_MS) request.idempotencyTtlMs = r.uint();
    else if (tag === REQ_SESSION_ID) request.sessionId = r.text();
    else if (tag === REQ_SEQ) request.seq = r.uint();
    else if (tag === REQ_ACKED_BELOW) request.ackedBelow = r.uint();
    else if (tag === REQ_CONSISTENCY) request.consistency = readConsistency(r);
    else if (tag === REQ_TRACEPARENT) request.traceparent = r.text();
    else if (tag === REQ_TOKEN) request.bearerToken = r.text();
    else if (tag === REQ_PRINCIPAL) request.principal = r.text();
    else if (tag === REQ_HLC_US) request.hlcUs = r.fixed64();
    else r.skip(tag);
  }
  return request;
}

export function encodeCallResponse(response: CallResponse): Uint8Array {
  const w = new ByteWriter(1024);
  writeBytes(w, RES_VALUE, response.value);
  writeText(w, RES_JSON_VALUE, response.jsonValue);
  writeUint(w, RES_LSN, response.lsn);
  writeUint(w, RES_SHARD, response.shard);
  writeFixed64(w, RES_HLC_US, response.hlcUs);
  return w.take();
}

/** @throws `malformed-frame` */
export function decodeCallResponse(bytes: Uint8Array): CallResponse {
  const r = new ProtoReader(bytes);
  const response = { value: NOTHING, jsonValue: "", lsn: 0, shard: 0, hlcUs: 0 };
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === RES_VALUE) response.value = r.view();
    else if (tag === RES_JSON_VALUE) response.jsonValue = r.text();
    else if (tag === RES_LSN) response.lsn = r.uint();
    else if (tag === RES_SHARD) response.shard = r.uint32();
    else if (tag === RES_HLC_US) response.hlcUs = r.fixed64();
    else r.skip(tag);
  }
  return response;
}

/** @throws `malformed-frame` */
export function decodeDescribeRequest(bytes: Uint8Array): { readonly bearerToken: string } {
  const r = new ProtoReader(bytes);
  let bearerToken = "";
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === ((1 << 3) | BYTES)) bearerToken = r.text();
    else r.skip(tag);
  }
  return { bearerToken };
}
