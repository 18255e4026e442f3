import type { ClientEvent } from "@pinion/client";
import { decodeArgs, PinionError, shardOf, type ActorType } from "@pinion/core";
import type { IncomingCall } from "@pinion/runtime";
import { describe, expect, it } from "vitest";
import { errorOf, valueOf } from "../support/fake-dispatcher.ts";
import {
  connectTo,
  IDENTITY,
  rejection,
  signalled,
  startGateway,
} from "../support/gateway-harness.ts";

/** What a client knows of the definition: its type. */
interface Counter extends ActorType<"counter"> {
  readonly methods: {
    increment(ctx: never, by: number): number;
    echo(ctx: never, ...args: unknown[]): unknown;
    value(ctx: never): number;
  };
}

const echo = (call: IncomingCall) => valueOf(decodeArgs(call.args));
const never = () => undefined;

describe("a call over gRPC", () => {
  it("brings arguments of every kind there and the value back", async () => {
    const { address, dispatcher } = await startGateway(echo);
    const client = await connectTo(address);
    const args = [
      1,
      "é",
      null,
      undefined,
      5n,
      new Date(0),
      new Map([[1, new Set(["a"])]]),
      Uint8Array.of(1),
      { a: [{}] },
    ];
    expect(await client.get<Counter>("counter", "visits").echo(...args)).toStrictEqual(args);
    expect(dispatcher.submitted[0]).toMatchObject({
      type: "counter",
      key: "visits",
      method: "echo",
      namespace: "default",
      branch: "main",
      attempt: 1,
      seq: 1,
      deadlineAtMs: Infinity,
      consistency: "linearizable",
    });
    expect(dispatcher.submitted[0]?.issuedAt).toBeGreaterThan(1e15);
  });

  it("carries namespace, branch and options to the host", async () => {
    const { address, dispatcher } = await startGateway(echo);
    const client = await connectTo(address);
    const ref = client.namespace("staging").branch("what-if").get<Counter>("counter", "a/b:c@d");
    await ref
      .with({
        timeoutMs: 60_000,
        consistency: "quorum",
        idempotencyKey: "order-7",
        idempotencyTtlMs: 1000,
      })
      .value();
    const [call] = dispatcher.submitted;
    expect(call).toMatchObject({
      namespace: "staging",
      branch: "what-if",
      key: "a/b:c@d",
      consistency: "quorum",
      idempotencyKey: "order-7",
      idempotencyTtlMs: 1000,
    });
    expect(call?.deadlineAtMs).toBeLessThan(performance.now() + 60_001);
  });

  it("answers ten thousand calls made at once, each with its own answer", async () => {
    const { address, gateway } = await startGateway(echo);
    const client = await connectTo(address);
    const ref = client.get<Counter>("counter", "visits");
    const answers = await Promise.all(Array.from({ length: 10_000 }, (_, i) => ref.echo(i)));
    expect(answers).toStrictEqual(Array.from({ length: 10_000 }, (_, i) => [i]));
    expect(gateway.stats()).toMatchObject({ inFlight: 0, inFlightBytes: 0, streams: 1 });
    expect(client.stats()).toMatchObject({ succeeded: 10_000, pending: 0, retries: 0 });
  });

  it("takes answers in any order", async () => {
    const { address, dispatcher } = await startGateway(never);
    const client = await connectTo(address);
    const calls = ["a", "b", "c"].map((key) => client.get<Counter>("counter", key).value());
    await dispatcher.received(3);
    for (const call of [...dispatcher.submitted].reverse())
      dispatcher.answer(call, valueOf(call.key));
    expect(await Promise.all(calls)).toEqual(["a", "b", "c"]);
  });

  it("tells the host which replies arrived, so that it can forget them", async () => {
    const { address, dispatcher } = await startGateway((call) =>
      call.method === "value" ? undefined : echo(call),
    );
    const client = await connectTo(address);
    const ref = client.get<Counter>("counter", "visits");
    await ref.increment(1);
    const slow = ref.value();
    await ref.increment(2);
    await ref.increment(3);
    const [session] = [...dispatcher.sessions.values()].filter(
      (s) => s.id === client.stats().sessionId,
    );
    expect(session?.ackedBelow).toBe(2); // the second call has no answer yet
    dispatcher.answer(dispatcher.submitted[1] as IncomingCall, valueOf(0));
    await slow;
    await ref.increment(4);
    expect(session?.ackedBelow).toBe(5);
  });

  it("gives a user's error with its code, details, cause and both stacks", async () => {
    class OutOfFunds extends Error {
      readonly balance = 5;
    }
    const { address } = await startGateway(() =>
      errorOf(new OutOfFunds("no money", { cause: new RangeError("inner") })),
    );
    const client = await connectTo(address);
    async function theCallersFunction(): Promise<void> {
      await client.get<Counter>("counter", "visits").increment(1);
    }
    const error = await rejection(theCallersFunction());
    expect(error).toMatchObject({
      code: "actor-error",
      message: "no money",
      userName: "OutOfFunds",
      details: { balance: 5, type: "counter", key: "visits", method: "increment", attempts: 1 },
      cause: { code: "actor-error", userName: "RangeError" },
    });
    expect(error.remoteStack).toContain("gateway.test.ts");
    expect(error.stack).toContain("theCallersFunction");
  });

  it("names the nearest method when the host knows none of that name", async () => {
    const { address } = await startGateway((call) =>
      errorOf(new PinionError("unknown-method", `no ${call.method}`)),
    );
    const client = await connectTo(address);
    const error = await rejection(client.call("counter", "visits", "incremnt"));
    expect(error.message).toContain("did you mean increment?");
    expect(client.actorTypes.map((t) => t.name)).toEqual(["counter"]);
  });

  it("fails at once for arguments that cannot be sent, and leaves the calls around it alone", async () => {
    const { address, dispatcher } = await startGateway(echo);
    const client = await connectTo(address);
    const ref = client.get<Counter>("counter", "visits");
    const [before, bad, after] = [ref.echo(1), ref.echo({ onDone: () => 1 }), ref.echo(2)];
    expect((await rejection(bad)).message).toContain("args[0].onDone is a function");
    expect(await Promise.all([before, after])).toEqual([[1], [2]]);
    expect(dispatcher.submitted).toHaveLength(2);
  });

  it("is sent without waiting for an answer when it is one-way", async () => {
    const { address, dispatcher } = await startGateway(never);
    const client = await connectTo(address);
    await client.get<Counter>("counter", "visits").with({ oneWay: true }).increment(1);
    await dispatcher.received(1);
    dispatcher.answer(dispatcher.submitted[0] as IncomingCall, valueOf(1));
    expect(client.stats()).toMatchObject({ pending: 0, lateReplies: 0 });
  });
});

describe("giving up", () => {
  it("rejects at the deadline, tells the host, and ignores the late reply", async () => {
    const { address, dispatcher } = await startGateway(never);
    const client = await connectTo(address);
    const error = await rejection(
      client.get<Counter>("counter", "visits").with({ timeoutMs: 30 }).value(),
    );
    expect(error).toMatchObject({
      code: "deadline-exceeded",
      details: { type: "counter", key: "visits", method: "value" },
    });
    expect(error.message).toContain("30 ms");
    const call = dispatcher.submitted[0] as IncomingCall;
    call.sink.reply(call, valueOf("too late"));
    await client.call("counter", "visits", "value", [], { timeoutMs: 20 }).catch(() => {});
    expect(dispatcher.cancelled).toContain(1);
    expect(client.stats().pending).toBe(0);
  });

  it("rejects when the signal aborts, and tells the host", async () => {
    const { address, dispatcher, gateway } = await startGateway(never);
    const client = await connectTo(address);
    const controller = new AbortController();
    const call = client
      .get<Counter>("counter", "visits")
      .with({ signal: controller.signal })
      .value();
    await dispatcher.received(1);
    controller.abort(new Error("user left"));
    const error = await rejection(call);
    expect(error).toMatchObject({ code: "cancelled" });
    expect(error.message).toContain("user left");
    expect(error.cause).toBeInstanceOf(Error);
    dispatcher.handler = echo;
    await client.get<Counter>("counter", "other").value();
    expect(dispatcher.cancelled).toEqual([1]);
    expect(gateway.stats().inFlight).toBe(0);
  });

  it("does not send a call whose signal has aborted already", async () => {
    const { address, dispatcher } = await startGateway(echo);
    const client = await connectTo(address);
    const ref = client.get<Counter>("counter", "visits").with({ signal: AbortSignal.abort() });
    expect((await rejection(ref.value())).code).toBe("cancelled");
    expect(dispatcher.submitted).toEqual([]);
  });

  it("fails pending calls when the client is closed, by what became of them", async () => {
    const { address, dispatcher } = await startGateway(never);
    const client = await connectTo(address, { maxInFlight: 1 });
    const ref = client.get<Counter>("counter", "visits");
    const [sent, waiting] = [ref.value(), ref.value()];
    await dispatcher.received(1);
    await client.close(0);
    expect((await rejection(sent)).code).toBe("outcome-unknown");
    expect((await rejection(waiting)).code).toBe("cancelled");
    expect((await rejection(ref.value())).code).toBe("cancelled");
  });

  it("waits for pending calls when it closes gracefully", async () => {
    const { address, dispatcher } = await startGateway(never);
    const client = await connectTo(address);
    const call = client.get<Counter>("counter", "visits").value();
    await dispatcher.received(1);
    const closed = client.close();
    dispatcher.answer(dispatcher.submitted[0] as IncomingCall, valueOf(7));
    expect(await call).toBe(7);
    await closed;
    await client.close();
  });
});

describe("overload", () => {
  it("retries a call the host has no room for, until there is room", async () => {
    const { address, gateway } = await startGateway(echo, { maxInFlight: 1 });
    const client = await connectTo(address, { overloadRetries: 100 });
    const ref = client.get<Counter>("counter", "visits");
    expect(await Promise.all([ref.echo(1), ref.echo(2), ref.echo(3)])).toEqual([[1], [2], [3]]);
    expect(gateway.stats().inFlight).toBe(0);
  });

  it("gives the caller a typed error when the host stays full", async () => {
    const { address, dispatcher } = await startGateway(never, { maxInFlight: 1 });
    const client = await connectTo(address, { overloadRetries: 2 });
    const ref = client.get<Counter>("counter", "visits");
    const first = ref.value();
    await dispatcher.received(1);
    const error = await rejection(ref.value());
    expect(error).toMatchObject({ code: "overloaded", retry: "backoff", details: { attempts: 3 } });
    expect(error.retryAfterMs).toBeGreaterThan(0);
    dispatcher.answer(dispatcher.submitted[0] as IncomingCall, valueOf(1));
    expect(await first).toBe(1);
  });

  it("bounds the bytes of calls in flight, too", async () => {
    const { address } = await startGateway(never, { maxInFlightBytes: 64 * 1024 });
    const client = await connectTo(address, { overloadRetries: 0 });
    const error = await rejection(
      client.get<Counter>("counter", "visits").echo(new Uint8Array(70_000)),
    );
    expect(error.code).toBe("overloaded");
  });

  it("keeps what exceeds the window waiting on the client's side, and refuses beyond its bound", async () => {
    const { address, dispatcher } = await startGateway(never, { maxInFlightPerStream: 2 });
    const client = await connectTo(address, { maxPending: 3 });
    const ref = client.get<Counter>("counter", "visits");
    const calls = [ref.echo(1), ref.echo(2), ref.echo(3)];
    const error = await rejection(ref.echo(4));
    expect(error).toMatchObject({ code: "overloaded", details: { maxPending: 3 } });
    await dispatcher.received(2);
    expect(dispatcher.submitted).toHaveLength(2);
    dispatcher.handler = echo;
    for (const call of [...dispatcher.submitted]) dispatcher.answer(call, echo(call));
    expect(await Promise.all(calls)).toEqual([[1], [2], [3]]);
  });

  it("refuses a call and a result that do not fit into a message, and serves the next", async () => {
    const { address } = await startGateway(
      (call) => (call.method === "value" ? valueOf(new Uint8Array(400_000)) : echo(call)),
      { maxFrameBytes: 256 * 1024 },
    );
    const client = await connectTo(address);
    const ref = client.get<Counter>("counter", "visits");
    const call = await rejection(ref.echo(new Uint8Array(300_000)));
    expect(call.code).toBe("frame-too-large");
    const result = await rejection(ref.value());
    expect(result).toMatchObject({ code: "frame-too-large" });
    expect(result.message).toContain("took effect");
    expect(await ref.echo("x".repeat(100_000))).toEqual(["x".repeat(100_000)]);
  });

  it("moves large values both ways without stalling the small ones", async () => {
    const { address } = await startGateway(echo);
    const client = await connectTo(address);
    const ref = client.get<Counter>("counter", "visits");
    const large = Array.from({ length: 20 }, (_, i) => new Uint8Array(1_000_000).fill(i));
    const answers = await Promise.all([
      ...large.map((bytes) => ref.echo(bytes)),
      ref.echo("small"),
    ]);
    expect(answers.at(-1)).toEqual(["small"]);
    for (let i = 0; i < 20; i++)
      expect((answers[i] as [Uint8Array])[0].every((byte) => byte === i)).toBe(true);
  });
});

describe("a lost connection", () => {
  it("is made again, and calls in flight are sent again under the same id", async () => {
    const first = await startGateway(never);
    const { port } = first.gateway;
    const events: ClientEvent[] = [];
    const client = await connectTo(first.address, { onEvent: (event) => events.push(event) });
    const ref = client.get<Counter>("counter", "visits");
    const calls = [ref.echo(1), ref.echo(2)];
    await first.dispatcher.received(2);
    await first.gateway.stop();

    const second = await startGateway(echo, { port });
    expect(await Promise.all(calls)).toEqual([[1], [2]]);
    expect(second.dispatcher.submitted.map((c) => [c.session.id, c.seq, c.attempt])).toEqual([
      [client.stats().sessionId, 1, 2],
      [client.stats().sessionId, 2, 2],
    ]);
    const again = second.dispatcher.submitted.map((c) => c.issuedAt);
    expect(again).toEqual(first.dispatcher.submitted.map((c) => c.issuedAt));
    expect(events.map((e) => e.kind)).toEqual(
      expect.arrayContaining(["connected", "disconnected"]),
    );
    expect(client.stats()).toMatchObject({ retries: 2, pending: 0 });
  });

  it("does not make a call run twice when only its reply was lost", async () => {
    let runs = 0;
    const first = await startGateway(() => (runs++, undefined));
    const { port } = first.gateway;
    const client = await connectTo(first.address);
    const call = client.get<Counter>("counter", "visits").increment(1);
    await first.dispatcher.received(1);
    await first.gateway.stop();
    // It ran and committed after the connection was gone.
    first.dispatcher.answer(first.dispatcher.submitted[0] as IncomingCall, valueOf(42));
    await startGateway(never, { port, dispatcher: first.dispatcher });
    expect(await call).toBe(42);
    expect(runs).toBe(1);
  });

  it("keeps new calls waiting until there is a host again", async () => {
    const first = await startGateway(echo);
    const { port } = first.gateway;
    const gone = signalled();
    const client = await connectTo(first.address, {
      onEvent: (e) => e.kind === "disconnected" && gone.resolve(),
    });
    await first.gateway.stop();
    await gone.done;
    const calls = Array.from({ length: 100 }, (_, i) =>
      client.get<Counter>("counter", "visits").echo(i),
    );
    await startGateway(echo, { port });
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 100 }, (_, i) => [i]));
  });

  it("ends in outcome-unknown for what was sent, and unavailable for what was not, after the retry horizon", async () => {
    const { address, gateway, dispatcher } = await startGateway(never);
    const client = await connectTo(address, { retryHorizonMs: 150, reconnectDelayMsMax: 50 });
    const ref = client.get<Counter>("counter", "visits");
    const sent = ref.increment(1);
    const read = ref.value();
    await dispatcher.received(2);
    await gateway.stop();
    const unknown = await rejection(sent);
    expect(unknown).toMatchObject({ code: "outcome-unknown", details: { attempts: 1 } });
    expect(unknown.message).toContain("150 ms");
    // A readonly method changed nothing, whatever became of it.
    expect((await rejection(read)).code).toBe("unavailable");
    const late = await rejection(ref.with({ timeoutMs: 50 }).increment(1));
    expect(late.code).toBe("deadline-exceeded");
  });

  it("fails what was sent when another cluster answers at the address", async () => {
    const first = await startGateway(never);
    const { port } = first.gateway;
    const changed = signalled<ClientEvent>();
    const client = await connectTo(first.address, {
      onEvent: (e) => e.kind === "cluster-changed" && changed.resolve(e),
    });
    const call = client.get<Counter>("counter", "visits").increment(1);
    await first.dispatcher.received(1);
    await first.gateway.stop();
    const second = await startGateway(echo, {
      port,
      identityNow: () => ({ ...IDENTITY, clusterId: "other" }),
    });
    expect((await rejection(call)).code).toBe("outcome-unknown");
    expect(await changed.done).toMatchObject({ was: "test-cluster", is: "other" });
    expect(second.dispatcher.submitted).toEqual([]);
  });

  it("detaches the session when its last stream is gone, and frees its place", async () => {
    const { address, gateway, dispatcher } = await startGateway(never);
    const client = await connectTo(address);
    client
      .get<Counter>("counter", "visits")
      .value()
      .catch(() => {});
    await dispatcher.received(1);
    expect(gateway.stats().inFlight).toBe(1);
    const { sessionId } = client.stats();
    await client.close(0);
    await expect.poll(() => dispatcher.detached).toEqual([sessionId]);
    expect(gateway.stats()).toMatchObject({ streams: 0, inFlight: 0, inFlightBytes: 0 });
  });
});

describe("routing", () => {
  it("sends every actor to the worker that serves its shard", async () => {
    const map = {
      shardCount: 16,
      owners: Array.from({ length: 16 }, (_, i) => i % 2),
      terms: [],
      version: 2,
    };
    const addresses: string[] = [];
    const identityNow = () => ({
      ...IDENTITY,
      shardMap: {
        ...map,
        workers: addresses.map((address, worker) => ({ host: "h", worker, address })),
      },
    });
    const a = await startGateway((call) => valueOf(`a:${call.key}`), { identityNow });
    const b = await startGateway((call) => valueOf(`b:${call.key}`), { identityNow });
    addresses.push(a.address, b.address);
    const client = await connectTo(a.address);
    const keys = Array.from({ length: 50 }, (_, i) => `k${i}`);
    await Promise.all(keys.map((key) => client.get<Counter>("counter", key).value()));
    const [atA, atB] = [a, b].map((g) => new Set(g.dispatcher.submitted.map((c) => c.key)));
    expect(atA?.size).toBeGreaterThan(5);
    expect(atB?.size).toBeGreaterThan(5);
    expect(atA?.intersection(atB as Set<string>).size).toBe(0);
    expect(client.stats().connections).toHaveLength(2);
  });

  it("follows a relocate answer to the host that serves now, with the same call id", async () => {
    const there = await startGateway(echo);
    const here = await startGateway(() =>
      errorOf(
        new PinionError("relocate", "moved", {
          details: { address: there.address, shard: 3, term: 2 },
        }),
      ),
    );
    const client = await connectTo(here.address);
    const keys = Array.from({ length: 1000 }, (_, i) => `k${i}`);
    const movedKey = keys.find((key) => shardOf("counter", key, 16) === 3) as string;
    expect(await client.get<Counter>("counter", movedKey).echo(1)).toEqual([1]);
    expect(there.dispatcher.submitted[0]).toMatchObject({ seq: 1, attempt: 2 });
    expect(await client.get<Counter>("counter", movedKey).echo(2)).toEqual([2]);
    expect(here.dispatcher.submitted).toHaveLength(1);
  });

  it("asks another seed when the first does not answer", async () => {
    const { address } = await startGateway(echo);
    const client = await connectTo(["127.0.0.1:1", address], { connectTimeoutMs: 5_000 });
    expect(await client.get<Counter>("counter", "visits").echo(1)).toEqual([1]);
  });
});

describe("connecting", () => {
  it("fails naming every seed when none answers in time", async () => {
    const error = await rejection(
      connectTo(["127.0.0.1:1", "127.0.0.1:2"], { connectTimeoutMs: 200 }),
    );
    expect(error).toMatchObject({
      code: "unavailable",
      details: { addresses: ["127.0.0.1:1", "127.0.0.1:2"] },
    });
    expect(error.message).toContain("127.0.0.1:1");
    expect(error.message).toContain("ECONNREFUSED");
  });

  it("refuses a target that is no address, and options that do not exist", async () => {
    expect((await rejection(connectTo("nonsense"))).message).toContain("host:port");
    expect((await rejection(connectTo("a:70000"))).code).toBe("invalid-argument");
    const error = await rejection(connectTo("a:1", { timeoutMS: 5 } as object));
    expect(error).toMatchObject({ code: "config-invalid" });
    expect(error.message).toContain("timeoutMS");
  });

  it("names the port that is taken", async () => {
    const { gateway } = await startGateway(echo);
    const error = await rejection(startGateway(echo, { port: gateway.port }));
    expect(error).toMatchObject({ code: "port-in-use", details: { port: gateway.port } });
    expect(error.message).toContain(String(gateway.port));
  });

  it("does not serve other machines in plain text unless it is told to by name", async () => {
    const error = await rejection(startGateway(echo, { host: "0.0.0.0" }));
    expect(error).toMatchObject({ code: "config-invalid" });
    expect(error.message).toContain("insecurePlaintext");
    const { gateway } = await startGateway(echo, { host: "0.0.0.0", insecurePlaintext: true });
    const client = await connectTo(`127.0.0.1:${gateway.port}`);
    expect(await client.get<Counter>("counter", "visits").echo(1)).toEqual([1]);
  });
});

describe("draining", () => {
  it("lets open calls finish, refuses new ones, and tells the clients", async () => {
    const { address, dispatcher, gateway } = await startGateway(never);
    const draining = signalled<ClientEvent>();
    const client = await connectTo(address, {
      onEvent: (e) => e.kind === "draining" && draining.resolve(e),
    });
    const open = client.get<Counter>("counter", "visits").value();
    await dispatcher.received(1);
    const drained = gateway.drain(10_000, "rolling restart");
    expect(await draining.done).toMatchObject({ reason: "rolling restart" });
    const held = client.get<Counter>("counter", "visits").value();
    dispatcher.answer(dispatcher.submitted[0] as IncomingCall, valueOf(1));
    expect(await open).toBe(1);
    expect(await drained).toBe(true);
    const { port } = gateway;
    await gateway.stop();
    await startGateway(echo, { port });
    expect(await held).toEqual([]);
    expect(dispatcher.submitted).toHaveLength(1);
  });

  it("waits no longer than its grace", async () => {
    const { address, dispatcher, gateway } = await startGateway(never);
    const client = await connectTo(address);
    client
      .get<Counter>("counter", "visits")
      .value()
      .catch(() => {});
    await dispatcher.received(1);
    expect(await gateway.drain(30)).toBe(false);
  });
});
