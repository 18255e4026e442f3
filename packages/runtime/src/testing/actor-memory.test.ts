import { isPinionError } from "@pinion/core";
import { column } from "@pinion/storage";
import { expect, test } from "vitest";
import { defineActor, readonly } from "../definition/define-actor.ts";
import { createTestHost, type TestHost } from "./index.ts";

const Plain = defineActor("plain", {
  state: () => ({ n: 0 }),
  methods: { stats: readonly((ctx) => ctx.memory.stats()) },
});

const make = <const Name extends string>(name: Name, profile: "hot" | "cold") =>
  defineActor(name, {
    state: () => ({ n: 0 }),
    memory: { profile, extents: { values: column("f64"), marks: column("i32") } },
    methods: {
      async add(ctx, count: number) {
        await ctx.extents.values.appendMany(new Float64Array(count));
      },
      stats: readonly((ctx) => ctx.memory.stats()),
      soon: readonly((ctx, type: string, ...keys: string[]) =>
        ctx.memory.willAccessSoon(type, ...keys),
      ),
      done: readonly((ctx, ...names: string[]) => ctx.memory.accessComplete(...names)),
    },
  });
const Hot = make("hot", "hot");
const Cold = make("cold", "cold");

const start = (): Promise<TestHost> =>
  createTestHost({ actors: [Plain, Hot, Cold], limits: { activationsMax: 4 } });

test("an actor is told what its extents have in memory", async () => {
  await using host = await start();
  const hot = host.client.get(Hot, "a");
  await hot.add(100);
  const stats = await hot.stats();
  expect(stats.lengthBytes).toBeGreaterThan(800);
  expect(stats.residentBytes).toBe(stats.lengthBytes);
  expect(stats.lockedBytes).toBe(0);
  expect(stats.extents["values"]).toMatchObject({ resident: true, locked: false });
  expect(Object.keys(stats.extents)).toEqual(["values", "marks"]);
  const cold = host.client.get(Cold, "a");
  await cold.add(100);
  expect((await cold.stats()).residentBytes).toBe(0);
  expect(await host.client.get(Plain, "a").stats()).toEqual({
    lengthBytes: 0,
    residentBytes: 0,
    lockedBytes: 0,
    extents: {},
  });
});

test("a hint brings actors in behind the turn, and no more than there is room for", async () => {
  await using host = await start();
  await host.client.get(Hot, "a").soon("hot", "b", "a", "c", "d", "e", "f");
  const states = async (): Promise<string[]> =>
    Promise.all(
      ["a", "b", "c", "d", "e", "f"].map(
        async (key) => (await host.inspect(`hot/${key}`)).activation,
      ),
    );
  // Behind the turn: nobody has called them.
  await expect.poll(states).toEqual(["active", "active", "active", "active", "unknown", "unknown"]);
});

test("a hint that cannot be meant is an error", async () => {
  await using host = await start();
  const hot = host.client.get(Hot, "a");
  await expect(hot.soon("hott", "b")).rejects.toSatisfy((e) =>
    isPinionError(e, "unknown-actor-type"),
  );
  await expect(hot.done("value")).rejects.toThrow(
    'actor type "hot" declares no extent "value"; it has values, marks',
  );
  await hot.done("values");
  await hot.done();
});
