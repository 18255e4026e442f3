/**
 * What each part of the pool's policy is worth: mean and worst difference to plain ARC over the reference cases, in points, with the part
 * left out or put differently. The table in docs/buffer-pool.md is its output.
 */
import type { BenchCase, BenchSuite } from "../harness.ts";
import { REFERENCE_CASES, readTrace } from "../traces/block-trace.ts";
import {
  ArcPolicy,
  STEERED_DEFAULTS,
  S3FifoPolicy,
  SteeredPolicy,
} from "../traces/pool-sources.ts";
import { hitRate, tracesOf } from "./cache.ts";

interface Policy {
  access(key: number): boolean;
}

const nobody = (): void => {};
const { settings } = STEERED_DEFAULTS;
const steered =
  (changes: Partial<typeof STEERED_DEFAULTS>) =>
  (size: number): Policy =>
    new SteeredPolicy(size, nobody, { ...STEERED_DEFAULTS, ...changes });
const alone = (t1Share: number): ((size: number) => Policy) =>
  steered({ settings: [{ t1Share, ghostShare: 0.9 }], start: 0 });

/**
 * Scan isolation: blocks of a sequential run longer than `from` are admitted as `batch` reads are. Only in this table: it does not pay.
 */
const isolated =
  (from: number) =>
  (size: number): Policy => {
    const policy = new SteeredPolicy(size, nobody);
    let last = -1;
    let run = 0;
    return {
      access: (key) => {
        run = key === last + 1 ? run + 1 : 0;
        last = key;
        return policy.access(key, run >= from ? "batch" : "interactive");
      },
    };
  };

const VARIANTS: Readonly<Record<string, (size: number) => Policy>> = {
  shipped: steered({}),
  "s3-fifo": (size) => new S3FifoPolicy(size, nobody),
  "T1 fixed at 1 %": alone(0.01),
  "T1 fixed at 4 %": alone(0.04),
  "T1 fixed at 10 %": alone(0.1),
  "T1 fixed at 25 %": alone(0.25),
  "a fifth setting: 10 %, ghosts for 1.5 times the cache": steered({
    settings: [...settings, { t1Share: 0.1, ghostShare: 1.5 }],
  }),
  "without the setting of 1 %": steered({ settings: settings.slice(1), start: 1 }),
  "without the setting of 25 %": steered({ settings: settings.slice(0, 3) }),
  "no damping of T1's size": steered({ step: Infinity }),
  "no lead to take over": steered({ lead: 0 }),
  "lead of 1 %": steered({ lead: 0.01 }),
  "memory of 6 fillings": steered({ memoryFillings: 6 }),
  "memory of 12 fillings": steered({ memoryFillings: 12 }),
  "every 16th page simulated": steered({ sampleEvery: 16 }),
  "every 256th page simulated": steered({ sampleEvery: 256 }),
  "scan isolation from 64 blocks": isolated(64),
  "scan isolation from 256 blocks": isolated(256),
  "scan isolation from 1024 blocks": isolated(1024),
  "scan isolation from 4096 blocks": isolated(4096),
};

export const suite: BenchSuite = {
  name: "cache-ablations",
  cases: (context) => {
    const dir = tracesOf(context);
    /** ARC's rate and each variant's difference, case by case: a trace is read once. */
    let table: Map<string, number[]> | undefined;
    const differences = (variant: string): number[] => {
      table ??= measure(dir);
      return table.get(variant)!;
    };
    return Object.keys(VARIANTS).flatMap((variant): BenchCase[] => {
      const row = (what: string, of: (all: number[]) => number): BenchCase => ({
        name: `${variant}/${what}`,
        unit: "points",
        better: "higher",
        rounds: 1,
        subject: async () => ({ value: of(differences(variant)) }),
      });
      return [
        row("mean", (all) => all.reduce((a, b) => a + b, 0) / all.length),
        row("worst", (all) => Math.min(...all)),
      ];
    });
  },
};

function measure(dir: string): Map<string, number[]> {
  const table = new Map(Object.keys(VARIANTS).map((name) => [name, [] as number[]]));
  for (const { trace, share, pages } of REFERENCE_CASES) {
    const { blocks, distinct } = readTrace(dir, trace);
    const size = pages ?? Math.floor(distinct * share!);
    const arc = hitRate(new ArcPolicy(size, nobody), blocks);
    for (const [name, make] of Object.entries(VARIANTS))
      table.get(name)!.push(hitRate(make(size), blocks) - arc);
  }
  return table;
}
