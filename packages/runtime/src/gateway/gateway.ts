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
import type { GrpcServer } from "./grpc-server.ts";
import { InFlightBudget } from "./in-flight-budget.ts";
import { UnaryCalls, type UnaryResult } from "./unary-calls.ts";

export type GatewayState = "new" | "serving" | "draining" | "stopped";

export interface GatewayStats {
  readonly state: GatewayState;
  readonly streams: number;
  readonly inFlight: number;
  readonly inFlightBytes: number;
  /** Calls refused for want of room since the start. */
  readonly refused: number;
}

/** What a gateway listens with. Whoever is going to start one, and has to wait for other things first, may load it meanwhile. */
export async function loadGrpcServer(): Promise<typeof GrpcServer> {
  return (await import("./grpc-server.ts")).GrpcServer;
}

export class Gateway {
  readonly #options: ResolvedGatewayOptions;
  readonly #budget: InFlightBudget;
  readonly #streams = new Set<ClientStream>();
  /** Number of streams per session. */
  readonly #streamsOf = new Map<Session, number>();
  readonly #unary: UnaryCalls;
  readonly #context: StreamContext;
  #server: GrpcServer | undefined;
  #starting: Promise<void> | undefined;
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
   * @throws `port-in-use` naming the port, `io-error` when the address cannot be used, `unavailable` when it was stopped meanwhile.
   */
  start(): Promise<void> {
    this.#starting = this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    const Server = await loadGrpcServer();
    const server = await Server.listen(this.#options, {
      connect: (stream) => this.#onConnect(stream),
      call: (request, deadlineMs, done) => this.#onCall(request, deadlineMs, done),
      describe: () => this.#describe(),
    });
    this.#server = server;
    this.#port = server.port;
    if (this.#isStopped) {
      await server.stop();
      throw new PinionError("unavailable", "the gateway was stopped before it served");
    }
    this.#state = "serving";
  }

  get #isStopped(): boolean {
    return this.#state === "stopped";
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
    await this.#server?.stop();
    // If it starts yet, it finds out, and gives its port back.
    await this.#starting?.catch(() => {});
  }

  // ---------------------------------------------------------------- requests

  #onConnect(stream: FrameStream): ClientStream | undefined {
    if (this.#streams.size >= this.#options.maxStreams) {
      const error = new PinionError(
        "overloaded",
        `${this.#streams.size} clients are connected, no more are accepted`,
        {
          retryAfterMs: 1_000,
          details: { maxStreams: this.#options.maxStreams },
        },
      );
      stream.end(error);
      return undefined;
    }
    const client = new ClientStream(stream, this.#context);
    this.#streams.add(client);
    return client;
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

  #onCall(request: Buffer, deadlineMs: number, done: (result: UnaryResult) => void): () => void {
    return this.#unary.call(request, deadlineMs, (result) => {
      done(result);
      this.#onQuiet?.();
    });
  }

  #describe(): Buffer {
    const writer = new ByteWriter();
    writeWelcome(writer, this.#welcome());
    return writer.take();
  }
}
