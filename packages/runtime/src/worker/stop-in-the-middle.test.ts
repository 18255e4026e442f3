/** A worker with pinned extents ends, whatever its actors are in the middle of. */
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

const VALUES_PER_PAGE = 512;
let hook: ((ctx: { extents: { d: { sum(): unknown } } }) => unknown) | undefined;

const Thing = defineActor("thing", {
  state: () => ({ n: 0 }),
  onActivate: (ctx) => hook?.(ctx as never) as never,
  memory: { profile: "hot", extents: { d: column("f64") } },
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
    never: readonly(async (ctx) => {
      await ctx.extents.d.sum();
      await new Promise(() => {});
    }),
    async neverToo(ctx) {
      await ctx.extents.d.sum();
      await new Promise(() => {});
    },
  },
});

function made(it = new WorkerFixture([Thing])) {
  const arena = new Arena(memoryDoor());
  const counter = BudgetCounter.create(64 * 2 ** 20, 1);
  const pins = new PinManager({ clock: it.clock, budget: counter.open(0) });
  it.residency = new PinnedResidency(it.clock, pins, arena);
  return { it, arena, counter, pins };
}

async function ends(it: WorkerFixture, what: Promise<unknown>, ms = 20_000): Promise<boolean> {
  let done = false;
  void what.catch(() => {}).then(() => (done = true));
  for (let t = 0; t < ms && !done; t += 250) {
    await it.clock.advance(250);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return done;
}

describe("a worker with pinned extents ends", () => {
  test.each(["never", "neverToo"])(
    "the log fails while a turn waits that looks at extents (%s)",
    async (method) => {
      const { it, arena, counter, pins } = made();
      await it.start({});
      await it.ask({ method: "fill", args: [20] });
      await it.driven(it.worker.checkpointer.run());
      void it.send({ method });
      await it.clock.advance(100);
      it.disk.fail({ kind: "write", path: /log/, error: "EIO", times: Infinity });
      it.disk.fail({ kind: "sync", path: /log/, error: "EIO", times: Infinity });
      void it.send({ key: "b", method: "fill", args: [1] });
      await it.clock.advance(3_000);
      expect(it.worker.core.state).toBe("failed");
      expect(await ends(it, it.worker.stop(100))).toBe(true);
      expect(await ends(it, pins.stop())).toBe(true);
      expect(counter.usedBytes).toBe(0);
      expect(arena.stats().usedBytes).toBe(0);
    },
  );

  test("an activation has not ended when the worker does (its hook hangs)", async () => {
    const { it, pins } = made();
    await it.start({});
    await it.ask({ method: "fill", args: [20] });
    await it.driven(it.worker.stop(100));
    await it.driven(pins.stop());
    it.disk = it.disk.kill();
    it.index = it.index.kill();
    const two = made(it);
    hook = async (ctx) => {
      await ctx.extents.d.sum();
      await new Promise(() => {});
    };
    try {
      await two.it.start({});
      void two.it.send({ method: "n" });
      await two.it.clock.advance(1_000);
      expect(await ends(two.it, two.it.worker.stop(100))).toBe(true);
      expect(await ends(two.it, two.pins.stop(), 20_000)).toBe(true);
      expect(two.counter.usedBytes).toBe(0);
      expect(two.arena.stats().usedBytes).toBe(0);
    } finally {
      hook = undefined;
    }
  });

  test("an activation still loads when the worker stops, with much that the log has changed", async () => {
    const { it } = made();
    await it.start({
      checkpoint: { logBytes: 1e9, dirtyBytes: 1e9, dirtyMs: 1e9, segmentBytes: 1024 * 1024 },
    });
    for (let i = 0; i < 20; i++) await it.ask({ method: "fill", args: [20] });
    await it.driven(it.worker.checkpointer.run());
    for (let page = 0; page < 400; page++)
      await it.ask({ method: "set", args: [page * VALUES_PER_PAGE, -1] });
    it.kill();
    const two = made(it);
    await two.it.start({
      checkpoint: { logBytes: 1e9, dirtyBytes: 1e9, dirtyMs: 1e9, segmentBytes: 1024 * 1024 },
    });
    // Its activation is what a hint has begun; its load takes until the worker has stopped.
    const gate = Promise.withResolvers<void>();
    const { residency } = two.it.worker.core;
    const activate = residency.activate.bind(residency);
    residency.activate = async (actor) => {
      await activate(actor);
      await gate.promise;
    };
    void two.it.send({ method: "n" });
    await two.it.clock.advance(2_000);
    expect(two.counter.usedBytes).toBeGreaterThan(0);
    expect(await ends(two.it, two.it.worker.stop(100))).toBe(true);
    const stopping = two.pins.stop();
    await two.it.clock.advance(100);
    gate.resolve();
    expect(await ends(two.it, stopping)).toBe(true);
    expect(two.counter.usedBytes).toBe(0);
    expect(two.arena.stats().usedBytes).toBe(0);
  });
});
