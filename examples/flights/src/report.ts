/** What the example prints when the stream has ended. */
import type { CheckResult } from "./answer-check.ts";
import type { Delays } from "./actors.ts";
import { drawDelays, summarize, worst } from "./delay-chart.ts";
import type { StreamStats } from "./flight-stream.ts";
import { integer, milliseconds, paint, pathText } from "./text.ts";

const ROWS = 8;
/** Fewer flights than this, in one pass over the file, make no ranking. */
const AIRPORT_FLIGHTS_MIN = 100;
const ROUTE_FLIGHTS_MIN = 20;
const DIFFERENCES_SHOWN = 10;

/** "Chicago O'Hare International" → "Chicago O'Hare": two names have to fit a line. */
const short = (name: string): string =>
  name.replace(/ (International|Intl|Municipal|Regional|Airport)\b.*/, "").slice(0, 16);

const say = (text = ""): void => console.log(text);

export function printStream(stats: StreamStats, elapsedMs: number, retries: number): void {
  const { acknowledged, latencyUs } = stats;
  const latency = (p: number): string => milliseconds(latencyUs.percentile(p) / 1000);
  const perSecond = (acknowledged / elapsedMs) * 1000;
  say(
    `\n${paint("bold", integer(acknowledged))} records acknowledged, each on disk before its answer: ` +
      `${paint("bold", `${integer(perSecond)}/s`)}, the kill included`,
  );
  say(
    `  p50 ${latency(50)}, p99 ${latency(99)}, longest ${milliseconds(latencyUs.max / 1000)} (across the kill); ` +
      `${integer(retries)} calls were sent again with the same id`,
  );
}

/** @param passes how often the file was streamed, with a fraction. */
export function printDelays(
  result: CheckResult,
  airportNames: ReadonlyMap<string, string>,
  passes: number,
): void {
  const name = (code: string): string => airportNames.get(code) ?? code;
  const rank = (delays: ReadonlyMap<string, Delays>, flightsMin: number) => {
    const summaries = [...delays].filter(([, d]) => d.size > 0).map(([k, d]) => summarize(k, d));
    return worst(summaries, ROWS, flightsMin * passes);
  };
  const routeName = (key: string): string => {
    const [origin = "", destination = ""] = key.split("-");
    return `${key} ${short(name(origin))} → ${short(name(destination))}`;
  };
  say();
  say(
    drawDelays(
      "Worst airports",
      rank(result.airports, AIRPORT_FLIGHTS_MIN),
      (k) => `${k} ${name(k)}`,
    ),
  );
  say();
  say(drawDelays("Worst routes", rank(result.routes, ROUTE_FLIGHTS_MIN), routeName));
  say(paint("gray", "  █ to the median  ▓ to the 90th percentile  ░ to the 99th"));
}

export function printCheck(result: CheckResult, flightsInFile: number, sent: number): void {
  const { differences } = result;
  say();
  if (differences.length === 0) {
    say(
      `${paint("green", "✓")} all ${integer(result.airports.size)} airports and ${integer(result.routes.size)} routes agree with ` +
        `the raw file: ${integer(sent)} records (${(sent / flightsInFile).toFixed(2)} passes), none lost, none counted twice`,
    );
    return;
  }
  const actors = result.airports.size + result.routes.size;
  const lines = differences
    .slice(0, DIFFERENCES_SHOWN)
    .map(
      (d) =>
        `  ${d.actor}: ${integer(d.actual)} flights, expected ${integer(d.expected)} (${d.where})`,
    );
  if (differences.length > DIFFERENCES_SHOWN)
    lines.push(`  and ${differences.length - DIFFERENCES_SHOWN} more`);
  console.error(
    `${paint("red", "✗")} ${differences.length} of ${integer(actors)} actors disagree with the raw file: of ${integer(sent)} ` +
      `records, airports counted ${integer(result.flightsAtAirports)} and routes ${integer(result.flightsOnRoutes)}\n${lines.join("\n")}`,
  );
}

export function printNextSteps(namespace: string, dataDir: string, isDefaultDir: boolean): void {
  const dir = isDefaultDir ? "" : ` --data-dir ${pathText(dataDir)}`;
  const pinion = (command: string): string => paint("cyan", `npm run pinion -- ${command}`);
  say(`
Three things to try next:
  1. Serve these actors again and ask one of them, from a second terminal:
       ${pinion(`start examples/flights/src/actors.ts${dir}`)}
       ${pinion(`inspect ${namespace}:route/ORD-LGA${dir}`)}
       ${pinion(`extents ${namespace}:airport/ORD${dir}`)}
  2. Write your own, and change it while it runs:
       ${pinion(`dev examples/counter.ts${dir}`)}
       ${pinion(`call counter/visits increment 3${dir}`)}
  3. See what this machine allows, and what would make it faster:
       ${pinion(`doctor${dir}`)}`);
}
