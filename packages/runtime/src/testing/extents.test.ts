import { isPinionError } from "@pinion/core";
import { column, map } from "@pinion/storage";
import { describe, expect, test } from "vitest";
import { defineActor, readonly } from "../definition/define-actor.ts";
import { createTestHost, type TestHost } from "./index.ts";

let gate: Promise<void> = Promise.resolve();
const seen: unknown[] = [];

const make = <const Name extends string>(name: Name, profile: "hot" | "cold") =>
  defineActor(name, {
    state: () => ({ n: 0 }),
    reentrancy: "full",
    memory: { profile, extents: { delays: column("f64"), routes: map({ key: "string" }) } },
    methods: {
      async record(ctx, ...values: number[]) {
        for (const value of values) await ctx.extents.delays.append(value);
        return (ctx.state.n += values.length);
      },
      async route(ctx, key: string, value: unknown) {
        await ctx.extents.routes.set(key, value);
      },
      async failing(ctx) {
        await ctx.extents.delays.append(-1);
        await ctx.extents.routes.set("bad", 1);
        throw new Error("no");
      },
      sum: readonly(async (ctx) => ctx.extents.delays.sum()),
      view: readonly((ctx) => [...ctx.extents.delays.view().toTypedArray()]),
      get: readonly((ctx, key: string) => ctx.extents.routes.get(key)),
      counts: readonly(async (ctx) => [
        ctx.state.n,
        await ctx.extents.delays.length,
        await ctx.extents.routes.size(),
      ]),
      slowSum: readonly(async (ctx) => {
        const before = await ctx.extents.delays.sum();
        await gate;
        return [before, await ctx.extents.delays.sum()];
      }),
      writes: readonly(async (ctx) => ctx.extents.delays.append(1)),
      async outer(ctx) {
        const { delays } = ctx.extents;
        await delays.append(1);
        await gate;
        try {
          await delays.append(2);
        } catch (error) {
          seen.push(isPinionError(error) ? error.code : error);
        }
        await ctx.extents.delays.append(3);
      },
    },
  });

const Hot = make("hot", "hot");
const Cold = make("cold", "cold");
const start = (): Promise<TestHost> => createTestHost({ actors: [Hot, Cold], shardCount: 2 });

describe.each([
  ["hot", Hot],
  ["cold", Cold],
] as const)("extents of a %s actor", (_, type) => {
  const at = (host: TestHost, key = "JFK") => host.client.get(type as typeof Hot, key);

  test("survive a crash, with and without a checkpoint before it", async () => {
    await using host = await start();
    await at(host).record(1, 2, 3);
    await at(host).route("LAX", { km: 3_983 });
    host.crash();
    await host.restart();
    expect(await at(host).sum()).toBe(6);
    expect(await at(host).get("LAX")).toEqual({ km: 3_983 });
    await host.stop();
    await host.restart();
    await at(host).record(4);
    host.crash();
    await host.restart();
    expect(await at(host).counts()).toEqual([4, 4, 1]);
    expect(await at(host).sum()).toBe(10);
  });

  test("are as before when a turn throws", async () => {
    await using host = await start();
    await at(host).record(5);
    await expect(at(host).failing()).rejects.toThrow("no");
    expect(await at(host).counts()).toEqual([1, 1, 0]);
    host.crash();
    await host.restart();
    expect(await at(host).counts()).toEqual([1, 1, 0]);
  });

  test("cannot be changed by a readonly method, which sees one moment however long it waits", async () => {
    await using host = await start();
    await at(host).record(...Array.from({ length: 2_000 }, () => 1));
    await expect(at(host).writes()).rejects.toSatisfy((e) =>
      isPinionError(e, "readonly-violation"),
    );
    const { promise, resolve } = Promise.withResolvers<void>();
    gate = promise;
    const slow = at(host).slowSum();
    await at(host).record(100);
    resolve();
    expect(await slow).toEqual([2_000, 2_000]);
    expect(await at(host).sum()).toBe(2_100);
  });

  test("handles end when a reentrant turn enters, and what was before it stands", async () => {
    await using host = await start();
    const { promise, resolve } = Promise.withResolvers<void>();
    gate = promise;
    seen.length = 0;
    // Loaded first: what waits for an actor to load does not enter a turn that waits.
    await at(host).record();
    const outer = at(host).outer();
    await at(host).record(10);
    resolve();
    await outer;
    expect(seen).toEqual(["view-expired"]);
    expect(await at(host).sum()).toBe(14);
    host.crash();
    await host.restart();
    expect(await at(host).sum()).toBe(14);
  });

  test("come back after deactivation", async () => {
    await using host = await start();
    await at(host).record(...Array.from({ length: 20_000 }, (_unused, i) => i));
    await host.clock.advance(24 * 3_600_000);
    expect((await host.inspect(`${type.name}/JFK`)).activation).toBe("stored");
    expect(await at(host).sum()).toBe(199_990_000);
    await at(host).record(1);
    expect(await at(host).counts()).toEqual([20_001, 20_001, 0]);
  });
});

test("a view needs an extent in memory: the error says what to do", async () => {
  await using host = await start();
  await host.client.get(Hot, "a").record(1, 2);
  expect(await host.client.get(Hot, "a").view()).toEqual([1, 2]);
  await host.client.get(Cold, "a").record(1, 2);
  await expect(host.client.get(Cold, "a").view()).rejects.toSatisfy((e) =>
    isPinionError(e, "not-resident"),
  );
});
