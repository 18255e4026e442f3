/**
 * The worst airports and routes, as bars: solid to the median, dense to the 90th percentile, light to the 99th.
 *
 *     ORD Chicago O'Hare International   ████▓▓▓▓▓▓▓▓▓▓░░░░░░░░░░░░    4   63  171
 */
import type { Delays } from "./actors.ts";
import { column, integer, paint } from "./text.ts";

export interface DelaySummary {
  readonly key: string;
  readonly flights: number;
  /** Minutes. */
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** What a row has besides its name and its bar. */
const FIGURES_WIDTH = 28;
const NAME_WIDTH_MAX = 44;

interface Widths {
  readonly name: number;
  readonly bar: number;
}

function widthsFor(columns: number): Widths {
  const bar = columns < 100 ? 22 : 28;
  return { bar, name: Math.min(NAME_WIDTH_MAX, columns - bar - FIGURES_WIDTH) };
}

/** Nearest-rank quantiles of a multiset that is not empty. */
export function summarize(key: string, delays: Delays): DelaySummary {
  const ascending = [...delays].sort(([a], [b]) => a - b);
  const flights = ascending.reduce((sum, [, count]) => sum + count, 0);
  const quantile = (q: number): number => {
    let left = Math.max(1, Math.ceil(flights * q));
    for (const [delay, count] of ascending) if ((left -= count) <= 0) return delay;
    throw new Error(`no quantile ${q} of nothing`);
  };
  return { key, flights, p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99) };
}

/** The `count` with the longest delays at the 90th percentile, among those with enough flights to say so. */
export function worst(
  summaries: readonly DelaySummary[],
  count: number,
  flightsMin: number,
): DelaySummary[] {
  return summaries
    .filter((summary) => summary.flights >= flightsMin)
    .sort((a, b) => b.p90 - a.p90 || b.flights - a.flights || (a.key < b.key ? -1 : 1))
    .slice(0, count);
}

export function drawDelays(
  title: string,
  rows: readonly DelaySummary[],
  nameOf: (key: string) => string,
): string {
  const widths = widthsFor(process.stdout.columns ?? 100);
  const longest = Math.max(1, ...rows.map((row) => row.p99));
  const width = (minutes: number): number =>
    Math.round((Math.max(0, minutes) / longest) * widths.bar);
  const lines = rows.map((row) => {
    const [to50, to90, to99] = [width(row.p50), width(row.p90), width(row.p99)];
    const cells = [
      paint("red", "█".repeat(to50)),
      paint("yellow", "▓".repeat(Math.max(0, to90 - to50))),
      paint("gray", "░".repeat(Math.max(0, to99 - Math.max(to50, to90)))),
      " ".repeat(Math.max(0, widths.bar - Math.max(to50, to90, to99))),
    ];
    const figures = [row.p50, row.p90, row.p99].map((minutes) => String(minutes).padStart(5));
    const name = column(nameOf(row.key), widths.name);
    return `  ${name} ${cells.join("")}${figures.join("")} ${integer(row.flights).padStart(9)}`;
  });
  const head = `${" ".repeat(widths.name + 3 + widths.bar)}  p50  p90  p99   flights`;
  return [
    `${paint("bold", title)} (departure delay in minutes)`,
    paint("gray", head),
    ...lines,
  ].join("\n");
}
