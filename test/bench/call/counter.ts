/** The benchmark's actor. */
import { defineActor, readonly } from "@pinion/runtime";

export const Counter = defineActor("counter", {
  state: () => ({ n: 0 }),
  methods: {
    increment(ctx, by: number) {
      return (ctx.state.n += by);
    },
    value: readonly((ctx) => ctx.state.n),
  },
});
