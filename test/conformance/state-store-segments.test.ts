/** What the state store in segments promises beyond its port: superblocks, shards apart, damage. */
import { seededRng, shardId, type ShardId } from "@pinion/core";
import { SimKv, type KvEntry, type StateStore } from "@pinion/storage";
import { beforeEach, describe, expect, it } from "vitest";
import { SHARD, record, checkpoint, error } from "./fixtures/state-records.ts";
import { SegmentMachine, shardDir } from "./fixtures/state-stores.ts";

describe("SegmentStateStore", () => {
  const OTHER = shardId(4);
  let machine: SegmentMachine;
  let store: StateStore;

  beforeEach(async () => {
    machine = new SegmentMachine(seededRng(5));
    store = machine.open();
    await store.checkpoint([
      checkpoint(1, { "a/1": record(1, Buffer.from("old")) }),
      checkpoint(1, { "b/1": record(1, Buffer.from("old")) }, {}, OTHER),
    ]);
  });

  const reopen = (): void => {
    machine.crash(0);
    store = machine.open();
  };
  const second = [
    checkpoint(2, { "a/1": record(2, Buffer.from("new")) }),
    checkpoint(2, { "b/1": record(2, Buffer.from("new")) }, {}, OTHER),
  ];
  const text = async (shard: ShardId, actor: string): Promise<string> =>
    Buffer.from((await store.load(shard, actor))?.state ?? []).toString();

  it("keeps what one shard has when another one fails, and both once that is over", async () => {
    machine.disk.fail({ kind: "write", path: shardDir(OTHER), error: "ENOSPC" });
    expect((await error(store.checkpoint(second))).code).toBe("disk-full");
    for (let round = 0; round < 2; round++) {
      expect(await store.appliedLsn(SHARD)).toBe(2);
      expect(await text(SHARD, "a/1")).toBe("new");
      expect(await store.appliedLsn(OTHER)).toBe(1);
      expect(await text(OTHER, "b/1")).toBe("old");
      reopen();
    }
    await store.checkpoint(second);
    reopen();
    expect(await text(SHARD, "a/1")).toBe("new");
    expect(await text(OTHER, "b/1")).toBe("new");
  });

  it("needs no superblocks", async () => {
    await store.checkpoint(second);
    machine.crash(0);
    machine.index = new SimKv({ rng: machine.rng });
    store = machine.open();
    expect(await text(SHARD, "a/1")).toBe("new");
    await store.checkpoint([checkpoint(3, { "a/2": record(3, Buffer.from("newer")) })]);
    reopen();
    expect(await text(SHARD, "a/2")).toBe("newer");
  });

  it("takes a damaged superblock for none, and says so", async () => {
    const [row] = await machine.index.range("superblocks", {});
    const { key, value } = row as KvEntry;
    value[value.length - 1] = (value.at(-1) as number) ^ 1;
    await machine.index.commit([{ table: "superblocks", key, value }]);
    const damaged: string[] = [];
    store = machine.open({ onDamage: (e) => damaged.push(e.message) });
    expect(await text(SHARD, "a/1")).toBe("old");
    expect(damaged).toEqual([expect.stringContaining("the superblock of shard 3") as string]);
  });

  it("refuses segments that are older than its superblock", async () => {
    const older = machine.disk.crashImage({ survivalRate: 0 });
    await store.checkpoint(second);
    machine.crash(0);
    machine.disk = older;
    store = machine.open();
    for (const asked of [store.appliedLsn(SHARD), store.load(SHARD, "a/1"), store.facts(SHARD, "")])
      expect(await error(asked)).toMatchObject({
        code: "corruption",
        message: expect.stringContaining("of shard 3 is damaged or missing") as string,
      });
    expect((await error(store.checkpoint(second))).code).toBe("corruption");
  });

  it("tells damage to the newest checkpoint, wherever a bit flips, and serves other shards", async () => {
    await store.checkpoint(second);
    machine.crash(0);
    const path = `${shardDir(SHARD)}/0000000001.seg`;
    const { disk } = machine;
    const pages = disk.contents(path).length / 4096;
    const codes = new Set<string>();
    for (let page = 1; page < pages; page++) {
      machine.disk = disk.crashImage({ survivalRate: 1 });
      machine.disk.flipBit(path, page * 4096 * 8 + 33);
      store = machine.open();
      const { code } = await error(store.load(SHARD, "a/1"));
      // The first half is the checkpoint before: nothing refers to it any more.
      if (page > (pages - 1) / 2) expect(code, `page ${page}`).toBe("corruption");
      codes.add(code);
      expect(await text(OTHER, "b/1")).toBe("new");
    }
    expect([...codes].sort()).toEqual(["corruption", "no error"]);
  });
});
