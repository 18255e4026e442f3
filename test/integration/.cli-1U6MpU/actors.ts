import { defineActor, readonly } from "@pinion/runtime";
import { STEP } from "./step.ts";

export const Counter = defineActor("counter", {
  state: () => ({ value: 0, seen: new Map() }),
  methods: {
    increment: (ctx, by = STEP) => (ctx.state.value += by),
    hang: () => new Promise(() => {}),
    fail() { throw new RangeError("never again"); },
    store(ctx, key, value) { ctx.state.seen.set(key, value); return ctx.state.seen; },
    echo: (ctx, ...args) => args,
    value: readonly((ctx) => ctx.state.value),
  },
});