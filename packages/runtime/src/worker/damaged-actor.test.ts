/** Actors whose pages, maps or records the disk has damaged, while the log has changes of them: the others go on. */
import { PinionError } from "@pinion/core";
import { describe, expect, test } from "vitest";
import {
  PAGE,
  Thing,
  OPTIONS,
  KEYS,
  BAD,
  HOUR_MS,
  damage,
  expectCounts,
  hurtPage,
  hurtPageBack,
  hurtMap,
  crashed,
  restarted,
  recovered,
  countTries,
} from "./damaged-actor.test.fixture.ts";
import { WorkerFixture } from "./worker.test.fixture.ts";

describe("a damaged actor that the log has changes of", () => {
  test("keeps no other from checkpoints, and from being served", async () => {
    const it = await crashed(hurtPage);
    await it.ask({ key: "good", method: "replace", args: [1, 9] });
    await it.driven(it.worker.checkpointer.run());
    const { checkpointer, core } = it.worker;
    expect(checkpointer.lastError).toMatch(/thing\/bad/);
    expect(it.warnings).toEqual(["a checkpoint has all but damaged actors"]);
    expect(checkpointer.completed).toBe(0);
    expect(checkpointer.logBytesSince).toBeGreaterThan(0);
    expect(recovered(it)).toEqual(["thing/bad"]);
    expect(core.unwritten.bytes).toBe(0);
    // Its reminder is known from the log only; those of the others are in the store.
    expect([...core.shards.values()].map(({ reminders }) => reminders.size)).toEqual([1]);
    expect(await it.ask({ key: "bad", method: "n" })).toMatchObject({ code: "corruption" });
    for (let life = 0; life < 3; life++) {
      await restarted(it);
      expect(await it.ask({ key: "good", method: "byte", args: [PAGE] })).toMatchObject({
        value: life === 0 ? 9 : 10 + life - 1,
      });
      expect(await it.ask({ key: "good", method: "n" })).toMatchObject({ value: 4 + life });
      expect(await it.ask({ key: "other", method: "byte", args: [BAD + 5] })).toMatchObject({
        value: 1,
      });
      await it.ask({ key: "good", method: "replace", args: [1, 10 + life] });
      await it.driven(it.worker.checkpointer.run());
      expect(it.worker.checkpointer.lastError).toMatch(/thing\/bad/);
    }
  });

  test("loses nothing: it has all of the log once its pages are whole again", async () => {
    const it = await crashed(hurtPage);
    for (let life = 0; life < 2; life++) {
      await it.ask({ key: "good", method: "replace", args: [2, life] });
      await it.driven(it.worker.checkpointer.run());
      await restarted(it);
    }
    hurtPageBack(it);
    await it.driven(it.worker.checkpointer.run());
    expect(it.worker.checkpointer).toMatchObject({ completed: 1, lastError: undefined });
    expect(it.worker.checkpointer.logBytesSince).toBe(0);
    expect(recovered(it)).toEqual([]);
    await restarted(it);
    expect(await it.ask({ key: "bad", method: "byte", args: [BAD + 5] })).toMatchObject({
      value: 1,
    });
    expect(await it.ask({ key: "bad", method: "n" })).toMatchObject({ value: 3 });
    await it.clock.advance(2 * HOUR_MS);
    await expectCounts(it, { bad: 103, good: 105, other: 103 });
  });

  test("keeps the reminders and answers of others as they are, whatever the log is read again for", async () => {
    const it = await crashed(hurtPage);
    const asked = { key: "good", session: "one", seq: 1, method: "replace", args: [3, 3] };
    expect(await it.ask(asked)).toMatchObject({ value: 4 });
    await it.driven(it.worker.checkpointer.run());
    await it.clock.advance(2 * HOUR_MS);
    expect(await it.ask({ key: "good", method: "n" })).toMatchObject({ value: 104 });
    for (let life = 0; life < 3; life++) {
      await it.driven(it.worker.checkpointer.run());
      await restarted(it);
      expect(await it.ask(asked)).toMatchObject({ value: 4 });
      await it.clock.advance(2 * HOUR_MS);
      await expectCounts(it, { good: 104, other: 103 });
    }
  });

  test("leaves no facts behind that are none any more", async () => {
    const it = await crashed(hurtPage);
    const kept = async (): Promise<number> => {
      const [owned] = it.worker.core.shards.values();
      return (await it.driven(it.worker.core.ports.store.facts(owned!.shard.id, "x/"))).length;
    };
    expect(await kept()).toBe(3);
    await it.clock.advance(10 * 60_000);
    await it.driven(it.worker.checkpointer.run());
    // They belong to the last whole checkpoint.
    expect(await kept()).toBe(3);
    hurtPageBack(it);
    await it.driven(it.worker.checkpointer.run());
    expect(await kept()).toBe(0);
  });

  test("lets the log be read from the newest checkpoint on for other shards, and others leave memory", async () => {
    const options = { ...OPTIONS, shardCount: 4 };
    const it = await crashed(hurtPage, options);
    await it.driven(it.worker.checkpointer.run());
    const applied = async (): Promise<boolean[]> => {
      const { core } = it.worker;
      const all: boolean[] = [];
      for (const { shard } of core.shards.values())
        all.push((await it.driven(core.ports.store.appliedLsn(shard.id))) === shard.appendedLsn);
      return all;
    };
    expect((await applied()).filter((isWhole) => !isWhole)).toHaveLength(1);
    for (const key of KEYS.slice(1)) await it.ask({ key, method: "replace", args: [3, 3] });
    expect(it.worker.core.catalog.size).toBe(2);
    await it.clock.advance(10 * 60_000);
    expect(it.worker.core.catalog.size).toBe(0);
    await restarted(it, options);
    expect(await it.ask({ key: "good", method: "n" })).toMatchObject({ value: 4 });
    await it.driven(it.worker.stop(100));
    await restarted(it, options);
    expect(await it.ask({ key: "other", method: "n" })).toMatchObject({ value: 4 });
  });

  test("does not start a checkpoint with every change when the log has grown long", async () => {
    const it = await crashed(hurtPage);
    await restarted(it, { checkpoint: { ...OPTIONS.checkpoint!, logBytes: 64 * 1024 } });
    const tries = countTries(it);
    for (let i = 0; i < 200; i++) {
      await it.ask({ key: "good", method: "replace", args: [1, i] });
      await it.clock.advance(50);
    }
    expect(tries()).toBeGreaterThan(2);
    expect(tries()).toBeLessThan(30);
    const before = tries();
    await it.clock.advance(HOUR_MS / 2);
    // Nothing changes: only now and then it is tried again.
    expect(tries() - before).toBeLessThan(20);
    expect(it.warnings.length).toBeLessThan(10);
  });

  test("is found also where only its record is damaged", async () => {
    const it = await crashed((it) => damage(it, Buffer.from("mark of bad".repeat(100)), 5));
    await it.driven(it.worker.checkpointer.run());
    expect(it.worker.checkpointer.lastError).toMatch(/thing\/bad/);
    expect(recovered(it)).toEqual(["thing/bad"]);
    expect(await it.ask({ key: "bad", method: "n" })).toMatchObject({ code: "corruption" });
    await restarted(it);
    expect(await it.ask({ key: "good", method: "n" })).toMatchObject({ value: 3 });
    expect(recovered(it)).toContain("thing/bad");
  });
});

describe("a damaged map of an actor's extent", () => {
  const END = 60 * PAGE;

  /** What is changed comes behind the end: nothing of what is stored was read. */
  async function changed(options = OPTIONS): Promise<WorkerFixture> {
    const it = new WorkerFixture([Thing]);
    await it.start(options);
    for (const [i, key] of KEYS.entries())
      await it.ask({ key, method: "fill", args: [60, 200 + i] });
    await it.driven(it.worker.stop(100));
    await restarted(it, options);
    await hurtMap(it);
    for (const key of KEYS) await it.ask({ key, method: "fill", args: [1, 1] });
    return it;
  }

  test("keeps only it from checkpoints while it is in memory", async () => {
    const it = await changed();
    for (let round = 0; round < 3; round++) {
      await it.driven(it.worker.checkpointer.run());
      expect(it.worker.checkpointer.lastError).toMatch(/thing\/bad cannot be checkpointed/);
      expect(it.worker.core.unwritten.bytes).toBe((round + 1) * PAGE);
      expect(it.warnings).toHaveLength(1);
      for (const key of KEYS)
        expect(await it.ask({ key, method: "fill", args: [1, round] })).toMatchObject({
          value: round + 3,
        });
    }
    await it.clock.advance(10 * 60_000);
    // It waits for a checkpoint that can take it, and goes on when it is called.
    expect(it.worker.core.catalog.size).toBe(1);
    expect(await it.ask({ key: "bad", method: "n" })).toMatchObject({ value: 5 });
    expect(await it.ask({ key: "bad", method: "byte", args: [END] })).toMatchObject({ value: 1 });
    await it.driven(it.worker.stop(100));
    await restarted(it);
    for (const key of KEYS) {
      expect(await it.ask({ key, method: "n" })).toMatchObject({ value: 5 });
      expect(await it.ask({ key, method: "byte", args: [END] })).toMatchObject({ value: 1 });
    }
  });

  test("has others refused, and told why, once it has changed all that may wait for a checkpoint", async () => {
    const checkpoint = { logBytes: 1e9, dirtyBytes: 8 * PAGE, dirtyMs: 1e9, segmentBytes: 2 ** 20 };
    const it = await changed({ checkpoint });
    await it.driven(it.worker.checkpointer.run());
    for (let i = 0; i < 20; i++)
      expect(await it.ask({ key: "good", method: "fill", args: [1, i] })).toMatchObject({
        value: 3 + i,
      });
    for (let i = 0; i < 4; i++) {
      expect(await it.ask({ key: "bad", method: "fill", args: [1, i] })).toMatchObject({
        value: 3 + i,
      });
      await it.clock.advance(2_000);
    }
    expect(await it.ask({ key: "good", method: "fill", args: [1, 1] })).toMatchObject({
      code: "overloaded",
      refused: "transient",
    });
    expect(await it.ask({ key: "good", method: "n" })).toMatchObject({ value: 22 });
    const tries = countTries(it);
    await it.clock.advance(10_000);
    expect(tries()).toBeLessThan(100);
    await it.driven(it.worker.stop(100));
  });

  test("keeps only it from checkpoints after a start", async () => {
    const it = await changed();
    await restarted(it);
    expect(recovered(it)).toHaveLength(3);
    for (let life = 0; life < 2; life++) {
      await it.driven(it.worker.checkpointer.run());
      expect(it.worker.checkpointer.lastError).toMatch(/thing\/bad cannot be checkpointed/);
      expect(recovered(it)).toEqual(["thing/bad"]);
      await restarted(it);
    }
    hurtPageBack(it);
    await it.driven(it.worker.checkpointer.run());
    expect(it.worker.checkpointer).toMatchObject({ completed: 1, lastError: undefined });
    await restarted(it);
    expect(recovered(it)).toEqual([]);
    for (const key of KEYS)
      expect(await it.ask({ key, method: "byte", args: [END] })).toMatchObject({ value: 1 });
  });
});

test("a shard that cannot be written keeps no other from checkpoints", async () => {
  const options = { ...OPTIONS, shardCount: 4 };
  const it = new WorkerFixture([Thing]);
  await it.start(options);
  const { core, checkpointer } = it.worker;
  const bad = core.owned("thing", "bad")!.shard;
  const good = KEYS.filter((key) => core.owned("thing", key)!.shard !== bad);
  expect(good.length).toBeGreaterThan(0);
  const checkpoint = core.ports.store.checkpoint.bind(core.ports.store);
  core.ports.store.checkpoint = async (shards) => {
    const rest = shards.filter(({ shard }) => shard !== bad.id);
    if (rest.length > 0) await checkpoint(rest);
    if (rest.length < shards.length) throw new PinionError("corruption", "its directory");
  };
  for (let round = 0; round < 3; round++) {
    for (const key of ["bad", ...good]) await it.ask({ key, method: "fill", args: [1, round] });
    await it.driven(checkpointer.run());
    expect(checkpointer.lastError).toMatch(/thing\/bad cannot .* its directory/);
    expect(core.unwritten.bytes).toBe((round + 1) * PAGE);
    for (const key of good) {
      const { shard } = core.owned("thing", key)!;
      expect(await it.driven(core.ports.store.appliedLsn(shard.id))).toBe(shard.appendedLsn);
    }
  }
  await it.driven(it.worker.stop(100));
  await restarted(it, options);
  for (const key of ["bad", ...good])
    expect(await it.ask({ key, method: "n" })).toMatchObject({ value: 3 });
  await it.driven(it.worker.checkpointer.run());
  expect(it.worker.checkpointer).toMatchObject({ completed: 1, lastError: undefined });
});
