/** The actors of the soak test: their state stays small, so that whatever grows is the host's. */
import type { ActorType } from "@pinion/core";
import { defineActor, readonly } from "@pinion/runtime";

/** The actor as its own methods see another one: its inferred type would be circular. */
type Other = ActorType<"soak", { add: (ctx: never, amount: number) => number }>;

export const Soak = defineActor("soak", {
  state: () => ({ total: 0, recent: [] as number[] }),
  methods: {
    add(ctx, amount: number): number {
      ctx.state.recent.push(amount);
      if (ctx.state.recent.length > 20) ctx.state.recent.shift();
      return (ctx.state.total += amount);
    },
    async transfer(ctx, to: string, amount: number): Promise<void> {
      ctx.state.total -= amount;
      await ctx.get<Other>("soak", to).add(amount);
    },
    post(ctx, to: string, amount: number): void {
      ctx.state.total -= amount;
      ctx.send<Other>("soak", to).add(amount);
    },
    timer(ctx): void {
      ctx.setTimer(5, "add", 1);
    },
    read: readonly((ctx): number => ctx.state.total),
    fail(ctx): void {
      ctx.state.total = 1e9;
      throw new RangeError("as asked");
    },
  },
});
