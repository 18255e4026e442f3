import { isPinionError } from "@pinion/core";
import {
  column,
  map,
  type ExtentAttributes,
  type ExtentFlags,
  type ExtentQuery,
} from "@pinion/storage";
import { describe, expect, test } from "vitest";
import { defineActor, readonly } from "../definition/define-actor.ts";
import { createTestHost, type TestHost } from "./index.ts";

const DAY = 86_400_000;
let gate: Promise<void> = Promise.resolve();

const Sensor = defineActor("sensor", {
  state: () => ({ n: 0 }),
  reentrancy: "full",
  memory: {
    profile: "hot",
    extents: {
      jan: column("f64"),
      feb: column("f64"),
      mar: column("f64"),
      names: map({ key: "string" }),
    },
  },
  methods: {
    async record(ctx, month: "jan" | "feb" | "mar", value: number) {
      await ctx.extents[month].append(value);
    },
    async both(ctx) {
      await ctx.extents.jan.append(1);
      await ctx.extents.feb.append(1);
    },
    setUp(ctx) {
      const { index } = ctx.memory;
      index.setAttributes("jan", { rowGroup: 0, timeBucket: { fromMs: 0, toMs: 31 * DAY } });
      index.setAttributes("feb", {
        rowGroup: 1,
        partition: 7,
        timeBucket: { fromMs: 31 * DAY, toMs: 59 * DAY },
      });
      index.setFlags("jan", { hot: true, hugePages: false });
      index.setFlags("feb", { prefetch: true, numaNode: 0 });
      index.connect("jan", "feb", { weight: 0.5 });
      return index.find({ rowGroup: 1 });
    },
    failing(ctx) {
      const { index } = ctx.memory;
      index.setFlags("mar", { hot: true });
      index.setAttributes("mar", { rowGroup: 9 });
      index.connect("mar", "jan");
      expect(index.find({ rowGroup: 9 })).toEqual(["mar"]);
      throw new Error("no");
    },
    flags(ctx, extent: string, flags: Partial<ExtentFlags>) {
      ctx.memory.index.setFlags(extent, flags);
    },
    attributes(ctx, extent: string, attributes: Partial<ExtentAttributes>) {
      ctx.memory.index.setAttributes(extent, attributes);
    },
    connect(ctx, from: string, to: string, weight: number) {
      ctx.memory.index.connect(from, to, { weight });
    },
    disconnect(ctx, from: string, to: string) {
      ctx.memory.index.disconnect(from, to);
    },
    facts: readonly((ctx, extent: string) => ctx.memory.index.facts(extent)),
    connected: readonly((ctx, extent: string) => ctx.memory.index.connected(extent)),
    find: readonly((ctx, query: ExtentQuery) => ctx.memory.index.find(query)),
    hot: readonly((ctx, limit: number) => ctx.memory.index.getHotExtents(limit)),
    accesses: readonly((ctx, extent: string) => ctx.memory.index.accesses(extent)),
    async outer(ctx) {
      const { index } = ctx.memory;
      index.setAttributes("mar", { rowGroup: 5 });
      await gate;
      expect(index.find({ rowGroup: 5 })).toEqual(["jan", "mar"]);
      index.setAttributes("mar", { rowGroup: 6 });
      throw new Error("later");
    },
    writes: readonly((ctx) => ctx.memory.index.setFlags("jan", { hot: false })),
    slowFind: readonly(async (ctx, query: ExtentQuery) => {
      await gate;
      return ctx.memory.index.find(query);
    }),
  },
});

const start = (): Promise<TestHost> => createTestHost({ actors: [Sensor], shardCount: 2 });
const at = (host: TestHost) => host.client.get(Sensor, "roof");
const refused = (work: Promise<unknown>, code: Parameters<typeof isPinionError>[1]) =>
  expect(work).rejects.toSatisfy((e) => isPinionError(e, code));

async function expectSetUp(host: TestHost): Promise<void> {
  expect(await at(host).facts("jan")).toEqual({
    flags: { hot: true, prefetch: false, hugePages: false, numaNode: undefined },
    attributes: {
      rowGroup: 0,
      partition: undefined,
      timeBucket: { fromMs: 0, toMs: 31 * DAY },
    },
    links: [{ kind: "next", to: "feb", weight: 0.5 }],
  });
  expect((await at(host).facts("feb")).links).toEqual([
    { kind: "previous", to: "jan", weight: 0.5 },
  ]);
  expect(await at(host).find({ rowGroup: 0 })).toEqual(["jan"]);
  expect(await at(host).find({ partition: 7 })).toEqual(["feb"]);
  expect(await at(host).find({ atMs: 31 * DAY })).toEqual(["feb"]);
  expect(await at(host).find({ within: { fromMs: 0, toMs: 365 * DAY } })).toEqual(["jan", "feb"]);
}

describe("what is known about extents", () => {
  test("is seen by the turn that sets it, and survives a crash with and without a checkpoint", async () => {
    await using host = await start();
    expect(await at(host).setUp()).toEqual(["feb"]);
    await expectSetUp(host);
    host.crash();
    await host.restart();
    await expectSetUp(host);
    await host.stop();
    await host.restart();
    await expectSetUp(host);
    await at(host).connect("jan", "feb", 0.25);
    await at(host).attributes("feb", { partition: undefined, rowGroup: 0 });
    host.crash();
    await host.restart();
    expect((await at(host).facts("feb")).links).toEqual([
      { kind: "previous", to: "jan", weight: 0.25 },
    ]);
    expect(await at(host).find({ partition: 7 })).toEqual([]);
    expect(await at(host).find({ rowGroup: 0 })).toEqual(["feb", "jan"]);
  });

  test("goes along with bytes and without, and can be taken back", async () => {
    await using host = await start();
    await at(host).record("jan", 1);
    await at(host).setUp();
    await at(host).record("feb", 2);
    await at(host).disconnect("feb", "jan");
    await at(host).flags("jan", { hot: false, hugePages: undefined });
    await host.stop();
    await host.restart();
    const { flags, links } = await at(host).facts("jan");
    expect(flags).toEqual({
      hot: false,
      prefetch: false,
      hugePages: undefined,
      numaNode: undefined,
    });
    expect(links).toEqual([]);
    expect((await at(host).facts("feb")).links).toEqual([]);
  });

  test("is as before when a turn throws", async () => {
    await using host = await start();
    await at(host).setUp();
    await expect(at(host).failing()).rejects.toThrow("no");
    for (let i = 0; i < 2; i++) {
      await expectSetUp(host);
      expect((await at(host).facts("mar")).flags.hot).toBe(false);
      expect(await at(host).connected("mar")).toEqual([]);
      expect(await at(host).find({ rowGroup: 9 })).toEqual([]);
      host.crash();
      await host.restart();
    }
  });

  test("cannot be set by a readonly method, which finds what there was at its beginning", async () => {
    await using host = await start();
    await at(host).setUp();
    await refused(at(host).writes(), "readonly-violation");
    const { promise, resolve } = Promise.withResolvers<void>();
    gate = promise;
    const slow = at(host).slowFind({ rowGroup: 1 });
    await at(host).attributes("mar", { rowGroup: 1 });
    resolve();
    expect(await slow).toEqual(["feb"]);
    expect(await at(host).find({ rowGroup: 1 })).toEqual(["feb", "mar"]);
  });

  test("is committed early where a reentrant turn enters, which sees it", async () => {
    await using host = await start();
    const { promise, resolve } = Promise.withResolvers<void>();
    gate = promise;
    // Loaded first: what waits for an actor to load does not enter a turn that waits.
    await at(host).attributes("jan", {});
    const outer = at(host).outer();
    await at(host).attributes("jan", { rowGroup: 5 });
    resolve();
    await expect(outer).rejects.toThrow("later");
    expect(await at(host).find({ rowGroup: 5 })).toEqual(["jan", "mar"]);
    expect(await at(host).find({ rowGroup: 6 })).toEqual([]);
    host.crash();
    await host.restart();
    expect(await at(host).find({ rowGroup: 5 })).toEqual(["jan", "mar"]);
  });

  test("refuses what means nothing, and changes nothing then", async () => {
    await using host = await start();
    await at(host).setUp();
    const wrong: Promise<unknown>[] = [
      at(host).facts("apr"),
      at(host).connect("jan", "apr", 1),
      at(host).connect("jan", "jan", 1),
      at(host).connect("jan", "feb", 0),
      at(host).connect("jan", "feb", 1.5),
      at(host).flags("jan", { numaNode: -1 }),
      at(host).flags("jan", { warm: true } as never),
      at(host).attributes("jan", { rowGroup: 0.5 }),
      at(host).attributes("jan", { timeBucket: { fromMs: 5, toMs: 5 } }),
      at(host).find({}),
      at(host).find({ rowGroup: 1, partition: 7 }),
      at(host).hot(0),
    ];
    for (const work of wrong) await refused(work, "invalid-argument");
    await expectSetUp(host);
  });

  test("is measured: heat, accesses, and what is used together", async () => {
    await using host = await start();
    for (let i = 0; i < 3; i++) await at(host).record("jan", i);
    await at(host).record("mar", 1);
    const hot = await at(host).hot(10);
    expect(hot.map(({ name }) => name)).toEqual(["jan", "mar"]);
    expect(hot[0]?.heat).toBeGreaterThan(hot[1]?.heat as number);
    expect(await at(host).hot(1)).toHaveLength(1);
    expect((await at(host).accesses("jan")).write).toBeGreaterThan(0);
    expect((await at(host).accesses("feb")).write).toBe(0);
    expect(await at(host).connected("jan")).toEqual([]);
    await at(host).both();
    const [link] = await at(host).connected("feb");
    expect(link).toMatchObject({ to: "jan", set: [] });
    expect(link?.learned).toBeGreaterThan(0.4);
    host.crash();
    await host.restart();
    expect(await at(host).hot(10)).toEqual([]);
    expect(await at(host).connected("jan")).toEqual([]);
  });
});
