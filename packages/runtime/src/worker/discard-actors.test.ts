/** Damaged actors are given up: they are as new, all others keep what they have, and the log is cut. */
import { PinionError } from "@pinion/core";
import { SegmentStateStore } from "@pinion/storage";
import { describe, expect, test, vi } from "vitest";
import {
  BAD,
  crashed,
  damage,
  expectCounts,
  HOUR_MS,
  hurtMap,
  hurtPage,
  hurtPageBack,
  KEYS,
  OPTIONS,
  PAGE,
  recovered,
  restarted,
  stored,
  type Place,
} from "./damaged-actor.test.fixture.ts";
import type { WorkerFixture } from "./worker.test.fixture.ts";

/** A start that gives up these. @returns what was warned of */
async function discardAtStart(it: WorkerFixture, ...keys: string[]): Promise<string[]> {
  const from = it.warnings.length;
  await restarted(it, { ...OPTIONS, discard: keys.map((key) => `thing/${key}`) });
  return it.warnings.slice(from);
}

const HURTS: Readonly<Record<string, (it: WorkerFixture) => void | Promise<void>>> = {
  "a page": hurtPage,
  "its record": (it) => void damage(it, Buffer.from("mark of bad".repeat(100)), 5),
};

describe.each(Object.entries(HURTS))("of an actor %s is damaged", (_, hurt) => {
  test("it is discarded, and is as new, also after a kill; the others keep what they have", async () => {
    const it = await crashed(hurt as (it: WorkerFixture) => void);
    await it.ask({ key: "good", method: "replace", args: [1, 9] });
    expect(await discardAtStart(it, "bad")).toEqual([
      "a checkpoint has all but damaged actors",
      "a damaged actor was discarded",
    ]);
    expect(it.worker.checkpointer).toMatchObject({ completed: 1, lastError: undefined });
    expect(it.worker.checkpointer.logBytesSince).toBe(0);
    expect(recovered(it)).toEqual([]);
    // Its reminder went with it; those of the others are far, and in the store.
    const { core, checkpointer } = it.worker;
    expect([...core.shards.values()].map(({ reminders }) => reminders.size)).toEqual([0]);
    for (let life = 0; life < 3; life++) {
      expect(await it.ask({ key: "bad", method: "n" })).toMatchObject({ value: life });
      expect(await it.ask({ key: "good", method: "n" })).toMatchObject({ value: 4 });
      expect(await it.ask({ key: "other", method: "byte", args: [BAD + 5] })).toMatchObject({
        value: 1,
      });
      expect(await it.ask({ key: "bad", method: "fill", args: [1, 7] })).toMatchObject({
        value: life + 1,
      });
      // What it is now stays, whatever becomes of the next checkpoints.
      if (life === 0) for (let i = 0; i < 2; i++) await it.driven(checkpointer.run());
      await restarted(it);
    }
    await it.clock.advance(2 * HOUR_MS);
    expect(await it.ask({ key: "bad", method: "n" })).toMatchObject({ value: 3 });
    expect(await it.ask({ key: "good", method: "n" })).toMatchObject({ value: 104 });
    await it.driven(it.worker.checkpointer.run());
    expect(it.worker.checkpointer.lastError).toBeUndefined();
  });
});

describe.each(Object.entries({ ...HURTS, "the map of its pages": hurtMap }))(
  "of an actor %s is damaged, and the log has nothing of it",
  (_, hurt) => {
    test("it is discarded all the same", async () => {
      const it = await stored();
      it.kill();
      await hurt(it);
      expect(await discardAtStart(it, "bad", "good")).toEqual([
        "an actor is not discarded: it is not damaged",
        "a damaged actor was discarded",
      ]);
      for (let life = 0; life < 2; life++) {
        expect(await it.ask({ key: "bad", method: "n" })).toMatchObject({ value: life });
        await expectCounts(it, { good: 2, other: 2 });
        await it.ask({ key: "bad", method: "fill", args: [1, 7] });
        await it.driven(it.worker.checkpointer.run());
        expect(it.worker.checkpointer.lastError).toBeUndefined();
        await restarted(it);
      }
    });
  },
);

test("a reminder that is near goes with its actor, too", async () => {
  const it = await crashed(hurtPage, OPTIONS, 60_000);
  await discardAtStart(it, "bad");
  await it.clock.advance(10 * 60_000);
  await expectCounts(it, { bad: 0, good: 103, other: 103 });
});

test("nothing is discarded that is not damaged, and a start that is asked to again goes on", async () => {
  const it = await crashed(hurtPage);
  expect(await discardAtStart(it, "good", "nobody")).toEqual([
    "a checkpoint has all but damaged actors",
    "an actor is not discarded: it is not damaged",
    "an actor is not discarded: it is not damaged",
  ]);
  expect(recovered(it)).toEqual(["thing/bad"]);
  expect(await it.ask({ key: "good", method: "n" })).toMatchObject({ value: 3 });
  expect(await it.ask({ key: "bad", method: "n" })).toMatchObject({ code: "corruption" });
  for (let life = 0; life < 2; life++) {
    await discardAtStart(it, "bad");
    expect(await it.ask({ key: "bad", method: "mark", args: ["new"] })).toMatchObject({
      value: life + 1,
    });
  }
  await expect(restarted(it, { ...OPTIONS, discard: ["thing"] })).rejects.toMatchObject({
    code: "invalid-actor-id",
  });
});

test.each(["io-error", "format-too-new"] as const)(
  "an actor that cannot be read now (%s) is not damaged: it is left alone",
  async (code) => {
    const it = await crashed(() => {});
    it.kill();
    const load = SegmentStateStore.prototype.load;
    const failing = vi.spyOn(SegmentStateStore.prototype, "load").mockImplementation(function (
      this: SegmentStateStore,
      shard,
      actor,
    ) {
      if (actor === "thing/bad") return Promise.reject(new PinionError(code, "not now"));
      return load.call(this, shard, actor);
    });
    try {
      await it.start({ ...OPTIONS, discard: ["thing/bad"] });
    } finally {
      failing.mockRestore();
    }
    expect(it.warnings).toContain("an actor is not discarded: it is not damaged");
    await expectCounts(it, { bad: 3, good: 3, other: 3 });
  },
);

test("what was refused by the store alone, because of a damaged map, is discarded", async () => {
  const it = await crashed(() => {});
  await it.driven(it.worker.stop(100));
  await restarted(it);
  await hurtMap(it);
  for (const key of KEYS) await it.ask({ key, method: "fill", args: [1, 1] });
  await discardAtStart(it, "bad");
  for (const key of KEYS)
    expect(await it.ask({ key, method: "n" })).toMatchObject({ value: key === "bad" ? 0 : 4 });
  expect(await it.ask({ key: "bad", method: "fill", args: [2, 5] })).toMatchObject({ value: 1 });
  await it.driven(it.worker.checkpointer.run());
  expect(it.worker.checkpointer.lastError).toBeUndefined();
  await restarted(it);
  expect(await it.ask({ key: "bad", method: "byte", args: [PAGE] })).toMatchObject({ value: 5 });
});

test("damaged actors of a shard go together, or none does and the worker does not start", async () => {
  let good: Place | undefined;
  const it = await crashed((it) => {
    hurtPage(it);
    good = damage(it, Buffer.alloc(PAGE, 201), BAD);
  });
  for (let life = 0; life < 2; life++) {
    await expect(discardAtStart(it, "bad")).rejects.toMatchObject({
      code: "corruption",
      message: expect.stringMatching(/not discarded: thing\/bad: .*also damaged: thing\/good/),
    });
  }
  await restarted(it);
  await it.driven(it.worker.checkpointer.run());
  expect(recovered(it).toSorted()).toEqual(["thing/bad", "thing/good"]);
  expect(await it.ask({ key: "bad", method: "n" })).toMatchObject({ code: "corruption" });
  // Nothing is lost yet: with whole pages all is there.
  const flip = (): void => {
    hurtPageBack(it);
    it.disk.flipBit(good!.path, good!.bit);
  };
  flip();
  await restarted(it);
  for (const key of KEYS) expect(await it.ask({ key, method: "n" })).toMatchObject({ value: 3 });
  flip();
  await discardAtStart(it, "bad", "good");
  await expectCounts(it, { bad: 0, good: 0, other: 3 });
});

test("an actor of another shard than a damaged one goes alone", async () => {
  const options = { ...OPTIONS, shardCount: 64 };
  const it = await crashed((it) => {
    hurtPage(it);
    damage(it, Buffer.alloc(PAGE, 201), BAD); // of "good"
  }, options);
  await restarted(it, { ...options, discard: ["thing/bad"] });
  expect(await it.ask({ key: "bad", method: "n" })).toMatchObject({ value: 0 });
  expect(await it.ask({ key: "good", method: "n" })).toMatchObject({ code: "corruption" });
  expect(await it.ask({ key: "other", method: "n" })).toMatchObject({ value: 3 });
});
