/** What every `Membership` and every `ShardMap` does. Implementations are listed at the end of their suite's `describe.each`. */
import { isPinionError, seededRng, type Term } from "@pinion/core";
import {
  MemoryCell,
  openEmbeddedCluster,
  shardsOf,
  type EmbeddedCluster,
  type MembershipView,
} from "@pinion/placement";
import { describe, expect, it } from "vitest";

interface ClusterUnderTest {
  /** The next life of the same host. */
  start(options?: { shardCount?: number; workers?: number }): Promise<EmbeddedCluster>;
}

function embedded(): ClusterUnderTest {
  const cell = new MemoryCell();
  let life = 0;
  return {
    start: ({ shardCount = 16, workers = 2 } = {}) =>
      openEmbeddedCluster(cell, { shardCount, workers, rng: seededRng(++life) }),
  };
}

const IMPLEMENTATIONS: readonly [string, () => ClusterUnderTest][] = [["embedded", embedded]];

describe.each(IMPLEMENTATIONS)("%s membership", (_name, make) => {
  it("counts this host among its members", async () => {
    const { membership } = await make().start();
    expect(membership.view().members).toContainEqual(membership.self);
  });

  it("keeps the cluster and the host, and counts the incarnation up, from life to life", async () => {
    const cluster = make();
    const first = (await cluster.start()).membership;
    const second = (await cluster.start()).membership;
    expect(second.view().clusterId).toBe(first.view().clusterId);
    expect(second.self.hostId).toBe(first.self.hostId);
    expect(second.self.incarnation).toBe(first.self.incarnation + 1);
  });

  it("tells subscribers where the workers are, in a view of a larger revision", async () => {
    const { membership } = await make().start();
    const before = membership.view();
    const seen: MembershipView[] = [];
    membership.subscribe((view) => {
      expect(membership.view()).toBe(view);
      seen.push(view);
    });
    await membership.announce([{ worker: 0, address: "127.0.0.1:7070" }]);
    expect(seen).toHaveLength(1);
    expect(seen[0]!.revision).toBeGreaterThan(before.revision);
    expect(membership.self.workers).toEqual([{ worker: 0, address: "127.0.0.1:7070" }]);
  });

  it("never changes a view it has given out", async () => {
    const { membership } = await make().start();
    const before = membership.view();
    const copy = structuredClone(before);
    await membership.announce([{ worker: 0, address: "127.0.0.1:1" }]);
    expect(before).toEqual(copy);
    expect(Object.isFrozen(before.members)).toBe(true);
  });

  it("tells nobody who unsubscribed, also in the middle of a change, and nobody after close", async () => {
    const { membership } = await make().start();
    const heard: string[] = [];
    let stopSecond = (): void => {};
    membership.subscribe(() => {
      heard.push("first");
      stopSecond();
    });
    stopSecond = membership.subscribe(() => heard.push("second"));
    await membership.announce([]);
    await membership.close();
    await membership.announce([]);
    expect(heard).toEqual(["first"]);
  });
});

describe.each(IMPLEMENTATIONS)("%s shard map", (_name, make) => {
  it("gives every shard exactly one owner, evenly over the workers", async () => {
    const { membership, shardMap } = await make().start({ shardCount: 17, workers: 3 });
    const view = shardMap.view();
    const { hostId } = membership.self;
    const each = [0, 1, 2].map((worker) => shardsOf(view, hostId, worker));
    expect(each.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 17 }, (_, i) => i));
    for (const shards of each) expect(shards.length).toBeGreaterThanOrEqual(5);
  });

  it("keeps owners and terms from life to life", async () => {
    const cluster = make();
    const first = (await cluster.start()).shardMap.view();
    const second = (await cluster.start()).shardMap.view();
    expect(second.owners).toEqual(first.owners);
    expect(second.owners.every((owner) => owner.term >= (1 as Term))).toBe(true);
  });

  it("refuses another shard count than the cluster was created with, and names both", async () => {
    const cluster = make();
    await cluster.start({ shardCount: 16 });
    const error = await cluster.start({ shardCount: 32 }).catch((e: unknown) => e);
    expect(isPinionError(error, "config-invalid")).toBe(true);
    expect((error as Error).message).toMatch(/shardCount is 32.*created with 16/);
    expect((await cluster.start({ shardCount: 16 })).shardMap.view().shardCount).toBe(16);
  });

  it.each([
    { shardCount: 0 },
    { shardCount: 65_537 },
    { shardCount: 1.5 },
    { workers: 0 },
    { shardCount: 2, workers: 3 },
  ])("refuses %o", async (options) => {
    const error = await make()
      .start(options)
      .catch((e: unknown) => e);
    expect(isPinionError(error, "config-invalid")).toBe(true);
  });
});
