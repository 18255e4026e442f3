/**
 * The benchmark's module with a probe: the pauses of the thread it is loaded into, since they were last asked for.
 */
import { PerformanceObserver } from "node:perf_hooks";
import { defineActor, readonly } from "@pinion/runtime";

export { Counter } from "./counter.ts";

let pauses: number[] = [];
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) pauses.push(duration);
}).observe({ entryTypes: ["gc"] });

export const PauseProbe = defineActor("pause-probe", {
  state: () => ({}),
  methods: {
    /** Durations of garbage collections, ms. */
    take: readonly(() => {
      const taken = pauses;
      pauses = [];
      return taken;
    }),
  },
});
