/**
 * Holds every answer of the actors against the expected ones, multiplicities included.
 *
 * I1 an actor that has too much, too little or something else is a difference; none is tolerated.
 * I2 waiting ends: sends that have not arrived when the time is up are reported as lost.
 */
import type { ActorSpace } from "@pinion/client";
import type { Airport, Delays, Route } from "./actors.ts";
import type { ExpectedAnswers, SortedDelays } from "./expected-answers.ts";

export interface Difference {
  /** For instance "airport/ORD". */
  readonly actor: string;
  readonly expected: number;
  readonly actual: number;
  /** The first delays whose counts disagree, for people. */
  readonly where: string;
}

export interface CheckResult {
  /** What the actors said, by key. */
  readonly airports: ReadonlyMap<string, Delays>;
  readonly routes: ReadonlyMap<string, Delays>;
  /** Flights counted by all airports, and by all routes. */
  readonly flightsAtAirports: number;
  readonly flightsOnRoutes: number;
  readonly differences: readonly Difference[];
  /** How long sends were still under way after the last call was answered. */
  readonly waitedMs: number;
}

const IN_FLIGHT = 256;
const PAUSE_MS = 20;
/** Nothing has arrived for so long: nothing is under way any more. */
const QUIET_MS = 4_000;

/** Asks all actors. @param waitMs how long sends may still be under way. */
export async function checkAnswers(
  space: ActorSpace,
  expected: ExpectedAnswers,
  waitMs: number,
): Promise<CheckResult> {
  const airport = (key: string) => space.get<typeof Airport>("airport", key).delays();
  const route = (key: string) => space.get<typeof Route>("route", key).delays();
  const startedAtMs = performance.now();
  const atAirports = await askAll([...expected.airports.keys()], airport);
  const onRoutes = await askAll([...expected.routes.keys()], route);
  // What airports have sent may still be on its way to the routes: ask those again that lack something.
  let arrived = 0;
  let arrivedAtMs = startedAtMs;
  for (;;) {
    const late = [...expected.routes.keys()].filter(
      (key) => total(onRoutes.get(key)!) < expected.routes.get(key)!.length,
    );
    const counted = sum([...onRoutes.values()].map(total));
    if (counted !== arrived) arrivedAtMs = performance.now();
    arrived = counted;
    const nowMs = performance.now();
    const givenUp = nowMs - startedAtMs > waitMs || nowMs - arrivedAtMs > QUIET_MS; // I2
    if (late.length === 0 || givenUp) break;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    for (const [key, answer] of await askAll(late, route)) onRoutes.set(key, answer);
  }
  const waitedMs = performance.now() - startedAtMs;
  return {
    airports: atAirports,
    routes: onRoutes,
    flightsAtAirports: sum([...atAirports.values()].map(total)),
    flightsOnRoutes: sum([...onRoutes.values()].map(total)),
    differences: [
      ...differences("airport", expected.airports, atAirports),
      ...differences("route", expected.routes, onRoutes),
    ],
    waitedMs,
  };
}

/** All keys, a bounded number at a time. */
async function askAll(
  keys: readonly string[],
  ask: (key: string) => Promise<Delays>,
): Promise<Map<string, Delays>> {
  const answers = new Map<string, Delays>();
  const left = keys.values(); // shared by all workers: each key is taken once
  const worker = async (): Promise<void> => {
    for (const key of left) answers.set(key, await ask(key));
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  return answers;
}

function differences(
  type: string,
  expected: ReadonlyMap<string, SortedDelays>,
  actual: ReadonlyMap<string, Delays>,
): Difference[] {
  return [...expected].flatMap(([key, sorted]) => {
    const where = disagreements(sorted, actual.get(key) ?? new Map());
    if (where.length === 0) return [];
    return {
      actor: `${type}/${key}`,
      expected: sorted.length,
      actual: total(actual.get(key) ?? new Map()),
      where: where.slice(0, 3).join(", ") + (where.length > 3 ? ", …" : ""),
    };
  });
}

/** One entry for each delay that does not occur exactly as often as it should (I1). */
function disagreements(sorted: SortedDelays, actual: Delays): string[] {
  const left = new Map(actual);
  const found: string[] = [];
  for (let start = 0, end = 0; start < sorted.length; start = end) {
    const delay = sorted[start]!;
    while (end < sorted.length && sorted[end] === delay) end++;
    const has = left.get(delay) ?? 0;
    if (has !== end - start) found.push(`${delay} min: ${has} instead of ${end - start}`);
    left.delete(delay);
  }
  for (const [delay, has] of left) found.push(`${delay} min: ${has} instead of 0`);
  return found;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const total = (delays: Delays): number => sum([...delays.values()]);
