/** Who may enter an actor while one of its turns waits, and what becomes of cycles and deadlocks. */
import { isPinionError } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { defineActor, readonly, type Reentrancy } from "../definition/define-actor.ts";
import { createTestHost, type TestHost } from "../testing/index.ts";

interface State {
  n: number;
  log: string[];
}

let gate = Promise.withResolvers<void>();

function actorOf(name: "plain" | "chain" | "full", reentrancy: Reentrancy) {
  const Actor = defineActor(name, {
    state: (): State => ({ n: 0, log: [] }),
    reentrancy,
    maxTurnMs: 60_000,
    methods: {
      add(ctx, by: number, note = "add"): number {
        ctx.state.log.push(note);
        return (ctx.state.n += by);
      },
      value: readonly((ctx): number => ctx.state.n),
      log: readonly((ctx): string[] => [...ctx.state.log]),
      /** Changes itself, goes to `to`, which comes back with `add(10)`. */
      async around(ctx, to: string, thenThrow = false): Promise<number> {
        ctx.state.n += 1;
        ctx.state.log.push("before");
        await ctx.get(Actor, to).comeBack(ctx.id.key);
        ctx.state.log.push("after");
        ctx.state.n += 100;
        if (thenThrow) throw new RangeError("late");
        return ctx.state.n;
      },
      async comeBack(ctx, back: string): Promise<unknown> {
        return ctx.get(Actor, back).add(10, "inner");
      },
      async comeBackToRead(ctx, to: string): Promise<unknown> {
        return ctx.get(Actor, to).readBack(ctx.id.key);
      },
      async readBack(ctx, back: string): Promise<unknown> {
        return ctx.get(Actor, back).value();
      },
      /** Holds a part of the state over a wait in which another turn entered. */
      async holdOn(ctx, to: string): Promise<string> {
        const { state } = ctx;
        state.n += 1;
        await ctx.get(Actor, to).comeBack(ctx.id.key);
        try {
          state.n += 1;
          return "wrote";
        } catch (error) {
          return isPinionError(error) ? error.code : "?";
        }
      },
      async wait(ctx, by: number): Promise<number> {
        ctx.state.n += by;
        await gate.promise;
        return ctx.state.n;
      },
      /** Waits until the gate opens, then calls: two of them wait for each other. */
      async meet(ctx, to: string): Promise<unknown> {
        ctx.state.n += 1;
        await gate.promise;
        return ctx.get(Actor, to).add(5);
      },
    },
  });
  return Actor;
}

const Plain = actorOf("plain", "none");
const Chain = actorOf("chain", "callChain");
const Full = actorOf("full", "full");
type AnyActor = typeof Plain;

async function start(): Promise<TestHost> {
  gate = Promise.withResolvers();
  return createTestHost({ actors: [Plain, Chain, Full] });
}

const ref = (host: TestHost, type: "plain" | "chain" | "full", key: string) =>
  host.client.get<AnyActor>(type as "plain", key);

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    return isPinionError(error) ? error.code : String(error);
  }
  return "answered";
}

describe("reentrancy none", () => {
  test("a cycle fails at once, with the chain, and what the callers did is gone", async () => {
    await using host = await start();
    const call = ref(host, "plain", "a").around("b");
    await expect(call).rejects.toThrow(/plain\/a → .*plain\/b → .*plain\/a/);
    expect(host.clock.nowMs()).toBe(0);
    expect(await ref(host, "plain", "a").value()).toBe(0);
  });

  test("a readonly call may come back all the same, and sees the base", async () => {
    await using host = await start();
    await ref(host, "plain", "a").add(3);
    expect(await ref(host, "plain", "a").comeBackToRead("b")).toBe(3);
  });

  test("calls from outside wait for the turn that waits", async () => {
    await using host = await start();
    const waiting = ref(host, "plain", "a").wait(1);
    const after = ref(host, "plain", "a").add(10);
    await host.settle();
    gate.resolve();
    expect([await waiting, await after]).toEqual([1, 11]);
  });
});

describe("reentrancy callChain", () => {
  test("the chain comes back in and sees what the outer turn did; both stand", async () => {
    await using host = await start();
    expect(await ref(host, "chain", "a").around("b")).toBe(111);
    expect(await ref(host, "chain", "a").log()).toEqual(["before", "inner", "after"]);
    await host.restart();
    expect(await ref(host, "chain", "a").value()).toBe(111);
  });

  test("what the outer turn did until then stands even if it throws later", async () => {
    await using host = await start();
    await expect(ref(host, "chain", "a").around("b", true)).rejects.toThrow("late");
    expect(await ref(host, "chain", "a").value()).toBe(11);
    expect(await ref(host, "chain", "a").log()).toEqual(["before", "inner"]);
  });

  test("a stranger waits", async () => {
    await using host = await start();
    const waiting = ref(host, "chain", "a").wait(1);
    const after = ref(host, "chain", "a").add(10);
    await host.settle();
    gate.resolve();
    expect([await waiting, await after]).toEqual([1, 11]);
  });

  test("state held over the wait throws instead of losing a write", async () => {
    await using host = await start();
    expect(await ref(host, "chain", "a").holdOn("b")).toBe("interrupted");
    expect(await ref(host, "chain", "a").value()).toBe(11);
  });

  test("a crash after the early commit ends the call as interrupted, before it the call runs again", async () => {
    const codes = new Set<string>();
    for (let nth = 1; nth <= 4; nth++) {
      await using host = await start();
      const point = host.crashAt({ at: "commit", nth });
      const call = codeOf(ref(host, "chain", "a").around("b"));
      await host.until(point);
      await host.restart();
      const code = await host.until(call);
      codes.add(code);
      const log = await ref(host, "chain", "a").log();
      expect(code === "answered" ? ["after"] : ["before", "inner"]).toContain(log.at(-1));
      expect(new Set(log).size).toBe(log.length);
    }
    expect([...codes].toSorted()).toEqual(["answered", "interrupted"]);
  });
});

describe("reentrancy full", () => {
  test("anybody enters while a turn waits, and nothing is lost", async () => {
    await using host = await start();
    const waiting = ref(host, "full", "a").wait(1);
    await host.settle();
    expect(await ref(host, "full", "a").add(10)).toBe(11);
    gate.resolve();
    expect(await waiting).toBe(11);
    await host.restart();
    expect(await ref(host, "full", "a").value()).toBe(11);
  });
});

describe("deadlocks between chains", () => {
  test("the younger root gives way with `deadlock`; the other goes on", async () => {
    await using host = await start();
    const first = codeOf(ref(host, "plain", "a").meet("b"));
    await host.clock.advance(5);
    const second = codeOf(ref(host, "plain", "b").meet("a"));
    await host.settle();
    gate.resolve();
    expect(await host.until(Promise.all([first, second]), 1_000)).toEqual(["answered", "deadlock"]);
    expect(await ref(host, "plain", "a").value()).toBe(1);
    expect(await ref(host, "plain", "b").value()).toBe(5);
  });

  test("three of them in a ring: one gives way", async () => {
    await using host = await start();
    const keys = ["a", "b", "c"];
    const calls = keys.map((key, i) =>
      codeOf(ref(host, "plain", key).meet(keys[(i + 1) % 3] ?? "")),
    );
    await host.settle();
    gate.resolve();
    const codes = await host.until(Promise.all(calls), 1_000);
    expect(codes.toSorted()).toEqual(["answered", "answered", "deadlock"]);
  });

  test("waiting for a busy actor is not a deadlock", async () => {
    await using host = await start();
    const busy = ref(host, "plain", "b").wait(1);
    const open = gate;
    const caller = ref(host, "plain", "a").around("b");
    const code = codeOf(caller);
    await host.clock.advance(1_000);
    open.resolve();
    await busy;
    expect(await code).toBe("cycle");
  });
});
