/** The example of docs/testing-actors.md, and that the document shows it as it is. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineActor, readonly } from "@pinion/runtime";
import { createTestHost } from "@pinion/runtime/testing";
import { expect, test } from "vitest";
import { ROOT } from "../support/program.ts";

const DAY_MS = 24 * 60 * 60_000;

export const Ledger = defineActor("ledger", {
  state: () => ({ bookings: new Map<string, number>() }),
  methods: {
    book(ctx, customer: string, amount: number) {
      const { bookings } = ctx.state;
      bookings.set(customer, (bookings.get(customer) ?? 0) + amount);
    },
    total: readonly((ctx) => [...ctx.state.bookings.values()].reduce((sum, n) => sum + n, 0)),
  },
});

export const Subscription = defineActor("subscription", {
  state: () => ({ paidUntil: 0, invoices: 0 }),
  methods: {
    start(ctx) {
      ctx.state.paidUntil = ctx.now() + DAY_MS;
      ctx.reminders.set("renewal", { everyMs: DAY_MS }, "renew");
    },
    renew(ctx) {
      ctx.state.paidUntil += DAY_MS;
      ctx.state.invoices += 1;
      ctx.send(Ledger, "main").book(ctx.id.key, 10);
    },
    status: readonly((ctx) => ({ ...ctx.state })),
  },
});

test("a day later there is an invoice", async () => {
  await using host = await createTestHost({ actors: [Subscription, Ledger] });
  const ann = host.client.get(Subscription, "ann");
  await ann.start();
  await host.clock.advance(DAY_MS);
  expect(await ann.status()).toMatchObject({ invoices: 1 });
});

test("an invoice is booked exactly once, wherever the power goes", async () => {
  for (let nth = 1; nth <= 12; nth++) {
    await using host = await createTestHost({ actors: [Subscription, Ledger], seed: nth });
    const ann = host.client.get(Subscription, "ann");
    await ann.start();
    const crashed = host.crashAt({ at: "operation", nth });
    const renewed = ann.renew();
    await Promise.race([crashed, renewed]);
    await host.restart(); // also where the power did not go
    await host.until(renewed);
    await host.clock.advance(1_000); // the send is delivered
    expect(await host.client.get(Ledger, "main").total()).toBe(10);
  }
});

test("docs/testing-actors.md shows this code", () => {
  const document = readFileSync(join(ROOT, "docs/testing-actors.md"), "utf8");
  const own = readFileSync(import.meta.filename, "utf8");
  const blocks = [...document.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code as string);
  expect(blocks.length).toBeGreaterThan(2);
  for (const block of blocks) expect(own).toContain(block);
});
