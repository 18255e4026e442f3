/**
 * The smallest actor.
 *
 *     npm run pinion -- dev examples/counter.ts
 *
 * and from another terminal: npm run pinion -- call counter/visits increment 3
 */
import { defineActor, readonly } from "@pinion/runtime";

export const Counter = defineActor("counter", {
  state: () => ({ value: 0 }),
  methods: {
    increment: (ctx, by: number = 1) => (ctx.state.value += by),
    value: readonly((ctx) => ctx.state.value),
  },
});
