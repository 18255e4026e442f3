/** What an opening finds, and what stands once it has. */
import { isPinionError } from "@pinion/core";
import { describe, expect, it } from "vitest";
import type { SimDisk } from "../disk/sim-disk.ts";
import { PAGE_BYTES } from "../segment/page-entry.ts";
import {
  bytesOf,
  contentOf,
  Machine,
  someWrites,
  sorted,
  type Model,
} from "./shard-store.test.fixture.ts";

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "no error",
    (e: unknown) => (isPinionError(e) ? e.code : String(e)),
  );

/** On what a power cut leaves that nothing unflushed survives. */
async function contentAfterCut(machine: Machine): Promise<[string, string][]> {
  const { disk } = machine;
  machine.disk = disk.crashImage({ survivalRate: 0 });
  const found = sorted(await contentOf(await machine.open({ segmentPages: 16 })));
  machine.disk = disk;
  return found;
}

describe("a store in segments that is opened", () => {
  it("does not take longer the more there is, where its newest checkpoint is known", async () => {
    const operations = async (pages: number): Promise<{ count: number; segments: number }> => {
      const machine = new Machine(1);
      const options = { segmentPages: 64, cachedPagesMax: 0 };
      let kv = await machine.open(options);
      const bytes = new Uint8Array(PAGE_BYTES).fill(9);
      for (let from = 0; from < pages; from += 40) {
        const written = Array.from({ length: 40 }, (_, i) => [from + i, bytes] as const);
        const writes = [{ volume: 2, pageCount: 40, pages: written }];
        await kv.commit([], { writes, removed: [] });
      }
      const { newest } = kv;
      await kv.close();
      let count = 0;
      machine.disk.onOperation = () => count++;
      kv = await machine.open({ ...options, ...(newest && { durable: newest }) });
      const opening = count;
      // What was not opened is there all the same.
      const volume = await kv.holdVolume(2);
      for (let page = 0; page < pages; page += 7) expect((await volume?.read(page))?.[5]).toBe(9);
      expect(await volume?.read(pages)).toBeUndefined();
      const { segments } = kv.stats();
      await kv.close();
      return { count: opening, segments };
    };
    const few = await operations(200);
    const many = await operations(4_000);
    expect(many.segments).toBeGreaterThan(10 * few.segments);
    expect(many.count).toBeLessThanOrEqual(few.count + 2);
  });

  it("says of a page which segment is not what its name says, and goes on with the others", async () => {
    const machine = new Machine(2);
    const options = { segmentPages: 64, cachedPagesMax: 0 };
    let kv = await machine.open(options);
    for (let from = 0; from < 400; from += 40) {
      const written = Array.from(
        { length: 40 },
        (_, i) => [from + i, new Uint8Array(PAGE_BYTES).fill(9)] as const,
      );
      await kv.commit([], {
        writes: [{ volume: 2, pageCount: 40, pages: written }],
        removed: [],
      });
    }
    const { newest } = kv;
    await kv.close();
    const [first, second] = (await machine.disk.list("segments")).sort();
    await machine.disk.remove(`segments/${first}`);
    await machine.disk.rename(`segments/${second}`, `segments/${first}`);
    kv = await machine.open({ ...options, ...(newest && { durable: newest }) });
    const volume = await kv.holdVolume(2);
    const codes = new Set<string>();
    for (let page = 0; page < 400; page += 1)
      codes.add(await codeOf((volume as NonNullable<typeof volume>).read(page)));
    expect([...codes].sort()).toEqual(["corruption", "no error"]);
    await kv.close();
  });

  it("has every commit that has resolved, whatever was removed behind it", async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const machine = new Machine(seed);
      const kv = await machine.open({ segmentPages: 16 });
      const model: Model = new Map();
      for (let i = 0; i < 40; i++) {
        await kv.commit(someWrites(machine.rng, model, 1 + machine.rng.below(12), 60));
        expect(await contentAfterCut(machine), `seed ${seed}, commit ${i}`).toEqual(sorted(model));
      }
    }
  });

  it("keeps what it has shown, also when the process before could not flush it", async () => {
    let shown = 0;
    for (let seed = 1; seed <= 30; seed++) {
      const machine = new Machine(seed);
      let kv = await machine.open({ segmentPages: 16 });
      const model: Model = new Map();
      for (let i = machine.rng.below(5); i >= 0; i--)
        await kv.commit(someWrites(machine.rng, model, 10, 60));
      machine.disk.fail({ kind: "sync", nth: 1 + machine.rng.below(2), error: "EIO" });
      const next = new Map(model);
      await codeOf(kv.commit(someWrites(machine.rng, next, 60, 60)));
      machine.disk = machine.disk.kill();
      kv = await machine.open({ segmentPages: 16 });
      const found = sorted(await contentOf(kv));
      if (JSON.stringify(found) === JSON.stringify(sorted(next))) shown++;
      expect(await contentAfterCut(machine), `seed ${seed}`).toEqual(found);
    }
    expect(shown).toBeGreaterThan(0);
  });

  it("does not go on in a file that a process before has left without a header", async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const machine = new Machine(seed);
      let kv = await machine.open({ segmentPages: 16 });
      machine.disk.onOperation = ({ kind, bytes }) => {
        // Headers of files are the only pages that are written alone.
        if (kind === "write" && bytes === PAGE_BYTES && machine.rng.chance(0.3))
          machine.disk.fail({ kind, error: "EIO" });
      };
      const commit = (): Promise<void> => kv.commit(someWrites(machine.rng, new Map(), 4, 60));
      for (let i = 0; i < 50 && (await codeOf(commit())) === "no error"; i++);
      machine.disk = machine.disk.kill();
      kv = await machine.open({ segmentPages: 16 });
      const model = await contentOf(kv);
      await kv.commit(someWrites(machine.rng, model, 5, 60));
      expect(await contentAfterCut(machine), `seed ${seed}`).toEqual(sorted(model));
    }
  });

  it("goes straight to the checkpoint it is told of, and from there to newer ones", async () => {
    const machine = new Machine(7);
    let kv = await machine.open();
    const model: Model = new Map();
    for (let i = 0; i < 30; i++) await kv.commit(someWrites(machine.rng, model, 30));
    const durable = kv.newest as NonNullable<typeof kv.newest>;
    await kv.close();
    kv = await machine.open({ durable });
    expect(kv.stats().opening).toEqual({ parts: 1, readBytes: PAGE_BYTES, dropped: 0 });
    await kv.commit(someWrites(machine.rng, model, 3));
    await kv.close();
    kv = await machine.open({ durable });
    expect(kv.newest?.sequence).toBeGreaterThan(durable.sequence);
    expect(kv.stats().opening.parts).toBe(1 + (kv.newest?.sequence ?? 0) - durable.sequence);
    expect(sorted(await contentOf(kv))).toEqual(sorted(model));
  });

  it("says what is damaged: the checkpoint it is told of, or a page of it when that is read", async () => {
    const machine = new Machine(8);
    let kv = await machine.open();
    const value = new Uint8Array(3_000);
    for (const key of ["a", "b"]) await kv.commit([{ table: "t", key: bytesOf(key), value }]);
    const durable = kv.newest as NonNullable<typeof kv.newest>;
    const [path] = machine.disk.paths() as [string];
    await kv.close();
    const whole = machine.disk;
    const flipped = (page: number): SimDisk => {
      const disk = whole.crashImage({ survivalRate: 1, tornRate: 0 });
      disk.flipBit(path, (durable.page + page) * PAGE_BYTES * 8 + 100);
      return disk;
    };
    machine.disk = flipped(0);
    expect(await codeOf(machine.open({ durable }))).toBe("corruption");
    expect(sorted(await contentOf(await machine.open())).map(([key]) => key)).toEqual(["a"]);
    machine.disk = flipped(1);
    kv = await machine.open({ durable });
    expect(await codeOf(contentOf(kv))).toBe("corruption");
  });
});
