import { messageOf, PinionError } from "@pinion/core";
import {
  Arena,
  BudgetCounter,
  column,
  memoryDoor,
  PinManager,
  PinnedResidency,
} from "@pinion/storage";
import { describe, expect, test } from "vitest";
import { defineActor, readonly } from "../definition/define-actor.ts";
import { WorkerFixture } from "./worker.test.fixture.ts";
import type { WorkerOptions } from "./worker-options.ts";

const VALUES_PER_PAGE = 512;

let activating: (() => Promise<void>) | undefined;

const Thing = defineActor("thing", {
  state: () => ({ n: 0 }),
  onActivate: () => activating?.(),
  memory: { profile: "cold", extents: { d: column("f64") } },
  methods: {
    async fill(ctx, pages: number) {
      const from = await ctx.extents.d.length;
      await ctx.extents.d.appendMany(
        Array.from({ length: pages * VALUES_PER_PAGE }, (_, i) => from + i),
      );
      return (ctx.state.n += 1);
    },
    async set(ctx, at: number, value: number) {
      await ctx.extents.d.set(at, value);
    },
    n: readonly((ctx) => ctx.state.n),
    sum: readonly((ctx) => ctx.extents.d.sum()),
  },
});
const Small = defineActor("small", {
  state: () => ({ n: 0 }),
  methods: { add: (ctx) => (ctx.state.n += 1) },
});

/** 8 pages may be changed, 2 of them in memory of their own. */
const BOUNDS: Partial<WorkerOptions> = {
  checkpoint: { logBytes: 1e9, dirtyBytes: 4 * 4_096, dirtyMs: 1e9, segmentBytes: 1024 * 1024 },
};

async function started(options = BOUNDS): Promise<WorkerFixture> {
  const it = new WorkerFixture([Thing, Small]);
  await it.start(options);
  return it;
}

/** Checkpoints wait until `gate` resolves, or fail with it. */
function gateCheckpoints(
  it: WorkerFixture,
  gate: () => Promise<void>,
): { readonly pages: number[] } {
  const { store } = it.worker.core.ports;
  const checkpoint = store.checkpoint.bind(store);
  const seen: number[] = [];
  store.checkpoint = async (shards) => {
    const extents = shards.flatMap((shard) => [...(shard.extents?.values() ?? [])].flat());
    seen.push(extents.reduce((sum, { pageCount }) => sum + pageCount, 0));
    await gate();
    await checkpoint(shards);
  };
  return { pages: seen };
}

describe("too much that extents have changed", () => {
  test("starts a checkpoint, and what would change more waits for it; the rest goes on", async () => {
    const it = await started();
    const { promise, resolve } = Promise.withResolvers<void>();
    gateCheckpoints(it, () => promise);
    expect(await it.ask({ method: "fill", args: [4] })).toMatchObject({ value: 1 });
    expect(it.worker.core.unwritten.isFull).toBe(true);
    let answered = 0;
    const more = Promise.all(
      [0, 1].map(async () => {
        const { value } = await it.send({ method: "fill", args: [4] });
        answered++;
        return value;
      }),
    );
    await it.clock.advance(10_000);
    expect(answered).toBe(0);
    // Readonly methods and actors without extents do not wait.
    expect(await it.ask({ method: "n" })).toMatchObject({ value: 1 });
    expect(await it.ask({ type: "small", method: "add" })).toMatchObject({ value: 1 });
    resolve();
    expect(await it.driven(more)).toEqual([2, 3]);
    await it.driven(it.worker.checkpointer.run());
    expect(it.worker.core.unwritten.bytes).toBe(0);
    expect(it.worker.core.unwritten.copiedBytes).toBe(0);
  });

  test("is refused while checkpoints fail, with the reason, and goes on when they succeed", async () => {
    const it = await started();
    let failure: PinionError | undefined = new PinionError("disk-full", "no space for pages");
    gateCheckpoints(it, async () => {
      if (failure !== undefined) throw failure;
    });
    await it.ask({ method: "fill", args: [4] });
    const waiting = it.send({ method: "fill", args: [4] });
    expect(await it.driven(waiting)).toMatchObject({ code: "disk-full", refused: "transient" });
    // At once, not with the next attempt.
    const before = it.clock.nowMs();
    expect(await it.ask({ method: "fill", args: [4] })).toMatchObject({ code: "disk-full" });
    expect(it.clock.nowMs() - before).toBeLessThan(50);
    expect(messageOf(it.worker.core.unwritten.failure)).toMatch(/no space for pages/);
    failure = undefined;
    await it.clock.advance(60_000);
    expect(await it.ask({ method: "fill", args: [4] })).toMatchObject({ value: 2 });
  });

  test("is written soon also where it came while its actor was being loaded", async () => {
    const it = await started({
      checkpoint: { logBytes: 1e9, dirtyBytes: 1e9, dirtyMs: 1e9, segmentBytes: 1024 * 1024 },
    });
    for (let i = 0; i < 5; i++) await it.ask({ method: "fill", args: [4] });
    it.kill();
    activating = () => new Promise((resolve) => void it.clock.setTimer(3_000, () => resolve()));
    try {
      await it.start(BOUNDS);
      const before = it.clock.nowMs();
      const calls = ["a", "b"].map((key) => it.send({ key, method: "fill", args: [1] }));
      const answers = await it.driven(Promise.all(calls));
      expect(answers.map(({ value }) => value)).toEqual([6, 1]);
      expect(it.clock.nowMs() - before).toBeLessThan(5_000);
    } finally {
      activating = undefined;
    }
  });

  test.each(["the log", "the last checkpoint"])(
    "does not keep a worker from ending whose memory waits for it when %s has failed",
    async (what) => {
      const it = new WorkerFixture([Thing]);
      const arena = new Arena(memoryDoor());
      const budget = BudgetCounter.create(64 * 2 ** 20, 1).open(0);
      const pins = new PinManager({ clock: it.clock, budget });
      it.residency = new PinnedResidency(it.clock, pins, arena);
      await it.start({});
      for (let i = 0; i < 20; i++) {
        await it.ask({ method: "fill", args: [20] });
        await it.driven(it.worker.checkpointer.run());
        await it.clock.advance(2_000);
      }
      for (let page = 0; page < 400; page++)
        await it.ask({ method: "set", args: [page * VALUES_PER_PAGE, -1] });
      const [activation] = it.worker.core.catalog.byLastUse();
      const image = activation?.extents?.image("d");
      // More than is copied at once.
      expect(image?.resident).toBe(true);
      expect(image?.dirtyPages).toBeGreaterThan(256);
      if (what === "the log") it.worker.core.state = "failed";
      else
        it.worker.core.ports.store.checkpoint = () =>
          Promise.reject(new PinionError("disk-full", "no space"));
      await it.driven(it.worker.stop(100).catch(() => {}));
      await it.driven(pins.stop());
      expect(arena.stats().usedBytes).toBe(0);
      arena.close();
    },
  );

  test("lets go of what an activation had that is gone", async () => {
    const it = await started();
    await it.ask({ method: "fill", args: [4] });
    const { unwritten } = it.worker.core;
    expect(unwritten.bytes).toBeGreaterThan(0);
    it.worker.abandon();
    expect(unwritten.bytes).toBe(0);
    expect(unwritten.isFull).toBe(false);
  });
});

describe("what the log has of many actors after a crash", () => {
  const KEYS = Array.from({ length: 12 }, (_, i) => `k${i}`);

  async function crashed(): Promise<WorkerFixture> {
    const it = await started({
      checkpoint: { logBytes: 1e9, dirtyBytes: 1e9, dirtyMs: 1e9, segmentBytes: 1024 * 1024 },
    });
    for (const key of KEYS) await it.ask({ key, method: "fill", args: [6] });
    await it.driven(it.worker.checkpointer.run());
    // A little in each page.
    for (const key of KEYS)
      for (let page = 0; page < 6; page++)
        await it.ask({ key, method: "set", args: [page * VALUES_PER_PAGE, -1] });
    it.kill();
    await it.start(BOUNDS);
    return it;
  }

  const total = (values: number, replaced: number[]): number =>
    (values * (values - 1)) / 2 - replaced.reduce((sum, at) => sum + at + 1, 0);
  const SUM = total(
    6 * VALUES_PER_PAGE,
    Array.from({ length: 6 }, (_, page) => page * VALUES_PER_PAGE),
  );

  async function check(it: WorkerFixture): Promise<void> {
    for (const key of KEYS)
      expect(await it.ask({ key, method: "sum" }), key).toMatchObject({ value: SUM });
  }

  test("goes into the store in groups that fit into memory", async () => {
    const it = await crashed();
    const { pages } = gateCheckpoints(it, () => Promise.resolve());
    await it.driven(it.worker.checkpointer.run());
    expect(pages.length).toBeGreaterThanOrEqual(KEYS.length);
    // Six pages of data and those of the column's head.
    expect(Math.max(...pages)).toBeLessThan(12);
    await check(it);
    it.kill();
    await it.start(BOUNDS);
    await check(it);
  });

  test.each([1, 3, 7, 12])("is whole after another crash behind group %i", async (groups) => {
    const it = await crashed();
    let left = groups;
    gateCheckpoints(it, async () => {
      if (left-- === 0) throw new PinionError("io-error", "the end");
    });
    await expect(it.driven(it.worker.checkpointer.run())).rejects.toThrow("the end");
    it.kill();
    await it.start(BOUNDS);
    await check(it);
    await it.driven(it.worker.checkpointer.run());
    await check(it);
  });

  test("may be changed between two groups", async () => {
    const it = await crashed();
    let group = 0;
    gateCheckpoints(it, async () => {
      const key = KEYS[group++ % KEYS.length] as string;
      // Before its own group, and behind it; not waited for: it may have to wait for this checkpoint.
      void it.send({ key, method: "set", args: [1, 1] });
      void it.send({ key: KEYS.at(-group) as string, method: "set", args: [1, 1] });
      await Promise.resolve();
    });
    await it.driven(it.worker.checkpointer.run());
    expect(group).toBeGreaterThanOrEqual(KEYS.length);
    await it.clock.advance(10_000);
    await check(it);
    it.kill();
    await it.start(BOUNDS);
    await check(it);
  });
});
