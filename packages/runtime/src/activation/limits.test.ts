/** What becomes of turns when the log is full or fails, and of calls that are refused before they run. */
import { describe, expect, test } from "vitest";
import { isPinionError, type ActorType } from "@pinion/core";
import { bytes, column } from "@pinion/storage";
import { defineActor, readonly } from "../definition/define-actor.ts";
import { WorkerFixture } from "../worker/worker.test.fixture.ts";
import { Mailbox } from "./mailbox.ts";
import { TURNS_WAITING_BYTES } from "./turn-runner.ts";
import { registerType } from "./registered-type.ts";

type Other = ActorType<
  "thing",
  { add: (ctx: never, by: number) => number; read: (ctx: never) => number }
>;

const Thing = defineActor("thing", {
  state: () => ({ n: 0 }),
  methods: {
    add: (ctx, by: number): number => (ctx.state.n += by),
    read: readonly((ctx): number => ctx.state.n),
    async readSlowly(ctx): Promise<void> {
      await ctx.get<Other>("thing", "b").add(1);
    },
    hang: () => new Promise<void>(() => {}),
    hangReading: readonly(() => new Promise<void>(() => {})),
    async transfer(ctx): Promise<number> {
      ctx.state.n += 1;
      return ctx.get<Other>("thing", "b").add(1);
    },
    list: (ctx): string[] => {
      ctx.reminders.set("later", { afterMs: 2e6 }, "add", 1);
      ctx.reminders.set("soon", { afterMs: 1e6 }, "add", 1);
      return ctx.reminders.list().map((r) => r.name);
    },
  },
});

/** Whose calls may enter while one waits. */
const Open = defineActor("open", {
  state: () => ({ n: 0 }),
  reentrancy: "full",
  methods: {
    add: (ctx, by: number): number => (ctx.state.n += by),
    async slow(ctx): Promise<number> {
      await ctx.get<Other>("thing", "b").read();
      return ++ctx.state.n;
    },
  },
});

let refusals: string[] = [];
const refusal = (work: () => unknown): void => {
  try {
    work();
    refusals.push("taken");
  } catch (e) {
    refusals.push(isPinionError(e) ? e.code : String(e));
  }
};

const Kept = defineActor("kept", {
  state: () => ({ n: 0 }),
  memory: { profile: "hot", extents: { data: bytes() } },
  methods: {
    write: (ctx) => void ctx.extents.data.write(0, new Uint8Array(4_096)),
    writeTwice(ctx): void {
      const { state } = ctx;
      const { data } = ctx.extents;
      state.n = 1;
      void data.write(0, Uint8Array.of(2));
      void data.write(16, Uint8Array.of(2));
      refusals = [];
      queueMicrotask(() => {
        refusal(() => (state.n = 9));
        refusal(() => data.write(0, Uint8Array.of(9)));
      });
    },
    read: readonly(async (ctx) => [ctx.state.n, (await ctx.extents.data.read(0, 1))[0]]),
  },
});

async function started(): Promise<WorkerFixture> {
  const fixture = new WorkerFixture([Thing, Open, Kept]);
  await fixture.start();
  return fixture;
}

/** The log takes nothing until the function it returns is called. */
function fillLog(it: WorkerFixture, queuedBytes = 0): () => void {
  const { log } = it;
  const tryAppend = log.tryAppend.bind(log);
  const append = log.append.bind(log);
  const room = Promise.withResolvers<void>();
  log.tryAppend = () => undefined;
  log.append = async (input, payload, signal) => {
    const givenUp = new Promise<never>((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason as Error));
    });
    await Promise.race([room.promise, givenUp]);
    return append(input, payload);
  };
  Object.defineProperty(log, "queuedBytes", { configurable: true, value: queuedBytes });
  return () => {
    log.tryAppend = tryAppend;
    log.append = append;
    Reflect.deleteProperty(log, "queuedBytes");
    room.resolve();
  };
}

describe("a full log", () => {
  test("keeps a turn waiting, and those behind it, until there is room", async () => {
    const it = await started();
    const empty = fillLog(it);
    const first = it.send({ method: "add", args: [1], seq: 1 });
    const second = it.send({ method: "add", args: [1], seq: 2 });
    // Neither in its actor's state nor in a view of it: it is not recorded.
    expect(await it.ask({ method: "read" })).toMatchObject({ value: 0 });
    empty();
    expect(await it.driven(first)).toMatchObject({ value: 1 });
    expect(await it.driven(second)).toMatchObject({ value: 2 });
    it.kill();
    await it.start();
    expect(await it.ask({ method: "add", args: [1], seq: 1 })).toMatchObject({ value: 1 });
    expect(await it.ask({ method: "read" })).toMatchObject({ value: 2 });
  });

  test("refuses a turn when more waits than may, and it leaves no trace", async () => {
    const it = await started();
    const empty = fillLog(it, TURNS_WAITING_BYTES);
    expect(await it.ask({ method: "add", args: [1], seq: 1 })).toMatchObject({
      code: "overloaded",
      refused: "transient",
    });
    empty();
    expect(await it.ask({ method: "add", args: [1], seq: 1 })).toMatchObject({ value: 1 });
  });

  test.each([
    ["its deadline", 300],
    ["its actor's maxTurnMs", Infinity],
  ])("refuses a turn that waits beyond %s, and it leaves no trace", async (_, withinMs) => {
    const it = new WorkerFixture([Thing]);
    await it.start({ typeDefaults: { maxTurnMs: 1e3, mailboxLength: 2, idleDeactivationMs: 1e6 } });
    const empty = fillLog(it);
    const late = it.send({
      method: "add",
      args: [1],
      seq: 1,
      deadlineAtMs: it.clock.nowMs() + withinMs,
    });
    expect(await it.driven(late)).toMatchObject({ code: "overloaded", refused: "transient" });
    empty();
    expect(await it.ask({ method: "read" })).toMatchObject({ value: 0 });
    it.kill();
    await it.start();
    expect(await it.ask({ method: "add", args: [1], seq: 1 })).toMatchObject({ value: 1 });
  });

  test("a turn that waits is refused when its worker stops", async () => {
    const it = await started();
    fillLog(it);
    const waiting = it.send({ method: "add", args: [1], seq: 1 });
    await it.clock.advance(10);
    const stopped = it.worker.stop(0);
    expect(await it.driven(waiting)).toMatchObject({ refused: "transient" });
    await it.driven(stopped);
  });

  test("nobody enters an actor whose turn waits", async () => {
    const it = await started();
    const empty = fillLog(it);
    const slow = it.send({ type: "open", method: "slow", seq: 1 });
    await it.clock.advance(50); // The method has ended; its record waits.
    const other = it.send({ type: "open", method: "add", args: [10], seq: 2 });
    await it.clock.advance(50);
    empty();
    expect(await it.driven(slow)).toMatchObject({ value: 1 });
    expect(await it.driven(other)).toMatchObject({ value: 11 });
    it.kill();
    await it.start();
    expect(await it.ask({ type: "open", method: "add", args: [0], seq: 3 })).toMatchObject({
      value: 11,
    });
  });

  test("takes nothing more from a turn whose record waits", async () => {
    const it = await started();
    await it.ask({ type: "kept", method: "write", seq: 1 });
    const empty = fillLog(it);
    const turn = it.send({ type: "kept", method: "writeTwice", seq: 2 });
    await it.clock.advance(10);
    empty();
    expect((await it.driven(turn)).code).toBeUndefined();
    expect(refusals).toEqual(["interrupted", "view-expired"]);
    const read = { type: "kept", method: "read" } as const;
    expect(await it.ask({ ...read, seq: 3 })).toMatchObject({ value: [1, 2] });
    it.kill();
    await it.start();
    expect(await it.ask({ ...read, seq: 4 })).toMatchObject({ value: [1, 2] });
  });

  test("blocks a turn whose call stands, until its outcome is recorded", async () => {
    const it = await started();
    await it.ask({ method: "add", args: [0], key: "b" });
    let empty: () => void = () => {};
    const { worker } = it;
    const call = it.send({ method: "transfer", seq: 50 });
    // The sub-call has been answered; the caller's own record finds no room.
    const [owned] = worker.core.shards.values();
    const recorded = owned!.shard.recorded.bind(owned!.shard);
    owned!.shard.recorded = (entry, outcome, at) => {
      recorded(entry, outcome, at);
      if (entry.call.path !== "") empty = fillLog(it);
    };
    await it.clock.advance(200);
    const waiting = it.send({ method: "add", args: [10] });
    await it.clock.advance(200);
    empty();
    expect(await it.driven(call)).toMatchObject({ value: 1 });
    expect(await it.driven(waiting)).toMatchObject({ value: 11 });
  });

  test("a log that fails under a turn ends it without an answer", async () => {
    const it = await started();
    it.disk.fail({ kind: "write", times: Infinity, error: "EIO" });
    let answered = false;
    void it.send({ method: "transfer" }).then(() => (answered = true));
    await it.clock.advance(500);
    expect(answered).toBe(false);
    expect(it.worker.core.state).toBe("failed");
  });
});

describe("calls that do not run", () => {
  test("readonly calls are refused when they are late, and when they are poisoned", async () => {
    const it = await started();
    it.kill();
    await it.start({ poisoned: new Set(["client/5"]) });
    expect(await it.ask({ method: "read", seq: 5 })).toMatchObject({ code: "poisoned" });
    expect(await it.ask({ method: "read", deadlineAtMs: 0 })).toMatchObject({
      code: "deadline-exceeded",
    });
  });

  test("a readonly turn that hangs is given up at its deadline", async () => {
    const it = await started();
    const deadlineAtMs = it.clock.nowMs() + 100;
    expect(await it.ask({ method: "hangReading", deadlineAtMs })).toMatchObject({
      code: "deadline-exceeded",
    });
    expect(it.worker.core.abandoned.size).toBe(1);
  });

  test("while an actor loads, a bounded number of readers waits", async () => {
    const it = await started();
    it.kill();
    await it.start({ typeDefaults: { maxTurnMs: 1e4, mailboxLength: 2, idleDeactivationMs: 1e6 } });
    const calls = [1, 2, 3].map((n) => it.send({ method: "read", seq: 100 + n }));
    const codes = (await it.driven(Promise.all(calls))).map((a) => a.code);
    expect(codes).toEqual([undefined, undefined, "overloaded"]);
  });
});

test("reminders are listed by due time, those of the running turn included", async () => {
  const it = await started();
  expect(await it.ask({ method: "list" })).toMatchObject({ value: ["soon", "later"] });
});

test("a mailbox grows up to its bound, and gives items back from its middle", () => {
  const mailbox = new Mailbox<number>(20);
  for (let i = 0; i < 20; i++) expect(mailbox.push(i)).toBe(true);
  expect(mailbox.push(20)).toBe(false);
  expect(mailbox.take((n) => n === 7)).toBe(7);
  expect(mailbox.take((n) => n === 7)).toBeUndefined();
  mailbox.unshift(-1);
  mailbox.unshift(-2);
  expect(mailbox.drain().slice(0, 4)).toEqual([-2, -1, 0, 1]);
  for (let i = 0; i < 8; i++) mailbox.push(i);
  mailbox.unshift(9);
  expect(mailbox.shift()).toBe(9);
});

test.each([
  [{ pinBytesMax: 65_535 }, "memory.pinBytesMax", "65535"],
  [{ pinBytesMax: "64 KB" }, "memory.pinBytesMax", "64 KB"],
  [{ pinBytesMax: NaN }, "memory.pinBytesMax", "NaN"],
  [{ pinShareMax: 0 }, "memory.pinShareMax", "0"],
  [{ pinShareMax: 1.01 }, "memory.pinShareMax", "1.01"],
  [{ pinShareMax: 0.5, extents: {} }, "declares none", "bounds"],
])("a bound of a type's memory has to be one: %j", (memory, key, value) => {
  const extents = { a: column("f64") };
  const definition = defineActor("bad", {
    state: () => 0,
    methods: {},
    memory: { extents, ...memory },
  });
  const defaults = { maxTurnMs: 1, mailboxLength: 1, idleDeactivationMs: 1 };
  const error = expect.toSatisfy(
    (e) =>
      isPinionError(e, "invalid-argument") &&
      e.message.includes(key) &&
      e.message.includes(value) &&
      e.message.includes('actor "bad"'),
  );
  expect(() => registerType(definition, defaults)).toThrow(error as never);
});

test.each(["maxTurnMs", "mailboxLength", "idleDeactivationMs"] as const)(
  "%s of a type must be a positive number",
  (name) => {
    const definition = defineActor("bad", { state: () => 0, methods: {}, [name]: 0 });
    const defaults = { maxTurnMs: 1, mailboxLength: 1, idleDeactivationMs: 1 };
    expect(() => registerType(definition, defaults)).toThrow(name);
  },
);
