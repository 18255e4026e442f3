/** What a review found by running it: each was a lost effect, or a host that could not start again. */
import { isPinionError } from "@pinion/core";
import { expect, test } from "vitest";
import { defineActor, readonly, type ActorDefinition } from "../definition/define-actor.ts";
import { ByteReader, ByteWriter } from "../records/byte-codec.ts";
import { createTestHost } from "../testing/index.ts";

const Sink = defineActor("sink", {
  state: () => ({ sent: 0, called: 0 }),
  methods: {
    send: (ctx) => void ctx.state.sent++,
    call: (ctx) => ++ctx.state.called,
    counts: readonly((ctx) => [ctx.state.sent, ctx.state.called]),
  },
});
const Source = defineActor("source", {
  state: () => ({ n: 0 }),
  methods: {
    arm(ctx, name: string, afterMs: number) {
      ctx.reminders.set(name, { afterMs }, "ring");
    },
    async ring(ctx) {
      ctx.state.n++;
      ctx.send(Sink, "one").send();
      await ctx.get(Sink, "one").call();
    },
    forget(ctx) {
      ctx.state.n++;
      void ctx.get(Sink, "one").call();
      return ctx.state.n;
    },
  },
});
const actors: ActorDefinition[] = [Sink, Source];
const source = (host: Awaited<ReturnType<typeof createTestHost>>, key: string) =>
  host.client.get<typeof Source>("source", key);
const sink = (host: Awaited<ReturnType<typeof createTestHost>>) =>
  host.client.get<typeof Sink>("sink", "one");

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    return isPinionError(error) ? error.code : String(error);
  }
  return "answered";
}

test("equal reminders of many actors each have their own effects", async () => {
  await using host = await createTestHost({ actors });
  await Promise.all(Array.from({ length: 10 }, (_, i) => source(host, `s${i}`).arm("same", 50)));
  await host.clock.advance(2_000);
  expect(await sink(host).counts()).toEqual([10, 10]);
});

test("a number that the reader of a record refuses is refused when it is written", () => {
  for (const bad of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
    expect(() => new ByteWriter().varint(bad)).toThrow("whole number");
  }
  const w = new ByteWriter();
  w.varint(Number.MAX_SAFE_INTEGER);
  expect(new ByteReader(w.view(), "test").varint()).toBe(Number.MAX_SAFE_INTEGER);
});

test("delays, keys and names that would stop a restart or a checkpoint are refused, and nothing is lost", async () => {
  await using host = await createTestHost({ actors });
  expect(await codeOf(source(host, "a").arm("far", 1e17))).toBe("invalid-argument");
  expect(await codeOf(source(host, "a").arm("nul\u0000", 10))).toBe("invalid-argument");
  const keyed = (idempotencyKey: string, idempotencyTtlMs = 1_000) =>
    codeOf(sink(host).with({ idempotencyKey, idempotencyTtlMs }).call());
  expect(await keyed("a\u0000b")).toBe("invalid-argument");
  expect(await keyed("k", Number.MAX_SAFE_INTEGER)).toBe("invalid-argument");
  expect(await keyed("k")).toBe("answered");
  host.crash();
  await host.restart();
  expect(await sink(host).counts()).toEqual([0, 1]);
});

test("a call that is not awaited ends nobody's process, and the turn warns of it", async () => {
  await using host = await createTestHost({ actors });
  expect(await source(host, "a").forget()).toBe(1);
  await host.clock.advance(1_000);
  expect(host.warnings.map((w) => w.message).join()).toContain("is an await missing?");
});
