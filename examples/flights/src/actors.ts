/**
 * The actors of the flights example. An actor is an addressable object with durable state: `airport/JFK` exists as soon as
 * somebody calls it, runs one method at a time, and has every change on disk before the caller gets its answer.
 */
import { defineActor, readonly } from "@pinion/runtime";

/** Minutes of delay → flights with that delay. Early departures are negative. An exact multiset: nothing is sampled. */
export type Delays = Map<number, number>;

function count(delays: Delays, delayMin: number): void {
  delays.set(delayMin, (delays.get(delayMin) ?? 0) + 1);
}

/** One per pair of airports, for instance `route/JFK-LAX`. */
export const Route = defineActor("route", {
  state: () => ({ delays: new Map() as Delays }),
  methods: {
    record(ctx, delayMin: number) {
      count(ctx.state.delays, delayMin);
    },
    delays: readonly((ctx): Delays => ctx.state.delays),
  },
});

/** One per airport, for instance `airport/JFK`: the delays of its departures. */
export const Airport = defineActor("airport", {
  state: () => ({ delays: new Map() as Delays }),
  methods: {
    /** Called once per flight by the client. Both changes happen, or neither, however often the host dies. */
    departed(ctx, destination: string, delayMin: number) {
      count(ctx.state.delays, delayMin);
      // Leaves when this turn is on disk, arrives exactly once, and nobody waits for it.
      ctx.send(Route, `${ctx.id.key}-${destination}`).record(delayMin);
    },
    /** Changes nothing, so it may run while another call waits. */
    delays: readonly((ctx): Delays => ctx.state.delays),
  },
});
