/** Actors with extents of plain bytes, and ways to damage what a disk has of one. */
import { ShardStore, type ExtentAccess, type StructureDefinition } from "@pinion/storage";
import { defineActor, readonly } from "../definition/define-actor.ts";
import { expect } from "vitest";
import { WorkerFixture } from "./worker.test.fixture.ts";
import type { WorkerOptions } from "./worker-options.ts";

export const PAGE = 4_096;
/** Bytes as they are. */
export const DATA: StructureDefinition<ExtentAccess> = {
  kind: "blob",
  version: 1,
  options: { growBytes: 65_536, growChosen: false },
  open: (extent) => extent,
};

export const Thing = defineActor("thing", {
  state: () => ({ n: 0, mark: "" }),
  memory: { profile: "cold", extents: { d: DATA } },
  // A stop waits for these to be written, where they can be.
  onDeactivate: () => {},
  methods: {
    fill(ctx, pages: number, byte: number) {
      ctx.extents.d.append(new Uint8Array(pages * PAGE).fill(byte));
      return (ctx.state.n += 1);
    },
    async set(ctx, at: number, byte: number) {
      await ctx.extents.d.write(at, Uint8Array.of(byte));
      return (ctx.state.n += 1);
    },
    /** Needs nothing of what is there. */
    async replace(ctx, page: number, byte: number) {
      await ctx.extents.d.write(page * PAGE, new Uint8Array(PAGE).fill(byte));
      return (ctx.state.n += 1);
    },
    mark(ctx, mark: string) {
      ctx.state.mark = mark;
      return (ctx.state.n += 1);
    },
    n: readonly((ctx) => ctx.state.n),
    byte: readonly(async (ctx, at: number) => (await ctx.extents.d.read(at, 1))[0]),
    remind(ctx, afterMs: number) {
      ctx.reminders.set("tick", { afterMs }, "ticked");
    },
    ticked(ctx) {
      ctx.state.n += 100;
    },
  },
});

export const OPTIONS: Partial<WorkerOptions> = {
  checkpoint: { logBytes: 1e9, dirtyBytes: 1e9, dirtyMs: 1e9, segmentBytes: 1024 * 1024 },
};

export const KEYS = ["bad", "good", "other"];
export const BAD = 20 * PAGE;
export const HOUR_MS = 3_600_000;

export interface Place {
  readonly path: string;
  readonly bit: number;
}

/** Flips a bit `offset` bytes behind the first place that holds `bytes`. */
export function damage(it: WorkerFixture, bytes: Uint8Array, offset: number): Place {
  for (const path of it.disk.paths().filter((each) => each.startsWith("/segments"))) {
    const found = Buffer.from(it.disk.contents(path)).indexOf(bytes);
    if (found < 0) continue;
    const bit = (found + offset) * 8;
    it.disk.flipBit(path, bit);
    return { path, bit };
  }
  throw new Error("there is no such place");
}

/** A page of the extent of "bad": the one that the log has changed. */
export const hurtPage = (it: WorkerFixture): void =>
  void damaged.set(it, damage(it, Buffer.alloc(PAGE, 200), BAD));
export const damaged = new WeakMap<WorkerFixture, Place>();

export function hurtPageBack(it: WorkerFixture): void {
  const { path, bit } = damaged.get(it) as Place;
  it.disk.flipBit(path, bit);
}

/** The node of the map that leads to the pages of the extent of "bad". */
export async function hurtMap(it: WorkerFixture): Promise<void> {
  const dir = "/segments/00000";
  const options = { disk: it.disk, dir, newGeneration: () => 1, clock: it.clock };
  const store = await it.driven(ShardStore.open(options));
  const volume = await it.driven(store.holdVolume(16));
  const entry = await it.driven(volume!.map.entryOfNode(0, 0));
  const path = it.disk.paths().find((each) => each.startsWith(dir)) as string;
  const bit = (entry!.page * PAGE + 64) * 8;
  it.disk.flipBit(path, bit);
  damaged.set(it, { path, bit });
}

/** Three actors of which a checkpoint has all. */
export async function stored(options = OPTIONS): Promise<WorkerFixture> {
  const it = new WorkerFixture([Thing]);
  await it.start(options);
  for (const [i, key] of KEYS.entries()) {
    await it.ask({ key, method: "fill", args: [60, 200 + i], idempotencyKey: key });
    await it.ask({ key, method: "mark", args: [`mark of ${key}`.repeat(1_000)] });
  }
  await it.driven(it.worker.checkpointer.run());
  return it;
}

/** Three actors with changes in the log that no checkpoint has; what `hurt` damages is found when the next life reads it. */
export async function crashed(
  hurt: (it: WorkerFixture) => void,
  options = OPTIONS,
  remindAfterMs = HOUR_MS,
): Promise<WorkerFixture> {
  const it = await stored(options);
  for (const key of KEYS) {
    await it.ask({ key, method: "set", args: [BAD + 5, 1] });
    await it.ask({ key, method: "remind", args: [remindAfterMs] });
  }
  hurt(it);
  await restarted(it, options);
  return it;
}

export async function restarted(it: WorkerFixture, options = OPTIONS): Promise<void> {
  it.kill();
  await it.start(options);
}

export const recovered = (it: WorkerFixture): string[] =>
  [...it.worker.core.shards.values()].flatMap((each) => [...each.recovered.keys()]);

/** How often the store was given something from now on. */
export function countTries(it: WorkerFixture): () => number {
  const { store } = it.worker.core.ports;
  const checkpoint = store.checkpoint.bind(store);
  let tries = 0;
  store.checkpoint = (shards) => {
    tries++;
    return checkpoint(shards);
  };
  return () => tries;
}

export async function expectCounts(
  it: WorkerFixture,
  counts: Readonly<Record<string, number>>,
): Promise<void> {
  for (const [key, n] of Object.entries(counts))
    expect(await it.ask({ key, method: "n" }), key).toMatchObject({ value: n });
}
