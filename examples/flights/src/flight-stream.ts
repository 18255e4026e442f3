/**
 * Streams flights to the airport actors: over and over in the file's order, a bounded number of calls at a time, until the
 * time is up. A host that goes away is no concern of this file: the client sends the same calls again with the same ids
 * when it is back.
 *
 * I1 records 0 … sent − 1 were each sent once and answered: there are no gaps to remember.
 */
import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import type { ActorRef, ActorSpace } from "@pinion/client";
import type { Airport } from "./actors.ts";
import type { Flight } from "./flight-records.ts";

export type Fault = "none" | "loss" | "double";

/** Grows while the stream runs. */
export interface StreamStats {
  /** Calls answered: what they changed is on the host's disk. */
  acknowledged: number;
  /** From call to answer, µs. */
  readonly latencyUs: RecordableHistogram;
}

export const newStreamStats = (): StreamStats => ({
  acknowledged: 0,
  latencyUs: createHistogram(),
});

export interface StreamOptions {
  readonly durationMs: number;
  /** Calls under way at a time. */
  readonly inFlight: number;
  readonly signal: AbortSignal;
  /** Leaves out one record, or sends one twice, without counting it: the check at the end must notice. */
  readonly fault: Fault;
}

/** Resolves, with the number of records sent, once every one of them is answered. Rejects with the first call's error. */
export async function streamFlights(
  space: ActorSpace,
  flights: readonly Flight[],
  stats: StreamStats,
  options: StreamOptions,
): Promise<number> {
  const airports = new Map<string, ActorRef<typeof Airport>>();
  const airport = (code: string): ActorRef<typeof Airport> => {
    let ref = airports.get(code);
    if (ref === undefined) airports.set(code, (ref = space.get<typeof Airport>("airport", code)));
    return ref;
  };
  const endAtMs = performance.now() + options.durationMs;
  const faultyIndex = options.fault === "none" ? -1 : 100;
  let next = 0;
  let failed = false;

  const worker = async (): Promise<void> => {
    for (;;) {
      const startMs = performance.now();
      if (startMs >= endAtMs || failed || options.signal.aborted) return;
      const index = next++;
      const { origin, destination, delay } = flights[index % flights.length]!;
      if (index === faultyIndex) {
        if (options.fault === "loss") continue;
        await airport(origin).departed(destination, delay);
      }
      await airport(origin).departed(destination, delay);
      stats.acknowledged++;
      stats.latencyUs.record(Math.max(1, Math.round((performance.now() - startMs) * 1000)));
    }
  };
  const workers = Array.from({ length: options.inFlight }, async () => {
    try {
      await worker();
    } catch (e) {
      failed = true;
      throw e;
    }
  });
  await Promise.all(workers);
  return next; // I1
}
