/** What needs a hand inside the key-value store. Everything else is in test/conformance/state-store.test.ts. */
import { lsn, seededRng, shardId } from "@pinion/core";
import { describe, expect, it } from "vitest";
import type { KvRead } from "../kv/kv-store.ts";
import { SimKv } from "../kv/sim-kv.ts";
import { KvStateStore } from "./kv-state-store.ts";
import type { ReminderRecord, ShardCheckpoint } from "./state-store.ts";

const SHARD = shardId(0);

function checkpoint(at: number, reminders: readonly ReminderRecord[]): ShardCheckpoint {
  const record = { state: undefined, stateVersion: 1, lsn: lsn(at), reminders };
  return {
    shard: SHARD,
    appliedLsn: lsn(at),
    actors: new Map([["a/1", record]]),
    facts: new Map(),
  };
}

/** Lets something happen between two reads of the store. */
class InterruptedKv extends SimKv {
  interrupt: (() => Promise<void>) | undefined;

  override async getMany(reads: readonly KvRead[]): Promise<(Uint8Array | undefined)[]> {
    const interrupt = this.interrupt;
    this.interrupt = undefined;
    await interrupt?.();
    return super.getMany(reads);
  }
}

describe("KvStateStore", () => {
  it("leaves out a due reminder that a checkpoint moves while it is looked up", async () => {
    const kv = new InterruptedKv({ rng: seededRng(1) });
    const store = new KvStateStore(kv);
    const body = Uint8Array.of(1);
    await store.checkpoint([
      checkpoint(1, [
        { name: "moves", dueMs: 5, body },
        { name: "stays", dueMs: 6, body },
      ]),
    ]);
    kv.interrupt = () =>
      store.checkpoint([
        checkpoint(2, [
          { name: "moves", dueMs: 50, body },
          { name: "stays", dueMs: 6, body },
        ]),
      ]);
    const due = await store.remindersDue(SHARD, 10, 10);
    expect(due.map(({ reminder }) => `${reminder.name} ${reminder.dueMs}`)).toEqual(["stays 6"]);
  });

  it.each(["commit", "sync"] as const)(
    "passes on a failed %s, and forgets that checkpoint",
    async (kind) => {
      const kv = new SimKv({ rng: seededRng(1) });
      const store = new KvStateStore(kv);
      await store.checkpoint([checkpoint(1, [])]);
      kv.fail({ kind, error: kind === "commit" ? "ENOSPC" : "EIO" });
      await expect(store.checkpoint([checkpoint(7, [])])).rejects.toMatchObject({
        code: kind === "commit" ? "disk-full" : "io-error",
      });
      if (kind === "sync") return;
      expect(await store.appliedLsn(SHARD)).toBe(1);
      await store.checkpoint([checkpoint(5, [])]);
      expect(await store.appliedLsn(SHARD)).toBe(5);
    },
  );
});
