/** Extents on a real host: what is pinned, what is not and why, as the actor, the admin port and the command line tell it. */
import { readFile } from "node:fs/promises";
import { defineActor, readonly, startHost, type Host } from "@pinion/runtime";
import type { ActorExtentsReport, PinsAnswer, SegmentsRow } from "@pinion/runtime";
import { column, map, memoryDoor } from "@pinion/storage";
import { describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { runCommand } from "../support/program.ts";
import { temporaryDir } from "../support/temporary-dir.ts";

const MIB = 2 ** 20;
const canLock = memoryDoor().facts().lockableBytes > 16 * MIB;

const Meter = defineActor("meter", {
  state: () => ({}),
  memory: { profile: "hot", extents: { values: column("f64"), marks: map({ key: "string" }) } },
  methods: {
    /** Values that do not compress. */
    async add(ctx, count: number) {
      const from = await ctx.extents.values.length;
      await ctx.extents.values.appendMany(
        Float64Array.from({ length: count }, (_, i) => Math.sqrt(from + i)),
      );
      await ctx.extents.marks.set(`at-${from}`, count);
    },
    count: readonly((ctx) => ctx.extents.values.length),
    sum: readonly((ctx) => ctx.extents.values.sum()),
    async touch(ctx) {
      for (let row = 0; row < 3_000_000; row += 4_096) await ctx.extents.values.set(row, row);
    },
    memory: readonly((ctx) => ctx.memory.stats()),
    done: readonly((ctx) => ctx.memory.accessComplete("values")),
    rest(ctx) {
      ctx.deactivate();
    },
  },
});
const Plain = defineActor("plain", {
  state: () => 0,
  methods: { touch: (ctx) => (ctx.state += 1) },
});

const start = (dataDir: string): Promise<Host> =>
  startHost({
    actors: [Meter, Plain],
    dataDir,
    port: 0,
    adminPort: 0,
    logLevel: "silent",
    pinBytesMax: "4MiB",
  });

async function ask<T>(host: Host, path: string): Promise<T> {
  const response = await fetch(`http://${host.adminEndpoint}/api/v1/${path}`);
  return (await response.json()) as T;
}

describe("a host with room for 4 MiB of pins", () => {
  test("pins what fits, and says of the rest why it is not in memory", async () => {
    await using dir = await temporaryDir();
    await using host = await start(dir.path);
    const small = host.client.get(Meter, "small");
    const large = host.client.get(Meter, "large");
    await small.add(1_000);
    for (let i = 0; i < 6; i++) await large.add(100_000);
    // Each turn tells the budget how large its extents have become.
    await eventually("the large one had to go", async () => {
      const { extents } = await large.memory();
      return extents["values"]?.degraded === "too-large" ? true : undefined;
    });
    // It works all the same.
    await large.add(1);
    expect(await large.count()).toBe(600_001);

    const told = await small.memory();
    expect(told.residentBytes).toBe(told.lengthBytes);
    expect(told.lockedBytes).toBe(canLock ? told.lengthBytes : 0);

    const answer = await ask<PinsAnswer>(host, "pins");
    expect(answer.memory.pinBytes).toBe(4 * MIB);
    const [worker] = answer.workers;
    expect(worker?.stats.budgetBytes).toBe(4 * MIB);
    expect(worker?.stats.budgetUsedBytes).toBeLessThanOrEqual(4 * MIB);
    expect(worker?.stats.degraded).toEqual({ "too-large": 1 });
    const rows = worker?.pins.map(({ actor, extent, degraded }) => [actor, extent, degraded]);
    expect(rows?.sort()).toEqual([
      ["meter/large", "marks", null],
      ["meter/large", "values", "too-large"],
      ["meter/small", "marks", null],
      ["meter/small", "values", null],
    ]);

    const of = async (query: string): Promise<string[]> =>
      (await ask<PinsAnswer>(host, `pins?${query}`)).workers.flatMap(({ pins }) =>
        pins.map(({ actor, extent }) => `${actor}#${extent}`),
      );
    expect(await of("degraded=true")).toEqual(["meter/large#values"]);
    expect(await of("priority=background")).toEqual([]);
    expect((await of("actor=meter/small")).sort()).toEqual([
      "meter/small#marks",
      "meter/small#values",
    ]);
    expect(await of("limit=1")).toHaveLength(1);
    expect(await ask(host, "pins?priority=urgent")).toMatchObject({
      error: { message: expect.stringMatching(/no priority "urgent"; there are tail-latency/) },
    });

    const { stdout } = await runCommand(["pins", "--host", host.adminEndpoint]);
    expect(stdout).toMatch(/budget +.* of 4 MiB for pins/);
    expect(stdout).toMatch(/numa +.*\d+ % \(aim 80 %\)/s);
    expect(stdout).toMatch(/huge pages +0 % \(aim 60 %\): .* smaller than 2 MiB/);
    expect(worker?.home.nodes).toContain(worker?.home.node);
    expect(stdout).toMatch(/degraded +1 × too-large/);
    expect(stdout).toMatch(/meter\/large +values +tail-latency-critical.*degraded: too-large/);
    if (canLock) expect(stdout).toMatch(/meter\/small +values +tail-latency-critical.*locked/);
    const wrong = await runCommand(["pins", "--priority", "urgent"]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toMatch(/--priority takes one of tail-latency-critical.*, not urgent/);
  }, 120_000);

  test("shows an actor's extents in memory and on disk, and the segments they are in", async () => {
    await using dir = await temporaryDir();
    let host = await start(dir.path);
    try {
      const meter = host.client.get(Meter, "a");
      await meter.add(20_000);
      const report = await ask<ActorExtentsReport>(host, "extents?id=meter/a");
      expect(report).toMatchObject({ activation: "active", profile: "hot" });
      const [values] = report.extents;
      expect(values).toMatchObject({
        name: "values",
        structure: "column",
        declared: true,
        resident: true,
        locked: canLock,
        degraded: null,
        priority: "tail-latency-critical",
      });
      expect(values?.dirtyPages).toBeGreaterThan(20_000 / 512);
      // A hint: it sinks, and the next turn lifts it.
      await meter.done();
      const sunk = await ask<PinsAnswer>(host, "pins?actor=meter/a");
      expect(sunk.workers[0]?.pins.find(({ extent }) => extent === "values")).toMatchObject({
        priority: "query-critical",
        askedPriority: "tail-latency-critical",
      });

      await meter.rest();
      const stored = await eventually("it is on disk only", async () => {
        const now = await ask<ActorExtentsReport>(host, "extents?id=meter/a");
        return now.activation === "stored" ? now : undefined;
      });
      expect(stored.extents.map((e) => [e.name, e.structure, e.lengthBytes, e.resident])).toEqual([
        ["values", "column", values?.lengthBytes, false],
        ["marks", "map", report.extents[1]?.lengthBytes, false],
      ]);
      expect((await ask<PinsAnswer>(host, "pins")).workers[0]?.stats.usedBytes).toBe(0);

      const text = await runCommand(["extents", "meter/a", "--host", host.adminEndpoint]);
      expect(text.stdout).toMatch(
        /on disk only[^]*values +column +1\d\d KiB +0 +16 MiB +– +– +on disk/,
      );
      const without = await runCommand(["extents", "plain/x", "--host", host.adminEndpoint]);
      expect(without.code).toBe(1);
      expect(without.stderr).toMatch(/plain\/x has no extents: its type declares none/);
      const mistyped = await runCommand(["extents", "metre/a", "--host", host.adminEndpoint]);
      expect(mistyped.stderr).toMatch(/did you mean meter\?/);

      const { segments } = await ask<{ segments: SegmentsRow[] }>(host, "segments");
      const { shard } = report;
      const row = segments.find((each) => each.shard === shard);
      expect(row?.livePages).toBeGreaterThan(20_000 / 512);
      expect(row?.sequence).toBeGreaterThan(0);
      expect(row?.liveShare).toBeLessThanOrEqual(1);
      const table = await runCommand(["segments", "--host", host.adminEndpoint]);
      expect(table.stdout).toMatch(/shard +segments +live pages/);
      expect(table.stdout).toMatch(/\n +all +\d/);

      await host.stop();
      host = await start(dir.path);
      expect(await host.client.get(Meter, "a").count()).toBe(20_000);
      const again = await ask<ActorExtentsReport>(host, "extents?id=meter/a");
      expect(again.extents.every(({ resident }) => resident)).toBe(true);
    } finally {
      await host.stop();
    }
  }, 120_000);
});

interface Locked {
  sizeBytes: number;
  residentBytes: number;
  lockedBytes: number;
}

/** Mappings of this process that the kernel has locked, together. */
async function lockedMappings(): Promise<Locked> {
  const sum = { sizeBytes: 0, residentBytes: 0, lockedBytes: 0 };
  const smaps = await readFile("/proc/self/smaps", "utf8");
  for (const mapping of smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)) {
    if (!/^VmFlags:.* lo\b/m.test(mapping)) continue;
    const bytes = (name: string): number =>
      1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(mapping)?.[1]);
    sum.sizeBytes += bytes("Size");
    sum.residentBytes += bytes("Rss");
    sum.lockedBytes += bytes("Locked");
  }
  return sum;
}

test("what is pinned is resident and locked whole, as the kernel sees it, and its turns wait for no page", async () => {
  await using dir = await temporaryDir();
  const options = { actors: [Meter], dataDir: dir.path, port: 0, adminPort: 0 } as const;
  const rows = 4_000_000;
  {
    await using host = await startHost({ ...options, logLevel: "silent" });
    for (let i = 0; i < rows; i += 500_000) await host.client.get(Meter, "a").add(500_000);
  }
  await using host = await startHost({ ...options, logLevel: "silent" });
  const meter = host.client.get(Meter, "a");
  const { lengthBytes, lockedBytes } = await meter.memory();
  expect(lengthBytes).toBeGreaterThan(rows * 8);
  expect(lockedBytes).toBe(canLock ? lengthBytes : 0);
  const check = async (): Promise<void> => {
    const { sizeBytes, residentBytes, lockedBytes: locked } = await lockedMappings();
    expect({ residentBytes, locked }).toEqual({ residentBytes: sizeBytes, locked: sizeBytes });
    expect(sizeBytes).toBeGreaterThanOrEqual(canLock ? lengthBytes : 0);
  };
  await check();
  const { majorFaults } = memoryDoor().facts();
  expect(await meter.sum()).toBeGreaterThan(0);
  await meter.touch();
  expect(await meter.sum()).toBeGreaterThan(0);
  expect(memoryDoor().facts().majorFaults).toBe(majorFaults);
  await check();
  // What was checkpointed stays where it is.
  await meter.rest();
  await eventually("it was let go", async () => {
    const { workers } = await ask<PinsAnswer>(host, "pins");
    return workers[0]?.pins.length === 0 ? true : undefined;
  });
  expect((await lockedMappings()).lockedBytes).toBeLessThan(MIB);
  expect(await meter.count()).toBe(rows);
  await check();
}, 120_000);
