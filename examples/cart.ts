/**
 * Two actors of a shop: the example of the README.
 *
 *     npm run pinion -- dev examples/cart.ts
 */
import { defineActor, readonly } from "@pinion/runtime";

export const Stock = defineActor("stock", {
  state: () => ({ sold: 0 }),
  methods: { sell: (ctx, count: number) => (ctx.state.sold += count) },
});

export const Cart = defineActor("cart", {
  state: () => ({ items: new Map<string, number>() }),
  methods: {
    add(ctx, item: string, count: number) {
      ctx.state.items.set(item, (ctx.state.items.get(item) ?? 0) + count);
      ctx.reminders.set("forgotten", { afterMs: 24 * 3_600_000 }, "clear");
    },
    checkout(ctx) {
      if (ctx.state.items.size === 0) throw new Error("the cart is empty");
      for (const [item, count] of ctx.state.items) ctx.send(Stock, item).sell(count);
      ctx.state.items.clear(); // the sends and this: both happen, or neither
    },
    clear: (ctx) => ctx.state.items.clear(),
    items: readonly((ctx) => ctx.state.items),
  },
});
