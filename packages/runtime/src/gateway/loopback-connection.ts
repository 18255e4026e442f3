/**
 * The in-process client's way into its own host: no socket, no frames, the same bytes. `host.client` is an ordinary `Client`
 * over this connection, so it has the same sessions, retries, deadlines and bounds.
 */
import type {
  ClientSession,
  Connection,
  ConnectionListener,
  Connector,
  PendingCall,
} from "@pinion/client";
import {
  CallMessage,
  encodeArgs,
  FRAME_BYTES_MAX_DEFAULT,
  NO_ARGS,
  PinionError,
  PROTOCOL_VERSION,
  WIRE_FEATURES,
  type Clock,
} from "@pinion/core";
import type { CallSink, Dispatcher, IncomingCall, Outcome, Session } from "./dispatcher.ts";
import type { GatewayIdentity } from "./gateway-options.ts";
import { StreamCall } from "./stream-call.ts";

export interface LoopbackOptions {
  readonly dispatcher: Dispatcher;
  readonly identity: () => GatewayIdentity;
  readonly clock: Clock;
  /** Unanswered calls; default 4,096. */
  readonly maxInFlight?: number;
}

/** The address of a host's own client; no network name can look like it. */
export const LOOPBACK_ADDRESS = "@loopback";

export class LoopbackConnector implements Connector {
  readonly #options: LoopbackOptions;
  readonly #session: ClientSession;
  readonly #open = new Set<LoopbackConnection>();
  #stopped = false;

  constructor(options: LoopbackOptions, session: ClientSession) {
    this.#options = options;
    this.#session = session;
  }

  open(_address: string, listener: ConnectionListener): Connection {
    const connection = new LoopbackConnection(this.#options, this.#session, listener, () =>
      this.#open.delete(connection),
    );
    this.#open.add(connection);
    connection.start(this.#stopped);
    return connection;
  }

  /** The host goes: connections close, and none opens again. */
  stop(): void {
    this.#stopped = true;
    for (const connection of this.#open) connection.fail();
  }
}

class LoopbackConnection implements Connection, CallSink {
  readonly blocked = false;
  readonly #options: LoopbackOptions;
  readonly #clientSession: ClientSession;
  readonly #listener: ConnectionListener;
  readonly #session: Session;
  readonly #onEnd: () => void;
  #closed = false;

  constructor(
    options: LoopbackOptions,
    session: ClientSession,
    listener: ConnectionListener,
    onEnd: () => void,
  ) {
    this.#options = options;
    this.#clientSession = session;
    this.#listener = listener;
    this.#session = options.dispatcher.session(session.id);
    this.#onEnd = onEnd;
  }

  /** Welcomes the client in a turn of its own, as a network would. */
  start(stopped: boolean): void {
    this.#options.clock.defer(() => {
      if (stopped) return this.fail();
      if (this.#closed) return;
      const identity = this.#options.identity();
      this.#listener.onWelcome({
        protocolVersion: PROTOCOL_VERSION,
        clusterId: identity.clusterId,
        host: identity.host,
        incarnation: identity.incarnation,
        // Every shard of this worker is here, whatever its network address.
        shardMap: { ...identity.shardMap, workers: [], owners: [] },
        actorTypes: this.#options.dispatcher.describe(),
        limits: {
          maxInFlight: this.#options.maxInFlight ?? 4096,
          maxFrameBytes: FRAME_BYTES_MAX_DEFAULT,
          sessionExpiryMs: identity.sessionExpiryMs,
        },
        features: WIRE_FEATURES,
        hostVersion: identity.hostVersion,
        worker: identity.worker,
      });
    });
  }

  send(call: PendingCall, args: readonly unknown[] | undefined): void {
    if (args !== undefined) {
      call.argsBuffer = args.length === 0 ? NO_ARGS : encodeArgs(args);
      call.argsStart = 0;
      call.argsEnd = call.argsBuffer.length;
    }
    const { dispatcher, clock } = this.#options;
    const nowMs = clock.nowMs();
    const time = { atMs: nowMs, hlcUs: this.#clientSession.tickUs() };
    call.firstSent ??= time;
    call.lastSent = time;
    this.#clientSession.adoptTime(dispatcher.exchangeTime(time.hlcUs));
    this.#session.ackedBelow = Math.max(this.#session.ackedBelow, this.#clientSession.ackedBelow);
    this.#session.lastSeenMs = nowMs;
    call.attempts++;
    const message = messageOf(call, nowMs);
    // The caller has its promise before the answer can come: a dispatcher may answer at once.
    queueMicrotask(() => {
      if (this.#closed) return;
      dispatcher.submit(new StreamCall(message, this.#session, this, nowMs));
      if (message.oneWay) this.#listener.onWritten(call);
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  reply(call: IncomingCall, outcome: Outcome): void {
    if (this.#closed || (call as StreamCall).oneWay) return;
    const { bytes, ok } = outcome;
    this.#listener.onReply(call.seq, ok, bytes, 0, bytes.length, this.#options.clock.nowMs());
    this.#session.ackedBelow = Math.max(this.#session.ackedBelow, this.#clientSession.ackedBelow);
  }

  cancel(seq: number): void {
    if (!this.#closed) this.#options.dispatcher.cancel(this.#session, seq);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onEnd();
    this.#options.dispatcher.detach(this.#session, this);
  }

  fail(): void {
    if (this.#closed) return;
    this.close();
    this.#listener.onClosed(
      new PinionError("unavailable", "the host has stopped", { retry: "never" }),
    );
  }
}

function messageOf(call: PendingCall, nowMs: number): CallMessage {
  const { target } = call;
  const message = new CallMessage();
  message.seq = call.seq;
  message.namespace = target.namespace;
  message.branch = target.branch;
  message.type = target.type;
  message.key = target.key;
  message.method = call.method;
  const { argsBuffer, argsStart, argsEnd } = call;
  message.args = argsBuffer === undefined ? NO_ARGS : argsBuffer.subarray(argsStart, argsEnd);
  message.timeoutMs = call.timeoutMsAt(nowMs);
  message.attempt = call.attempts;
  message.issuedAtUs = call.firstSent?.hlcUs ?? 0;
  const { extras } = call;
  if (extras !== undefined) {
    message.consistency = extras.consistency ?? "linearizable";
    message.oneWay = extras.oneWay ?? false;
    message.idempotencyKey = extras.idempotencyKey;
    message.idempotencyTtlMs = extras.idempotencyTtlMs ?? 0;
    message.traceparent = extras.traceparent;
  }
  return message;
}
