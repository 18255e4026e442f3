/** What is known about extents, and bounds of actor types, on a real host: as the actor, the admin port and the command line tell it. */
import { defineActor, readonly, startHost, type Host } from "@pinion/runtime";
import type { ActorExtentsReport, PinsAnswer } from "@pinion/runtime";
import { column } from "@pinion/storage";
import { describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { runCommand } from "../support/program.ts";
import { temporaryDir } from "../support/temporary-dir.ts";

const MIB = 2 ** 20;
const DAY = 86_400_000;

const Series = defineActor("series", {
  state: () => ({}),
  memory: {
    extents: { jan: column("f64"), feb: column("f64", { use: "scan" }), mar: column("f64") },
  },
  methods: {
    async add(ctx, value: number) {
      await ctx.extents.jan.append(value);
      await ctx.extents.feb.append(value);
    },
    setUp(ctx) {
      const { index } = ctx.memory;
      index.setFlags("jan", { hot: true, prefetch: true, hugePages: false });
      index.setAttributes("jan", { rowGroup: 3, timeBucket: { fromMs: 0, toMs: 31 * DAY } });
      index.connect("jan", "mar", { weight: 0.75 });
    },
    find: readonly((ctx, rowGroup: number) => ctx.memory.index.find({ rowGroup })),
    rest: (ctx) => ctx.deactivate(),
  },
});

const bounded = <const Name extends string>(name: Name, pinBytesMax: string | undefined) =>
  defineActor(name, {
    state: () => ({}),
    memory: {
      profile: "hot",
      ...(pinBytesMax !== undefined && { pinBytesMax }),
      extents: { values: column("f64") },
    },
    methods: {
      add: (ctx, value: number) => ctx.extents.values.append(value),
      sum: readonly((ctx) => ctx.extents.values.sum()),
    },
  });
const Noisy = bounded("noisy", "128KiB");
const Quiet = bounded("quiet", undefined);

const start = (dataDir: string): Promise<Host> =>
  startHost({
    actors: [Series, Noisy, Quiet],
    dataDir,
    port: 0,
    adminPort: 0,
    logLevel: "silent",
    pinBytesMax: 8 * MIB,
  });

async function ask<T>(host: Host, path: string): Promise<T> {
  const response = await fetch(`http://${host.adminEndpoint}/api/v1/${path}`);
  return (await response.json()) as T;
}

describe("a host", () => {
  test("shows flags, connections, caps and accesses, also of an actor on disk after a restart", async () => {
    await using dir = await temporaryDir();
    let host = await start(dir.path);
    try {
      const series = host.client.get(Series, "a");
      await series.setUp();
      await series.add(1);
      await series.add(2);
      const report = await ask<ActorExtentsReport>(host, "extents?id=series/a");
      const [jan, feb, mar] = report.extents;
      expect(jan).toMatchObject({
        name: "jan",
        priority: "tail-latency-critical",
        flags: { hot: true, prefetch: true, hugePages: false, numaNode: null },
        attributes: { rowGroup: 3, partition: null, timeBucket: { fromMs: 0, toMs: 31 * DAY } },
        growBytes: 16 * MIB,
      });
      expect(jan?.connections.map(({ to, set }) => [to, set])).toEqual([
        ["mar", ["next"]],
        ["feb", []],
      ]);
      expect(jan?.accesses?.write).toBeGreaterThan(0);
      expect(jan?.heat).toBeGreaterThan(0.5);
      expect(feb).toMatchObject({ priority: "query-critical", growBytes: 256 * MIB });
      expect(mar).toMatchObject({ heat: 0, accesses: { write: 0, scan: 0 } });

      const { stdout } = await runCommand(["extents", "series/a", "--host", host.adminEndpoint]);
      expect(stdout).toMatch(/jan +hot, prefetch, no huge pages/);
      expect(stdout).toMatch(/found by row group 3, time 0 to 2678400000/);
      expect(stdout).toMatch(/next mar \(0\.75\)/);
      expect(stdout).toMatch(/used together feb \(0\.\d\d\)/);
      expect(stdout).toMatch(/feb +column .*256 MiB/);

      await host.stop();
      host = await start(dir.path);
      const stored = await ask<ActorExtentsReport>(host, "extents?id=series/a");
      expect(stored.activation).toBe("stored");
      expect(stored.extents.find(({ name }) => name === "jan")).toMatchObject({
        flags: { hot: true, prefetch: true, hugePages: false },
        connections: [{ to: "mar", set: ["next"], weight: 0.75, learned: 0 }],
        accesses: null,
        heat: null,
        growBytes: 16 * MIB,
      });
      expect(await host.client.get(Series, "a").find(3)).toEqual(["jan"]);
    } finally {
      await host.stop();
    }
  }, 120_000);

  test("keeps a type within its bound and leaves the others alone", async () => {
    await using dir = await temporaryDir();
    await using host = await start(dir.path);
    for (let i = 0; i < 4; i++) await host.client.get(Quiet, `q${i}`).add(i);
    // Each takes 64 KiB: two of them fit.
    for (let i = 0; i < 4; i++) await host.client.get(Noisy, `n${i}`).add(i);
    const worker = await eventually("the bound is reached", async () => {
      const [first] = (await ask<PinsAnswer>(host, "pins")).workers;
      return first?.stats.degraded["type-budget"] === 2 ? first : undefined;
    });
    expect(worker.types).toEqual([
      { type: "noisy", limitBytes: 128 * 1024, usedBytes: 128 * 1024, extents: 2 },
    ]);
    const degraded = worker.pins.filter((pin) => pin.degraded !== null);
    expect(degraded.map(({ actor, degraded: why }) => [actor.split("/")[0], why])).toEqual([
      ["noisy", "type-budget"],
      ["noisy", "type-budget"],
    ]);
    const sums = [0, 1, 2, 3].map((i) => host.client.get(Noisy, `n${i}`).sum());
    expect(await Promise.all(sums)).toEqual([0, 1, 2, 3]);
    const { stdout } = await runCommand(["pins", "--host", host.adminEndpoint]);
    expect(stdout).toMatch(/type noisy: 2, on the host 128 KiB of a bound of 128 KiB/);
    expect(stdout).toMatch(/degraded +2 × type-budget/);
    expect(stdout).toMatch(/noisy\/n\d +values +tail-latency-critical.*degraded: type-budget/);
  }, 120_000);
});
