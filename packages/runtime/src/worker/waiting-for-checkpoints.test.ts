/** An actor that no checkpoint has ends and is called again, over and over. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { hurtMap, OPTIONS, restarted, stored } from "./damaged-actor.test.fixture.ts";

test("what waits for a checkpoint does not pile up", async () => {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  const it = await stored(OPTIONS);
  await hurtMap(it);
  await restarted(it);
  const { shard } = [...it.worker.core.shards.values()][0]!;
  const waiting: WeakRef<Promise<void>>[] = [];
  const original = shard.whenApplied.bind(shard);
  // What a waiter resolves keeps its promise alive.
  shard.whenApplied = (member) => {
    const each = original(member);
    waiting.push(new WeakRef(each));
    return each;
  };
  for (let i = 0; i < 50; i++) {
    expect(await it.ask({ key: "bad", method: "replace", args: [30, i] })).toMatchObject({
      code: undefined,
    });
    const [a] = [...it.worker.core.catalog.byLastUse()].filter((x) => x.id.key === "bad");
    void a?.deactivate("idle");
    await it.clock.advance(600);
  }
  await new Promise((resolve) => setTimeout(resolve, 10));
  gc();
  await new Promise((resolve) => setTimeout(resolve, 10));
  gc();
  expect(waiting.length).toBe(50);
  expect(waiting.filter((each) => each.deref() !== undefined).length).toBeLessThan(5);
});
