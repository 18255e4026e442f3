/**
 * A client written from actor.proto alone: @grpc/proto-loader reads the file, msgpackr stands for any MessagePack library,
 * and nothing of ours is used on its side.
 */
import { fileURLToPath } from "node:url";
import {
  credentials,
  loadPackageDefinition,
  Metadata,
  status,
  type ClientDuplexStream,
  type ServiceError,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { decodeArgs, PinionError } from "@pinion/core";
import type { IncomingCall } from "@pinion/runtime";
import { Packr } from "msgpackr";
import { describe, expect, it, onTestFinished } from "vitest";
import { errorOf, valueOf } from "../support/fake-dispatcher.ts";
import { startGateway } from "../support/gateway-harness.ts";

interface ForeignStream extends ClientDuplexStream<object, HostFrame> {}
interface HostFrame {
  readonly welcome: null | {
    readonly cluster_id: string;
    readonly shard_map: { readonly shard_count: number };
    readonly actor_types: readonly { readonly name: string; readonly methods: readonly object[] }[];
    readonly limits: { readonly max_in_flight: number };
  };
  readonly replies: readonly {
    readonly seq: string;
    readonly result?: "value" | "error";
    readonly value?: Buffer;
    readonly error?: {
      readonly name: string;
      readonly message: string;
      readonly retry: string;
      readonly details: object;
    };
  }[];
  readonly hlc_us: string;
}
interface ForeignClient {
  Connect(): ForeignStream;
  Call(
    request: object,
    done: (error: ServiceError | null, response: CallResponse) => void,
  ): { cancel(): void };
  Call(
    request: object,
    metadata: Metadata,
    options: { deadline: number },
    done: (error: ServiceError | null) => void,
  ): void;
  Describe(
    request: object,
    done: (error: ServiceError | null, welcome: HostFrame["welcome"]) => void,
  ): void;
  close(): void;
}
interface CallResponse {
  readonly value: Buffer;
  readonly json_value: string;
  readonly hlc_us: string;
}

const proto = fileURLToPath(new URL("../../packages/core/src/wire/actor.proto", import.meta.url));
const loaded = loadPackageDefinition(
  loadSync(proto, { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true }),
) as unknown as {
  pinion: { v1: { Gateway: new (address: string, creds: object) => ForeignClient } };
};
const msgpack = new Packr({ useRecords: false, mapsAsObjects: true });

function foreignClient(address: string): ForeignClient {
  const client = new loaded.pinion.v1.Gateway(address, credentials.createInsecure());
  onTestFinished(() => client.close());
  return client;
}

function unary(client: ForeignClient, request: object): Promise<CallResponse> {
  return new Promise((resolve, reject) => {
    client.Call(request, (error, response) => (error === null ? resolve(response) : reject(error)));
  });
}

const nextFrame = (stream: ForeignStream): Promise<HostFrame> =>
  new Promise((resolve, reject) => {
    stream.once("data", resolve);
    stream.once("error", reject);
  });

/** Counts: increment(by) adds, value() reads, fail(code) throws. */
function counter() {
  const counts = new Map<string, number>();
  return (call: IncomingCall) => {
    const [first] = decodeArgs(call.args);
    if (call.method === "fail")
      return errorOf(
        new PinionError("unknown-method", "no such method", { details: { method: "fail" } }),
      );
    if (call.method === "when")
      return valueOf({ at: new Date(0), big: 2n ** 70n, bytes: Uint8Array.of(1), none: undefined });
    const n = (counts.get(call.key) ?? 0) + (call.method === "increment" ? Number(first) : 0);
    counts.set(call.key, n);
    return valueOf(n);
  };
}

describe("a foreign client's unary call", () => {
  it("takes arguments and gives the value as JSON", async () => {
    const { address } = await startGateway(counter());
    const client = foreignClient(address);
    const request = { type: "counter", key: "visits", method: "increment", json_args: "[3]" };
    expect((await unary(client, request)).json_value).toBe("3");
    const again = await unary(client, request);
    expect(again.json_value).toBe("6");
    expect(Number(again.hlc_us)).toBeGreaterThan(1e15);
  });

  it("takes and gives MessagePack", async () => {
    const { address } = await startGateway(counter());
    const client = foreignClient(address);
    const response = await unary(client, {
      type: "counter",
      key: "visits",
      method: "increment",
      args: msgpack.pack([4]),
    });
    expect(msgpack.unpack(response.value)).toBe(4);
    expect(response.json_value).toBe("");
  });

  it("gets what JSON has no word for in the documented likeness", async () => {
    const { address } = await startGateway(counter());
    const response = await unary(foreignClient(address), {
      type: "counter",
      key: "a",
      method: "when",
      want_json: true,
    });
    expect(JSON.parse(response.json_value)).toEqual({
      at: "1970-01-01T00:00:00.000Z",
      big: String(2n ** 70n),
      bytes: "AQ==",
    });
  });

  it("runs once for one idempotency key, and once for one session and number", async () => {
    const { address } = await startGateway(counter());
    const client = foreignClient(address);
    const base = { type: "counter", key: "visits", method: "increment", json_args: "[1]" };
    for (const identity of [
      { idempotency_key: "order-7", idempotency_ttl_ms: 60_000 },
      { session_id: "python-1", seq: 1 },
    ]) {
      const first = await unary(client, { ...base, ...identity });
      expect((await unary(client, { ...base, ...identity })).json_value).toBe(first.json_value);
    }
    expect((await unary(client, { ...base, method: "value", json_args: "[]" })).json_value).toBe(
      "2",
    );
  });

  it("acknowledges its replies when it has no session of its own", async () => {
    const { address, dispatcher } = await startGateway(counter());
    const client = foreignClient(address);
    for (let i = 0; i < 3; i++) await unary(client, { type: "counter", key: "a", method: "value" });
    const [session] = [...dispatcher.sessions.values()];
    expect(dispatcher.submitted.map((call) => call.seq)).toEqual([1, 2, 3]);
    expect(session?.ackedBelow).toBe(4);
  });

  it("fails with a gRPC status, the code by name, and the whole error", async () => {
    const { address } = await startGateway(counter());
    const error = (await unary(foreignClient(address), {
      type: "counter",
      key: "a",
      method: "fail",
    }).catch((e: unknown) => e)) as ServiceError;
    expect(error).toMatchObject({ code: status.UNIMPLEMENTED, details: "no such method" });
    expect(error.metadata.get("pinion-code")).toEqual(["unknown-method"]);
    expect(error.metadata.get("pinion-error-bin")[0]).toBeInstanceOf(Buffer);
  });

  it.each([
    ["JSON that is none", { json_args: "[1" }, status.INVALID_ARGUMENT, "json_args is not JSON"],
    [
      "JSON that is no list",
      { json_args: '{"by":1}' },
      status.INVALID_ARGUMENT,
      "must be a JSON array",
    ],
    [
      "both kinds of arguments",
      { json_args: "[]", args: Buffer.of(0x90) },
      status.INVALID_ARGUMENT,
      "both",
    ],
    ["a session without a number", { session_id: "abc" }, status.INVALID_ARGUMENT, "without seq"],
    [
      "a session id with other characters",
      { session_id: "@x", seq: 1 },
      status.INVALID_ARGUMENT,
      "base64url",
    ],
    [
      "a long idempotency key",
      { idempotency_key: "k".repeat(129) },
      status.INVALID_ARGUMENT,
      "128",
    ],
  ])("is refused with a reason: %s", async (_what, fields, code, reason) => {
    const { address } = await startGateway(counter());
    const request = { type: "counter", key: "a", method: "value", ...fields };
    const error = (await unary(foreignClient(address), request).catch(
      (e: unknown) => e,
    )) as ServiceError;
    expect(error.code).toBe(code);
    expect(error.details).toContain(reason);
  });

  it("passes its gRPC deadline on, and its cancellation", async () => {
    const { address, dispatcher, gateway } = await startGateway(() => undefined);
    const client = foreignClient(address);
    const cancelled = new Promise<ServiceError | null>((resolve) => {
      const call = client.Call({ type: "counter", key: "a", method: "value" }, resolve);
      void dispatcher.received(1).then(() => call.cancel());
    });
    expect((await cancelled)?.code).toBe(status.CANCELLED);
    await expect.poll(() => dispatcher.cancelled).toEqual([1]);

    const late = new Promise<ServiceError | null>((resolve) => {
      const deadline = new Date().getTime() + 100;
      client.Call(
        { type: "counter", key: "a", method: "value" },
        new Metadata(),
        { deadline },
        resolve,
      );
    });
    await dispatcher.received(2);
    expect(dispatcher.submitted[1]?.deadlineAtMs).toBeLessThan(performance.now() + 101);
    expect((await late)?.code).toBe(status.DEADLINE_EXCEEDED);
    await expect.poll(() => gateway.stats().inFlight).toBe(0);
  });

  it("can ask what the host serves", async () => {
    const { address } = await startGateway(counter());
    const welcome = await new Promise<HostFrame["welcome"]>((resolve, reject) => {
      foreignClient(address).Describe({}, (error, answer) =>
        error === null ? resolve(answer) : reject(error),
      );
    });
    expect(welcome).toMatchObject({ cluster_id: "test-cluster", shard_map: { shard_count: 16 } });
    expect(welcome?.actor_types[0]).toMatchObject({
      name: "counter",
      methods: [{ name: "increment" }, { name: "value", readonly: true }],
    });
  });
});

describe("a foreign client's stream", () => {
  it("says hello, is welcomed, and calls in batches", async () => {
    const { address } = await startGateway(counter());
    const stream = foreignClient(address).Connect();
    onTestFinished(() => stream.cancel());
    stream.on("error", () => {});
    stream.write({ hello: { protocol_version: 1, session_id: "go-client-1", client_name: "go" } });
    const { welcome } = await nextFrame(stream);
    expect(welcome).toMatchObject({ cluster_id: "test-cluster", limits: { max_in_flight: 4096 } });
    const args = msgpack.pack([2]);
    stream.write({
      calls: [
        { seq: 1, type: "counter", key: "visits", method: "increment", args },
        { seq: 2, type: "counter", key: "visits", method: "increment", args },
        { seq: 3, type: "counter", key: "visits", method: "fail", args: msgpack.pack([]) },
      ],
      hlc_us: String(new Date().getTime() * 1000),
    });
    const { replies } = await nextFrame(stream);
    expect(replies.map((r) => [r.seq, r.result])).toEqual([
      ["1", "value"],
      ["2", "value"],
      ["3", "error"],
    ]);
    expect(replies.slice(0, 2).map((r) => msgpack.unpack(r.value as Buffer) as number)).toEqual([
      2, 4,
    ]);
    expect(replies[2]?.error).toMatchObject({
      name: "unknown-method",
      retry: "RETRY_NEVER",
      details: { method: '"fail"' },
    });
    stream.end();
  });

  it("gets the same reply again for a call it repeats on another stream", async () => {
    const { address, dispatcher } = await startGateway(counter());
    const client = foreignClient(address);
    const values: unknown[] = [];
    for (let i = 0; i < 2; i++) {
      const stream = client.Connect();
      stream.on("error", () => {});
      stream.write({ hello: { protocol_version: 1, session_id: "go-client-2" } });
      await nextFrame(stream);
      stream.write({
        calls: [
          { seq: 1, type: "counter", key: "v", method: "increment", args: msgpack.pack([5]) },
        ],
      });
      const [reply] = (await nextFrame(stream)).replies;
      values.push(msgpack.unpack(reply?.value as Buffer));
      stream.cancel();
    }
    expect(values).toEqual([5, 5]);
    expect(dispatcher.submitted).toHaveLength(2);
  });
});
