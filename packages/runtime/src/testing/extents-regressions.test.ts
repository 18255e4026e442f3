/** What a review of extents found; each was seen red. */
import { isPinionError } from "@pinion/core";
import { column, map } from "@pinion/storage";
import { expect, test } from "vitest";
import { defineActor, readonly, type MigrateStep } from "../definition/define-actor.ts";
import { createTestHost } from "./index.ts";

const extents = { d: column("f64") };

const versioned = (migrate: readonly MigrateStep[]) =>
  defineActor("m", {
    state: () => ({ n: 0 }),
    migrate,
    memory: { profile: "cold", extents },
    methods: {
      async put(ctx, v: number) {
        await ctx.extents.d.append(v);
        return (ctx.state.n += 1);
      },
      async only(ctx, v: number) {
        await ctx.extents.d.append(v);
      },
      nothing() {},
      read: readonly(async (ctx) => [ctx.state.n, await ctx.extents.d.sum()]),
    },
  });

/** Of a time before the actor had extents, or after. */
const Bare = defineActor("m", {
  state: () => ({ n: 0 }),
  methods: { put: (ctx, _v: number) => (ctx.state.n += 1) },
});

test("a checkpoint writes nothing of an actor that could not be loaded after a crash", async () => {
  const broken: MigrateStep = () => {
    throw new Error("a bug in the step");
  };
  const actors = [versioned([])];
  await using host = await createTestHost({ actors, shardCount: 1 });
  const at = () => host.client.get<ReturnType<typeof versioned>>("m", "k");
  await at().put(1);
  await at().put(2);
  await host.stop();
  await host.restart();
  await at().put(4);
  host.crash();
  actors[0] = versioned([broken]);
  await host.restart();
  await expect(at().read()).rejects.toSatisfy((e) => isPinionError(e, "migration-failed"));
  await host.stop();
  actors[0] = versioned([(state) => state]);
  await host.restart();
  expect(await at().read()).toEqual([3, 7]);
});

test("what the log changed in extents that a definition does not name is kept", async () => {
  const actors: (typeof Bare | ReturnType<typeof versioned>)[] = [versioned([])];
  await using host = await createTestHost({ actors, shardCount: 1 });
  const at = () => host.client.get<ReturnType<typeof versioned>>("m", "k");
  await at().put(1);
  await at().put(2);
  await host.stop();
  await host.restart();
  await at().put(4);
  host.crash();
  actors[0] = Bare;
  await host.restart();
  await at().put(0);
  await host.stop();
  actors[0] = versioned([]);
  await host.restart();
  expect(await at().read()).toEqual([4, 7]);
});

let gate: Promise<void> = Promise.resolve();
const Waits = defineActor("w", {
  state: () => ({ n: 0 }),
  reentrancy: "full",
  memory: { profile: "hot", extents: { ...extents, r: map({ key: "string" }) } },
  methods: {
    async put(ctx, v: number) {
      await ctx.extents.d.append(v);
      ctx.state.n += v;
    },
    async outer(ctx) {
      const mine = ctx.extents;
      await mine.d.append(1);
      await gate;
      // Not asked for before: a new handle over what has ended.
      await mine.r.set("k", 1);
    },
    readBoth: readonly(async (ctx) => {
      const { n } = ctx.state;
      await gate;
      return [n, await ctx.extents.d.sum()];
    }),
  },
});

test("extents that are first asked for after a reentrant turn has entered cannot be written to", async () => {
  await using host = await createTestHost({ actors: [Waits], shardCount: 1 });
  const at = () => host.client.get(Waits, "k");
  await at().put(0);
  const { promise, resolve } = Promise.withResolvers<void>();
  gate = promise;
  const outer = at().outer();
  await at().put(10);
  resolve();
  await expect(outer).rejects.toSatisfy((e) => isPinionError(e, "view-expired"));
});

test("a readonly turn sees state and extents of one commit, whenever it asks for them", async () => {
  await using host = await createTestHost({ actors: [Waits], shardCount: 1 });
  const at = () => host.client.get(Waits, "k");
  await at().put(1);
  const { promise, resolve } = Promise.withResolvers<void>();
  gate = promise;
  const read = at().readBoth();
  await at().put(10);
  resolve();
  expect(await read).toEqual([1, 1]);
});

test.each(["only", "nothing"] as const)(
  "a migrated state that no turn has changed is kept (%s)",
  async (method) => {
    const actors = [versioned([])];
    await using host = await createTestHost({ actors, shardCount: 1 });
    const at = () => host.client.get<ReturnType<typeof versioned>>("m", "k");
    await at().put(1);
    await at().put(2);
    await host.stop();
    actors[0] = versioned([(state) => ({ n: (state as { n: number }).n + 100 })]);
    await host.restart();
    await at()[method](4);
    await host.stop();
    await host.restart();
    expect(await at().read()).toEqual([102, method === "only" ? 7 : 3]);
  },
);

const Hasty = defineActor("hasty", {
  state: () => 0,
  memory: { profile: "cold", extents: { r: map({ key: "i64" }) } },
  methods: {
    async fill(ctx, count: number) {
      for (let i = 0; i < count; i++) await ctx.extents.r.set(BigInt(i), "x".repeat(100));
    },
    forgets(ctx, key: number) {
      void ctx.extents.r.set(BigInt(key), "changed");
    },
    get: readonly((ctx, key: number) => ctx.extents.r.get(BigInt(key))),
  },
});

test("a turn that returns before a change of its extents is done fails, and changes nothing", async () => {
  await using host = await createTestHost({ actors: [Hasty], shardCount: 1 });
  const at = () => host.client.get(Hasty, "k");
  await at().fill(20_000);
  await host.stop();
  await host.restart();
  await expect(at().forgets(10_000)).rejects.toThrow(/await missing/);
  expect(await at().get(10_000)).toBe("x".repeat(100));
});
