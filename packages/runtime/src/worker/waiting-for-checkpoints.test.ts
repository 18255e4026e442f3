/** An actor that no checkpoint has ends and is called again, over and over. */
import { expect, test } from "vitest";
import { hurtMap, OPTIONS, restarted, stored } from "./damaged-actor.test.fixture.ts";

test("what waits for a checkpoint does not pile up", async () => {
  const it = await stored(OPTIONS);
  await hurtMap(it);
  await restarted(it);
  const { shard } = [...it.worker.core.shards.values()][0]!;
  let asked = 0;
  let told = 0;
  const original = shard.whenApplied.bind(shard);
  shard.whenApplied = async (member) => {
    asked++;
    await original(member);
    told++;
  };
  for (let i = 0; i < 50; i++) {
    expect(await it.ask({ key: "bad", method: "replace", args: [30, i] })).toMatchObject({
      code: undefined,
    });
    const [a] = [...it.worker.core.catalog.byLastUse()].filter((x) => x.id.key === "bad");
    void a?.deactivate("idle");
    await it.clock.advance(600);
  }
  expect(asked).toBe(50);
  // Whoever is told of it now had waited until now.
  shard.applied(shard.appendedLsn, new Map());
  await it.clock.settle();
  expect(told).toBe(1);
});
