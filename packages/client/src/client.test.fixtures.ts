/** A connection whose other end is the test, and a client over it on virtual time. */
import {
  decodeArgs,
  encodeError,
  encodeValue,
  seededRng,
  VirtualClock,
  writeArgs,
  ByteWriter,
  PinionError,
  type Welcome,
} from "@pinion/core";
import { Client } from "./client.ts";
import type { Connection, ConnectionListener, Connector } from "./connection.ts";
import { resolveClientOptions, type ClientOptions } from "./options.ts";
import type { PendingCall } from "./pending-call.ts";

export const WELCOME: Welcome = {
  protocolVersion: 1,
  clusterId: "c",
  host: "h",
  incarnation: 1,
  shardMap: { shardCount: 4, workers: [], owners: [], terms: [], version: 1 },
  actorTypes: [{ name: "counter", methods: [{ name: "value", readonly: true }] }],
  limits: { maxInFlight: 100, maxFrameBytes: 4 * 1024 * 1024, sessionExpiryMs: 600_000 },
  features: [],
  hostVersion: "0",
  worker: 0,
};

export interface SentCall {
  readonly seq: number;
  readonly attempt: number;
  readonly method: string;
  readonly args: readonly unknown[];
  readonly traceparent?: string;
}

/** One connection, as the host sees it. */
export class FakeConnection implements Connection {
  blocked = false;
  closed = false;
  readonly address: string;
  readonly listener: ConnectionListener;
  readonly sent: SentCall[] = [];
  readonly cancelled: number[] = [];
  readonly #clock: VirtualClock;

  constructor(address: string, listener: ConnectionListener, clock: VirtualClock) {
    this.address = address;
    this.listener = listener;
    this.#clock = clock;
  }

  send(call: PendingCall, args: readonly unknown[] | undefined): void {
    if (args !== undefined) {
      const w = new ByteWriter();
      writeArgs(w, args);
      call.argsBuffer = w.take();
      call.argsEnd = call.argsBuffer.length;
    }
    const bytes = call.argsBuffer as Uint8Array;
    call.attempts++;
    const time = { atMs: this.#clock.nowMs(), hlcUs: 1 };
    call.firstSent ??= time;
    call.lastSent = time;
    const sentArgs = decodeArgs(bytes, call.argsStart, call.argsEnd);
    const traceparent = call.extras?.traceparent;
    this.sent.push({
      seq: call.seq,
      attempt: call.attempts,
      method: call.method,
      args: sentArgs,
      ...(traceparent === undefined ? {} : { traceparent }),
    });
    if (call.extras?.oneWay === true) queueMicrotask(() => this.listener.onWritten(call));
  }

  cancel(seq: number): void {
    this.cancelled.push(seq);
  }

  close(): void {
    this.closed = true;
  }

  // ---- what the host does

  welcome(changes: Partial<Welcome> = {}): void {
    this.listener.onWelcome({ ...WELCOME, ...changes });
  }

  reply(seq: number, value: unknown): void {
    const bytes = encodeValue(value);
    this.listener.onReply(seq, true, bytes, 0, bytes.length, this.#clock.nowMs());
  }

  fail(seq: number, error: PinionError): void {
    const bytes = encodeError(error);
    this.listener.onReply(seq, false, bytes, 0, bytes.length, this.#clock.nowMs());
  }

  lose(message = "connection reset"): void {
    this.listener.onClosed(new PinionError("unavailable", message));
  }
}

export class FakeNetwork implements Connector {
  readonly clock: VirtualClock;
  readonly connections: FakeConnection[] = [];
  /** What happens to a connection as soon as it is opened; by default the host welcomes it. */
  onOpen: (connection: FakeConnection) => void = (connection) => connection.welcome();

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  open(address: string, listener: ConnectionListener): Connection {
    const connection = new FakeConnection(address, listener, this.clock);
    this.connections.push(connection);
    queueMicrotask(() => this.onOpen(connection));
    return connection;
  }

  /** The newest one. */
  get last(): FakeConnection {
    return this.connections.at(-1) as FakeConnection;
  }
}

export interface TestClient {
  readonly client: Client;
  readonly network: FakeNetwork;
  readonly clock: VirtualClock;
}

export async function testClient(
  options: ClientOptions = {},
  seeds: readonly string[] = ["a:1"],
  clock = new VirtualClock(),
  network = new FakeNetwork(clock),
): Promise<TestClient> {
  const resolved = resolveClientOptions({ clock, rng: seededRng(1), ...options });
  return { client: await Client.open(seeds, resolved, () => network), network, clock };
}

/** What a promise rejects with; it must be one of ours. */
export async function rejection(promise: Promise<unknown>): Promise<PinionError> {
  try {
    await promise;
  } catch (e) {
    if (e instanceof PinionError) return e;
    throw e;
  }
  throw new Error("expected a rejection");
}
