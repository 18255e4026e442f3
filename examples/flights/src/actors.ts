/**
 * The actors of the flights example. An actor is an addressable object with durable state: `airport/JFK` exists as soon as
 * somebody calls it, runs one method at a time, and has every change on disk before the caller gets its answer.
 */
import { defineActor, readonly } from "@pinion/runtime";
import { column, memoryDoor } from "@pinion/storage";

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

/**
 * One per airport, for instance `airport/JFK`: the delay of every departure, one by one, in a column. A column is an extent: data
 * outside the JavaScript heap that may grow far beyond it, committed together with everything else its turn does.
 */
export const Airport = defineActor("airport", {
  state: () => ({}),
  memory: { extents: { delays: column("i32") } },
  methods: {
    /** Called once per flight by the client. Both changes happen, or neither, however often the host dies. */
    async departed(ctx, destination: string, delayMin: number) {
      await ctx.extents.delays.append(delayMin);
      // Leaves when this turn is on disk, arrives exactly once, and nobody waits for it.
      ctx.send(Route, `${ctx.id.key}-${destination}`).record(delayMin);
    },
    /** Changes nothing, so it may run while another call waits. */
    delays: readonly(async (ctx): Promise<Delays> => {
      const delays: Delays = new Map();
      for await (const { values } of ctx.extents.delays.scan())
        for (const delayMin of values) count(delays, delayMin);
      return delays;
    }),
  },
});

/** The minutes of row `row` in a history: made up, so that whoever fills it and whoever checks it need not meet. */
const minutesOf = (row: number): number => row % 1_009;

/** All delays of a century in one actor: far more than a JavaScript heap holds. */
export const History = defineActor("history", {
  state: () => ({}),
  maxTurnMs: 120_000,
  memory: {
    profile: "hot",
    extents: { minutes: column("f64", { encoding: "plain", use: "scan" }) },
  },
  methods: {
    /** One call changes at most 16 MiB: two million rows. */
    async extend(ctx, rows: number) {
      const from = await ctx.extents.minutes.length;
      const minutes = new Float64Array(rows);
      for (let i = 0; i < rows; i++) minutes[i] = minutesOf(from + i);
      await ctx.extents.minutes.appendMany(minutes);
    },
    /** Reads every row once. */
    scan: readonly(async (ctx) => {
      const faults = (): number | undefined => memoryDoor().facts().majorFaults;
      const rows = await ctx.extents.minutes.length;
      const faultsBefore = faults();
      const startMs = performance.now();
      const sum = await ctx.extents.minutes.sum();
      const tookMs = performance.now() - startMs;
      const heapBytes = process.memoryUsage().heapUsed;
      return { rows, sum, tookMs, faultsBefore, faultsAfter: faults(), heapBytes };
    }),
    memory: readonly((ctx) => ctx.memory.stats()),
    rest(ctx) {
      ctx.deactivate();
    },
  },
});
