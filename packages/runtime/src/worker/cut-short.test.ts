/** What becomes of turns when the log is full, a crash cuts them off half recorded, or the host was down for long. */
import { RecordKind } from "@pinion/storage";
import { describe, expect, test } from "vitest";
import { defineActor } from "../definition/define-actor.ts";
import { WorkerFixture, type Answered } from "./worker.test.fixture.ts";

let gate = Promise.withResolvers<void>();

const Other = defineActor("other", {
  state: () => ({ n: 0 }),
  methods: { add: (ctx, by: number): number => (ctx.state.n += by) },
});

const Thing = defineActor("thing", {
  state: () => ({ n: 0, filling: "" }),
  reentrancy: "full",
  maxTurnMs: 2_000,
  methods: {
    add: (ctx, by: number): number => (ctx.state.n += by),
    fill(ctx, letter: string): void {
      ctx.state.filling = letter.repeat(100_000);
    },
    /** Changes itself, and calls another actor once the gate is open. */
    async relay(ctx, by: number): Promise<number> {
      ctx.state.n += by;
      await ctx.get(Other, "o").add(by);
      await gate.promise;
      return ctx.state.n;
    },
    async waitThenCall(ctx, by: number): Promise<void> {
      ctx.state.n += by;
      await gate.promise;
      await ctx.get(Other, "o").add(by);
      await new Promise(() => {});
    },
    async wait(ctx, by: number): Promise<number> {
      ctx.state.n += by;
      await gate.promise;
      return ctx.state.n;
    },
  },
});

async function started(): Promise<WorkerFixture> {
  gate = Promise.withResolvers();
  const fixture = new WorkerFixture([Thing, Other]);
  await fixture.start();
  return fixture;
}

const opensOf = (it: WorkerFixture): number => {
  let count = 0;
  for (const { shard } of it.worker.core.shards.values()) count += shard.opens.size;
  return count;
};

/** Writes until the log has no room for another segment, and none for the smallest record in this one. */
async function fillLog(it: WorkerFixture): Promise<void> {
  it.disk.capacityBytes = 0;
  const untilRefused = async (ask: (i: number) => Promise<Answered>): Promise<void> => {
    for (let i = 0; i < 3_000; i++) if ((await ask(i)).code !== undefined) return;
    throw new Error("the log takes everything");
  };
  await untilRefused((i) =>
    it.ask({ method: "fill", args: [i % 2 === 0 ? "a" : "b"], key: "filler" }),
  );
  await untilRefused(() => it.ask({ method: "add", args: [1], key: "small" }));
}

describe("a log that is full", () => {
  test("a turn that waits for room is recorded once, although its time passes meanwhile", async () => {
    const it = await started();
    let answers = 0;
    const relayed = it.send({ method: "relay", args: [1], seq: 900 });
    void relayed.then(() => answers++);
    await it.clock.advance(50);
    await fillLog(it);
    gate.resolve();
    await it.clock.advance(10);
    expect(answers).toBe(0);
    await it.clock.advance(5_000); // maxTurnMs passes
    it.disk.capacityBytes = Infinity;
    expect(await it.driven(relayed)).toMatchObject({ value: 1 });
    expect(opensOf(it)).toBe(0);
    await it.clock.advance(100);
    it.kill();
    await it.start();
    expect(await it.ask({ method: "relay", args: [1], seq: 900 })).toMatchObject({ value: 1 });
    expect(await it.ask({ method: "add", args: [0], seq: 901 })).toMatchObject({ value: 1 });
    expect(await it.ask({ type: "other", key: "o", method: "add", args: [0] })).toMatchObject({
      value: 1,
    });
    expect(answers).toBe(1);
  });

  test("a turn that ends while its open record waits for room leaves nothing open", async () => {
    const it = await started();
    await it.ask({ method: "add", args: [0] });
    await fillLog(it);
    const relayed = it.send({ method: "relay", args: [1], seq: 900 });
    await it.clock.advance(2_500); // maxTurnMs passes: the log refuses its outcome, too
    expect(await it.driven(relayed)).toMatchObject({ refused: "transient" });
    it.disk.capacityBytes = Infinity;
    await it.clock.advance(5_000); // the log tries again
    const nothing = async (): Promise<void> => {
      expect(opensOf(it)).toBe(0);
      expect(await it.ask({ method: "add", args: [0] })).toMatchObject({ value: 0 });
      expect(await it.ask({ type: "other", key: "o", method: "add", args: [0] })).toMatchObject({
        value: 0,
      });
    };
    await nothing();
    it.kill();
    gate.resolve();
    await it.start();
    await it.clock.advance(100);
    await nothing();
  });
});

describe("a turn that was committed in part", () => {
  test("is not held open once it has ended, whether it called others or not", async () => {
    const it = await started();
    const waiting = it.send({ method: "wait", args: [1] });
    await it.clock.advance(5);
    expect(await it.ask({ method: "add", args: [10] })).toMatchObject({ value: 11 });
    expect(opensOf(it)).toBe(1);
    gate.resolve();
    expect(await it.driven(waiting)).toMatchObject({ value: 11 });
    expect(opensOf(it)).toBe(0);
  });

  test("is not run again after a crash because it called somebody later", async () => {
    const it = await started();
    void it.send({ method: "waitThenCall", args: [1], seq: 900 });
    await it.clock.advance(5);
    expect(await it.ask({ method: "add", args: [10] })).toMatchObject({ value: 11 });
    gate.resolve();
    await it.clock.advance(50);
    expect(opensOf(it)).toBe(1);
    it.kill();
    await it.start();
    expect(await it.ask({ method: "waitThenCall", args: [1], seq: 900 })).toMatchObject({
      code: "interrupted",
    });
    expect(await it.ask({ method: "add", args: [0] })).toMatchObject({ value: 11 });
  });

  test("keeps its idempotency key: after a crash the retry of another session is told, and it does not run again", async () => {
    const it = await started();
    const call = { method: "wait", args: [1], idempotencyKey: "k" };
    void it.send({ ...call, session: "one" });
    await it.clock.advance(5);
    expect(await it.ask({ method: "add", args: [10] })).toMatchObject({ value: 11 });
    it.kill();
    gate.resolve();
    await it.start();
    const retried = await it.ask({ ...call, session: "two" });
    expect(retried).toMatchObject({ code: "interrupted" });
    expect(await it.ask({ method: "add", args: [0] })).toMatchObject({ value: 11 });
  });

  test("is interrupted, with its key, also when a checkpoint was all that knew of it", async () => {
    const it = await started();
    const call = { method: "wait", args: [1], idempotencyKey: "k" };
    void it.send({ ...call, session: "one" });
    await it.clock.advance(5);
    await it.ask({ method: "add", args: [10] });
    await it.driven(it.worker.checkpointer.run());
    it.kill();
    gate.resolve();
    await it.start();
    expect(await it.ask({ ...call, session: "two" })).toMatchObject({ code: "interrupted" });
    expect(await it.ask({ method: "add", args: [0] })).toMatchObject({ value: 11 });
  });
});

test("a session does not grow old while the host is down", async () => {
  const sessionExpiryMs = 60 * 60_000;
  const it = await started();
  const dedupe = { sessionBytesMax: 1e6, shardBytesMax: 1e7, sessionExpiryMs };
  const asked = { method: "add", args: [1], seq: 1, issuedAt: it.clock.wallMs() * 1_000 };
  it.kill();
  await it.start({ dedupe });
  expect(await it.ask(asked)).toMatchObject({ value: 1 });
  await it.driven(it.worker.checkpointer.run());
  await it.clock.advance(sessionExpiryMs * 0.9);
  it.kill();
  await it.clock.advance(sessionExpiryMs * 0.9);
  await it.start({ dedupe });
  await it.clock.advance(sessionExpiryMs * 0.3);
  expect(await it.ask(asked)).toMatchObject({ value: 1 });
});

describe("what is rarely looked at", () => {
  const Broken = defineActor("broken", {
    state: () => ({}),
    onActivate() {
      throw new RangeError("never");
    },
    methods: { touch: () => {} },
  });

  test("sessions expire while actors come and go too fast for the sweep of an idle worker", async () => {
    const it = new WorkerFixture([Broken]);
    const sessionExpiryMs = 60_000;
    await it.start({ dedupe: { sessionBytesMax: 1e6, shardBytesMax: 1e7, sessionExpiryMs } });
    for (let i = 0; i < 600; i++) {
      await it.ask({ type: "broken", method: "touch", session: `s${i}` });
      await it.clock.advance(500);
    }
    expect(it.worker.sessionCount).toBeLessThan(300);
  });

  test("an idempotency key is over at its time, also where nobody sweeps", async () => {
    const it = await started();
    const call = { method: "add", args: [1], idempotencyKey: "k" };
    await it.ask(call);
    it.kill();
    await it.clock.advance(70_000);
    await it.start();
    expect(await it.ask({ ...call, session: "other" })).toMatchObject({ value: 2 });
  });

  test("a change after an idle hour is in a checkpoint within its bound", async () => {
    const it = await started();
    const dirtyMs = 2_000;
    it.kill();
    await it.start({
      checkpoint: { logBytes: 1e9, dirtyBytes: 1e9, dirtyMs, segmentBytes: 1024 * 1024 },
    });
    await it.ask({ method: "add", args: [1] });
    for (let hour = 0; hour < 2; hour++) {
      await it.clock.advance(3_600_000);
      const before = it.worker.checkpointer.completed;
      await it.ask({ method: "add", args: [1] });
      await it.clock.advance(dirtyMs * 2);
      expect(it.worker.checkpointer.completed).toBe(before + 1);
    }
  });
});

test("a checkpoint waits for what is appended and not applied yet", async () => {
  const it = await started();
  await it.ask({ method: "add", args: [1] });
  const [owned] = it.worker.core.shards.values();
  const { shard } = owned as NonNullable<typeof owned>;
  const held = Promise.withResolvers<void>();
  // As where a record has waited for room: its place in the log is known before its effects are.
  shard.tryAppend = () => undefined;
  const append = it.log.append.bind(it.log);
  it.log.append = async (...args) => {
    const at = await append(...args);
    await held.promise;
    return at;
  };
  let published = false;
  const appended = shard.append(RecordKind.probe, new Uint8Array(0), () => (published = true));
  let publishedBefore: boolean | undefined;
  const checkpoint = it.worker.checkpointer.run().then(() => (publishedBefore = published));
  await it.clock.advance(100);
  expect(publishedBefore).toBeUndefined();
  held.resolve();
  await it.driven(Promise.all([appended, checkpoint]));
  expect(publishedBefore).toBe(true);
  expect(shard.appliedLsn).toBe(shard.appendedLsn);
});
