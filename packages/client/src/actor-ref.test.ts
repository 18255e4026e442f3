import { inspect } from "node:util";
import type { ActorType } from "@pinion/core";
import { describe, expect, expectTypeOf, it } from "vitest";
import { actorIdOf } from "./actor-ref.ts";
import { rejection, testClient } from "./client.test.fixtures.ts";

interface Airport extends ActorType<"airport"> {
  readonly methods: {
    record(ctx: never, delayMin: number, note?: string): Promise<void>;
    summary(ctx: never): { readonly p50: number };
  };
}
const Airport: Airport = {
  name: "airport",
  methods: { record: async () => {}, summary: () => ({ p50: 0 }) },
};

describe("an actor reference", () => {
  it("turns any method name into a call of its actor", async () => {
    const { client, network } = await testClient();
    const jfk = client.get(Airport, "JFK");
    void jfk.record(12, "snow");
    void jfk.summary();
    void client.get<Airport>("airport", "LAX").record(3);
    expect(network.last.sent.map((c) => [c.method, ...c.args])).toEqual([
      ["record", 12, "snow"],
      ["summary"],
      ["record", 3],
    ]);
  });

  it("is typed by the definition, given as a value or as a type", async () => {
    const { client } = await testClient();
    const byValue = client.get(Airport, "JFK");
    const byType = client.get<Airport>("airport", "JFK");
    expectTypeOf(byValue.record).parameters.toEqualTypeOf<
      [delayMin: number, note?: string | undefined]
    >();
    expectTypeOf(byType.summary).toEqualTypeOf<() => Promise<{ readonly p50: number }>>();
    expectTypeOf(byType.with({ timeoutMs: 5 })).toEqualTypeOf(byValue);
  });

  it("is no promise, and no callable thing that tools probe for", async () => {
    const { client, network } = await testClient();
    const ref = client.get(Airport, "JFK");
    expect(await Promise.resolve(ref)).toBe(ref);
    const probed = ref as unknown as Record<string | symbol, unknown>;
    for (const name of [
      "then",
      "catch",
      "toJSON",
      "asymmetricMatch",
      "$$typeof",
      "nodeType",
      Symbol.iterator,
      Symbol.asyncIterator,
    ]) {
      expect(probed[name]).toBeUndefined();
    }
    expect(JSON.stringify({ ref })).toBe('{"ref":{}}');
    expect([String(ref), `${inspect(ref)}`]).toEqual(["airport/JFK", "ActorRef(airport/JFK)"]);
    expect(Object.keys(ref)).toEqual([]);
    expect(network.last.sent).toEqual([]);
  });

  it("keeps a method bound when it is taken off", async () => {
    const { client, network } = await testClient();
    const { record } = client.get(Airport, "JFK");
    const other = client.get(Airport, "LAX").record;
    void record(1);
    void other(2);
    expect(network.last.sent).toHaveLength(2);
  });

  it("works for names beyond those it remembers", async () => {
    const { client, network } = await testClient();
    const ref = client.get(Airport, "JFK") as unknown as Record<string, () => Promise<unknown>>;
    for (let i = 0; i < 5_000; i++)
      if (i > 4_990) void ref[`name${i}`]?.();
      else void ref[`name${i}`];
    expect(network.last.sent.map((c) => c.method)).toEqual(
      Array.from({ length: 9 }, (_, i) => `name${4_991 + i}`),
    );
  });

  it("adds options to those it has", async () => {
    const { client, clock } = await testClient();
    const ref = client.get(Airport, "JFK").with({ timeoutMs: 50 }).with({ consistency: "quorum" });
    const call = rejection(ref.summary());
    await clock.advance(50);
    expect((await call).code).toBe("deadline-exceeded");
  });

  it.each<[object, string]>([
    [{ timeoutMs: 0 }, "timeoutMs must be above 0"],
    [{ timeoutMs: NaN }, "timeoutMs must be above 0"],
    [{ timeoutMS: 5 }, "timeoutMS does not exist"],
    [{ signal: {} }, "signal must be an AbortSignal"],
    [{ idempotencyKey: "" }, "idempotencyKey must be a text of 1 to 128"],
    [{ idempotencyKey: "k".repeat(129) }, "idempotencyKey must be a text of 1 to 128"],
    [{ idempotencyTtlMs: -1 }, "idempotencyTtlMs must be above 0"],
    [{ consistency: "weak" }, "consistency must be one of linearizable, quorum, eventual"],
  ])("refuses options that make no sense: %o", async (options, message) => {
    const { client } = await testClient();
    expect(() => client.get(Airport, "JFK").with(options)).toThrow(message);
    expect((await rejection(client.call("airport", "JFK", "summary", [], options))).code).toBe(
      "invalid-argument",
    );
  });

  it("refuses ids that make no sense, at once", async () => {
    const { client } = await testClient();
    expect(() => client.get(Airport, "")).toThrow("non-empty");
    expect(() => client.get<Airport>("air port" as "airport", "a")).toThrow("actor type");
    expect(() => client.namespace("1").get(Airport, "a")).toThrow("namespace");
    expect(() => client.branch("ä").get(Airport, "a")).toThrow("branch");
  });

  it("says which actor it stands for", async () => {
    const { client } = await testClient();
    const ref = client.namespace("n").branch("b").get(Airport, "JFK");
    expect(actorIdOf(ref)).toEqual({ namespace: "n", branch: "b", type: "airport", key: "JFK" });
    expect(String(ref)).toBe("n@b:airport/JFK");
    expect(() => actorIdOf({})).toThrow("not an actor reference");
  });
});
