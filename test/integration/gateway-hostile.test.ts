/** What a client that is broken, old, slow or malicious can do to a gateway: lose its own stream, and nothing else. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  status,
  type ClientDuplexStream,
  type ServerDuplexStream,
  type ServiceError,
} from "@grpc/grpc-js";
import { asIs, CONNECT_PATH, ERROR_TRAILER } from "@pinion/client";
import { decodeArgs, decodeError, decodeHostFrame, type PinionError } from "@pinion/core";
import fc from "fast-check";
import protobuf from "protobufjs";
import { describe, expect, it, onTestFinished } from "vitest";
import { valueOf } from "../support/fake-dispatcher.ts";
import { connectTo, startGateway } from "../support/gateway-harness.ts";

const schema = protobuf.parse(
  readFileSync(new URL("../../packages/core/src/wire/actor.proto", import.meta.url), "utf8"),
).root;
const ClientFrame = schema.lookupType("pinion.v1.ClientFrame");
const frame = (value: object): Buffer =>
  Buffer.from(ClientFrame.encode(ClientFrame.fromObject(value)).finish());
const hello = (sessionId = "raw-client") => frame({ hello: { protocolVersion: 1, sessionId } });

type RawStream = ClientDuplexStream<Buffer, Buffer>;

function rawStream(address: string, options: object = {}): RawStream {
  const client = new Client(address, credentials.createInsecure(), {
    "grpc.max_send_message_length": -1,
    ...options,
  });
  const stream = client.makeBidiStreamRequest(CONNECT_PATH, asIs, asIs, new Metadata());
  onTestFinished(() => {
    stream.cancel();
    client.close();
  });
  return stream;
}

/** How the host ended the stream. */
async function ending(
  stream: RawStream,
): Promise<{ code: number; error: PinionError | undefined }> {
  stream.resume();
  const [e] = (await once(stream, "error")) as [ServiceError];
  const [bytes] = e.metadata.get(ERROR_TRAILER);
  return { code: e.code, error: bytes instanceof Buffer ? decodeError(bytes) : undefined };
}

const echo = (call: { readonly args: Uint8Array }) => valueOf(decodeArgs(call.args));

describe("a bad frame", () => {
  it.each<[string, Buffer[], string, string]>([
    ["that is no message at all", [Buffer.from("ffffffff", "hex")], "malformed-frame", ""],
    ["before any hello", [frame({ calls: [{ seq: 1 }] })], "malformed-frame", "no Hello"],
    [
      "of another protocol version",
      [frame({ hello: { protocolVersion: 9, sessionId: "a" } })],
      "format-too-new",
      "version 9",
    ],
    ["with a reserved session id", [hello("@runtime")], "malformed-frame", "session id"],
    ["with a second hello", [hello(), hello()], "malformed-frame", "second Hello"],
    [
      "with a call without a number",
      [hello(), frame({ calls: [{ type: "a" }] })],
      "malformed-frame",
      "sequence number",
    ],
  ])("ends its stream with a typed error: one %s", async (_what, frames, code, message) => {
    const { address, dispatcher } = await startGateway(echo);
    const client = await connectTo(address);
    const stream = rawStream(address);
    for (const bytes of frames) stream.write(bytes);
    const end = await ending(stream);
    expect(end.error?.code).toBe(code);
    expect(end.error?.message).toContain(message);
    expect(await client.call("counter", "visits", "echo", [1])).toEqual([1]);
    expect(dispatcher.submitted).toHaveLength(1);
  });

  it("has no effect, not even by the part of it that was well-formed", async () => {
    const { address, dispatcher } = await startGateway(echo);
    const stream = rawStream(address);
    stream.write(hello());
    stream.write(
      Buffer.concat([
        frame({ calls: [{ seq: 1, type: "counter", key: "a", method: "echo" }] }),
        Buffer.of(0x12, 0x7f),
      ]),
    );
    expect((await ending(stream)).error?.code).toBe("malformed-frame");
    expect(dispatcher.submitted).toEqual([]);
  });

  it("that is too large ends its stream and no other", async () => {
    const { address } = await startGateway(echo, { maxFrameBytes: 256 * 1024 });
    const client = await connectTo(address);
    const stream = rawStream(address);
    stream.write(hello());
    stream.write(Buffer.alloc(300_000));
    expect((await ending(stream)).code).toBe(status.RESOURCE_EXHAUSTED);
    expect(await client.call("counter", "visits", "echo", [1])).toEqual([1]);
  });

  it("made of any bytes never brings the host down", async () => {
    const { address, gateway } = await startGateway(echo);
    const client = await connectTo(address);
    const valid = Buffer.concat([
      hello(),
      frame({
        calls: [{ seq: 1, type: "counter", key: "a", method: "echo", args: Buffer.of(0x91, 1) }],
      }),
    ]);
    const flips = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), {
      minLength: 1,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(flips, async (places) => {
        const bytes = Buffer.from(valid);
        for (const [at, byte] of places) bytes[at] = byte;
        const stream = rawStream(address);
        stream.on("error", () => {});
        stream.resume();
        stream.write(bytes);
        stream.end();
        await new Promise((resolve) => stream.once("status", resolve));
      }),
      { numRuns: 150 },
    );
    expect(await client.call("counter", "visits", "echo", [1])).toEqual([1]);
    await expect.poll(() => gateway.stats().inFlight).toBe(0);
  });
});

describe("a bad connection", () => {
  it("that speaks no HTTP/2 is dropped, and the others go on", async () => {
    const { address, gateway } = await startGateway(echo);
    const client = await connectTo(address);
    for (const garbage of [
      "GET / HTTP/1.1\r\n\r\n",
      "\x00".repeat(10_000),
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff",
    ]) {
      const socket = connectSocket({ host: "127.0.0.1", port: gateway.port });
      socket.on("error", () => {});
      socket.resume();
      socket.end(Buffer.from(garbage, "latin1"));
      await once(socket, "close");
    }
    expect(await client.call("counter", "visits", "echo", [1])).toEqual([1]);
  });

  it("that says nothing is ended after a while", async () => {
    const { address, gateway } = await startGateway(echo, { helloTimeoutMs: 50 });
    const stream = rawStream(address);
    const end = await ending(stream);
    expect(end.error?.message).toContain("no Hello within 50 ms");
    expect(gateway.stats().streams).toBe(0);
  });

  it("is refused when there are too many", async () => {
    const { address } = await startGateway(echo, { maxStreams: 1 });
    const client = await connectTo(address);
    const stream = rawStream(address);
    stream.write(hello());
    expect((await ending(stream)).error).toMatchObject({ code: "overloaded", retry: "backoff" });
    expect(await client.call("counter", "visits", "echo", [1])).toEqual([1]);
  });

  it("that asks for more than it may have in flight is told so, call by call", async () => {
    const { address, dispatcher } = await startGateway(() => undefined, {
      maxInFlightPerStream: 2,
    });
    const stream = rawStream(address);
    const refused = new Promise<number[]>((resolve) => {
      const seqs: number[] = [];
      stream.on("data", (bytes: Buffer) => {
        decodeHostFrame(bytes, {
          onReply: (seq, ok, from, start, end) => {
            expect(ok).toBe(false);
            expect(decodeError(from, start, end)).toMatchObject({
              code: "overloaded",
              retry: "backoff",
            });
            if (seqs.push(seq) === 3) resolve(seqs);
          },
        });
      });
    });
    stream.on("error", () => {});
    stream.write(hello());
    const calls = [1, 2, 3, 4, 5].map((seq) => ({
      seq,
      type: "counter",
      key: "a",
      method: "echo",
    }));
    stream.write(frame({ calls }));
    expect(await refused).toEqual([3, 4, 5]);
    expect(dispatcher.submitted).toHaveLength(2);
  });
});

describe("a client that does not read", () => {
  it("is cut off when its replies outgrow the buffer, and finds them with a retry", async () => {
    const value = new Uint8Array(100_000);
    const { address, gateway, dispatcher } = await startGateway(() => valueOf(value), {
      replyBufferBytesMax: 1024 * 1024,
    });
    const client = await connectTo(address);
    const stream = rawStream(address, { "grpc-node.flow_control_window": 65_535 });
    stream.on("error", () => {});
    stream.write(hello("slow-reader"));
    stream.pause();
    const calls = Array.from({ length: 200 }, (_, i) => ({
      seq: i + 1,
      type: "counter",
      key: "a",
      method: "read",
    }));
    stream.write(frame({ calls }));
    await expect.poll(() => dispatcher.detached, { timeout: 10_000 }).toContain("slow-reader");
    expect(gateway.stats()).toMatchObject({ streams: 1, inFlight: 0 });
    expect(await client.call("counter", "visits", "read")).toHaveLength(100_000);

    const again = rawStream(address);
    const first = new Promise<number>((resolve) => {
      again.on(
        "data",
        (bytes: Buffer) => void decodeHostFrame(bytes, { onReply: (seq) => resolve(seq) }),
      );
    });
    again.on("error", () => {});
    again.write(hello("slow-reader"));
    again.write(frame({ calls: calls.slice(0, 1) }));
    expect(await first).toBe(1);
  });

  it("stops being read itself, so that it cannot pile up calls", async () => {
    const { address, dispatcher } = await startGateway(() => valueOf(new Uint8Array(60_000)), {
      maxInFlightPerStream: 100_000,
      replyBufferBytesMax: 64 * 1024 * 1024,
    });
    const stream = rawStream(address, { "grpc-node.flow_control_window": 65_535 });
    stream.on("error", () => {});
    stream.write(hello("slow-reader"));
    stream.pause();
    let written = 0;
    const blocked = new Promise<void>((resolve) => {
      const write = (): void => {
        for (let i = 0; i < 10; i++) {
          const calls = [
            {
              seq: ++written,
              type: "counter",
              key: "a",
              method: "read",
              args: Buffer.alloc(50_000),
            },
          ];
          if (!stream.write(frame({ calls }))) return resolve();
        }
        if (written < 5_000) setImmediate(write);
        else resolve();
      };
      write();
    });
    await blocked;
    expect(written).toBeLessThan(5_000);
    expect(dispatcher.submitted.length).toBeLessThan(1_000);
  });
});

describe("a host that does not read", () => {
  it("makes calls wait on the client's side instead of piling up in buffers, and gets them when it reads again", async () => {
    const server = new Server({
      "grpc-node.flow_control_window": 65_535,
      "grpc.max_receive_message_length": -1,
    });
    const streams: ServerDuplexStream<Buffer, Buffer>[] = [];
    const method = {
      requestStream: true,
      responseStream: true,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    };
    server.addService(
      { Connect: { path: CONNECT_PATH, ...method } },
      {
        Connect: (stream: ServerDuplexStream<Buffer, Buffer>) => void streams.push(stream),
      },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (e, bound) =>
        e === null ? resolve(bound) : reject(e),
      );
    });
    onTestFinished(() => server.forceShutdown());
    const connecting = connectTo(`127.0.0.1:${port}`);
    await expect.poll(() => streams.length).toBe(1);
    const HostFrame = schema.lookupType("pinion.v1.HostFrame");
    const welcome = {
      protocolVersion: 1,
      clusterId: "c",
      shardMap: { shardCount: 1 },
      limits: { maxInFlight: 1000, maxFrameBytes: 4_194_304 },
    };
    streams[0]?.write(Buffer.from(HostFrame.encode(HostFrame.fromObject({ welcome })).finish()));
    const client = await connecting;

    const calls = Array.from({ length: 100 }, () =>
      client.call("counter", "a", "m", [new Uint8Array(200_000)], { oneWay: true }),
    );
    await expect.poll(() => client.stats().connections[0]?.waiting).toBeGreaterThan(50);
    streams[0]?.resume();
    await Promise.all(calls);
    expect(client.stats().connections[0]?.waiting).toBe(0);
  });
});
