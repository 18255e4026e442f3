/** A call as it came over the wire. One shape for all of them. */
import {
  IDEMPOTENCY_KEY_LENGTH_MAX,
  PinionError,
  type CallMessage,
  type Consistency,
} from "@pinion/core";
import type { CallSink, IncomingCall, Session } from "./dispatcher.ts";

export class StreamCall implements IncomingCall {
  readonly session: Session;
  readonly seq: number;
  readonly path: string;
  readonly namespace: string;
  readonly branch: string;
  readonly type: string;
  readonly key: string;
  readonly method: string;
  readonly args: Uint8Array;
  readonly deadlineAtMs: number;
  readonly attempt: number;
  readonly issuedAt: number;
  readonly consistency: Consistency;
  readonly idempotencyKey: string | undefined;
  readonly idempotencyTtlMs: number;
  readonly traceparent: string | undefined;
  readonly chain: readonly string[];
  readonly sink: CallSink;
  readonly oneWay: boolean;
  /** Answered; a second answer would be counted twice. */
  answered = false;

  constructor(message: CallMessage, session: Session, sink: CallSink, nowMs: number) {
    this.session = session;
    this.seq = message.seq;
    this.path = message.path;
    this.namespace = message.namespace;
    this.branch = message.branch;
    this.type = message.type;
    this.key = message.key;
    this.method = message.method;
    this.args = message.args;
    this.deadlineAtMs = message.timeoutMs === 0 ? Infinity : nowMs + message.timeoutMs;
    this.attempt = message.attempt;
    this.issuedAt = message.issuedAtUs;
    this.consistency = message.consistency;
    this.idempotencyKey = message.idempotencyKey;
    this.idempotencyTtlMs = message.idempotencyTtlMs;
    this.traceparent = message.traceparent;
    this.chain = message.chain;
    this.sink = sink;
    this.oneWay = message.oneWay;
  }
}

/**
 * Where a call comes from inside the cluster is for hosts to say: a client that could would get around the dedupe window's
 * bounds and pass for an actor that calls back. Undefined: fine.
 */
export function originRefusal(message: CallMessage): PinionError | undefined {
  if (message.path === "" && message.chain.length === 0) return undefined;
  return new PinionError(
    "invalid-argument",
    "the fields path and chain of a call are between hosts; a client leaves them empty",
  );
}

/** What the dispatcher relies on and the message format does not give. Undefined: fine. */
export function refusalOf(idempotencyKey: string | undefined): PinionError | undefined {
  if (idempotencyKey === undefined || idempotencyKey.length <= IDEMPOTENCY_KEY_LENGTH_MAX)
    return undefined;
  return new PinionError(
    "invalid-argument",
    `an idempotency key has at most ${IDEMPOTENCY_KEY_LENGTH_MAX} characters, this one has ${idempotencyKey.length}`,
    { details: { length: idempotencyKey.length, lengthMax: IDEMPOTENCY_KEY_LENGTH_MAX } },
  );
}

const SESSION_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** Ids that start with "@" are the runtime's own. @throws `malformed-frame` */
export function assertSessionId(id: string): void {
  if (SESSION_ID.test(id)) return;
  throw new PinionError("malformed-frame", "a session id is 1 to 64 characters of base64url", {
    details: { length: id.length },
  });
}
