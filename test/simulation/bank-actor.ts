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
import { defineActor, readonly, type ExtentHandles } from "@pinion/runtime";
import { column, map } from "@pinion/storage";

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

/** Everything that is applied is also written into two extents: a column of the amounts, and a map of how often each operation was. */
const extents = { amounts: column("f64"), marks: map({ key: "string" }) };
interface Account {
  readonly state: BankState;
  readonly extents: ExtentHandles<typeof extents>;
}

async function apply(ctx: Account, op: string, amount: number): Promise<number> {
  await ctx.extents.amounts.append(amount);
  const times = (ctx.state.applied.get(op) ?? 0) + 1;
  await ctx.extents.marks.set(op, times);
  ctx.state.total += amount;
  ctx.state.applied.set(op, times);
  return times;
}

/** What a reader is shown. */
export interface Shown {
  readonly total: number;
  readonly applied: readonly [string, number][];
  readonly dues: readonly [string, number][];
  readonly strays: readonly string[];
}

/** State and extents are written by the same turns: where they disagree, a reader is shown a stray. */
async function shown(ctx: Account): Promise<Shown> {
  const { state } = ctx;
  const seen = {
    total: state.total,
    applied: [...state.applied],
    dues: [...state.dues],
    strays: [...state.strays],
  };
  const { amounts, marks } = ctx.extents;
  const sum = (await amounts.length) === 0 ? 0 : await amounts.sum();
  if (sum !== seen.total) seen.strays.push(`the amounts add up to ${sum}, not ${seen.total}`);
  const found: [string, unknown][] = [];
  for await (const entry of marks.range()) found.push(entry);
  const expected = [...seen.applied].sort(([a], [b]) => (a < b ? -1 : 1));
  if (JSON.stringify(found) !== JSON.stringify(expected))
    seen.strays.push(`marks ${JSON.stringify(found)} for ${JSON.stringify(expected)}`);
  return seen;
}

/** @param ranEffect called by every run of an effect, outside of everything that a crash takes back; throws to fail it */
export function bankActors(ranEffect: (op: string, attempt: number) => void) {
  const Bank = defineActor("bank", {
    state: initialState,
    memory: { profile: "hot", extents },
    methods: {
      /** Returns how often this operation has been applied: 1, always. */
      async add(ctx, op: string, amount: number): Promise<number> {
        return apply(ctx, op, amount);
      },
      /** Adds here, then waits for the other account; a crash in between runs the turn again. */
      async transfer(ctx, op: string, to: string, amount: number): Promise<unknown> {
        await apply(ctx, op, -amount);
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
        await apply(ctx, op, -1);
        return Number.isInteger(before) ? ctx.state.applied.get(op) : -1;
      },
      /** Adds here and sends to the other account. */
      async post(ctx, op: string, to: string, amount: number): Promise<number> {
        ctx.send(Bank, to).add(`${op}>`, amount);
        return apply(ctx, op, -amount);
      },
      /** Changes something, then throws: nothing of it may be seen. */
      async fail(ctx, op: string): Promise<void> {
        await apply(ctx, op, 1_000_000);
        ctx.send(Bank, "nobody").add(`${op}>`, 1);
        ctx.afterCommit("tell", op);
        throw new RangeError(`no: ${op}`);
      },
      /** Throws by what it finds: a retry that ran again might not. */
      async moody(ctx, op: string): Promise<number> {
        if (ctx.state.applied.size % 2 === 0) throw new RangeError(`no: ${op}`);
        return apply(ctx, op, 0);
      },
      /** Changes something, waits while others may look, then throws. */
      async failLate(ctx, op: string, to: string): Promise<void> {
        await apply(ctx, op, 1_000_000);
        await ctx.get(Bank, to).add(`${op}>`, 1);
        throw new RangeError(`no: ${op}`);
      },
      async notify(ctx, op: string): Promise<number> {
        ctx.afterCommit("tell", op);
        return apply(ctx, op, 0);
      },
      async remind(ctx, op: string, everyMs: number): Promise<number> {
        ctx.reminders.set("tick", { everyMs, missed: "all" }, "tick", op);
        ctx.state.setting = op;
        return apply(ctx, op, 0);
      },
      async stopReminding(ctx, op: string): Promise<number> {
        ctx.reminders.cancel("tick");
        ctx.state.setting = "";
        return apply(ctx, op, 0);
      },
      tick(ctx, op: string): void {
        const due = `${op}@${ctx.reminder?.due.getTime() ?? -1}`;
        ctx.state.dues.set(due, (ctx.state.dues.get(due) ?? 0) + 1);
        if (ctx.state.setting !== op) ctx.state.strays.push(due);
      },
      read: readonly((ctx): Promise<Shown> => shown(ctx)),
    },
    effects: {
      tell: (ctx, op: string) => ranEffect(op, ctx.attempt),
    },
  });

  /** Lets the chain of its own calls come back in: what it did until then is committed early. */
  const Pal = defineActor("pal", {
    state: initialState,
    memory: { profile: "cold", extents },
    reentrancy: "callChain",
    methods: {
      async relay(ctx, op: string, to: string): Promise<unknown> {
        await apply(ctx, op, -1);
        const there = await ctx.get(Pal, to).bounce(op, ctx.id.key);
        return [ctx.state.applied.get(op), there];
      },
      async bounce(ctx, op: string, back: string): Promise<unknown> {
        const there = await apply(ctx, `${op}>`, 1);
        await ctx.get(Pal, back).comeBack(op);
        return there;
      },
      async comeBack(ctx, op: string): Promise<unknown> {
        return apply(ctx, `${op}<`, 0);
      },
      read: readonly((ctx): Promise<Shown> => shown(ctx)),
    },
  });
  return [Bank, Pal] as const;
}
