/** What becomes of turns when the log is full or fails, and of calls that are refused before they run. */
import { describe, expect, test } from "vitest";
import { isPinionError, type ActorType } from "@pinion/core";
import { column } from "@pinion/storage";
import { defineActor, readonly } from "../definition/define-actor.ts";
import { WorkerFixture } from "../worker/worker.test.fixture.ts";
import { Mailbox } from "./mailbox.ts";
import { registerType } from "./registered-type.ts";

type Other = ActorType<"thing", { add: (ctx: never, by: number) => number }>;

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

async function started(): Promise<WorkerFixture> {
  const fixture = new WorkerFixture([Thing]);
  await fixture.start();
  return fixture;
}

/** The log takes nothing until the function it returns is called. */
function fillLog(it: WorkerFixture): () => void {
  const { log } = it;
  const tryAppend = log.tryAppend.bind(log);
  const append = log.append.bind(log);
  const room = Promise.withResolvers<void>();
  log.tryAppend = () => undefined;
  log.append = async (input, payload) => {
    await room.promise;
    return append(input, payload);
  };
  return () => {
    log.tryAppend = tryAppend;
    log.append = append;
    room.resolve();
  };
}

describe("a full log", () => {
  test("refuses a turn that has called nobody, which leaves no trace", async () => {
    const it = await started();
    const empty = fillLog(it);
    expect(await it.ask({ method: "add", args: [1], seq: 1 })).toMatchObject({
      code: "overloaded",
      refused: "transient",
    });
    empty();
    expect(await it.ask({ method: "add", args: [1], seq: 1 })).toMatchObject({ value: 1 });
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
