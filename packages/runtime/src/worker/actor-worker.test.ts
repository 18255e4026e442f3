/** What a worker promises about ids, retries, reruns, poison and stops. */
import { flushPolicy } from "@pinion/storage";
import { describe, expect, test } from "vitest";
import { defineActor } from "../definition/define-actor.ts";
import { WorkerFixture } from "./worker.test.fixture.ts";

let gate = Promise.withResolvers<void>();

const Thing = defineActor("thing", {
  state: () => ({ n: 0, ticks: 0 }),
  methods: {
    add: (ctx, by: number): number => (ctx.state.n += by),
    async wait(ctx): Promise<number> {
      ctx.state.n += 1;
      await gate.promise;
      return ctx.state.n;
    },
    async transfer(ctx, to: string): Promise<unknown> {
      ctx.state.n += 1;
      const there = await ctx.get(Thing, to).add(1);
      await gate.promise;
      return [ctx.state.n, there];
    },
    timer(ctx) {
      ctx.setTimer(1, "add", 1);
    },
    every(ctx, ms: number) {
      ctx.reminders.set("tick", { everyMs: ms, missed: "all" }, "tick");
    },
    stop: (ctx): boolean => ctx.reminders.cancel("tick"),
    list: (ctx): number => ctx.reminders.list().length,
    tick(ctx) {
      ctx.state.ticks++;
    },
    ticks: (ctx): number => ctx.state.ticks,
    reminders(ctx, count: number, afterMs = 1e9) {
      for (let i = 0; i < count; i++) ctx.reminders.set(`r${i}`, { afterMs }, "tick");
    },
    remind(ctx, name: string, method: string) {
      ctx.reminders.set(name, { afterMs: 1 }, method);
    },
  },
});

async function started(): Promise<WorkerFixture> {
  gate = Promise.withResolvers();
  const fixture = new WorkerFixture([Thing]);
  await fixture.start();
  return fixture;
}

describe("call ids", () => {
  test("a retry gets the first answer; the same id with other arguments is call-diverged", async () => {
    const it = await started();
    expect(await it.ask({ method: "add", args: [2], seq: 1 })).toMatchObject({ value: 2 });
    expect(await it.ask({ method: "add", args: [2], seq: 1 })).toMatchObject({ value: 2 });
    expect(await it.ask({ method: "add", args: [3], seq: 1 })).toMatchObject({
      code: "call-diverged",
      refused: "final",
    });
  });

  test("what a client has acknowledged is outcome-unknown, and not run again", async () => {
    const it = await started();
    await it.ask({ method: "add", args: [2], seq: 1 });
    it.worker.session("client").ackedBelow = 2;
    await it.ask({ method: "add", args: [2], seq: 2 });
    expect(await it.ask({ method: "add", args: [2], seq: 1 })).toMatchObject({
      code: "outcome-unknown",
    });
  });

  test("a call first sent longer ago than sessions live is outcome-unknown", async () => {
    const it = await started();
    expect(await it.ask({ method: "add", args: [1], issuedAt: 1 })).toMatchObject({
      code: "outcome-unknown",
    });
  });

  test("an idempotency key holds across sessions and restarts, until its lifetime is over", async () => {
    const it = await started();
    const call = { method: "add", args: [2], idempotencyKey: "k" };
    expect(await it.ask({ ...call, session: "one" })).toMatchObject({ value: 2 });
    expect(await it.ask({ ...call, session: "two" })).toMatchObject({ value: 2 });
    it.kill();
    await it.start();
    expect(await it.ask({ ...call, session: "three" })).toMatchObject({ value: 2 });
    await it.clock.advance(61_000);
    expect(await it.ask({ ...call, session: "four" })).toMatchObject({ value: 4 });
  });

  test("timers leave nothing in the dedupe window, which would never be acknowledged", async () => {
    const it = await started();
    for (let i = 0; i < 20; i++) await it.ask({ method: "timer" });
    await it.clock.advance(1_000);
    const [owned] = it.worker.core.shards.values();
    expect(owned?.shard.dedupe.size).toBe(20);
    expect(await it.ask({ method: "add", args: [0] })).toMatchObject({ value: 20 });
  });
});

describe("reruns", () => {
  test("a turn that a crash cut off runs again, and what it had called is not called twice", async () => {
    const it = await started();
    void it.send({ method: "transfer", args: ["b"], seq: 1 });
    await it.clock.advance(50);
    it.kill();
    gate.resolve();
    await it.start();
    const again = it.send({ method: "transfer", args: ["b"], seq: 1 });
    expect(await it.driven(again)).toMatchObject({ value: [1, 1] });
    expect(await it.ask({ method: "add", args: [0], key: "b", seq: 2 })).toMatchObject({
      value: 1,
    });
  });

  test("a refused rerun keeps its callers waiting instead of failing them", async () => {
    const it = await started();
    void it.send({ method: "transfer", args: ["b"], seq: 1 });
    await it.clock.advance(50);
    it.kill();
    gate.resolve();
    it.disk.onOperation = ({ kind, path }) => {
      const { catalog, state } = it.worker.core;
      // Recovery is through: what is read now are actors.
      if (kind === "read" && path.includes("/segments/") && catalog.size > 0 && state === "serving")
        it.disk.setErrorRates({ read: 1 });
    };
    await it.start();
    const again = it.send({ method: "transfer", args: ["b"], seq: 1 });
    await it.clock.advance(20);
    it.disk.onOperation = undefined;
    it.disk.clearFaults();
    expect(await it.driven(again)).toMatchObject({ value: [1, 1] });
  });
});

describe("poison", () => {
  test("a call that blocked the worker twice is refused for good, and that is recorded", async () => {
    const it = await started();
    it.kill();
    await it.start({ poisoned: new Set(["client/9", "@hook/load/thing/bad"]) });
    expect(await it.ask({ method: "add", args: [1], seq: 9 })).toMatchObject({ code: "poisoned" });
    expect(await it.ask({ method: "add", args: [1], seq: 10 })).toMatchObject({ value: 1 });
    expect(await it.ask({ method: "add", args: [1], key: "bad" })).toMatchObject({
      code: "poisoned",
    });
  });
});

describe("a stop", () => {
  test("waits for turns as long as its grace, then cuts them off; the next start replays nothing", async () => {
    const it = await started();
    await it.ask({ method: "add", args: [1] });
    const [running, queued] = [it.send({ method: "wait" }), it.send({ method: "add", args: [10] })];
    await it.clock.advance(5);
    await it.driven(it.worker.stop(100));
    expect(await running).toMatchObject({ code: "draining", refused: "transient" });
    expect(await queued).toMatchObject({ code: "draining", refused: "transient" });
    gate.resolve();
    await it.clock.advance(100);
    await it.driven(it.log.close());
    it.kill();
    await it.start();
    expect(it.worker.recovery.records).toBe(0);
    expect(await it.ask({ method: "add", args: [0] })).toMatchObject({ value: 1 });
  });

  test("lets turns that end within the grace end", async () => {
    const it = await started();
    const running = it.send({ method: "wait" });
    await it.clock.advance(5);
    const stopped = it.worker.stop(1_000);
    await it.clock.advance(50);
    gate.resolve();
    await it.driven(stopped);
    expect(await running).toMatchObject({ value: 1 });
  });

  test("a log that fails answers nobody and admits nobody", async () => {
    const it = await started();
    await it.ask({ method: "add", args: [1] });
    it.disk.fail({ kind: "write", error: "EIO" });
    let answered = false;
    void it.send({ method: "add", args: [1] }).then(() => (answered = true));
    await it.clock.advance(100);
    expect(it.worker.core.state).toBe("failed");
    expect(answered).toBe(false);
    expect(await it.ask({ method: "add", args: [1] })).toMatchObject({
      code: "unavailable",
      refused: "transient",
    });
    await it.driven(it.worker.stop(0));
  });
});

describe("reminders", () => {
  test("one cancelled while its turn waits in the mailbox neither runs nor comes back", async () => {
    const it = await started();
    await it.ask({ method: "every", args: [100] });
    const [waiting, stop] = [it.send({ method: "wait" }), it.send({ method: "stop" })];
    // The due time passes while the mailbox holds: wait (running), stop, tick.
    await it.clock.advance(150);
    gate.resolve();
    await it.driven(Promise.all([waiting, stop]));
    expect(await it.ask({ method: "list" })).toMatchObject({ value: 0 });
    await it.clock.advance(1_000);
    expect(await it.ask({ method: "ticks" })).toMatchObject({ value: 0 });
  });

  test("all fire of more that are due at once than may be in flight", async () => {
    const it = await started();
    await it.ask({ method: "reminders", args: [600, 10] });
    const waiting = it.send({ method: "wait" }); // holds the actor while they become due
    await it.clock.advance(20);
    gate.resolve();
    await it.driven(waiting);
    await it.clock.advance(3_000);
    expect(await it.ask({ method: "ticks" })).toMatchObject({ value: 600 });
  });

  test("names and numbers have bounds, and the method must exist", async () => {
    const it = await started();
    const codeOf = async (method: string, args: unknown[]) => (await it.ask({ method, args })).code;
    expect(await codeOf("reminders", [1_001])).toBe("invalid-argument");
    expect(await codeOf("reminders", [1_000])).toBeUndefined();
    expect(await codeOf("remind", ["", "tick"])).toBe("invalid-argument");
    expect(await codeOf("remind", ["x".repeat(129), "tick"])).toBe("invalid-argument");
    expect(await codeOf("remind", ["one-too-many", "tick"])).toBe("invalid-argument");
    expect(await codeOf("remind", ["r1", "nope"])).toBe("unknown-method");
    expect(await it.ask({ method: "stop" })).toMatchObject({ value: false });
  });
});

test("a checkpoint is never ahead of the log, even where replies do not wait", async () => {
  const it = new WorkerFixture([Thing]);
  await it.start({}, flushPolicy.async);
  await it.ask({ method: "add", args: [1] });
  await it.driven(it.worker.checkpointer.run());
  const [owned] = it.worker.core.shards.values();
  const shard = owned?.shard;
  expect(it.log.flushed(shard!.id)).toBe(shard?.appliedLsn);
});
