/** The code of docs/actors.md, and that the document shows it as it is. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineActor, readonly } from "@pinion/runtime";
import { createTestHost } from "@pinion/runtime/testing";
import { column, map } from "@pinion/storage";
import { expect, test } from "vitest";
import { ROOT } from "../support/program.ts";

export const Account = defineActor("account", {
  state: () => ({ cents: 0, seen: new Map<string, number>() }),
  methods: {
    deposit(ctx, cents: number) {
      if (!(cents > 0)) throw new RangeError("deposit something");
      ctx.state.seen.set(new Date(ctx.now()).toISOString(), cents);
      return (ctx.state.cents += cents);
    },
    withdraw(ctx, cents: number): number {
      if (ctx.state.cents < cents) throw new RangeError(`only ${ctx.state.cents} left`);
      return (ctx.state.cents -= cents);
    },
    async moveTo(ctx, other: string, cents: number): Promise<number> {
      ctx.state.cents -= cents;
      await ctx.get(Account, other).deposit(cents);
      return ctx.state.cents;
    },
    balance: readonly((ctx) => ctx.state.cents),
  },
});

export const Sensor = defineActor("sensor", {
  state: () => ({ unit: "°C" }),
  memory: {
    profile: "hot",
    extents: { readings: column("f64"), notes: map({ key: "string" }) },
  },
  methods: {
    async record(ctx, values: number[]) {
      await ctx.extents.readings.appendMany(values);
    },
    async note(ctx, day: string, text: string) {
      await ctx.extents.notes.set(day, text);
    },
    mean: readonly((ctx) => ctx.extents.readings.mean()),
    /** A loop over what is in memory: no promise for each value. */
    rises: readonly((ctx) => {
      const readings = ctx.extents.readings.view();
      let count = 0;
      for (let row = 1; row < readings.length; row++)
        if (readings.get(row) > readings.get(row - 1)) count++;
      return count;
    }),
    notesOf: readonly(async (ctx, month: string) => {
      const found: string[] = [];
      for await (const [, text] of ctx.extents.notes.prefix(month)) found.push(String(text));
      return found;
    }),
    memory: readonly((ctx) => ctx.memory.stats()),
  },
});

export const Profile = defineActor("profile", {
  state: () => ({ name: { first: "", last: "" } }),
  migrate: [
    // 1 → 2: the name was one text.
    (old) => {
      const [first = "", last = ""] = (old as { name: string }).name.split(" ");
      return { name: { first, last } };
    },
  ],
  methods: { get: readonly((ctx) => ({ ...ctx.state.name })) },
});

test("accounts do what the guide says", async () => {
  await using host = await createTestHost({ actors: [Account, Profile] });
  const ada = host.client.get(Account, "ada");
  const once = ada.with({ idempotencyKey: "order 17" });
  expect([await once.deposit(500), await once.deposit(500)]).toEqual([500, 500]);
  expect(await ada.moveTo("bob", 200)).toBe(300);
  expect(await host.client.get(Account, "bob").balance()).toBe(200);
  await expect(ada.withdraw(1_000)).rejects.toMatchObject({ code: "actor-error" });
  await expect(ada.moveTo("bob", -1)).rejects.toThrow("deposit something");
  expect(await ada.balance()).toBe(300);
  expect(await host.client.get(Profile, "ada").get()).toEqual({ first: "", last: "" });
});

test("a sensor keeps its readings beside its state, across a crash", async () => {
  await using host = await createTestHost({ actors: [Sensor] });
  const roof = host.client.get(Sensor, "roof");
  await roof.record([20, 21, 19, 24]);
  await roof.note("2026-11-27", "first frost");
  await roof.note("2026-12-01", "snow");
  host.crash();
  await host.restart();
  expect(await roof.mean()).toBe(21);
  expect(await roof.rises()).toBe(2);
  expect(await roof.notesOf("2026-11")).toEqual(["first frost"]);
  const { lengthBytes, residentBytes, extents } = await roof.memory();
  expect(residentBytes).toBe(lengthBytes);
  expect(extents["readings"]?.degraded).toBeUndefined();
  // Two million values are 16 MiB: more than a turn may change.
  const many = Array.from({ length: 2_100_000 }, (_, i) => Math.sqrt(i));
  await expect(roof.record(many)).rejects.toMatchObject({ code: "write-set-too-large" });
  expect(await roof.mean()).toBe(21);
});

test("docs/actors.md shows this code", () => {
  const document = readFileSync(join(ROOT, "docs/actors.md"), "utf8");
  const own = readFileSync(import.meta.filename, "utf8");
  const blocks = [...document.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code as string);
  expect(blocks.length).toBe(3);
  for (const block of blocks) expect(own).toContain(block);
});
