/**
 * Hit rates of the pool's policy on recorded traces, against plain ARC on the same trace: `cache/<trace>/<size>`, in %. One round each: nothing in it
 * depends on the machine. Then the mean and the worst difference over all cases of the run, in points, and what an access costs.
 */
import { seededRng } from "@pinion/core";
import type { BenchCase, BenchContext, BenchSuite } from "../harness.ts";
import { REFERENCE_CASES, readTrace } from "../traces/block-trace.ts";
import { ArcPolicy, S3FifoPolicy, SteeredPolicy } from "../traces/pool-sources.ts";

interface Policy {
  access(key: number): boolean;
}

const nobody = (): void => {};

export function hitRate(policy: Policy, keys: Uint32Array): number {
  let hits = 0;
  for (let i = 0; i < keys.length; i++) if (policy.access(keys[i]!)) hits++;
  return (100 * hits) / keys.length;
}

export const tracesOf = (context: BenchContext): string => {
  const dir = context.traces ?? process.env["PINION_TRACES"];
  if (dir === undefined)
    throw new Error("name the folder of the traces: --traces DIR, or PINION_TRACES");
  return dir;
};

/** Frames of a pool of 10 GiB. */
const FRAMES = 2_621_440;

export const suite: BenchSuite = {
  name: "cache",
  cases: (context) => {
    const dir = tracesOf(context);
    const gains = new Map<string, { policy: number; arc: number }>();
    const traces = REFERENCE_CASES.map(({ trace, share, pages }): BenchCase => {
      const name = `${trace}/${pages ?? `${share! * 100}%`}`;
      const measured = { policy: NaN, arc: NaN };
      gains.set(name, measured);
      const run = (make: (capacity: number) => Policy) => (): number => {
        const { blocks, distinct } = readTrace(dir, trace);
        const size = pages ?? Math.floor(distinct * share!);
        return hitRate(make(size), blocks.subarray(0, Math.ceil(blocks.length * context.scale)));
      };
      const policy = run((size) => new SteeredPolicy(size, nobody));
      const arc = run((size) => new ArcPolicy(size, nobody));
      const s3Fifo = run((size) => new S3FifoPolicy(size, nobody));
      return {
        name,
        unit: "%",
        better: "higher",
        rounds: 1,
        subject: async () => ({ value: (measured.policy = policy()) }),
        floor: async () => ({ value: (measured.arc = arc()) }),
        peers: { "s3-fifo": async () => ({ value: s3Fifo() }) },
      };
    });
    const differences = (): number[] =>
      [...gains.values()].map(({ policy, arc }) => policy - arc).filter((d) => !Number.isNaN(d));
    const summary = (name: string, of: (all: number[]) => number): BenchCase => ({
      name,
      unit: "points over ARC",
      better: "higher",
      rounds: 1,
      subject: async () => ({ value: of(differences()) }),
    });
    return [
      ...traces,
      summary("mean", (all) => all.reduce((a, b) => a + b, 0) / all.length),
      summary("worst", (all) => Math.min(...all)),
      ...costs(context),
    ];
  },
};

/** Keys drawn so that about four in five are hits, most of them far apart in memory. */
function costs({ scale }: BenchContext): BenchCase[] {
  const frames = Math.round(FRAMES * scale);
  const rng = seededRng(1);
  const keys = Uint32Array.from({ length: 8 * frames }, () =>
    Math.floor(frames * 1.5 * rng.float() ** 2),
  );
  const nsPerAccess = (policy: Policy): number => {
    hitRate(policy, keys.subarray(0, 4 * frames));
    const start = performance.now();
    hitRate(policy, keys.subarray(4 * frames));
    return ((performance.now() - start) * 1e6) / (4 * frames);
  };
  return [
    {
      name: "access",
      unit: "ns",
      better: "lower",
      rounds: 3,
      subject: async () => ({ value: nsPerAccess(new SteeredPolicy(frames, nobody)) }),
      floor: async () => ({ value: nsPerAccess(new ArcPolicy(frames, nobody)) }),
    },
    {
      name: "memory",
      unit: "B/frame",
      better: "lower",
      rounds: 1,
      subject: async () => ({ value: new SteeredPolicy(frames, nobody).byteCount / frames }),
    },
  ];
}
