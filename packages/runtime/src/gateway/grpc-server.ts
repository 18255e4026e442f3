/**
 * The gRPC server under a gateway. Loading it takes as long as a small recovery, so a gateway loads it when it starts to listen, or is asked to
 * before; only it and what it imports (grpc-status.ts) bring in grpc-js.
 */
import { createServer } from "node:net";
import {
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
} from "@grpc/grpc-js";
import { PinionError, type Clock } from "@pinion/core";
import type { FrameStream } from "./client-stream.ts";
import type { ResolvedGatewayOptions } from "./gateway-options.ts";
import { GATEWAY_SERVICE } from "./grpc-service.ts";
import { serviceErrorOf } from "./grpc-status.ts";
import type { UnaryResult } from "./unary-calls.ts";

const STOP_TIMEOUT_MS = 2_000;

/** What comes in on a stream. */
export interface FrameSink {
  onFrame(bytes: Buffer): void;
  onDrain(): void;
  /** The client has said everything. */
  end(): void;
  onClosed(): void;
}

export interface GatewayHandlers {
  /** A client's stream; undefined: it was refused, and ended. */
  connect(stream: FrameStream): FrameSink | undefined;
  /**
   * @param deadlineMs how long the caller waits; Infinity: no deadline
   * @returns cancels the call; harmless afterwards
   */
  call(request: Buffer, deadlineMs: number, done: (result: UnaryResult) => void): () => void;
  describe(): Buffer;
}

export class GrpcServer {
  readonly port: number;
  readonly #server: Server;
  readonly #clock: Clock;

  private constructor(server: Server, port: number, clock: Clock) {
    this.#server = server;
    this.port = port;
    this.#clock = clock;
  }

  /** @throws `port-in-use` naming the port, `io-error` when the address cannot be used */
  static async listen(
    options: ResolvedGatewayOptions,
    handlers: GatewayHandlers,
  ): Promise<GrpcServer> {
    const { host, port, clock } = options;
    const server = new Server({
      "grpc.max_receive_message_length": options.maxFrameBytes,
      "grpc.max_send_message_length": -1,
      "grpc.keepalive_time_ms": options.keepaliveMs,
      "grpc.keepalive_timeout_ms": options.keepaliveTimeoutMs,
      "grpc.enable_channelz": 0,
      // A second process on the same port must fail, not share it.
      "grpc.so_reuseport": 0,
      "grpc-node.flow_control_window": 4 * 1024 * 1024,
    });
    server.addService(GATEWAY_SERVICE, {
      Connect: (stream: ServerDuplexStream<Buffer, Buffer>) => connect(stream, handlers),
      Call: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
        answer(call, done, handlers, clock),
      Describe: (_call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
        done(null, handlers.describe()),
    });
    return new GrpcServer(server, await listen(server, host, port), clock);
  }

  /** Stops listening and waits for the streams, which somebody else ends, but not for long. */
  stop(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(STOP_TIMEOUT_MS, () => this.#server.forceShutdown());
      this.#server.tryShutdown(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}

function connect(stream: ServerDuplexStream<Buffer, Buffer>, handlers: GatewayHandlers): void {
  // First: a refusal is an error of the stream.
  stream.on("error", () => {});
  const client = handlers.connect(new GrpcFrameStream(stream));
  if (client === undefined) return;
  stream.on("data", (bytes: Buffer) => client.onFrame(bytes));
  stream.on("drain", () => client.onDrain());
  stream.on("end", () => client.end());
  stream.on("cancelled", () => client.onClosed());
  stream.on("error", () => client.onClosed());
  stream.on("close", () => client.onClosed());
}

function answer(
  call: ServerUnaryCall<Buffer, Buffer>,
  done: sendUnaryData<Buffer>,
  handlers: GatewayHandlers,
  clock: Clock,
): void {
  const deadline = call.getDeadline();
  const deadlineMs = deadline === Infinity ? Infinity : Number(deadline) - clock.wallMs();
  const cancel = handlers.call(call.request, deadlineMs, (result) => {
    if (result.ok) {
      const { buffer, byteOffset, length } = result.bytes;
      done(null, Buffer.from(buffer, byteOffset, length));
    } else done(serviceErrorOf(result.error, result.bytes));
  });
  call.on("cancelled", cancel);
}

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
