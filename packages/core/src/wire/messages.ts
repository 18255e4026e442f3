/**
 * The messages of actor.proto as TypeScript sees them, with proto3's zero values already replaced by what they mean.
 */
import { DEFAULT_NAMESPACE, MAIN_BRANCH } from "../actor-id.ts";
import type { Consistency } from "../actor-type.ts";
import type { PinionError } from "../errors.ts";
import { NO_ARGS } from "./values.ts";

/** Counts incompatible changes. */
export const PROTOCOL_VERSION = 1;
/** What this version understands beyond the protocol version; none so far. */
export const WIRE_FEATURES: readonly string[] = Object.freeze([]);
/** gRPC's own default limit, so that a foreign client needs no options to receive what we send. */
export const FRAME_BYTES_MAX_DEFAULT = 4 * 1024 * 1024;
export const IDEMPOTENCY_KEY_LENGTH_MAX = 128;

export interface Hello {
  readonly protocolVersion: number;
  readonly sessionId: string;
  readonly features: readonly string[];
  readonly bearerToken: string;
  readonly principal: string;
  readonly clientName: string;
}

const NO_CHAIN: readonly string[] = Object.freeze([]);

/** A class and not a literal: every call has the same shape, however few of its fields were sent. */
export class CallMessage {
  seq = 0;
  type = "";
  key = "";
  method = "";
  /** May be a view of the frame. */
  args: Uint8Array = NO_ARGS;
  /** 0: no deadline. */
  timeoutMs = 0;
  attempt = 1;
  issuedAtUs = 0;
  consistency: Consistency = "linearizable";
  oneWay = false;
  namespace: string = DEFAULT_NAMESPACE;
  branch: string = MAIN_BRANCH;
  idempotencyKey: string | undefined = undefined;
  idempotencyTtlMs = 0;
  traceparent: string | undefined = undefined;
  path = "";
  chain: readonly string[] = NO_CHAIN;
  term = 0;
  principal = "";
}

export interface ClientFrame {
  readonly hello: Hello | undefined;
  readonly calls: readonly CallMessage[];
  /** Sequence numbers. */
  readonly cancels: readonly number[];
  readonly ackedBelow: number;
  readonly hlcUs: number;
}

/** Fields of a call that most calls leave out. */
export interface CallExtras {
  readonly consistency?: Consistency | undefined;
  readonly oneWay?: boolean | undefined;
  readonly idempotencyKey?: string | undefined;
  readonly idempotencyTtlMs?: number | undefined;
  readonly traceparent?: string | undefined;
  readonly path?: string | undefined;
  readonly chain?: readonly string[] | undefined;
  readonly term?: number | undefined;
  readonly principal?: string | undefined;
}

export interface WorkerEndpoint {
  readonly host: string;
  readonly worker: number;
  /** "name:port"; empty: the address the client already uses. */
  readonly address: string;
}

export interface ShardMapMessage {
  readonly shardCount: number;
  readonly workers: readonly WorkerEndpoint[];
  /** Index into `workers` per shard; empty: all are the first. */
  readonly owners: readonly number[];
  /** Term per shard; empty: all are 1. */
  readonly terms: readonly number[];
  readonly version: number;
}

export interface MethodMessage {
  readonly name: string;
  readonly readonly: boolean;
}

export interface ActorTypeMessage {
  readonly name: string;
  readonly methods: readonly MethodMessage[];
}

export interface LimitsMessage {
  readonly maxInFlight: number;
  readonly maxFrameBytes: number;
  readonly sessionExpiryMs: number;
}

export interface Welcome {
  readonly protocolVersion: number;
  readonly clusterId: string;
  readonly host: string;
  readonly incarnation: number;
  readonly shardMap: ShardMapMessage;
  readonly actorTypes: readonly ActorTypeMessage[];
  readonly limits: LimitsMessage;
  readonly features: readonly string[];
  readonly hostVersion: string;
  readonly worker: number;
}

export interface Relocation {
  readonly shard: number;
  readonly term: number;
  readonly to: WorkerEndpoint;
}

export interface GoAway {
  readonly reason: string;
  readonly graceMs: number;
}

/**
 * Takes the replies of a frame as they are read. The result stays bytes, `bytes[start … end)`: it is decoded once, for the
 * caller that waits for it.
 */
export interface ReplyReader {
  onReply(
    seq: number,
    ok: boolean,
    bytes: Uint8Array,
    start: number,
    end: number,
    lsn: number,
    shard: number,
  ): void;
}

/** A frame without its replies. */
export interface HostFrame {
  readonly welcome: Welcome | undefined;
  readonly replyCount: number;
  readonly relocations: readonly Relocation[];
  readonly goAway: GoAway | undefined;
  /** 0: unchanged. */
  readonly credit: number;
  readonly hlcUs: number;
  readonly error: PinionError | undefined;
}

export interface CallRequest {
  readonly type: string;
  readonly key: string;
  readonly method: string;
  /** Empty: not given. */
  readonly jsonArgs: string;
  /** Empty: not given. */
  readonly args: Uint8Array;
  readonly wantJson: boolean;
  readonly namespace: string;
  readonly branch: string;
  /** 0: none. */
  readonly timeoutMs: number;
  readonly idempotencyKey: string;
  readonly idempotencyTtlMs: number;
  readonly sessionId: string;
  readonly seq: number;
  readonly ackedBelow: number;
  readonly consistency: Consistency;
  readonly traceparent: string;
  readonly bearerToken: string;
  readonly principal: string;
  readonly hlcUs: number;
}

export interface CallResponse {
  readonly value: Uint8Array;
  readonly jsonValue: string;
  readonly lsn: number;
  readonly shard: number;
  readonly hlcUs: number;
}
