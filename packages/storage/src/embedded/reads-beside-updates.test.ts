/** Reads that see one moment while updates go on, as users of a store see it. */
import { systemClock } from "@pinion/core";
import { expect, test } from "vitest";
import { ActorExtents } from "../extent/actor-extents.ts";
import { Arena } from "../extent/arena.ts";
import { PinnedResidency } from "../extent/extent-residency.ts";
import { tick } from "../extent/held-pages.test.fixture.ts";
import { PortableMemory } from "../memory/portable-memory.ts";
import { BudgetCounter } from "../residency/budget-counter.ts";
import { PinManager } from "../residency/pin-manager.ts";
import { bytes } from "../structures/bytes.ts";
import { map } from "../structures/map.ts";
import { codeOf, StoreMachine } from "./store.test.fixture.ts";

test.each(["warm", "cold"] as const)(
  "a read of a map beside an update that empties and fills it (%s)",
  async (profile) => {
    await using store = await new StoreMachine().open();
    const volume = await store.open("v", { m: map<string>({ key: "string" }) }, { profile });
    const keys = Array.from({ length: 500 }, (_, i) => `key ${String(i).padStart(4, "0")}`);
    await volume.update(async ({ m }) => {
      for (const key of keys) await m.set(key, key.repeat(10));
    });
    const begun = Promise.withResolvers<void>();
    const changed = Promise.withResolvers<void>();
    const found: [string, string][] = [];
    const read = codeOf(
      volume.read(async ({ m }) => {
        for await (const entry of m.range()) {
          found.push(entry);
          begun.resolve();
          await changed.promise;
        }
      }),
    );
    await begun.promise;
    await volume.update(async ({ m }) => {
      for (const key of keys) await m.delete(key);
      for (const key of keys.slice(0, 400)) await m.set(`other ${key}`, "x".repeat(100));
    });
    changed.resolve();
    const code = await read;
    if (code === "view-expired") return;
    expect(code).toBe("nothing was thrown");
    expect(found).toEqual(keys.map((key) => [key, key.repeat(10)]));
  },
);

test("a read of bytes beside an update that cuts and writes them again", async () => {
  await using store = await new StoreMachine().open();
  const volume = await store.open("v", { b: bytes() });
  await volume.update(({ b }) => b.append(new Uint8Array(20_000).fill(7)));
  const changed = Promise.withResolvers<void>();
  let seen: number | undefined;
  const read = codeOf(
    volume.read(async ({ b }) => {
      await changed.promise;
      seen = (await b.read(10_000, 4))[0];
    }),
  );
  await volume.update(async ({ b }) => {
    await b.resize(0);
    b.append(new Uint8Array(20_000).fill(8));
  });
  changed.resolve();
  expect((await read) === "view-expired" ? 7 : seen).toBe(7);
});

test("an extent that had to go comes back although reads of it overlap", async () => {
  const pins = new PinManager({
    clock: systemClock,
    budget: BudgetCounter.create(2 ** 26, 1).open(0),
    drainWaitMs: 50,
  });
  const arena = new Arena(new PortableMemory("as asked for"));
  const residency = new PinnedResidency(systemClock, pins, arena);
  const extents = await ActorExtents.open(
    { store: { loadExtents: () => Promise.resolve([]) } as never, shard: 0 as never, actor: "a" },
    { data: { kind: "bytes", version: 1 } },
    [],
  );
  const write = extents.begin(false);
  write.extent("data").append(new Uint8Array(100_000));
  write.finish()!.publish();
  write.end();
  const actor = { actor: "a", extents, names: ["data"], profile: "hot" as const };
  await residency.activate(actor);
  const isResident = (): boolean => extents.image("data")!.resident;
  expect(isResident()).toBe(true);
  let reader = extents.begin(true);
  pins.evict("a#data", "budget");
  while (isResident()) await tick();
  const untilMs = systemClock.nowMs() + 10_000;
  while (!isResident() && systemClock.nowMs() < untilMs) {
    await tick();
    const next = extents.begin(true); // before the other has ended
    reader.end();
    reader = next;
    residency.used(actor);
  }
  reader.end();
  expect(isResident()).toBe(true);
});
