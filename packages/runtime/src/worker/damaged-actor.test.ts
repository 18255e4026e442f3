/** Actors whose pages, maps or records the disk has damaged, while the log has changes of them: the others go on. */
import type { ExtentAccess, StructureDefinition } from "@pinion/storage";
import { describe, expect, test } from "vitest";
import { defineActor, readonly } from "../definition/define-actor.ts";
import { WorkerFixture } from "./worker.test.fixture.ts";
import type { WorkerOptions } from "./worker-options.ts";

const PAGE = 4_096;
/** Bytes as they are. */
const DATA: StructureDefinition<ExtentAccess> = {
  kind: "blob",
  version: 1,
  options: { growBytes: 65_536, growChosen: false },
  open: (extent) => extent,
};

const Thing = defineActor("thing", {
  state: () => ({ n: 0, mark: "" }),
  memory: { profile: "cold", extents: { d: DATA } },
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

const OPTIONS: Partial<WorkerOptions> = {
  checkpoint: { logBytes: 1e9, dirtyBytes: 1e9, dirtyMs: 1e9, segmentBytes: 1024 * 1024 },
};

const KEYS = ["bad", "good", "other"];
const BAD = 20 * PAGE;
const HOUR_MS = 3_600_000;

/** Flips a bit `offset` bytes behind the first place that holds `bytes`. */
function damage(it: WorkerFixture, bytes: Uint8Array, offset: number): void {
  for (const path of it.disk.paths().filter((each) => each.startsWith("/segments"))) {
    const found = Buffer.from(it.disk.contents(path)).indexOf(bytes);
    if (found < 0) continue;
    it.disk.flipBit(path, (found + offset) * 8);
    return;
  }
  throw new Error("there is no such place");
}

/** A page of the extent of "bad": the one that the log has changed. */
const hurtPage = (it: WorkerFixture): void => damage(it, Buffer.alloc(PAGE, 200), BAD);

/** Three actors with changes in the log that no checkpoint has; what `hurt` damages is found when the next life reads it. */
async function crashed(hurt: (it: WorkerFixture) => void): Promise<WorkerFixture> {
  const it = new WorkerFixture([Thing]);
  await it.start(OPTIONS);
  for (const [i, key] of KEYS.entries()) {
    await it.ask({ key, method: "fill", args: [60, 200 + i] });
    await it.ask({ key, method: "mark", args: [`mark of ${key}`] });
  }
  await it.driven(it.worker.checkpointer.run());
  for (const key of KEYS) {
    await it.ask({ key, method: "set", args: [BAD + 5, 1] });
    await it.ask({ key, method: "remind", args: [HOUR_MS] });
  }
  hurt(it);
  await restarted(it);
  return it;
}

async function restarted(it: WorkerFixture): Promise<void> {
  it.kill();
  await it.start(OPTIONS);
}

const recovered = (it: WorkerFixture): string[] =>
  [...it.worker.core.shards.values()].flatMap((each) => [...each.recovered.keys()]);

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
});
