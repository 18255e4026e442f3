import { decodeArgs, PinionError, type ActorType } from "@pinion/core";
import { Gateway, type IncomingCall } from "@pinion/runtime";
import { describe, expect, it } from "vitest";
import { errorOf, valueOf } from "../support/fake-dispatcher.ts";
import { connectTo, IDENTITY, rejection, startGateway } from "../support/gateway-harness.ts";

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

it("serves nothing when it is stopped while it starts", async () => {
  const { gateway: other, dispatcher } = await startGateway(never);
  const gateway = new Gateway({ identity: () => IDENTITY, dispatcher });
  const starting = rejection(gateway.start());
  await gateway.stop();
  expect((await starting).code).toBe("unavailable");
  expect(gateway.state).toBe("stopped");
  const again = new Gateway({ identity: () => IDENTITY, dispatcher, port: gateway.port });
  await again.start(); // its port is free
  await again.stop();
  expect(other.state).toBe("serving");
});

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
    expect(client.stats()).toMatchObject({ disconnects: 0, retries: 0, pending: 0 });
  });

  it("is sent without waiting for an answer when it is one-way", async () => {
    const { address, dispatcher } = await startGateway(never);
    const client = await connectTo(address);
    await client.get<Counter>("counter", "visits").with({ oneWay: true }).increment(1);
    await dispatcher.received(1);
    dispatcher.answer(dispatcher.submitted[0] as IncomingCall, valueOf(1));
    expect(client.stats()).toMatchObject({ pending: 0, lateReplies: 0 });
  });

  it("is not acknowledged before the host has it, when it is one-way", async () => {
    const { address, dispatcher } = await startGateway(never);
    const seen: [seq: number, ackedBelow: number][] = [];
    dispatcher.handler = (call) => {
      seen.push([call.seq, call.session.ackedBelow]);
      return valueOf(1);
    };
    const client = await connectTo(address);
    const ref = client.get<Counter>("counter", "visits").with({ oneWay: true });
    // More than a frame: some leave while the next are being made.
    await Promise.all(Array.from({ length: 5_000 }, () => ref.echo("x".repeat(50))));
    await dispatcher.received(5_000);
    expect(seen.filter(([seq, ackedBelow]) => ackedBelow > seq)).toEqual([]);
    expect(client.stats()).toMatchObject({ pending: 0, retries: 0 });
  });

  it("leaves no reply behind at the host when its client closes", async () => {
    const { address, dispatcher } = await startGateway(echo);
    const client = await connectTo(address);
    await client.get<Counter>("counter", "visits").echo(1);
    await client.close();
    const session = dispatcher.sessions.get(client.stats().sessionId);
    await expect.poll(() => session?.ackedBelow).toBe(2);
  });

  it("can be given up together with thousands of others", async () => {
    const { address, dispatcher } = await startGateway(never);
    const client = await connectTo(address);
    const controller = new AbortController();
    const ref = client.get<Counter>("counter", "visits").with({ signal: controller.signal });
    const calls = Array.from({ length: 6_000 }, () => rejection(ref.value()));
    await dispatcher.received(1_000);
    controller.abort();
    for (const error of await Promise.all(calls)) expect(error.code).toBe("cancelled");
    await client.get<Counter>("counter", "visits").with({ oneWay: true }).value();
    await expect.poll(() => dispatcher.openCount, { timeout: 10_000 }).toBe(1);
    expect(client.stats()).toMatchObject({ disconnects: 0, pending: 0 });
  });
});

describe("time", () => {
  it("of a call is later than any the client has heard of from a host", async () => {
    const { address, dispatcher } = await startGateway(echo);
    const client = await connectTo(address);
    const future = (new Date().getTime() + 3_600_000) * 1000;
    dispatcher.exchangeTime = () => future;
    const ref = client.get<Counter>("counter", "visits");
    await ref.echo(1);
    await ref.echo(2);
    const [first, second] = dispatcher.submitted.map((call) => call.issuedAt);
    expect(first).toBeLessThan(future);
    expect(second).toBeGreaterThan(future);
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
    await expect.poll(() => dispatcher.cancelled).toEqual([1]);
    call.sink.reply(call, valueOf("too late"));
    await client.call("counter", "visits", "value", [], { timeoutMs: 20 }).catch(() => {});
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
