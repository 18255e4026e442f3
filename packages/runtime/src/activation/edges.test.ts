/** The rare ends of calls and turns: given up, too late, malformed, cut off, outliving their time. */
import { encodeValue, PinionError } from "@pinion/core";
import { describe, expect, test } from "vitest";
import type { ActorContext } from "../definition/actor-context.ts";
import { defineActor, readonly } from "../definition/define-actor.ts";
import { WorkerFixture } from "../worker/worker.test.fixture.ts";

let gate = Promise.withResolvers<void>();
let activations = 0;
let kept: ActorContext<{ n: number }> | undefined;

const Thing = defineActor("thing", {
  state: () => ({ n: 0 }),
  maxTurnMs: 1_000,
  methods: {
    add: (ctx, by: number): number => (ctx.state.n += by),
    sum: (ctx, a: number, b: number, c: number): number => (ctx.state.n += a + b + c),
    async wait(ctx): Promise<number> {
      await gate.promise;
      return (ctx.state.n += 1);
    },
    async look(ctx): Promise<string> {
      await ctx.get(Thing, "b").add(1);
      return "looked";
    },
    value: readonly((ctx): number => ctx.state.n),
    slowly: readonly(async (ctx): Promise<number> => {
      await gate.promise;
      return ctx.state.n;
    }),
  },
});

/** Does in its hooks what hooks may and may not do, by its key. */
const Hooked = defineActor("hooked", {
  state: () => ({ n: 0 }),
  idleDeactivationMs: 1_000,
  async onActivate(ctx) {
    activations++;
    if (ctx.id.key === "calls") {
      await (ctx as unknown as ActorContext<unknown>).get<typeof Thing>("thing", "a").add(1);
    } else if (ctx.id.key === "same") ctx.state.n = Number(ctx.state.n);
    else if (ctx.id.key === "keeps") kept = ctx as unknown as ActorContext<{ n: number }>;
    else if (ctx.id.key !== "nothing") ctx.state.n += 1;
  },
  methods: { value: readonly((ctx): number => ctx.state.n), touch: () => {} },
});

async function started(): Promise<WorkerFixture> {
  gate = Promise.withResolvers();
  activations = 0;
  const fixture = new WorkerFixture([Thing, Hooked]);
  await fixture.start();
  return fixture;
}

describe("a call that is given up", () => {
  test("while it waits does not run, while it runs is told, and elsewhere nothing happens", async () => {
    const it = await started();
    const session = it.worker.session("client");
    const running = it.send({ method: "wait", seq: 1 });
    const queued = it.send({ method: "add", args: [10], seq: 2 });
    await it.clock.advance(5);
    it.worker.cancel(session, 2);
    expect(await queued).toMatchObject({ code: "cancelled" });
    it.worker.cancel(session, 77);
    it.worker.cancel(session, 1); // the method does not look at its signal
    gate.resolve();
    await it.driven(running);
    expect((await it.ask({ method: "value" })).value).not.toBe(11);
  });

  test("has its deadline behind it when its turn comes: it does not run", async () => {
    const it = await started();
    const running = it.send({ method: "wait", seq: 1 });
    const late = it.send({
      method: "add",
      args: [10],
      seq: 2,
      deadlineAtMs: it.clock.nowMs() + 50,
    });
    await it.clock.advance(100);
    gate.resolve();
    expect(await it.driven(running)).toMatchObject({ value: 1 });
    expect(await late).toMatchObject({ code: "deadline-exceeded" });
    const deadlineAtMs = it.clock.nowMs() - 1;
    expect(await it.ask({ method: "value", deadlineAtMs })).toMatchObject({
      code: "deadline-exceeded",
    });
    expect(await it.ask({ method: "value" })).toMatchObject({ value: 1 });
  });
});

describe("arguments", () => {
  test("come in any number, and as an array or not at all", async () => {
    const it = await started();
    expect(await it.ask({ method: "sum", args: [1, 2, 3] })).toMatchObject({ value: 6 });
    const rawArgs = encodeValue({ not: "an array" });
    expect(await it.ask({ method: "add", rawArgs })).toMatchObject({ code: "invalid-argument" });
    expect(await it.ask({ method: "value", rawArgs })).toMatchObject({ code: "invalid-argument" });
  });
});

describe("readonly turns", () => {
  test("end with their time, and what they say later is heard by nobody", async () => {
    const it = await started();
    const slow = it.send({ method: "slowly" });
    await it.clock.advance(1_100);
    expect(await slow).toMatchObject({ code: "turn-timeout" });
    gate.resolve();
    await it.clock.advance(10);
    expect(await it.ask({ method: "value" })).toMatchObject({ value: 0 });
  });

  test("are cut off by a stop", async () => {
    const it = await started();
    const slow = it.send({ method: "slowly" });
    await it.clock.advance(5);
    await it.driven(it.worker.stop(0));
    expect(await slow).toMatchObject({ code: "draining", refused: "transient" });
  });
});

describe("hooks", () => {
  test("may change the state, or touch it without a change, or not at all", async () => {
    const it = await started();
    const valueOf = async (key: string) =>
      (await it.ask({ type: "hooked", key, method: "value" })).value;
    expect([await valueOf("adds"), await valueOf("same"), await valueOf("nothing")]).toEqual([
      1, 0, 0,
    ]);
  });

  test("cannot call other actors, nor keep their context", async () => {
    const it = await started();
    expect(await it.ask({ type: "hooked", key: "calls", method: "value" })).toMatchObject({
      code: "invalid-argument",
    });
    await it.ask({ type: "hooked", key: "keeps", method: "value" });
    const used = (): number => (kept as NonNullable<typeof kept>).state.n;
    expect(used).toThrow(PinionError);
    expect(() => kept?.now()).toThrow("this turn is over");
  });

  test("run again when a call comes while only the checkpoint was missing", async () => {
    const it = await started();
    await it.ask({ type: "hooked", key: "adds", method: "touch" });
    expect(activations).toBe(1);
    it.disk.fail({ kind: "write", path: "/segments/", times: 3, error: "ENOSPC" });
    await it.clock.advance(3_000); // idle, and its last commit is not in the store
    expect(await it.ask({ type: "hooked", key: "adds", method: "value" })).toMatchObject({
      value: 2,
    });
    expect(activations).toBe(2);
  });
});

test("a reentrant turn that finds the log full fails, and the turn it wanted to enter goes on", async () => {
  gate = Promise.withResolvers();
  const Full = defineActor("full", {
    state: () => ({ n: 0 }),
    reentrancy: "full",
    methods: {
      add: (ctx, by: number): number => (ctx.state.n += by),
      async wait(ctx): Promise<number> {
        ctx.state.n += 1;
        await gate.promise;
        return (ctx.state.n += 1);
      },
    },
  });
  const Filler = defineActor("filler", {
    state: () => ({ text: "" }),
    methods: {
      set(ctx, letter: string, length: number) {
        ctx.state.text = letter.repeat(length);
      },
    },
  });
  const it = new WorkerFixture([Full, Filler]);
  await it.start();
  await it.ask({ type: "full", method: "add", args: [0] });
  const waiting = it.send({ type: "full", method: "wait", seq: 5_000 });
  await it.clock.advance(5);
  it.disk.capacityBytes = 0;
  for (const length of [100_000, 10]) {
    let code: string | undefined;
    for (let i = 0; code === undefined && i < 3_000; i++) {
      const letter = i % 2 === 0 ? "a" : "b";
      ({ code } = await it.ask({ type: "filler", method: "set", args: [letter, length] }));
    }
    expect(code).toBe("disk-full");
  }
  expect((await it.ask({ type: "full", method: "add", args: [10] })).code).toBeDefined();
  it.disk.capacityBytes = Infinity;
  await it.clock.advance(5_000);
  gate.resolve();
  expect(await it.driven(waiting)).toMatchObject({ value: 2 });
});
