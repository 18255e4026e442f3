/**
 * Load as closed loops: each of `callers` makes its next call when the last one has been answered. The same loops drive the
 * subject, its floors and the peers.
 */
import { percentile, type Measurement } from "../harness.ts";

/** What a contender's client offers to the loops. */
export interface LoadClient {
  /** Adds one to the actor's counter; durable, unless the contender says otherwise. */
  increment(key: string): Promise<unknown>;
  /** Reads the counter. */
  value(key: string): Promise<unknown>;
  close(): Promise<void> | void;
}

export interface LoadJob {
  readonly operation: "increment" | "value";
  readonly callers: number;
  /** Keys are `prefix` and a number below `keys`; in order, each once, when `each` is set, otherwise uniformly at random. */
  readonly prefix: string;
  readonly keys: number;
  readonly each?: boolean;
  /** Not counted. */
  readonly warmupMs: number;
  /** Of a job without `each`. */
  readonly runMs: number;
}

export interface LoadResult extends Measurement {
  /** Calls per second. */
  readonly value: number;
  readonly p50: number;
  readonly p99: number;
  readonly calls: number;
}

interface Limits {
  readonly count: number;
  readonly runMs: number;
}

type Call = (index: number) => Promise<unknown>;

export async function runLoad(client: LoadClient, job: LoadJob): Promise<LoadResult> {
  const { callers, keys, prefix } = job;
  const names = Array.from({ length: keys }, (_, i) => `${prefix}${i}`);
  const call: (key: string) => Promise<unknown> =
    job.operation === "increment" ? (key) => client.increment(key) : (key) => client.value(key);
  if (job.each === true) {
    // Connections and compiled code, on another actor: what is timed are the first calls on these.
    const warm = `${prefix}warm`;
    await drive(() => call(warm), callers, { count: Infinity, runMs: job.warmupMs });
    return drive((i) => call(names[i] as string), callers, { count: keys, runMs: Infinity });
  }
  // Every actor is active before the clock starts.
  await drive((i) => call(names[i] as string), callers, { count: keys, runMs: Infinity });
  const random = xorshift32();
  const next: Call =
    keys === 1 ? () => call(names[0] as string) : () => call(names[random() % keys] as string);
  await drive(next, callers, { count: Infinity, runMs: job.warmupMs });
  return drive(next, callers, { count: Infinity, runMs: job.runMs });
}

async function drive(call: Call, callers: number, { count, runMs }: Limits): Promise<LoadResult> {
  const latencies: number[] = [];
  const startMs = performance.now();
  const endMs = startMs + runMs;
  let issued = 0;
  const loop = async (): Promise<void> => {
    let sentMs = performance.now();
    while (sentMs < endMs && issued < count) {
      await call(issued++);
      const nowMs = performance.now();
      latencies.push(nowMs - sentMs);
      sentMs = nowMs;
    }
  };
  await Promise.all(Array.from({ length: callers }, loop));
  const seconds = (performance.now() - startMs) / 1000;
  return {
    value: latencies.length / seconds,
    p50: percentile(latencies, 50),
    p99: percentile(latencies, 99),
    calls: latencies.length,
  };
}

/** Marsaglia's xorshift: the same keys in the same order for everybody. */
function xorshift32(): () => number {
  let x = 2_463_534_242;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>>= 0);
  };
}
