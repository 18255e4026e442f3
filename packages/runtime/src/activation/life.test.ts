/** Activations from loading to their end: hooks, migrations, idleness, memory, and what crashes cut off. */
import { isPinionError } from "@pinion/core";
import { beforeEach, describe, expect, test } from "vitest";
import { defineActor, readonly, type MigrateStep } from "../definition/define-actor.ts";
import { createTestHost, type TestHost, type TestHostOptions } from "../testing/index.ts";

const ran: string[] = [];
let activate: () => unknown = () => {};
let deactivate: () => unknown = () => {};
beforeEach(() => {
  ran.length = 0;
  activate = deactivate = () => {};
});

const never = (): Promise<void> => new Promise(() => {});

const Hooked = defineActor("hooked", {
  state: () => ({ n: 0, activations: 0 }),
  vars: () => ({ calls: 0 }),
  maxTurnMs: 1_000,
  idleDeactivationMs: 10_000,
  methods: {
    add(ctx, by: number) {
      ctx.vars.calls++;
      return (ctx.state.n += by);
    },
    calls: readonly((ctx) => ctx.vars.calls),
    value: readonly((ctx) => [ctx.state.n, ctx.state.activations]),
    leave(ctx) {
      ctx.deactivate();
    },
    async leaveLater(ctx) {
      ctx.deactivate();
      await Promise.resolve();
      return (ctx.state.n += 1);
    },
  },
  async onActivate(ctx) {
    ran.push("activate");
    ctx.state.activations++;
    await activate();
  },
  async onDeactivate(ctx, reason) {
    ran.push(`deactivate ${reason}`);
    ctx.state.n += 1_000;
    await deactivate();
  },
});
type HookedType = typeof Hooked;
const hooked = (host: TestHost, key = "a") => host.client.get<HookedType>("hooked", key);
const start = (options: Partial<TestHostOptions> = {}) =>
  createTestHost({ actors: [Hooked], ...options });

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    return isPinionError(error) ? error.code : String(error);
  }
  return "answered";
}

describe("hooks", () => {
  test("what they change is kept, and vars last as long as the activation", async () => {
    await using host = await start();
    await hooked(host).add(1);
    expect(await hooked(host).calls()).toBe(1);
    await host.clock.advance(60_000);
    expect(ran).toEqual(["activate", "deactivate idle"]);
    expect(await hooked(host).value()).toEqual([1_001, 2]);
    expect(await hooked(host).calls()).toBe(0);
  });

  test("an onActivate that throws fails the calls that wanted the actor, and the next one tries anew", async () => {
    await using host = await start();
    activate = () => {
      throw new RangeError("not today");
    };
    const [change, read] = [hooked(host).add(1), hooked(host).value()];
    await expect(change).rejects.toThrow("not today");
    await expect(read).rejects.toThrow("not today");
    activate = () => {};
    expect(await hooked(host).add(1)).toBe(1);
    expect(await hooked(host).value()).toEqual([1, 1]);
  });

  test("an onActivate that hangs is given up after maxTurnMs", async () => {
    await using host = await start();
    activate = never;
    const code = codeOf(hooked(host).with({ timeoutMs: 10_000 }).add(1));
    await host.clock.advance(1_001);
    activate = () => {};
    expect(await host.until(code)).toBe("turn-timeout");
  });

  test.each([
    [
      "throws",
      () => {
        throw new Error("no");
      },
    ],
    ["hangs", never],
  ])(
    "an onDeactivate that %s is warned of, and the activation ends all the same",
    async (_, hook) => {
      await using host = await start();
      await hooked(host).add(1);
      deactivate = hook;
      await host.clock.advance(60_000);
      expect(host.warnings.map((w) => w.message)).toContain("onDeactivate failed");
      expect(await hooked(host).value()).toEqual([1, 2]);
    },
  );
});

describe("the end of an activation", () => {
  test("it may be asked for, and comes once nothing waits", async () => {
    await using host = await start();
    const leaving = hooked(host).leaveLater();
    const after = hooked(host).add(1);
    expect([await leaving, await after]).toEqual([1, 2]);
    await host.clock.advance(2_000);
    expect(ran).toEqual(["activate", "deactivate requested"]);
    expect(await hooked(host).value()).toEqual([1_002, 2]);
  });

  test("calls that come meanwhile are served by the next activation", async () => {
    await using host = await start();
    await hooked(host).leave();
    let release: () => void = () => {};
    deactivate = () => new Promise<void>((resolve) => (release = resolve));
    await host.settle();
    const [change, read] = [hooked(host).add(1), hooked(host).value()];
    await host.settle();
    release();
    expect(await host.until(change)).toBe(1_001);
    expect((await read)[1]).toBe(2);
  });

  test("beyond the bound of activations the one used longest ago ends", async () => {
    await using host = await start({ limits: { activationsMax: 2 } });
    for (const key of ["a", "b", "c", "d"]) await hooked(host, key).add(1);
    await host.clock.advance(3_000);
    expect(ran.filter((r) => r === "deactivate memory")).toHaveLength(2);
    expect(await hooked(host, "a").value()).toEqual([1_001, 2]);
    expect(await hooked(host, "d").value()).toEqual([1, 1]);
  });

  test("a stop runs onDeactivate, and the next start replays nothing", async () => {
    await using host = await start();
    await hooked(host).add(1);
    await host.stop();
    expect(ran).toEqual(["activate", "deactivate stopping"]);
    await host.restart();
    expect(host.recovery?.records).toBe(0);
    expect(await hooked(host).value()).toEqual([1_001, 2]);
  });

  test("a checkpoint that fails is tried again, and nobody loses anything", async () => {
    await using host = await start();
    host.disk.fail({ kind: "write", path: "/segments/", times: 3, error: "ENOSPC" });
    await hooked(host).add(1);
    await hooked(host).leave();
    const call = hooked(host).add(1);
    expect(await host.until(call)).toBe(1_002);
    // It did not wait for the store: the activation went on. The checkpoint is tried again behind it.
    await host.clock.advance(5_000);
    expect(host.warnings.map((w) => w.message)).toContain("a checkpoint failed and is tried again");
  });
});

describe("migrations", () => {
  const versioned = (migrate: readonly MigrateStep[]) =>
    defineActor("versioned", {
      state: (): { n: number; name?: string } => ({ n: 1 }),
      migrate,
      methods: {
        set: (ctx, n: number) => void (ctx.state.n = n),
        get: readonly((ctx) => ({ ...ctx.state })),
      },
    });
  const toTwo: MigrateStep = (old) => ({ ...(old as object), name: "two" });
  const toThree: MigrateStep = (old) => ({ ...(old as object), n: 3 });

  /** Runs `before`, stores a value, and goes on with `after` on the same machine. */
  async function upgrade(before: readonly MigrateStep[], after: readonly MigrateStep[]) {
    const actors = [versioned(before)];
    const host = await createTestHost({ actors });
    const ref = () => host.client.get<(typeof actors)[0]>("versioned", "a");
    await ref().set(10);
    actors[0] = versioned(after);
    await host.restart();
    return { host, ref };
  }

  test("every missed step runs, in order, at each activation until something is stored", async () => {
    const { host, ref } = await upgrade([], [toTwo, toThree]);
    await using _ = host;
    expect(await ref().get()).toEqual({ n: 3, name: "two" });
    await ref().set(4);
    await host.restart();
    expect(await ref().get()).toEqual({ n: 4, name: "two" });
  });

  test("a step that throws fails the call, and the stored state is unchanged", async () => {
    const steps: MigrateStep[] = [
      () => {
        throw new Error("cannot");
      },
    ];
    const { host, ref } = await upgrade([], steps);
    await using _ = host;
    await expect(ref().get()).rejects.toMatchObject({ code: "migration-failed" });
    steps[0] = toTwo;
    expect(await ref().get()).toEqual({ n: 10, name: "two" });
  });

  test("a state newer than the definition is refused, not cut down", async () => {
    const { host, ref } = await upgrade([toTwo], []);
    await using _ = host;
    await expect(ref().get()).rejects.toMatchObject({ code: "migration-failed" });
  });
});
