/**
 * What the actors must answer, computed without them: the delays of every airport and route as plain sorted lists, each
 * flight repeated as often as it was sent. It shares no code with actors.ts, so that the two cannot be wrong together.
 */
import type { Flight } from "./flight-records.ts";

/** All delays in minutes, ascending, with repetitions. */
export type SortedDelays = Int16Array;

export interface ExpectedAnswers {
  /** By airport code. */
  readonly airports: ReadonlyMap<string, SortedDelays>;
  /** By "origin-destination". */
  readonly routes: ReadonlyMap<string, SortedDelays>;
}

/**
 * @param sent how many records were streamed in all, over and over in the file's order: every flight was sent
 *   ⌊sent / flights⌋ times, and those before the place where the last pass ended once more.
 */
export function expectedAnswers(flights: readonly Flight[], sent: number): ExpectedAnswers {
  const passes = Math.floor(sent / flights.length);
  const inLastPass = sent % flights.length;
  const timesSent = (index: number): number => passes + (index < inLastPass ? 1 : 0);
  return {
    airports: sortedDelays(flights, timesSent, (flight) => flight.origin),
    routes: sortedDelays(flights, timesSent, (flight) => `${flight.origin}-${flight.destination}`),
  };
}

function sortedDelays(
  flights: readonly Flight[],
  timesSent: (index: number) => number,
  groupOf: (flight: Flight) => string,
): Map<string, SortedDelays> {
  const groups = Map.groupBy(flights.keys(), (index) => groupOf(flights[index]!));
  return new Map(
    [...groups].map(([group, members]) => {
      const delays = members.flatMap((i) => Array<number>(timesSent(i)).fill(flights[i]!.delay));
      return [group, Int16Array.from(delays).sort()];
    }),
  );
}
