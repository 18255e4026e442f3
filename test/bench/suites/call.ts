/**
 * Calls from end to end: a host process, a client process, loopback gRPC, every change on disk before its answer.
 *
 * Two floors, as servers and clients of their own, started before the first round and alive to the last; one contender is
 * loaded at a time. `bare` answers frames as long as ours and does nothing else; `durable` also keeps a record per call. A
 * round is one run of `RUN_MS` after `WARM_UP_MS`.
 */
import { fdatasync, openSync, closeSync, writeSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { LogCounters } from "../call/host-process.ts";
import { memoryCases } from "../call/memory.ts";
import { Pair, serverOf } from "../call/pair.ts";
import type { LoadJob, LoadResult } from "../call/load.ts";
import { percentile, type BenchCase, type BenchContext, type BenchSuite } from "../harness.ts";

const RUN_MS = 3_000;
const WARM_UP_MS = 1_000;
const CALLERS = 64;
const SPREAD_KEYS = 1_000;
const COLD_KEYS = 5_000;

interface Pairs {
  readonly host: Pair;
  readonly bare: Pair;
  readonly durable: Pair;
}

/** What a case keeps alive from its first round to its last. */
class Stage {
  readonly #dir: string;
  #pairs: Pairs | undefined;
  #jobs = 0;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** @returns the way to end it */
  async open(): Promise<() => Promise<void>> {
    const pairs = await this.#start();
    this.#pairs = pairs;
    return async () => {
      this.#pairs = undefined;
      await Promise.all([pairs.host.stop(), pairs.bare.stop(), pairs.durable.stop()]);
    };
  }

  async #start(): Promise<Pairs> {
    const dataDir = join(this.#dir, `host-${this.#jobs++}`);
    await mkdir(dataDir, { recursive: true });
    const host = await Pair.start(serverOf("host-process.ts", [dataDir]), "./pinion-client.ts");
    const recordBytes = await measureRecord(host);
    const floor = (...args: string[]): Promise<Pair> =>
      Pair.start(serverOf("floor-process.ts", args), "./floor-client.ts");
    const [bare, durable] = await Promise.all([
      floor("bare"),
      floor("durable", this.#dir, String(recordBytes)),
    ]);
    return { host, bare, durable };
  }

  contender(name: keyof Pairs, job: Job): () => Promise<LoadResult> {
    return () => {
      if (this.#pairs === undefined) throw new Error("the stage is not open");
      // Never-seen actors need names of their own; the others may as well have them.
      return this.#pairs[name].run({ ...job, prefix: `${this.#jobs++}-` });
    };
  }
}

/** Bytes in the log per call: what the durable floor has to write. */
async function measureRecord(host: Pair): Promise<number> {
  const before = await host.server.ask<LogCounters>("log");
  await host.run({ ...hot(CALLERS), prefix: "record-", warmupMs: 0, runMs: 500 });
  const after = await host.server.ask<LogCounters>("log");
  return Math.round((after.bytes - before.bytes) / (after.records - before.records));
}

type Job = Omit<LoadJob, "prefix">;

const hot = (callers: number): Job => ({
  operation: "increment",
  callers,
  keys: 1,
  warmupMs: WARM_UP_MS,
  runMs: RUN_MS,
});

export const suite: BenchSuite = {
  name: "call",
  cases(context) {
    const { dir, scale } = context;
    const stage = new Stage(dir);
    const scaled = (job: Job): Job => ({
      ...job,
      warmupMs: job.warmupMs * Math.max(scale, 0.3),
      runMs: job.runMs * scale,
    });
    const rate = (name: string, floor: "bare" | "durable", job: Job): BenchCase => ({
      name,
      unit: "calls/s",
      better: "higher",
      subject: stage.contender("host", job),
      floor: stage.contender(floor, job),
      setUp: () => stage.open(),
    });
    const spread = { ...hot(CALLERS), keys: SPREAD_KEYS };
    const read = { ...hot(CALLERS), operation: "value" } as const;
    const cold = { ...hot(CALLERS), keys: Math.round(COLD_KEYS * scale), each: true };
    return [
      hotOne(stage, scaled(hot(1)), context),
      rate("hot-64", "durable", scaled(hot(CALLERS))),
      rate("spread-64", "durable", scaled(spread)),
      rate("read-64", "bare", scaled(read)),
      rate("cold-64", "durable", scaled(cold)),
      ...memoryCases(context),
    ];
  },
};

/** One caller waits for the network twice and for the disk once; 0.2 ms are what the runtime may add. */
function hotOne(stage: Stage, job: Job, { dir }: BenchContext): BenchCase {
  const ALLOWANCE_MS = 0.2;
  const host = stage.contender("host", job);
  const bare = stage.contender("bare", job);
  return {
    name: "hot-1",
    unit: "ms",
    better: "lower",
    subject: async () => {
      const { p50, p99 } = await host();
      return { value: p50, p50, p99 };
    },
    floor: async () => {
      const { p50 } = await bare();
      return { value: p50 + (await flushMs(dir)) + ALLOWANCE_MS };
    },
    setUp: () => stage.open(),
  };
}

/** What a write of 256 bytes and an fdatasync take here, off the event loop: the median of 300, ms. */
async function flushMs(dir: string): Promise<number> {
  const file = openSync(join(dir, "flush"), "w");
  const block = Buffer.alloc(256, 1);
  for (let i = 0; i < 1_000; i++) writeSync(file, block);
  const sync = promisify(fdatasync);
  await sync(file);
  const took: number[] = [];
  for (let i = 0; i < 300; i++) {
    const startMs = performance.now();
    writeSync(file, block, 0, block.length, i * block.length);
    await sync(file);
    took.push(performance.now() - startMs);
  }
  closeSync(file);
  return percentile(took, 50);
}
