/** The in-process client: the same client, without a socket. */
import { Client, resolveClientOptions, type ClientOptions } from "@pinion/client";
import { decodeArgs, PinionError, VirtualClock } from "@pinion/core";
import { LOOPBACK_ADDRESS, LoopbackConnector, type IncomingCall } from "@pinion/runtime";
import { describe, expect, it } from "vitest";
import { errorOf, FakeDispatcher, valueOf, type CallHandler } from "../support/fake-dispatcher.ts";
import { IDENTITY, rejection } from "../support/gateway-harness.ts";

async function loopback(handler: CallHandler, options: ClientOptions = {}) {
  const clock = new VirtualClock();
  const dispatcher = new FakeDispatcher(clock, handler);
  let connector: LoopbackConnector | undefined;
  const client = await Client.open(
    [LOOPBACK_ADDRESS],
    resolveClientOptions({ clock, ...options }),
    (session) => {
      connector = new LoopbackConnector({ dispatcher, identity: () => IDENTITY, clock }, session);
      return connector;
    },
  );
  return { client, dispatcher, clock, stop: () => connector?.stop() };
}

const echo = (call: IncomingCall) => valueOf(decodeArgs(call.args));

describe("a host's own client", () => {
  it("calls without a socket, with values that share nothing", async () => {
    const { client } = await loopback(echo);
    const argument = { list: [1], at: new Date(0), none: undefined };
    const [answer] = (await client.call("counter", "a", "echo", [argument])) as [typeof argument];
    expect(answer).toStrictEqual(argument);
    expect(answer).not.toBe(argument);
    expect(client.actorTypes).toMatchObject([{ name: "counter" }]);
  });

  it("snapshots arguments when the call is made", async () => {
    const { client } = await loopback(echo);
    const argument = { n: 1 };
    const call = client.call("counter", "a", "echo", [argument]);
    argument.n = 2;
    expect(await call).toEqual([{ n: 1 }]);
  });

  it("has deadlines, cancellation and retries like any other", async () => {
    const { client, dispatcher, clock } = await loopback(() => undefined);
    const late = rejection(client.call("counter", "a", "x", [], { timeoutMs: 50 }));
    const controller = new AbortController();
    const dropped = rejection(client.call("counter", "a", "x", [], { signal: controller.signal }));
    await dispatcher.received(2);
    expect(dispatcher.submitted[0]?.deadlineAtMs).toBe(50);
    controller.abort();
    await clock.advance(50);
    expect([(await late).code, (await dropped).code]).toEqual(["deadline-exceeded", "cancelled"]);
    expect(dispatcher.cancelled).toEqual([2, 1]);

    let refusals = 2;
    dispatcher.handler = (call) =>
      refusals-- > 0
        ? {
            ...errorOf(new PinionError("overloaded", "full", { retryAfterMs: 5 })),
            refused: "transient",
          }
        : echo(call);
    const retried = client.call("counter", "a", "echo", [1]);
    await clock.advance(1_000);
    expect(await retried).toEqual([1]);
    expect(dispatcher.submitted.slice(2).map((c) => c.attempt)).toEqual([1, 2, 3]);
  });

  it("acknowledges its replies as they come", async () => {
    const { client, dispatcher } = await loopback(echo);
    await client.call("counter", "a", "echo");
    await client.call("counter", "a", "echo");
    const [session] = [...dispatcher.sessions.values()];
    expect(session?.ackedBelow).toBe(3);
  });

  it("refuses values that cannot be sent, as over a network", async () => {
    const { client, dispatcher } = await loopback(echo);
    expect((await rejection(client.call("counter", "a", "echo", [() => 1]))).code).toBe(
      "not-serializable",
    );
    expect(dispatcher.submitted).toEqual([]);
  });

  it("ends with the host, and leaves no timer", async () => {
    const { client, dispatcher, clock, stop } = await loopback(() => undefined);
    const open = rejection(client.call("counter", "a", "x"));
    await dispatcher.received(1);
    stop();
    await client.close(0);
    expect((await open).code).toBe("outcome-unknown");
    expect(dispatcher.detached).toEqual([client.stats().sessionId]);
    expect(clock.pending).toBeLessThanOrEqual(1);
  });

  it("resolves one-way calls at once, and is told no answer", async () => {
    const { client, dispatcher } = await loopback(() => valueOf(1));
    const acked: number[] = [];
    dispatcher.handler = (call) => (acked.push(call.session.ackedBelow), valueOf(1));
    await client.call("counter", "a", "increment", [1], { oneWay: true });
    expect(acked).toEqual([1]); // the host has it, and nobody said that its reply arrived
    await dispatcher.received(1);
    await client.call("counter", "a", "value");
    expect(client.stats()).toMatchObject({ lateReplies: 0, pending: 0 });
  });
});
