import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { ClientEvent } from "@pinion/client";
import { decodeArgs, PinionError, shardOf, type ActorType } from "@pinion/core";
import type { IncomingCall } from "@pinion/runtime";
import { describe, expect, it, onTestFinished } from "vitest";
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

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Bytes in buffers, after a collection. */
function collected(): number {
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

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

  it("sends the same arguments again, whatever their size and however many calls came after", async () => {
    const first = await startGateway(never, { maxInFlightPerStream: 20_000 });
    const { port } = first.gateway;
    const client = await connectTo(first.address, { maxInFlight: 20_000 });
    const key = "k".repeat(150); // makes the call's own length take two bytes
    const ref = client.get<Counter>("counter", key);
    const sent = Array.from({ length: 3_000 }, (_, i) => [i, "x".repeat((i * 37) % 300)] as const);
    const calls = sent.map((args) => ref.echo(...args));
    await first.dispatcher.received(sent.length);
    await first.gateway.stop();
    await startGateway(echo, { port, maxInFlightPerStream: 20_000 });
    expect(await Promise.all(calls)).toEqual(sent);
  });

  it("keeps little memory for calls that wait long among many others", async () => {
    const { address, dispatcher } = await startGateway((call) => {
      dispatcher.submitted.length = 0;
      return call.method === "value" ? undefined : valueOf(0);
    });
    const client = await connectTo(address);
    const ref = client.get<Counter>("counter", "visits");
    const bulk = new Uint8Array(70_000);
    const slow: Promise<unknown>[] = [];
    const before = collected();
    for (let i = 0; i < 300; i++) {
      slow.push(ref.value().catch(() => {}));
      await ref.echo(bulk); // fills a buffer of its own
    }
    // Without moving them out, every slow call would keep 64 KiB or more: 300 × 64 KiB = 19 MB.
    // The engine gives buffers back a little after the collection.
    await expect.poll(() => collected() - before, { timeout: 10_000 }).toBeLessThan(8_000_000);
    await client.close(0);
    await Promise.all(slow);
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

  it("does not let the process end in the middle of an await, nor keep it alive afterwards", async () => {
    const first = await startGateway(never);
    const { port } = first.gateway;
    const program = fileURLToPath(new URL("../support/waiting-client.ts", import.meta.url));
    const child = spawn(process.execPath, ["--conditions=source", program, first.address], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill());
    const ended = once(child, "exit");
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe("called");
    await first.dispatcher.received(1);
    await first.gateway.stop();
    // Between attempts to connect nothing but the client itself keeps the process alive.
    for (let i = 0; i < 4; i++) expect((await lines.next()).value).toBe("disconnected");
    await startGateway(() => valueOf(42), { port });
    let line = await lines.next();
    while (line.value === "disconnected") line = await lines.next();
    expect(line.value).toBe("answer 42");
    expect(await ended).toEqual([0, null]);
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

describe("news", () => {
  it("of actor types and shards reaches clients that are connected already", async () => {
    let version = 1;
    const { address, dispatcher, gateway } = await startGateway(echo, {
      identityNow: () => ({ ...IDENTITY, shardMap: { ...IDENTITY.shardMap, version } }),
    });
    const client = await connectTo(address);
    dispatcher.types = [{ name: "airport", methods: [{ name: "record", readonly: false }] }];
    version = 2;
    gateway.announce();
    await client.get<Counter>("counter", "visits").echo(1);
    expect(client.actorTypes.map((t) => t.name)).toEqual(["airport"]);
    expect(client.stats().disconnects).toBe(0);
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
