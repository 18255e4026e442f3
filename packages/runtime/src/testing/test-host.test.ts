import { isPinionError } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { defineActor, readonly } from "../definition/define-actor.ts";
import { createTestHost, type TestHost, type TestHostOptions } from "./index.ts";

const Counter = defineActor("counter", {
  state: () => ({ n: 0, ticks: [] as number[], filler: new Uint8Array(0) }),
  methods: {
    increment(ctx, by: number) {
      return (ctx.state.n += by);
    },
    value: readonly((ctx) => ctx.state.n),
    ticks: readonly((ctx) => [...ctx.state.ticks]),
    roll: (ctx) => ctx.random(),
    tickEvery(ctx, everyMs: number) {
      ctx.reminders.set("tick", { everyMs }, "tick");
    },
    tick(ctx) {
      ctx.state.ticks.push(ctx.reminder?.due.getTime() ?? 0);
    },
    fill(ctx, bytes: number) {
      ctx.state.filler = new Uint8Array(bytes);
    },
    async transfer(ctx, to: string, amount: number) {
      ctx.state.n -= amount;
      await ctx.get(Counter, to).increment(amount);
      return ctx.state.n;
    },
    tell(ctx, to: string, amount: number) {
      ctx.state.n -= amount;
      ctx.send(Counter, to).increment(amount);
    },
    async forget(ctx, seen: unknown[]) {
      void seen;
      await waiting;
      try {
        ctx.state.n = -1;
        outcome.push("wrote");
      } catch (error) {
        outcome.push(isPinionError(error) ? error.code : error);
      }
    },
  },
});
// The type is circular through `transfer` otherwise.
type CounterType = typeof Counter;

let waiting: Promise<void> = Promise.resolve();
const outcome: unknown[] = [];

const counter = (host: TestHost, key: string) => host.client.get<CounterType>("counter", key);
const start = (options: Partial<TestHostOptions> = {}) =>
  createTestHost({ actors: [Counter], ...options });

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    return isPinionError(error) ? error.code : String(error);
  }
  return "answered";
}

test("calls run without time moving", async () => {
  await using host = await start();
  const before = host.clock.nowMs();
  expect(await counter(host, "a").increment(3)).toBe(3);
  expect(host.clock.nowMs()).toBe(before);
});

test.each(["async", "periodic(50ms)"])("replies of %s do not wait for the disk", async (flush) => {
  await using host = await start({ flush });
  expect(await counter(host, "a").increment(3)).toBe(3);
  expect(host.clock.nowMs()).toBe(0);
});

test("a reminder fires when its time has come, and not before", async () => {
  await using host = await start({ startTime: new Date("2024-02-28T23:59:00Z") });
  const a = counter(host, "a");
  await a.tickEvery(60_000);
  await host.clock.advance(59_999);
  expect(await a.ticks()).toEqual([]);
  await host.clock.advance(1);
  expect(await a.ticks()).toEqual([Date.parse("2024-02-29T00:00:00Z")]);
  await host.clock.advance(10 * 60_000);
  expect(await a.ticks()).toHaveLength(11);
});

test("an hour without calls lets actors go, and they come back as they were", async () => {
  await using host = await start();
  const a = counter(host, "a");
  await a.increment(7);
  await host.clock.advance(60 * 60_000);
  expect(await host.inspect("counter/a")).toMatchObject({ activation: "stored" });
  expect(await a.value()).toBe(7);
});

describe("after a crash", () => {
  test("what was acknowledged is there, also when nothing unflushed survives", async () => {
    await using host = await start();
    const a = counter(host, "a");
    for (let i = 1; i <= 10; i++) await a.increment(1);
    host.crash({ survivalRate: 0 });
    expect(host.running).toBe(false);
    await host.restart();
    expect(host.recovery?.records).toBeGreaterThanOrEqual(10);
    expect(await a.value()).toBe(10);
  });

  test("a call that was committed and not answered is answered by its retry, and has run once", async () => {
    await using host = await start();
    const crashed = host.crashAt({ at: "commit" });
    const call = counter(host, "a").increment(1);
    await crashed;
    await host.restart();
    expect(await call).toBe(1);
    expect(await counter(host, "a").value()).toBe(1);
  });

  test("a call that was only in the log's buffer runs again", async () => {
    await using host = await start();
    const crashed = host.crashAt({ at: "append" }, { survivalRate: 0 });
    const call = counter(host, "a").increment(1);
    await crashed;
    await host.restart();
    expect(host.recovery?.records).toBe(0);
    expect(await call).toBe(1);
  });

  test("calls under way are pending while the host is down, however long that takes", async () => {
    await using host = await start();
    const a = counter(host, "a");
    await a.increment(1);
    host.crash();
    let answered = false;
    const call = a.increment(1).finally(() => (answered = true));
    await host.clock.advance(60_000);
    expect(answered).toBe(false);
    await host.restart();
    expect(await call).toBe(2);
  });

  test("a turn of the old life changes nothing any more", async () => {
    await using host = await start();
    outcome.length = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting = promise;
    const call = counter(host, "a").with({ timeoutMs: 1_000 }).forget([]);
    const failed = codeOf(call);
    await host.settle();
    host.crash();
    resolve();
    await host.settle();
    expect(outcome).toEqual(["interrupted"]);
    waiting = Promise.resolve();
    await host.restart();
    expect(await failed).toBe("answered"); // the retry ran it anew
    expect(outcome).toEqual(["interrupted", "wrote"]);
  });

  test("wherever the power goes, money that moves between actors neither appears nor vanishes", async () => {
    // The operations that the calls take without a crash: each is then cut at.
    await using whole = await start({ seed: 9 });
    const before = whole.operationCount;
    await moveMoney(whole);
    const operations = whole.operationCount - before;
    expect(operations).toBeGreaterThan(4);
    expect(operations).toBeLessThan(60);
    for (let nth = 1; nth <= operations; nth++) {
      await using host = await start({ seed: 9 + nth });
      const crashed = host.crashAt({ at: "operation", nth, after: nth % 2 === 0 });
      const moved = moveMoney(host);
      await Promise.race([crashed, moved]);
      if (!host.running) await host.restart();
      await moved;
      await host.clock.advance(10_000);
      // Behind the last of them comes a checkpoint, later.
      if (!host.running) await host.restart();
      const values = await Promise.all(["a", "b", "c"].map((key) => counter(host, key).value()));
      expect(values, `cut at operation ${nth}, seed ${host.seed}`).toEqual([-8, 5, 3]);
    }
  });

  async function moveMoney(host: TestHost): Promise<void> {
    await counter(host, "a").transfer("b", 5);
    await counter(host, "a").tell("c", 3);
    await host.settle();
  }

  test("killing only the process loses nothing of what was written", async () => {
    await using host = await start({ flush: "async" });
    const a = counter(host, "a");
    await a.increment(1);
    await host.clock.advance(1_000);
    host.kill();
    await host.restart();
    expect(await a.value()).toBe(1);
  });
});

describe("a broken disk", () => {
  test("that is full answers with an error that says so, and takes calls again when there is room", async () => {
    await using host = await start();
    const a = counter(host, "a");
    await a.increment(1);
    // No room for another segment: what fits into this one is still taken.
    host.disk.capacityBytes = 0;
    const refusal = await host.until(
      (async () => {
        for (;;) {
          try {
            await a.fill(500_000);
          } catch (error) {
            return error;
          }
        }
      })(),
    );
    expect(refusal).toMatchObject({ code: "disk-full", retry: "backoff" });
    expect(await a.value()).toBe(1);
    host.disk.capacityBytes = Infinity;
    await host.clock.advance(10_000);
    expect(await a.increment(1)).toBe(2);
    host.crash();
    await host.restart();
    expect(await a.value()).toBe(2);
  });

  test("that cannot flush ends the worker: nothing more is answered until the host is started again", async () => {
    await using host = await start();
    const a = counter(host, "a");
    await a.increment(1);
    host.disk.fail({ kind: "sync", error: "EIO" });
    const call = a.increment(1);
    await host.settle();
    expect(host.failure?.code).toBe("io-error");
    await host.restart();
    expect(await call).toBe(2);
    expect(await a.value()).toBe(2);
  });

  test("whose bits flip below the log's end is found out at the next start", async () => {
    await using host = await start();
    const a = counter(host, "a");
    for (let i = 0; i < 50; i++) await a.increment(1);
    await host.clock.advance(100); // the last batch is vouched for
    host.crash();
    const [segment] = host.disk.paths().filter((path) => path.includes("/log/"));
    host.disk.flipBit(segment as string, 8 * 5_000);
    await expect(host.restart()).rejects.toMatchObject({ code: "corruption" });
  });
});

describe("determinism", () => {
  async function history(seed: number): Promise<unknown[]> {
    await using host = await start({ seed, diskLatencyMs: 1 });
    const events: unknown[] = [];
    const note = (operation: { kind: string; path: string; bytes: number }): void =>
      void events.push([operation.kind, operation.path, operation.bytes, host.clock.nowMs()]);
    const watch = (): void => {
      const points = host.disk.onOperation;
      host.disk.onOperation = (operation) => {
        note(operation);
        points?.(operation);
      };
    };
    watch();
    await host.until(counter(host, "a").tickEvery(1_000));
    for (let i = 0; i < 5; i++) {
      events.push(await host.until(counter(host, `k${i % 3}`).roll()));
      await host.clock.advance(400);
      if (i !== 2) continue;
      host.crash();
      await host.restart();
      watch();
    }
    events.push(await host.until(counter(host, "a").ticks()), host.warnings.length);
    return events;
  }

  test("the same seed gives the same history, another seed another one", async () => {
    const first = await history(7);
    expect(first.length).toBeGreaterThan(20);
    expect(await history(7)).toEqual(first);
    expect(await history(8)).not.toEqual(first);
  });
});

test("what needs time gets it with until, up to a bound", async () => {
  await using host = await start({ diskLatencyMs: 5 });
  expect(await host.until(counter(host, "a").increment(1))).toBe(1);
  expect(host.clock.nowMs()).toBeGreaterThanOrEqual(5);
  expect(await codeOf(host.until(new Promise(() => {}), 50))).toBe("deadline-exceeded");
});

test("limits can be set: a turn that takes too long is ended", async () => {
  await using host = await start({ limits: { maxTurnMs: 1_000 } });
  waiting = new Promise(() => {});
  const code = codeOf(counter(host, "a").forget([]));
  await host.clock.advance(1_000);
  expect(await code).toBe("turn-timeout");
  waiting = Promise.resolve();
});

test("inspect shows an actor without waking it, and refuses names that do not exist", async () => {
  await using host = await start();
  await counter(host, "a").increment(2);
  await host.stop();
  await host.restart();
  const seen = await host.inspect("counter/a");
  expect(seen).toMatchObject({ activation: "stored", stateJson: `{"n":2,"ticks":[],"filler":""}` });
  expect(await codeOf(host.inspect("cuonter/a"))).toBe("unknown-actor-type");
  host.crash();
  expect(await codeOf(host.inspect("counter/a"))).toBe("unavailable");
});

test("a definition that cannot be is refused at the start", async () => {
  expect(await codeOf(createTestHost({ actors: [Counter, Counter] }))).toBe("invalid-argument");
});
