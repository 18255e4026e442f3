/**
 * What actors cost in memory, once they have gone idle and while they are active, and how long collecting the garbage of a
 * full worker stops it.
 *
 * Bytes are the larger of V8's own count and what is resident without files, after full collections, over a host that has
 * already served as many other actors: what is left are the actors, not first-use tables and compiled code.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { median, percentile, type BenchCase, type BenchContext } from "../harness.ts";
import type { LoadJob } from "./load.ts";
import type { MemoryQuestion, MemoryReport } from "./memory-process.ts";
import { Pair, serverOf } from "./pair.ts";

const ACTORS = 100_000;
/** A worker's default bound. */
const ACTORS_MAX = 200_000;
/**
 * Actors come and go, 100,000 after the other, with a full collection after each: what they leave behind grows with their number. What is
 * resident goes up and down by some 30 MiB besides, which is the allocator's and the collector's own business. The first generations fill what
 * has a bound of its own, however many actors there are: 64 MiB of pages of the state store.
 */
const GENERATIONS = 15;
const FILLING_GENERATIONS = 3;
const PAUSE_RUN_MS = 10_000;
const NEVER_IDLE_MS = 3_600_000;
const SOON_IDLE_MS = 1_000;
const POLL_MS = 200;

export function memoryCases(context: BenchContext): readonly BenchCase[] {
  const actors = Math.round(ACTORS * context.scale);
  let host: MemoryHost;
  let pauses: Pair;
  const bench = (
    name: string,
    unit: string,
    idleMs: number,
    subject: () => Promise<number>,
  ): BenchCase => ({
    name: `idle-memory/${name}`,
    unit,
    better: "lower",
    subject: async () => ({ value: await subject() }),
    setUp: async () => {
      host = await MemoryHost.start(join(context.dir, name), idleMs);
      await host.touch("first", actors);
      if (idleMs === SOON_IDLE_MS) await host.emptied();
      return () => host.stop();
    },
    rounds: 1, // a second round of `active` would push the first one's actors out
  });
  return [
    bench("deactivated", "B/actor", SOON_IDLE_MS, async () => {
      const reports: MemoryReport[] = [];
      for (let generation = 0; generation < GENERATIONS; generation++) {
        await host.touch(`idle-${generation}`, actors);
        await host.emptied();
        reports.push(await host.memory());
      }
      const counted = reports.slice(FILLING_GENERATIONS);
      const grown = growth(middle(counted.slice(0, 3)), middle(counted.slice(-3)));
      return grown / ((counted.length - 3) * actors);
    }),
    bench("active", "B/actor", NEVER_IDLE_MS, async () => {
      const before = await host.memory();
      await host.touch("active", actors);
      return growth(before, await host.memory()) / actors;
    }),
    {
      name: "idle-memory/gc-pause-p99",
      unit: "ms",
      better: "lower",
      subject: async () => ({ value: await pauseMsP99(pauses, context.scale) }),
      setUp: async () => {
        const dir = join(context.dir, "gc-pause");
        await mkdir(dir, { recursive: true });
        pauses = await Pair.start(serverOf("pause-process.ts", [dir]), "./pinion-client.ts");
        return () => pauses.stop();
      },
    },
  ];
}

const growth = (before: MemoryReport, after: MemoryReport): number =>
  Math.max(after.heapBytes - before.heapBytes, after.residentBytes - before.residentBytes);

/** Of an odd number of looks. */
const middle = (reports: readonly MemoryReport[]): MemoryReport => ({
  heapBytes: median(reports.map(({ heapBytes }) => heapBytes)),
  residentBytes: median(reports.map(({ residentBytes }) => residentBytes)),
});

class MemoryHost {
  readonly #pair: Pair;

  private constructor(pair: Pair) {
    this.#pair = pair;
  }

  static async start(dir: string, idleMs: number): Promise<MemoryHost> {
    await mkdir(dir, { recursive: true });
    const flags = ["--expose-gc", "--max-old-space-size=4096"];
    const server = serverOf("memory-process.ts", [dir, String(idleMs)], flags);
    return new MemoryHost(await Pair.start(server, "./pinion-client.ts"));
  }

  #ask<T>(question: MemoryQuestion): Promise<T> {
    return this.#pair.server.ask<T>(question);
  }

  /** One increment each. */
  async touch(prefix: string, keys: number): Promise<void> {
    await this.#pair.run({ ...LOAD, prefix: `${prefix}-`, keys, each: true });
  }

  memory(): Promise<MemoryReport> {
    return this.#ask("memory");
  }

  /** Resolves when no actor is in memory. */
  async emptied(): Promise<void> {
    while ((await this.#ask<number>("active")) > 0) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  stop(): Promise<void> {
    return this.#pair.stop();
  }
}

async function pauseMsP99(pair: Pair, scale: number): Promise<number> {
  const keys = Math.round(ACTORS_MAX * scale);
  await pair.run({ ...LOAD, prefix: "full-", keys, each: true });
  await pair.server.ask("pauses");
  await pair.run({ ...LOAD, prefix: "full-", keys, runMs: PAUSE_RUN_MS * scale });
  return percentile(await pair.server.ask<number[]>("pauses"), 99);
}

const LOAD: Omit<LoadJob, "prefix" | "keys"> = {
  operation: "increment",
  callers: 64,
  warmupMs: 0,
  runMs: 0,
};
