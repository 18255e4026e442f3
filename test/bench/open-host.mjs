/**
 * Opens a host from the built packages, as a user's program would, and says how long that took. Argument: the data directory. Plain
 * JavaScript, so that no compiler is loaded that a built program would not load either.
 */
import { defineActor, readonly, startHost } from "@pinion/runtime";

const [dataDir] = process.argv.slice(2);
const Counter = defineActor("counter", {
  state: () => ({ n: 0 }),
  methods: {
    increment: (ctx, by) => (ctx.state.n += by),
    value: readonly((ctx) => ctx.state.n),
  },
});

const beganMs = performance.now();
const host = await startHost({
  actors: [Counter],
  dataDir,
  port: 0,
  adminPort: 0,
  logLevel: "silent",
});
const servesMs = performance.now();
const value = await host.client.get(Counter, "c0").value();
await host.stop();
console.log(
  JSON.stringify({
    value,
    openMs: servesMs - beganMs,
    sinceNodeMs: servesMs - performance.nodeTiming.bootstrapComplete,
  }),
);
