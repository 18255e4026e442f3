/**
 * The gRPC endpoint of one worker: streams and unary calls in, replies out (actor.proto).
 *
 * | state    | meaning                                                    | next              |
 * |----------|------------------------------------------------------------|-------------------|
 * | new      | not listening yet                                          | serving, stopped  |
 * | serving  | calls are admitted                                         | draining, stopped |
 * | draining | new calls are refused with `draining`; open ones finish    | stopped           |
 * | stopped  | for good                                                   | –                 |
 *
 * I1 a session is detached from the dispatcher when its last stream has closed.
 * I2 stopping waits for nobody longer than it was told.
 */
import { randomBytes } from "node:crypto";
import { createServer } from "node:net";
import {
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
} from "@grpc/grpc-js";
import {
  ByteWriter,
  PinionError,
  PROTOCOL_VERSION,
  WIRE_FEATURES,
  writeWelcome,
  type Telemetry,
  type Welcome,
} from "@pinion/core";
import type { Session } from "./dispatcher.ts";
import { ClientStream, type FrameStream, type StreamContext } from "./client-stream.ts";
import {
  resolveGatewayOptions,
  type GatewayOptions,
  type ResolvedGatewayOptions,
} from "./gateway-options.ts";
import { GATEWAY_SERVICE } from "./grpc-service.ts";
import { serviceErrorOf } from "./grpc-status.ts";
import { InFlightBudget } from "./in-flight-budget.ts";
import { UnaryCalls } from "./unary-calls.ts";

export type GatewayState = "new" | "serving" | "draining" | "stopped";

export interface GatewayStats {
  readonly state: GatewayState;
  readonly streams: number;
  readonly inFlight: number;
  readonly inFlightBytes: number;
  /** Calls refused for want of room since the start. */
  readonly refused: number;
}

export class Gateway {
  readonly #options: ResolvedGatewayOptions;
  readonly #budget: InFlightBudget;
  readonly #streams = new Set<ClientStream>();
  /** Number of streams per session. */
  readonly #streamsOf = new Map<Session, number>();
  readonly #unary: UnaryCalls;
  readonly #context: StreamContext;
  #server: Server | undefined;
  #state: GatewayState = "new";
  #port = 0;
  /** Called whenever a stream closed or a call ended while draining. */
  #onQuiet: (() => void) | undefined;

  /** @throws `config-invalid` */
  constructor(options: GatewayOptions) {
    this.#options = resolveGatewayOptions(options);
    this.#budget = new InFlightBudget(this.#options.maxInFlight, this.#options.maxInFlightBytes);
    this.#context = this.#makeContext();
    this.#unary = new UnaryCalls(this.#context, `gateway-${randomBytes(12).toString("base64url")}`);
    this.#observe(this.#options.telemetry);
  }

  get port(): number {
    return this.#port;
  }

  /** "host:port", once it serves. */
  get address(): string {
    const { host } = this.#options;
    return host.includes(":") && !host.startsWith("[")
      ? `[${host}]:${this.#port}`
      : `${host}:${this.#port}`;
  }

  get state(): GatewayState {
    return this.#state;
  }

  stats(): GatewayStats {
    return {
      state: this.#state,
      streams: this.#streams.size,
      inFlight: this.#budget.calls,
      inFlightBytes: this.#budget.bytes,
      refused: this.#budget.refused,
    };
  }

  #makeContext(): StreamContext {
    const options = this.#options;
    const isDraining = (): boolean => this.#state !== "serving";
    return {
      dispatcher: options.dispatcher,
      clock: options.clock,
      budget: this.#budget,
      maxInFlightPerStream: options.maxInFlightPerStream,
      maxFrameBytes: options.maxFrameBytes,
      replyBufferBytesMax: options.replyBufferBytesMax,
      helloTimeoutMs: options.helloTimeoutMs,
      get draining() {
        return isDraining();
      },
      welcome: () => this.#welcome(),
      onOpened: (session) => this.#streamsOf.set(session, (this.#streamsOf.get(session) ?? 0) + 1),
      onAnswered: () => this.#onQuiet?.(),
      onClosed: (stream) => this.#onStreamClosed(stream),
    };
  }

  #observe(telemetry: Telemetry): void {
    telemetry.observe("pinion_gateway_streams", "Client streams open", () => this.#streams.size);
    telemetry.observe(
      "pinion_gateway_in_flight_calls",
      "Calls without an answer",
      () => this.#budget.calls,
    );
    telemetry.observe(
      "pinion_gateway_in_flight_bytes",
      "Bytes held by calls without an answer",
      () => this.#budget.bytes,
    );
    telemetry.observe(
      "pinion_gateway_refused_calls_total",
      "Calls refused as overloaded",
      () => this.#budget.refused,
    );
  }

  #welcome(): Welcome {
    const identity = this.#options.identity();
    return {
      protocolVersion: PROTOCOL_VERSION,
      clusterId: identity.clusterId,
      host: identity.host,
      incarnation: identity.incarnation,
      shardMap: identity.shardMap,
      actorTypes: this.#options.dispatcher.describe(),
      limits: {
        maxInFlight: this.#options.maxInFlightPerStream,
        maxFrameBytes: this.#options.maxFrameBytes,
        sessionExpiryMs: identity.sessionExpiryMs,
      },
      features: WIRE_FEATURES,
      hostVersion: identity.hostVersion,
      worker: identity.worker,
    };
  }

  // ---------------------------------------------------------------- life

  /**
   * Listens and serves.
   * @throws `port-in-use` naming the port, `io-error` when the address cannot be used.
   */
  async start(): Promise<void> {
    const { host, port, maxFrameBytes, keepaliveMs, keepaliveTimeoutMs } = this.#options;
    const server = new Server({
      "grpc.max_receive_message_length": maxFrameBytes,
      "grpc.max_send_message_length": -1,
      "grpc.keepalive_time_ms": keepaliveMs,
      "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
      "grpc.enable_channelz": 0,
      // A second process on the same port must fail, not share it.
      "grpc.so_reuseport": 0,
      "grpc-node.flow_control_window": 4 * 1024 * 1024,
    });
    server.addService(GATEWAY_SERVICE, {
      Connect: (stream: ServerDuplexStream<Buffer, Buffer>) => this.#onConnect(stream),
      Call: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
        this.#onCall(call, done),
      Describe: (_call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
        this.#onDescribe(done),
    });
    this.#server = server;
    this.#port = await listen(server, host, port);
    this.#state = "serving";
  }

  /** Tells every client what `identity` and `describe` say now: after a change of shard map or actor types. */
  announce(): void {
    for (const stream of this.#streams) stream.welcomeAgain();
  }

  /**
   * Tells the clients to go elsewhere, refuses new calls, waits until the open ones are answered, at most `graceMs`.
   * Resolves with true when none was left.
   */
  async drain(graceMs: number, reason = "the host is shutting down"): Promise<boolean> {
    if (this.#state !== "serving") return this.#budget.calls === 0;
    this.#state = "draining";
    for (const stream of this.#streams) stream.goAway(reason, graceMs);
    if (this.#budget.calls === 0) return true;
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.setTimer(graceMs, resolve);
      this.#onQuiet = () => {
        if (this.#budget.calls > 0) return;
        timer.cancel();
        resolve();
      };
    });
    this.#onQuiet = undefined;
    return this.#budget.calls === 0;
  }

  /** Ends all streams after the replies given so far, and stops listening. */
  async stop(): Promise<void> {
    if (this.#state === "stopped") return;
    this.#state = "stopped";
    for (const stream of this.#streams) stream.end();
    const server = this.#server;
    if (server === undefined) return;
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.setTimer(STOP_TIMEOUT_MS, () => server.forceShutdown());
      server.tryShutdown(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  // ---------------------------------------------------------------- requests

  #onConnect(stream: ServerDuplexStream<Buffer, Buffer>): void {
    if (this.#streams.size >= this.#options.maxStreams) {
      const error = new PinionError(
        "overloaded",
        `${this.#streams.size} clients are connected, no more are accepted`,
        {
          retryAfterMs: 1_000,
          details: { maxStreams: this.#options.maxStreams },
        },
      );
      stream.on("error", () => {});
      stream.emit("error", serviceErrorOf(error));
      return;
    }
    const client = new ClientStream(new GrpcFrameStream(stream), this.#context);
    this.#streams.add(client);
    stream.on("data", (bytes: Buffer) => client.onFrame(bytes));
    stream.on("drain", () => client.onDrain());
    stream.on("end", () => client.end());
    stream.on("cancelled", () => client.onClosed());
    stream.on("error", () => client.onClosed());
    stream.on("close", () => client.onClosed());
  }

  #onStreamClosed(stream: ClientStream): void {
    this.#streams.delete(stream);
    const { session } = stream;
    if (session !== undefined) this.#leave(session, stream);
    this.#onQuiet?.();
  }

  #leave(session: Session, stream: ClientStream): void {
    const left = (this.#streamsOf.get(session) ?? 0) - 1;
    if (left > 0) this.#streamsOf.set(session, left);
    else {
      this.#streamsOf.delete(session);
      this.#options.dispatcher.detach(session, stream); // I1
    }
  }

  #onCall(call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>): void {
    const deadline = call.getDeadline();
    const deadlineMs =
      deadline === Infinity ? Infinity : Number(deadline) - this.#options.clock.wallMs();
    const cancel = this.#unary.call(call.request, deadlineMs, (result) => {
      if (result.ok)
        done(null, Buffer.from(result.bytes.buffer, result.bytes.byteOffset, result.bytes.length));
      else done(serviceErrorOf(result.error, result.bytes));
      this.#onQuiet?.();
    });
    call.on("cancelled", cancel);
  }

  #onDescribe(done: sendUnaryData<Buffer>): void {
    const writer = new ByteWriter();
    writeWelcome(writer, this.#welcome());
    done(null, writer.take());
  }
}

const STOP_TIMEOUT_MS = 2_000;

/** grpc-js's stream behind our small port. */
class GrpcFrameStream implements FrameStream {
  readonly #stream: ServerDuplexStream<Buffer, Buffer>;

  constructor(stream: ServerDuplexStream<Buffer, Buffer>) {
    this.#stream = stream;
  }

  write(frame: Buffer): boolean {
    return this.#stream.write(frame);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  end(error: PinionError | undefined): void {
    if (error === undefined) this.#stream.end();
    else this.#stream.emit("error", serviceErrorOf(error));
  }
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  if (port !== 0) await probe(host, port);
  const address =
    host.includes(":") && !host.startsWith("[") ? `[${host}]:${port}` : `${host}:${port}`;
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(listenError(error, host, port));
    });
  });
}

/** Finds out whether the port is free before grpc-js does, which would print its own line about it. */
async function probe(host: string, port: number): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(listenError(error, host, port)));
    server.listen({ host: host.replace(/^\[|\]$/g, ""), port, exclusive: true }, () =>
      server.close(() => resolve()),
    );
  });
}

function listenError(error: Error, host: string, port: number): PinionError {
  const options = { details: { host, port }, cause: error };
  return /EADDRINUSE/.test(error.message)
    ? new PinionError("port-in-use", `port ${port} on ${host} is already in use`, options)
    : new PinionError(
        "io-error",
        `cannot listen on ${host}, port ${port}: ${error.message}`,
        options,
      );
}
