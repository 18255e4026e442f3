import { noTelemetry, PinionError, VirtualClock, type Span, type Telemetry } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { FakeNetwork, rejection, testClient, WELCOME } from "./client.test.fixtures.ts";
import type { ClientEvent } from "./events.ts";

const overloaded = (retryAfterMs: number) =>
  new PinionError("overloaded", "full", { retryAfterMs });

describe("a client", () => {
  it("numbers its calls, and settles each by its number", async () => {
    const { client, network } = await testClient();
    const calls = [client.call("counter", "a", "value"), client.call("counter", "b", "value", [1])];
    expect(network.last.sent.map((c) => [c.seq, c.attempt, c.args])).toEqual([
      [1, 1, []],
      [2, 1, [1]],
    ]);
    network.last.reply(2, "second");
    network.last.reply(1, "first");
    expect(await Promise.all(calls)).toEqual(["first", "second"]);
  });

  it("counts and ignores replies nobody waits for: unknown, repeated, from another life", async () => {
    const { client, network } = await testClient();
    const call = client.call("counter", "a", "value");
    network.last.reply(7, "unknown");
    network.last.reply(1, "right");
    network.last.reply(1, "again");
    expect(await call).toBe("right");
    expect(client.stats()).toMatchObject({ lateReplies: 2, succeeded: 1 });
  });

  it("fails a call whose reply it cannot read, and goes on", async () => {
    const { client, network } = await testClient();
    const call = client.call("counter", "a", "value");
    network.last.listener.onReply(1, true, Uint8Array.of(0xc1), 0, 1, 0);
    expect((await rejection(call)).code).toBe("malformed-frame");
    const next = client.call("counter", "a", "value");
    network.last.reply(2, 1);
    expect(await next).toBe(1);
  });

  it("retries an overloaded call after what the host asked for, with growing pauses, a bounded number of times", async () => {
    const { client, network, clock } = await testClient({ overloadRetries: 2 });
    const call = rejection(client.call("counter", "a", "value"));
    network.last.fail(1, overloaded(100));
    await clock.advance(99);
    expect(network.last.sent).toHaveLength(1);
    await clock.advance(22);
    expect(network.last.sent.map((c) => [c.seq, c.attempt])).toEqual([
      [1, 1],
      [1, 2],
    ]);
    network.last.fail(1, overloaded(0));
    await clock.advance(41);
    network.last.fail(1, overloaded(0));
    expect(await call).toMatchObject({
      code: "overloaded",
      details: { attempts: 3, method: "value" },
    });
    expect(client.stats()).toMatchObject({ pending: 0, retries: 2 });
  });

  it("does not retry what would only fail again", async () => {
    const { client, network } = await testClient();
    const call = client.call("counter", "a", "value");
    network.last.fail(1, new PinionError("disk-full", "no space"));
    expect((await rejection(call)).code).toBe("disk-full");
    expect(network.last.sent).toHaveLength(1);
  });

  it("drops a retry that is due when the caller gives up", async () => {
    const { client, network, clock } = await testClient();
    const controller = new AbortController();
    const call = rejection(client.call("counter", "a", "value", [], { signal: controller.signal }));
    network.last.fail(1, overloaded(100));
    controller.abort();
    expect((await call).code).toBe("cancelled");
    await clock.advance(10_000);
    expect(network.last.sent).toHaveLength(1);
  });

  it("sends the same call again, first and in order, when a connection is lost", async () => {
    const { client, network, clock } = await testClient({ maxInFlight: 2 });
    const calls = [1, 2, 3].map((i) => client.call("counter", "a", "value", [i]));
    const [first] = network.connections;
    first?.lose();
    await clock.advance(60);
    const second = network.last;
    expect(second).not.toBe(first);
    expect(second.sent).toMatchObject([
      { seq: 1, attempt: 2, args: [1] },
      { seq: 2, attempt: 2, args: [2] },
    ]);
    second.reply(1, "a");
    expect(second.sent[2]).toMatchObject({ seq: 3, attempt: 1 });
    second.reply(2, "b");
    second.reply(3, "c");
    expect(await Promise.all(calls)).toEqual(["a", "b", "c"]);
  });

  it("does not retry for longer than half of what the host remembers a silent client for", async () => {
    const { client, network, clock } = await testClient({ retryHorizonMs: 100_000 });
    network.last.welcome({ limits: { ...WELCOME.limits, sessionExpiryMs: 2_000 } });
    const call = rejection(client.call("counter", "a", "increment"));
    network.onOpen = (c) => c.lose("refused");
    network.last.lose();
    await clock.advance(999);
    expect(client.stats().pending).toBe(1);
    await clock.advance(1);
    const error = await call;
    expect(error.code).toBe("outcome-unknown");
    expect(error.message).toMatch(
      /could not be learnt in 1000 ms and 1 attempt; last error: refused/,
    );
  });

  it("leaves a call that reached a host again to that host's limits", async () => {
    const { client, network, clock } = await testClient({ retryHorizonMs: 1_000 });
    const call = client.call("counter", "a", "value");
    network.last.lose();
    await clock.advance(100);
    expect(network.last.sent).toMatchObject([{ seq: 1, attempt: 2 }]);
    await clock.advance(60_000);
    network.last.reply(1, "slow but sure");
    expect(await call).toBe("slow but sure");
  });

  it("reconnects with growing, jittered pauses, and never twice at a time", async () => {
    const events: ClientEvent[] = [];
    const { network, clock } = await testClient({ onEvent: (e) => events.push(e) });
    network.onOpen = (c) => c.lose("refused");
    network.last.lose();
    await clock.advance(30_000);
    const delays = events.flatMap((e) => (e.kind === "disconnected" ? [e.retryInMs] : []));
    delays.forEach((delayMs, i) => {
      expect(delayMs).toBeGreaterThan(0);
      expect(delayMs).toBeLessThanOrEqual(Math.min(5_000, 50 * 2 ** i));
    });
    expect(delays.length).toBeGreaterThan(8);
    expect(delays.length).toBeLessThan(40);
    expect(network.connections.length).toBe(delays.length);
  });

  it("waits while the connection cannot take more, and goes on when it can", async () => {
    const { client, network } = await testClient();
    network.last.blocked = true;
    const call = client.call("counter", "a", "value");
    expect(network.last.sent).toEqual([]);
    network.last.blocked = false;
    network.last.listener.onUnblocked();
    network.last.reply(1, 5);
    expect(await call).toBe(5);
  });

  it("keeps to the window the host gives it, also when that changes", async () => {
    const { client, network } = await testClient();
    network.last.listener.onCredit(1);
    const calls = [1, 2, 3].map((i) => client.call("counter", "a", "value", [i]));
    expect(network.last.sent).toHaveLength(1);
    network.last.listener.onCredit(3);
    expect(network.last.sent).toHaveLength(3);
    for (const seq of [1, 2, 3]) network.last.reply(seq, seq);
    expect(await Promise.all(calls)).toEqual([1, 2, 3]);
  });

  it("keeps new calls back from a host that is draining", async () => {
    const { client, network, clock } = await testClient();
    const open = client.call("counter", "a", "value");
    const [first] = network.connections;
    first?.listener.onGoAway({ reason: "restart", graceMs: 100 });
    const held = client.call("counter", "a", "value");
    expect(first?.sent).toHaveLength(1);
    first?.reply(1, "open");
    expect(await open).toBe("open");
    first?.lose("stream ended");
    await clock.advance(100);
    network.last.reply(2, "held");
    expect(await held).toBe("held");
  });

  it("stops waiting for a deadline on time, whether the call is sent, waiting or between retries", async () => {
    const { client, network, clock } = await testClient({ maxInFlight: 2 });
    const options = { timeoutMs: 1_000 };
    const calls = ["sent", "retried", "waiting"].map((method) =>
      rejection(client.call("counter", "a", method, [], options)),
    );
    network.last.fail(2, overloaded(5_000));
    await clock.advance(999);
    expect(client.stats().pending).toBe(3);
    await clock.advance(1);
    expect((await Promise.all(calls)).map((e) => e.code)).toEqual(
      Array.from({ length: 3 }, () => "deadline-exceeded"),
    );
    expect(network.last.cancelled).toEqual([1, 3]);
    expect(clock.pending).toBe(0);
  });

  it("gives every call the default deadline it was made with", async () => {
    const { client, clock } = await testClient({ timeoutMs: 100 });
    const call = rejection(client.call("counter", "a", "x"));
    await clock.advance(100);
    expect((await call).message).toContain("100 ms");
  });

  it("learns from another seed where the shards of a lost worker went", async () => {
    const { client, network, clock } = await testClient({}, ["a:1", "b:1"]);
    const [a, b] = network.connections;
    const call = client.call("counter", "k", "value");
    expect(a?.sent).toHaveLength(0);
    expect(b?.sent).toHaveLength(1); // the last welcome said: here
    b?.lose();
    network.onOpen = (c) =>
      c.address === "b:1"
        ? c.lose("refused")
        : c.welcome({ shardMap: { ...WELCOME.shardMap, version: 2 } });
    a?.welcome({ shardMap: { ...WELCOME.shardMap, version: 2 } });
    await clock.advance(10);
    expect(a?.sent).toMatchObject([{ seq: 1, attempt: 2 }]);
    a?.reply(1, "moved");
    expect(await call).toBe("moved");
  });

  it("sends what a worker hands over to where it said", async () => {
    const { client, network } = await testClient();
    network.last.listener.onRelocations(
      [0, 1, 2, 3].map((shard) => ({
        shard,
        term: 2,
        to: { host: "b", worker: 0, address: "b:1" },
      })),
    );
    const call = client.call("counter", "k", "value");
    await Promise.resolve();
    expect(network.last.address).toBe("b:1");
    network.last.reply(1, 1);
    expect(await call).toBe(1);
  });

  it("resolves a one-way call once it is handed over, also when it had to wait", async () => {
    const { client, network } = await testClient({ maxInFlight: 1 });
    await client.call("counter", "a", "increment", [1], { oneWay: true });
    const blocking = client.call("counter", "a", "value");
    const waiting = client.call("counter", "a", "increment", [2], { oneWay: true });
    network.last.reply(2, 0);
    await waiting;
    expect(network.last.sent.map((c) => c.seq)).toEqual([1, 2, 3]);
    network.last.lose();
    expect(client.stats().pending).toBe(0);
    await blocking;
  });

  it("starts a span per call, sends its context, and ends it with the outcome", async () => {
    const ended: unknown[] = [];
    const span = (): Span => ({
      traceparent: "00-a-b-01",
      setAttribute: () => {},
      end: (e) => ended.push(e),
    });
    const telemetry: Telemetry = { ...noTelemetry, tracing: true, span };
    const { client, network } = await testClient({ telemetry });
    const calls = [client.call("counter", "a", "value"), client.call("counter", "a", "value")];
    network.last.reply(1, 1);
    network.last.fail(2, new PinionError("actor-error", "no"));
    await Promise.allSettled(calls);
    expect(ended).toMatchObject([undefined, { code: "actor-error" }]);
    expect(network.last.sent.map((c) => c.traceparent)).toEqual(["00-a-b-01", "00-a-b-01"]);
  });

  it("does not let an observer that throws break it", async () => {
    const { client, network } = await testClient({
      onEvent: () => {
        throw new Error("observer");
      },
    });
    const call = client.call("counter", "a", "value");
    network.last.reply(1, 1);
    expect(await call).toBe(1);
  });

  it("leaves nothing behind after a million calls' worth of bookkeeping", async () => {
    const { client, network, clock } = await testClient({ timeoutMs: 1_000 });
    for (let round = 0; round < 100; round++) {
      const calls = Array.from({ length: 100 }, (_, i) =>
        client.call("counter", "a", "value", [i]),
      );
      const { sent } = network.last;
      for (const call of sent) network.last.reply(call.seq, 0);
      sent.length = 0;
      await Promise.all(calls);
    }
    expect(client.stats()).toMatchObject({ pending: 0, succeeded: 10_000 });
    await clock.advance(1_000);
    expect(clock.pending).toBe(0);
  });
});

describe("connecting", () => {
  it("gives up at once when every host refuses for good", async () => {
    const refused = new PinionError("format-too-new", "version 2", { retry: "never" });
    const clock = new VirtualClock();
    const network = new FakeNetwork(clock);
    network.onOpen = (c) => c.listener.onClosed(refused);
    expect(await rejection(testClient({}, ["a:1", "b:1"], clock, network))).toBe(refused);
    expect(clock.pending).toBe(0);
  });
});
