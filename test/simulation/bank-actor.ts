/**
 * The actors of the crash simulation. Every operation carries an id of its own and leaves it in the state of each actor it is
 * meant to reach, so that an oracle can count: exactly once is 1, lost is 0, doubled is 2.
 *
 * | id left behind | by |
 * |---|---|
 * | `op` | the turn of the operation itself |
 * | `op>` | the call or send it makes to another actor |
 * | `op<` | the call that comes back to it (reentrancy) |
 */
import { defineActor, readonly } from "@pinion/runtime";

export interface BankState {
  total: number;
  /** Times an operation was applied here. */
  applied: Map<string, number>;
  /** "<operation that set the reminder>@<due time>" of reminders that ran, with how often. */
  dues: Map<string, number>;
  /** Operation that set the reminder; "" while there is none. */
  setting: string;
  /** Reminders that ran although they had been cancelled or replaced. */
  strays: string[];
}

const initialState = (): BankState => ({
  total: 0,
  applied: new Map(),
  dues: new Map(),
  setting: "",
  strays: [],
});

function apply(state: BankState, op: string, amount: number): number {
  state.total += amount;
  state.applied.set(op, (state.applied.get(op) ?? 0) + 1);
  return state.applied.get(op) as number;
}

/** What a reader is shown. */
export interface Shown {
  readonly total: number;
  readonly applied: readonly [string, number][];
  readonly dues: readonly [string, number][];
  readonly strays: readonly string[];
}

const shown = (state: BankState): Shown => ({
  total: state.total,
  applied: [...state.applied],
  dues: [...state.dues],
  strays: [...state.strays],
});

/** @param ranEffect called by every run of an effect, outside of everything that a crash takes back; throws to fail it */
export function bankActors(ranEffect: (op: string, attempt: number) => void) {
  const Bank = defineActor("bank", {
    state: initialState,
    methods: {
      /** Returns how often this operation has been applied: 1, always. */
      add(ctx, op: string, amount: number): number {
        return apply(ctx.state, op, amount);
      },
      /** Adds here, then waits for the other account; a crash in between runs the turn again. */
      async transfer(ctx, op: string, to: string, amount: number): Promise<unknown> {
        apply(ctx.state, op, -amount);
        const there = await ctx.get(Bank, to).add(`${op}>`, amount);
        return [ctx.state.applied.get(op), there];
      },
      /** As `transfer`, but asks first and then decides by chance: a rerun must decide alike. */
      async gamble(ctx, op: string, to: string): Promise<unknown> {
        const chance = ctx.random();
        const before = (await ctx.get(Bank, to).read()).total;
        // Another number of calls before the one that counts: a rerun that decides otherwise would name it otherwise.
        if (chance < 0.5) await ctx.get(Bank, to).read();
        await ctx.get(Bank, to).add(`${op}>`, 1);
        apply(ctx.state, op, -1);
        return Number.isInteger(before) ? ctx.state.applied.get(op) : -1;
      },
      /** Adds here and sends to the other account. */
      post(ctx, op: string, to: string, amount: number): number {
        ctx.send(Bank, to).add(`${op}>`, amount);
        return apply(ctx.state, op, -amount);
      },
      /** Changes something, then throws: nothing of it may be seen. */
      fail(ctx, op: string): void {
        apply(ctx.state, op, 1_000_000);
        ctx.send(Bank, "nobody").add(`${op}>`, 1);
        ctx.afterCommit("tell", op);
        throw new RangeError(`no: ${op}`);
      },
      /** Throws by what it finds: a retry that ran again might not. */
      moody(ctx, op: string): number {
        if (ctx.state.applied.size % 2 === 0) throw new RangeError(`no: ${op}`);
        return apply(ctx.state, op, 0);
      },
      /** Changes something, waits while others may look, then throws. */
      async failLate(ctx, op: string, to: string): Promise<void> {
        apply(ctx.state, op, 1_000_000);
        await ctx.get(Bank, to).add(`${op}>`, 1);
        throw new RangeError(`no: ${op}`);
      },
      notify(ctx, op: string): number {
        ctx.afterCommit("tell", op);
        return apply(ctx.state, op, 0);
      },
      remind(ctx, op: string, everyMs: number): number {
        ctx.reminders.set("tick", { everyMs, missed: "all" }, "tick", op);
        ctx.state.setting = op;
        return apply(ctx.state, op, 0);
      },
      stopReminding(ctx, op: string): number {
        ctx.reminders.cancel("tick");
        ctx.state.setting = "";
        return apply(ctx.state, op, 0);
      },
      tick(ctx, op: string): void {
        const due = `${op}@${ctx.reminder?.due.getTime() ?? -1}`;
        ctx.state.dues.set(due, (ctx.state.dues.get(due) ?? 0) + 1);
        if (ctx.state.setting !== op) ctx.state.strays.push(due);
      },
      read: readonly((ctx): Shown => shown(ctx.state)),
    },
    effects: {
      tell: (ctx, op: string) => ranEffect(op, ctx.attempt),
    },
  });

  /** Lets the chain of its own calls come back in: what it did until then is committed early. */
  const Pal = defineActor("pal", {
    state: initialState,
    reentrancy: "callChain",
    methods: {
      async relay(ctx, op: string, to: string): Promise<unknown> {
        apply(ctx.state, op, -1);
        const there = await ctx.get(Pal, to).bounce(op, ctx.id.key);
        return [ctx.state.applied.get(op), there];
      },
      async bounce(ctx, op: string, back: string): Promise<unknown> {
        const there = apply(ctx.state, `${op}>`, 1);
        await ctx.get(Pal, back).comeBack(op);
        return there;
      },
      comeBack(ctx, op: string): unknown {
        return apply(ctx.state, `${op}<`, 0);
      },
      read: readonly((ctx): Shown => shown(ctx.state)),
    },
  });
  return [Bank, Pal] as const;
}
