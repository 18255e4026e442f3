/**
 * The actor of the crash simulation. Every operation carries an id of its own and leaves it in the state of each actor it is
 * meant to reach, so that an oracle can count: exactly once is 1, lost is 0, doubled is 2.
 */
import { defineActor, readonly } from "@pinion/runtime";

export interface BankState {
  total: number;
  /** Times an operation was applied here. */
  applied: Map<string, number>;
  /** Due times of reminders that ran, with how often. */
  dues: Map<number, number>;
}

function apply(state: BankState, op: string, amount: number): number {
  state.total += amount;
  state.applied.set(op, (state.applied.get(op) ?? 0) + 1);
  return state.applied.get(op) as number;
}

export const Bank = defineActor("bank", {
  state: (): BankState => ({ total: 0, applied: new Map(), dues: new Map() }),
  methods: {
    /** Returns how often this operation has been applied: 1, always. */
    add(ctx, op: string, amount: number) {
      return apply(ctx.state, op, amount);
    },
    /** Adds here, then waits for the other account; a crash in between runs the turn again. */
    async transfer(ctx, op: string, to: string, amount: number) {
      apply(ctx.state, op, -amount);
      const there = await ctx.get(Bank, to).add(`${op}>`, amount);
      return [ctx.state.applied.get(op), there];
    },
    /** Adds here and sends to the other account. */
    post(ctx, op: string, to: string, amount: number) {
      ctx.send(Bank, to).add(`${op}>`, amount);
      return apply(ctx.state, op, -amount);
    },
    /** Changes something, then throws: nothing of it may be seen. */
    fail(ctx, op: string) {
      apply(ctx.state, op, 1_000_000);
      ctx.send(Bank, "nobody").add(`${op}>`, 1);
      throw new RangeError(`no: ${op}`);
    },
    remind(ctx, op: string, everyMs: number) {
      ctx.reminders.set("tick", { everyMs, missed: "all" }, "tick");
      return apply(ctx.state, op, 0);
    },
    stopReminding(ctx, op: string) {
      ctx.reminders.cancel("tick");
      return apply(ctx.state, op, 0);
    },
    tick(ctx) {
      const due = ctx.reminder?.due.getTime() ?? -1;
      ctx.state.dues.set(due, (ctx.state.dues.get(due) ?? 0) + 1);
    },
    read: readonly((ctx) => ({
      total: ctx.state.total,
      applied: [...ctx.state.applied],
      dues: [...ctx.state.dues],
    })),
  },
});
