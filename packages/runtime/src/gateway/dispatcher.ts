/**
 * The port between the gateway (and the in-process client) and the worker's actors. The gateway decodes envelopes and
 * encodes replies; the dispatcher admits calls, runs them as turns and answers through the call's sink.
 *
 * I1 every submitted call is answered exactly once, unless its sink was closed first.
 * I2 an answer is given only when it may leave: its commit record is committed, or what a readonly turn observed is.
 * I3 argument and value bytes are standard MessagePack and belong to the receiver; they are never modified.
 */
import type { Consistency, ErrorCode } from "@pinion/core";

/** One client process, as the worker knows it. Shared by all its streams. */
export interface Session {
  /** Random id of the client process: 22 characters of base64url (128 bits). */
  readonly id: string;
  /** The client has the replies of all its calls with a smaller sequence: their dedupe entries may go (P13). */
  ackedBelow: number;
  /** Monotonic ms of this process's clock at which the client last said anything; whoever hears of it writes it. */
  lastSeenMs?: number;
}

/** The result of a call, encoded: `bytes` is the MessagePack value, or a wire error (core/wire/error-codec) when not `ok`. */
export interface Outcome {
  readonly ok: boolean;
  readonly bytes: Uint8Array;
  /** Set when the call was not run and nothing of it is recorded: trying again may help (`transient`) or cannot (`final`). */
  readonly refused?: "transient" | "final";
  /** The commit that made the outcome durable, or that a read observed, and its shard; told to the caller. */
  readonly lsn?: number;
  readonly shard?: number;
}

export interface CallSink {
  /** Nobody is there to be answered any more: what waits for an outcome need not be kept. */
  readonly closed?: boolean;
  reply(call: IncomingCall, outcome: Outcome): void;
  /** The same call came again through this sink and waits in this one's place: it is not answered. */
  superseded?(call: IncomingCall): void;
}

export interface IncomingCall {
  readonly session: Session;
  /** Sequence number of the root call in its session, from 1. */
  readonly seq: number;
  /** Ordinals below the root call, "" for the root itself, "0.2" for the third call of its first call (P12). */
  readonly path: string;
  readonly namespace: string;
  readonly branch: string;
  readonly type: string;
  readonly key: string;
  readonly method: string;
  /** MessagePack array of the arguments. */
  readonly args: Uint8Array;
  /** Monotonic ms of this process's clock after which nobody waits; Infinity when there is no deadline. */
  readonly deadlineAtMs: number;
  /** 1 for the first transmission. */
  readonly attempt: number;
  /** Hybrid-logical-clock µs at which the caller first sent it. */
  readonly issuedAt: number;
  readonly consistency: Consistency;
  /** Makes the call's id the key instead of session and sequence. */
  readonly idempotencyKey: string | undefined;
  readonly idempotencyTtlMs: number;
  /** W3C traceparent. */
  readonly traceparent: string | undefined;
  /** Actor ids (text form) the call chain runs through, outermost first; to detect cycles. */
  readonly chain: readonly string[];
  readonly sink: CallSink;
}

export interface MethodDescription {
  readonly name: string;
  readonly readonly: boolean;
}
export interface ActorTypeDescription {
  readonly name: string;
  readonly methods: readonly MethodDescription[];
}

export interface Dispatcher {
  /** The session of that id, created if need be. */
  session(id: string): Session;
  submit(call: IncomingCall): void;
  /** The caller gave up: queued calls are dropped, a running turn's signal aborts. The call is answered `cancelled`. */
  cancel(session: Session, seq: number): void;
  /** No stream of the session is open any more; calls in flight go on, their replies are kept for a retry. */
  detach(session: Session, sink: CallSink): void;
  describe(): readonly ActorTypeDescription[];
  /** This worker's clock for the wire: HLC µs now, adopting the caller's within bounds. */
  exchangeTime(callerHlc: number): number;
}

/** Codes the gateway itself may answer with. */
export type GatewayErrorCode = Extract<
  ErrorCode,
  "malformed-frame" | "frame-too-large" | "invalid-actor-id" | "overloaded" | "draining"
>;
