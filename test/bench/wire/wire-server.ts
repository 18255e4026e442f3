/**
 * The server process of the wire benchmark. argv: mode (`floor` or `pinion`). Prints its port.
 * `floor` echoes frames over one bare gRPC stream; `pinion` is the real gateway with a dispatcher that answers at once.
 */
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { decodeArgs, encodeValue, HybridClock, systemClock } from "@pinion/core";
import {
  Gateway,
  type CallSink,
  type Dispatcher,
  type IncomingCall,
  type Session,
} from "@pinion/runtime";
import { pack, unpack } from "msgpackr";
import { floorService } from "./floor-service.ts";

const counts = new Map<string, number>();

function increment(key: string, by: number): number {
  const n = (counts.get(key) ?? 0) + by;
  counts.set(key, n);
  return n;
}

function serveFloor(): void {
  const server = new Server();
  server.addService(floorService, {
    batch: (stream: ServerDuplexStream<Buffer, Buffer>) => {
      stream.on("data", (bytes: Buffer) => {
        const calls = unpack(bytes) as [number, string, number][];
        stream.write(pack(calls.map(([seq, key, by]) => [seq, increment(key, by)])));
      });
      stream.on("end", () => stream.end());
      stream.on("error", () => {});
    },
  });
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
    if (error !== null) throw error;
    console.log(port);
  });
}

class EchoDispatcher implements Dispatcher {
  readonly #hlc = new HybridClock(systemClock);
  readonly #sessions = new Map<string, Session>();

  session(id: string): Session {
    const session = this.#sessions.get(id) ?? { id, ackedBelow: 0 };
    this.#sessions.set(id, session);
    return session;
  }
  submit(call: IncomingCall): void {
    const [by] = decodeArgs(call.args) as [number];
    call.sink.reply(call, { ok: true, bytes: encodeValue(increment(call.key, by)) });
  }
  cancel(): void {}
  detach(_session: Session, _sink: CallSink): void {}
  describe() {
    return [{ name: "counter", methods: [{ name: "increment", readonly: false }] }];
  }
  exchangeTime(callerHlc: number): number {
    if (callerHlc > 0) this.#hlc.adoptFromClient(callerHlc);
    return this.#hlc.tick();
  }
}

async function servePinion(): Promise<void> {
  const gateway = new Gateway({
    dispatcher: new EchoDispatcher(),
    identity: () => ({
      clusterId: "bench",
      host: "bench",
      incarnation: 1,
      worker: 0,
      hostVersion: "0",
      sessionExpiryMs: 600_000,
      shardMap: { shardCount: 16, workers: [], owners: [], terms: [], version: 1 },
    }),
  });
  await gateway.start();
  console.log(gateway.port);
}

process.on("SIGTERM", () => process.exit(0));
if (process.argv[2] === "floor") serveFloor();
else await servePinion();
