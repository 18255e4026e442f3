/**
 * Measures a subject against its floor: the bare work the hardware must do, by the shortest possible code, interleaved
 * with the subject in the same run.
 *
 * B1 every round runs floor, subject and peers once each; who goes first changes from round to round, so that a machine
 *    that slows down or speeds up does so for all of them.
 * B2 `value` is the median of the rounds. `ratio` is subject/floor where more is better and floor/subject where less is, so
 *    1.0 is the floor always. Without a floor there is no ratio.
 * B3 a row whose floor varied by more than 1.5× within the run is `noisy`: it proves nothing either way.
 */

export const ROUNDS = 5;
const NOISY_FROM = 1.5;

/** What one run of a subject, floor or peer yields. */
export interface Measurement {
  /** In the case's unit. */
  readonly value: number;
  /** Latencies in ms, where there are any. */
  readonly p50?: number;
  readonly p99?: number;
}

export type Contender = () => Promise<Measurement>;

export interface BenchCase {
  readonly name: string;
  readonly unit: string;
  readonly better: "higher" | "lower";
  readonly subject: Contender;
  readonly floor?: Contender;
  /** Others in the same run, by name. */
  readonly peers?: Readonly<Record<string, Contender>>;
  /** Runs once before the first round; what it returns runs after the last. */
  readonly setUp?: () => Promise<() => Promise<void>>;
  readonly rounds?: number;
}

export interface BenchSuite {
  readonly name: string;
  cases(context: BenchContext): readonly BenchCase[];
}

export interface BenchContext {
  /** An empty folder on the disk to be measured; removed afterwards. */
  readonly dir: string;
  /** 1, or 0.1 with `--quick`: how much of the full work to do. */
  readonly scale: number;
  /** A folder of recorded traces, where one was named. */
  readonly traces?: string | undefined;
}

export interface BenchRow {
  readonly suite: string;
  readonly case: string;
  readonly unit: string;
  readonly value: number;
  readonly floor: number | null;
  readonly ratio: number | null;
  readonly better: "higher" | "lower";
  readonly p50: number | null;
  readonly p99: number | null;
  /** The subject's rounds, and how far apart they are: (max − min) / median. */
  readonly rounds: readonly number[];
  readonly spread: number;
  readonly noisy: boolean;
  /** Median of each peer, and the subject's advantage over it (B2). */
  readonly peers: Readonly<Record<string, { value: number; advantage: number }>>;
}

export async function runCase(suite: string, bench: BenchCase): Promise<BenchRow> {
  const tearDown = await bench.setUp?.();
  try {
    const { subject, floor, peers = {} } = bench;
    const contenders = Object.entries({ subject, ...(floor && { floor }), ...peers });
    const results = new Map<string, Measurement[]>(contenders.map(([name]) => [name, []]));
    for (let round = 0; round < (bench.rounds ?? ROUNDS); round++) {
      for (let i = 0; i < contenders.length; i++) {
        const [name, run] = contenders[(i + round) % contenders.length]!;
        results.get(name)!.push(await run());
      }
    }
    return row(suite, bench, results);
  } finally {
    await tearDown?.();
  }
}

function row(
  suite: string,
  bench: BenchCase,
  results: ReadonlyMap<string, readonly Measurement[]>,
): BenchRow {
  const { name, unit, better } = bench;
  const values = (of: string): number[] => (results.get(of) ?? []).map(({ value }) => value);
  const rounds = values("subject");
  const value = median(rounds);
  const floors = values("floor");
  const floor = floors.length > 0 ? median(floors) : null;
  const advantage = (over: number): number => (better === "higher" ? value / over : over / value);
  const latency = (key: "p50" | "p99"): number | null => {
    const known = results.get("subject")!.flatMap((m) => m[key] ?? []);
    return known.length > 0 ? median(known) : null;
  };
  const peers = Object.keys(bench.peers ?? {}).map((peer) => {
    const theirs = median(values(peer));
    return [peer, { value: theirs, advantage: advantage(theirs) }] as const;
  });
  return {
    suite,
    case: name,
    unit,
    value,
    floor,
    ratio: floor === null ? null : advantage(floor),
    better,
    p50: latency("p50"),
    p99: latency("p99"),
    rounds,
    spread: (Math.max(...rounds) - Math.min(...rounds)) / value,
    noisy: floors.length > 0 && Math.max(...floors) > NOISY_FROM * Math.min(...floors),
    peers: Object.fromEntries(peers),
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >>> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The p-th percentile (0 … 100) of unsorted values. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((p / 100) * sorted.length))] ?? NaN;
}

/** Ends the run a contender makes of `count` things. @returns things per second */
export function perSecond(count: number, startMs: number): Measurement {
  return { value: (count * 1000) / (performance.now() - startMs) };
}

const significant = (n: number): string =>
  n >= 1000 ? Math.round(n).toLocaleString("en-US") : String(Number(n.toPrecision(3)));

/** The rows as a table for people. */
export function formatTable(rows: readonly BenchRow[]): string {
  const cells = rows.map((r) => [
    `${r.suite}/${r.case}`,
    `${significant(r.value)} ${r.unit}`,
    r.floor === null ? "–" : significant(r.floor),
    r.ratio === null ? "–" : r.ratio.toFixed(2),
    r.p50 === null ? "–" : `${r.p50.toFixed(3)} / ${r.p99?.toFixed(3) ?? "–"} ms`,
    `${Math.round(r.spread * 100)} %`,
    [
      ...(r.noisy ? ["noisy"] : []),
      ...Object.entries(r.peers).map(
        ([name, p]) => `${p.advantage.toFixed(2)}× ${name} (${significant(p.value)})`,
      ),
    ].join(", "),
  ]);
  const head = ["case", "value", "floor", "ratio", "p50 / p99", "spread", ""];
  const widths = head.map((text, i) =>
    Math.max(text.length, ...cells.map((line) => line[i]!.length)),
  );
  const format = (line: readonly string[]): string =>
    line
      .map((text, i) => (i === 0 || i === 6 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!)))
      .join("  ")
      .trimEnd();
  return [format(head), ...cells.map(format)].join("\n");
}
