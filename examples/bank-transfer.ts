/**
 * Money between accounts: calls from actor to actor, errors that arrive as errors, and methods that only read.
 *
 *     npm run example examples/bank-transfer.ts
 *
 * A transfer is an actor of its own, named by whoever asks for it. Asking twice (a retry, an impatient user) makes one
 * transfer, because the second call finds it done.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isPinionError } from "@pinion/core";
import { defineActor, readonly, startHost } from "@pinion/runtime";

class InsufficientFunds extends Error {
  override readonly name = "InsufficientFunds";
}

function assertAmount(amount: number): void {
  if (!(amount > 0)) throw new RangeError(`an amount must be positive, not ${amount}`);
}

export const Account = defineActor("account", {
  state: () => ({ balance: 0 }),
  methods: {
    deposit(ctx, amount: number) {
      assertAmount(amount);
      ctx.state.balance += amount;
    },
    withdraw(ctx, amount: number) {
      assertAmount(amount);
      const { balance } = ctx.state;
      // A method that throws has changed nothing; its caller gets the error.
      if (balance < amount)
        throw new InsufficientFunds(`${ctx.id.key} has ${balance}, not ${amount}`);
      ctx.state.balance -= amount;
    },
    balance: readonly((ctx) => ctx.state.balance),
  },
});

export const Transfer = defineActor("transfer", {
  state: () => ({ status: "new" as "new" | "done" }),
  methods: {
    async run(ctx, from: string, to: string, amount: number) {
      if (ctx.state.status === "done") return "was done before";
      // Each awaited call is applied once, even if this turn has to run again after a crash.
      await ctx.get(Account, from).withdraw(amount);
      await ctx.get(Account, to).deposit(amount);
      ctx.state.status = "done";
      return "done";
    },
  },
});

// True when this file is the program, not a module that `pinion dev` has loaded.
if (import.meta.main) {
  const dataDir = await mkdtemp(join(tmpdir(), "pinion-bank-"));
  const host = await startHost({ actors: [Account, Transfer], dataDir, port: 0, adminPort: 0 });
  const { client } = host;
  const account = (name: string) => client.get(Account, name);
  const transfer = (id: string) => client.get(Transfer, id);

  await account("ada").deposit(100);
  console.log("transfer of 70:      ", await transfer("t1").run("ada", "bob", 70));
  console.log("the same once more:  ", await transfer("t1").run("ada", "bob", 70));
  try {
    await transfer("t2").run("ada", "bob", 70);
  } catch (e) {
    if (!isPinionError(e, "actor-error")) throw e;
    console.log("another one of 70:   ", `${e.userName}: ${e.message}`);
  }
  console.log(
    "ada and bob now have:",
    await account("ada").balance(),
    await account("bob").balance(),
  );

  await host.stop();
  await rm(dataDir, { recursive: true });
}
