/** What one turn may and may not do, on a host on virtual time. */
import { isPinionError, type ActorType } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { defineActor, readonly } from "../definition/define-actor.ts";
import { createTestHost, type TestHost, type TestHostOptions } from "../testing/index.ts";

const MIB = 1024 * 1024;

interface State {
  n: number;
  map: Map<string, number>;
  filler: Uint8Array;
}

type Gate = PromiseWithResolvers<void>;
let gate: Gate = Promise.withResolvers<void>();
let kept: { state: State } | undefined;
const ran: string[] = [];
const failures: number[] = [];

/** The actor as its own methods see another one: its inferred type would be circular. */
type Other = ActorType<
  "thing",
  {
    add: (ctx: never, by: number) => number;
    value: (ctx: never) => number;
    wait: (ctx: never) => number;
    take: (ctx: never, bytes: Uint8Array) => void;
    changeAndThrow: (ctx: never) => void;
  }
>;

const Thing = defineActor("thing", {
  state: (): State => ({ n: 0, map: new Map(), filler: new Uint8Array(0) }),
  maxTurnMs: 5_000,
  mailboxLength: 3,
  methods: {
    add(ctx, by: number): number {
      return (ctx.state.n += by);
    },
    value: readonly((ctx): number => ctx.state.n),
    changeAndThrow(ctx) {
      ctx.state.n = 99;
      ctx.send<Other>("thing", "other").add(1);
      ctx.afterCommit("tell", "never");
      ctx.reminders.set("r", { afterMs: 10 }, "add", 1);
      throw new TypeError("no");
    },
    wait: async (ctx) => {
      ctx.state.n += 1;
      await gate.promise;
      return ctx.state.n;
    },
    keep(ctx) {
      kept = ctx as unknown as { state: State };
      return gate.promise;
    },
    replace(ctx) {
      ctx.state = { n: 7, map: new Map([["a", 1]]), filler: new Uint8Array(0) };
    },
    setInMap(ctx, key: string, value: number) {
      ctx.state.map.set(key, value);
    },
    writeInReadonly: readonly((ctx) => {
      (ctx as { state: State }).state.n = 1;
    }),
    assignInReadonly: readonly((ctx) => {
      (ctx as { state: unknown }).state = {};
    }),
    setMapInReadonly: readonly((ctx) => {
      (ctx as { state: State }).state.map.set("x", 1);
    }),
    sendInReadonly: readonly((ctx) => ctx.send<Other>("thing", "other").add(1)),
    callInReadonly: readonly((ctx): Promise<unknown> => ctx.get<Other>("thing", "other").add(1)),
    readInReadonly: readonly((ctx): Promise<unknown> => ctx.get<Other>("thing", "other").value()),
    remindInReadonly: readonly((ctx) => ctx.reminders.set("r", { afterMs: 1 }, "add", 1)),
    timerInReadonly: readonly((ctx) => void ctx.setTimer(1, "add", 1)),
    effectInReadonly: readonly((ctx) => ctx.afterCommit("tell", "x")),
    failInReadonly: readonly(() => {
      throw new RangeError("readonly no");
    }),
    returnFunction: () => () => {},
    returnFunctionReading: readonly(() => () => {}),
    putFunction(ctx) {
      (ctx.state as unknown as { f: unknown }).f = () => {};
    },
    fill(ctx, bytes: number) {
      ctx.state.filler = new Uint8Array(bytes);
    },
    sendMuch(ctx, count: number, bytes: number) {
      ctx.state.n = 5;
      for (let i = 0; i < count; i++) ctx.send<Other>("thing", "sink").take(new Uint8Array(bytes));
    },
    take(_ctx, _bytes: Uint8Array) {},
    sendUnknownMethod(ctx) {
      (ctx.send<Other>("thing", "x") as unknown as Record<string, () => void>)["nope"]?.();
    },
    sendUnknownType(ctx) {
      (ctx.send<Other>("thimg" as "thing", "x") as unknown as Record<string, () => void>)[
        "add"
      ]?.();
    },
    sendNowhere(ctx) {
      ctx.send<Other>("thing", "").add(1);
    },
    sendToFailing(ctx) {
      ctx.send<Other>("thing", "other").changeAndThrow();
    },
    unknownEffect: (ctx) => ctx.afterCommit("nope"),
    effect(ctx, what: string) {
      ctx.afterCommit("tell", what);
      return ran.length;
    },
    timer(ctx, delayMs: number, method = "add") {
      ctx.setTimer(delayMs, method, 1);
    },
    cancelledTimer(ctx) {
      ctx.setTimer(5, "add", 1)();
    },
    failingTimer(ctx) {
      ctx.setTimer(5, "changeAndThrow");
    },
    facts: (ctx) => [ctx.now(), ctx.now(), ctx.random() === ctx.random(), ctx.vars, ctx.reminder],
    remaining: (ctx) => ctx.remainingMs(),
    aborted: async (ctx) => {
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      ran.push(isPinionError(ctx.signal.reason) ? ctx.signal.reason.code : "?");
    },
    abortedBefore: async (ctx) => {
      await gate.promise;
      ran.push(String(ctx.signal.aborted));
    },
    async tryToCall(ctx, key: string): Promise<unknown> {
      try {
        return await ctx.get<Other>("thing", key).changeAndThrow();
      } catch (error) {
        return error instanceof Error ? error.message : "?";
      }
    },
    async callUnknown(ctx): Promise<unknown> {
      return (ctx.get<Other>("thing", "x") as unknown as Record<string, () => unknown>)["nope"]?.();
    },
    async waitFor(ctx, key: string): Promise<unknown> {
      return ctx.get<Other>("thing", key).wait();
    },
    passState: async (ctx): Promise<unknown> => {
      ctx.state.n = 4;
      return ctx.get<Other>("thing", "other").add(ctx.state.n);
    },
  },
  effects: {
    tell(ctx, what: string) {
      if ((failures.shift() ?? 0) > 0) throw new Error("the outside is down");
      ran.push(`${what} ${ctx.attempt}`);
    },
  },
});
type ThingType = typeof Thing;

const thing = (host: TestHost, key = "a") => host.client.get<ThingType>("thing", key);

async function start(options: Partial<TestHostOptions> = {}): Promise<TestHost> {
  gate = Promise.withResolvers();
  ran.length = failures.length = 0;
  return createTestHost({ actors: [Thing], ...options });
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    return isPinionError(error) ? error.code : String(error);
  }
  return "answered";
}

describe("a turn that throws", () => {
  test("changes nothing, sends nothing, asks for nothing; a retry gets the same error", async () => {
    await using host = await start();
    await thing(host).add(1);
    await expect(thing(host).changeAndThrow()).rejects.toMatchObject({ userName: "TypeError" });
    await host.clock.advance(1_000);
    expect(await thing(host).value()).toBe(1);
    expect(await thing(host, "other").value()).toBe(0);
    expect(ran).toEqual([]);
  });

  test("after it waited changes nothing either, and what it called stands", async () => {
    await using host = await start();
    expect(await thing(host).tryToCall("b")).toContain("no");
    expect(await thing(host, "b").value()).toBe(0);
  });
});

describe("a readonly method", () => {
  test.each([
    "writeInReadonly",
    "assignInReadonly",
    "setMapInReadonly",
    "sendInReadonly",
    "callInReadonly",
    "remindInReadonly",
    "timerInReadonly",
    "effectInReadonly",
  ] as const)("cannot change anything: %s", async (method) => {
    await using host = await start();
    expect(await codeOf(thing(host)[method]())).toBe("readonly-violation");
    await host.clock.advance(100);
    expect(await thing(host).value()).toBe(0);
  });

  test("may ask others that change nothing, and sees the base while another turn waits", async () => {
    await using host = await start();
    await thing(host, "other").add(2);
    expect(await thing(host).readInReadonly()).toBe(2);
    const waiting = thing(host).wait();
    await host.settle();
    expect(await thing(host).value()).toBe(0);
    gate.resolve();
    expect(await waiting).toBe(1);
    expect(await thing(host).value()).toBe(1);
  });

  test("may fail, and may return only what can be sent", async () => {
    await using host = await start();
    await expect(thing(host).failInReadonly()).rejects.toMatchObject({ userName: "RangeError" });
    expect(await codeOf(thing(host).returnFunctionReading())).toBe("not-serializable");
  });
});

describe("what cannot be recorded is refused, and the actor goes on as it was", () => {
  test.each([
    ["returnFunction", [], "not-serializable"],
    ["putFunction", [], "not-serializable"],
    ["fill", [1.5 * MIB], "state-too-large"],
    ["sendMuch", [17, MIB], "write-set-too-large"],
    ["sendUnknownMethod", [], "unknown-method"],
    ["sendUnknownType", [], "unknown-actor-type"],
    ["sendNowhere", [], "invalid-actor-id"],
    ["unknownEffect", [], "invalid-argument"],
    ["callUnknown", [], "unknown-method"],
    ["timer", [-1], "invalid-argument"],
    ["timer", [1, "nope"], "unknown-method"],
  ] as const)("%s%j: %s", async (method, args, code) => {
    await using host = await start();
    await thing(host).add(1);
    const call = (thing(host) as unknown as Record<string, (...a: unknown[]) => Promise<unknown>>)[
      method
    ] as (...a: unknown[]) => Promise<unknown>;
    expect(await codeOf(host.until(call(...args)))).toBe(code);
    expect(await thing(host).add(1)).toBe(2);
  });

  test("an unknown method names the nearest one", async () => {
    await using host = await start();
    const call = (thing(host) as unknown as { vallue(): Promise<unknown> }).vallue();
    await expect(call).rejects.toThrow(/value/);
    const other = host.client.get("thimg", "a") as unknown as { add(): Promise<unknown> };
    await expect(other.add()).rejects.toThrow(/thing/);
  });
});

describe("time", () => {
  test("a call whose deadline passes while it waits does not run", async () => {
    await using host = await start();
    const first = thing(host).wait();
    const second = codeOf(thing(host).with({ timeoutMs: 50 }).add(10));
    await host.clock.advance(100);
    gate.resolve();
    expect(await first).toBe(1);
    expect(await second).toBe("deadline-exceeded");
    expect(await thing(host).value()).toBe(1);
  });

  test("a call whose deadline passes while it runs changes nothing, and its signal says why", async () => {
    await using host = await start();
    const late = codeOf(thing(host).with({ timeoutMs: 50 }).aborted());
    await host.clock.advance(100);
    expect(await late).toBe("deadline-exceeded");
    // The client gives up at the same moment, and says so.
    expect(["deadline-exceeded", "cancelled"]).toContain(ran[0]);
    expect(await thing(host).add(1)).toBe(1);
  });

  test("a signal asked for late has been aborted", async () => {
    await using host = await start();
    const late = codeOf(thing(host).with({ timeoutMs: 50 }).abortedBefore());
    await host.clock.advance(100);
    expect(await late).toBe("deadline-exceeded");
    gate.resolve();
    await host.settle();
    // The turn is over: its context throws instead.
    expect(ran.length).toBeLessThanOrEqual(1);
  });

  test("a turn that takes longer than maxTurnMs ends with turn-timeout, and a retry is told the same", async () => {
    await using host = await start();
    const call = thing(host).with({ timeoutMs: 60_000 }).wait();
    const outcome = codeOf(call);
    await host.clock.advance(5_001);
    expect(await outcome).toBe("turn-timeout");
    gate.resolve();
    await host.settle();
    expect(await thing(host).value()).toBe(0);
  });

  test("a cancelled call ends whether it waits or runs", async () => {
    await using host = await start();
    const [running, waiting] = [new AbortController(), new AbortController()];
    const first = codeOf(thing(host).with({ signal: running.signal }).wait());
    const second = codeOf(thing(host).with({ signal: waiting.signal }).add(10));
    await host.settle();
    waiting.abort();
    running.abort();
    await host.settle();
    expect([await first, await second]).not.toContain("answered");
    gate.resolve();
    await host.settle();
    expect(await thing(host).value()).toBe(0);
  });

  test("a context that was kept is of no use once its turn is over", async () => {
    await using host = await start();
    const call = thing(host).keep();
    await host.settle();
    gate.resolve();
    await call;
    expect(() => kept?.state).toThrow(/turn is over/);
  });

  test("now is one time within a turn; vars and reminder are undefined unless there are any", async () => {
    await using host = await start({ startTime: new Date(1_000_000) });
    expect(await thing(host).facts()).toEqual([1_000_000, 1_000_000, false, undefined, undefined]);
    expect(await thing(host).with({ timeoutMs: 500 }).remaining()).toBeLessThanOrEqual(500);
  });
});

describe("mailbox", () => {
  test("a full mailbox answers overloaded, and who is in it is served in order", async () => {
    await using host = await start();
    const first = thing(host).wait();
    await host.settle();
    const queued = [1, 2, 3].map(() => thing(host).add(1));
    await host.settle();
    const extra = codeOf(thing(host).with({ timeoutMs: 20 }).add(100));
    await host.clock.advance(30);
    expect(["overloaded", "deadline-exceeded"]).toContain(await extra);
    gate.resolve();
    expect(await first).toBe(1);
    expect(await Promise.all(queued)).toEqual([2, 3, 4]);
    expect(await thing(host).value()).toBe(4);
  });
});

describe("timers, effects and sends", () => {
  test("a timer's turn runs once, unless it is stopped", async () => {
    await using host = await start();
    await thing(host).timer(10);
    await thing(host).cancelledTimer();
    await host.clock.advance(9);
    expect(await thing(host).value()).toBe(0);
    await host.clock.advance(1_000);
    expect(await thing(host).value()).toBe(1);
  });

  test("a timer's turn that fails is warned of", async () => {
    await using host = await start();
    await thing(host).failingTimer();
    await host.clock.advance(10);
    expect(host.warnings.map((w) => w.message)).toContain("a timer's turn failed");
  });

  test("an effect runs after the commit, and again until it succeeds", async () => {
    await using host = await start();
    failures.push(1, 1);
    expect(await thing(host).effect("mail")).toBe(0);
    await host.clock.advance(5_000);
    expect(ran).toEqual(["mail 3"]);
  });

  test("a send whose turn fails is delivered: it is warned of, and not sent again", async () => {
    await using host = await start();
    await thing(host).sendToFailing();
    await host.clock.advance(5_000);
    expect(host.warnings.map((w) => w.message)).toEqual([
      "a send was delivered but its turn failed",
    ]);
  });

  test("a send whose receiver cannot be loaded is delivered once it can", async () => {
    await using host = await start();
    await thing(host, "other").add(1);
    await host.stop();
    await host.restart();
    await thing(host).value();
    // The sender is in memory; the receiver cannot be looked up for a while.
    const failing = host.disk.fail({ kind: "read", path: "/segments/", times: 3, error: "EIO" });
    await thing(host).sendMuch(1, 10);
    await host.clock.advance(10_000);
    failing();
    expect(await thing(host, "sink").value()).toBe(0);
    expect(await codeOf(thing(host, "sink").take(new Uint8Array(1)))).toBe("answered");
  });

  test("parts of the state are sent as what they are now", async () => {
    await using host = await start();
    expect(await thing(host).passState()).toBe(4);
    await thing(host).replace();
    await thing(host).setInMap("b", 2);
    await host.restart();
    expect(await thing(host).value()).toBe(7);
  });
});
