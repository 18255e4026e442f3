import { setImmediate } from "node:timers/promises";
import { isPinionError, seededRng, type Rng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { SimDisk } from "../disk/sim-disk.ts";
import { ShardStore, type VolumeChanges } from "./shard-store.ts";
import type { VolumeWrite } from "./shard-commit.ts";

const PAGE_BYTES = 4096;

/** Volume → page → the byte it is filled with. */
type Model = Map<number, Map<number, number>>;

const copyOf = (model: Model): Model =>
  new Map([...model].map(([id, pages]) => [id, new Map(pages)]));

const filled = (byte: number): Uint8Array => new Uint8Array(PAGE_BYTES).fill(byte);

class Machine {
  readonly rng: Rng;
  disk: SimDisk;

  constructor(seed: number) {
    this.rng = seededRng(seed);
    this.disk = new SimDisk({ rng: this.rng, inMemoryRate: 0.5 });
  }

  open(cachedPagesMax = 16): Promise<ShardStore> {
    return ShardStore.open({
      disk: this.disk,
      dir: "segments",
      newGeneration: () => this.rng.below(2 ** 31),
      segmentPages: 48,
      cachedPagesMax,
    });
  }
}

/** Some pages of some volumes, cuts and removals; applied to `model`, too. */
function someChanges(rng: Rng, model: Model): VolumeChanges {
  const writes: VolumeWrite[] = [];
  const removed: number[] = [];
  for (let volume = 2; volume < 7; volume++) {
    const kind = rng.below(6);
    if (kind === 0 && model.has(volume)) {
      removed.push(volume);
      model.delete(volume);
    }
    if (kind < 3) continue;
    const pages = model.get(volume) ?? new Map<number, number>();
    model.set(volume, pages);
    const pagesMax = rng.below(4) === 0 ? rng.below(700) : undefined;
    if (pagesMax !== undefined)
      for (const page of pages.keys()) if (page >= pagesMax) pages.delete(page);
    const written = new Map<number, Uint8Array>();
    for (let i = rng.below(20); i >= 0; i--) {
      const page = rng.below(rng.below(3) === 0 ? 700 : 30);
      const byte = 1 + rng.below(255);
      pages.set(page, byte);
      written.set(page, filled(byte));
    }
    const inOrder = [...written].sort(([a], [b]) => a - b);
    writes.push({
      volume,
      pageCount: inOrder.length,
      pages: inOrder,
      ...(pagesMax === undefined ? {} : { pagesMax }),
    });
  }
  return { writes, removed };
}

async function contentOf(store: ShardStore): Promise<Model> {
  const model: Model = new Map();
  for (let id = 2; id < 7; id++) {
    const volume = await store.holdVolume(id);
    if (volume === undefined) continue;
    const pages = new Map<number, number>();
    for await (const [page] of volume.map.entries()) {
      const bytes = (await volume.read(page)) as Uint8Array;
      expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
      pages.set(page, bytes[0] as number);
    }
    model.set(id, pages);
    store.releaseVolume(volume);
  }
  return model;
}

const sorted = (model: Model): unknown =>
  [...model]
    .sort(([a], [b]) => a - b)
    .map(([id, pages]) => [id, [...pages].sort(([a], [b]) => a - b)]);

/** What the counts in the root record must be: a walk over everything. */
async function recount(store: ShardStore): Promise<number> {
  let pages = 0;
  for (let id = 2; id < 7; id++) {
    const volume = await store.holdVolume(id);
    if (volume === undefined) continue;
    for await (const _ of volume.map.entries(0, () => pages++)) pages++;
    store.releaseVolume(volume);
  }
  return pages;
}

describe("volumes of a shard's store", () => {
  it.each(Array.from({ length: 40 }, (_, i) => i + 1))(
    "are after a cut what some commit left, and none that resolved is missing (seed %i)",
    async (seed) => {
      const machine = new Machine(seed);
      const { rng } = machine;
      let model: Model = new Map();
      for (let life = 0; life < 5; life++) {
        const store = await machine.open();
        expect(sorted(await contentOf(store))).toEqual(sorted(model));
        const cutAt = machine.disk.operationCount + 1 + rng.below(80);
        let crashed: SimDisk | undefined;
        machine.disk.onOperation = ({ index }) => {
          if (index === cutAt) crashed = machine.disk.crash();
        };
        let next = model;
        const commits = async (): Promise<void> => {
          for (;;) {
            next = copyOf(model);
            await store.commit([], someChanges(rng, next));
            model = next;
          }
        };
        const cut = async (): Promise<void> => {
          while (crashed === undefined) await setImmediate();
        };
        await Promise.race([commits(), cut()]);
        machine.disk = crashed as unknown as SimDisk;
        const reopened = await machine.open();
        const found = sorted(await contentOf(reopened));
        expect([sorted(model), sorted(next)]).toContainEqual(found);
        model = JSON.stringify(found) === JSON.stringify(sorted(next)) ? next : model;
        await reopened.close();
      }
    },
  );

  it("counts live pages as a walk over all maps does, whatever was written, cut, removed and cleaned", async () => {
    const machine = new Machine(7);
    const model: Model = new Map();
    let store = await machine.open();
    await store.commit([], {
      writes: Array.from({ length: 5 }, (_, i) => ({
        volume: 2 + i,
        pageCount: 1,
        pages: [[0, filled(1)]] as const,
      })),
      removed: [],
    });
    for (let i = 2; i < 7; i++) model.set(i, new Map([[0, 1]]));
    let cleaned = 0;
    for (let round = 0; round < 120; round++) {
      await store.commit([], someChanges(machine.rng, model));
      if (round % 10 !== 0) continue;
      cleaned += store.stats().cleanedPages;
      const directory = store.stats().livePages - (await recount(store));
      // The directory is a leaf of five entries and its map.
      expect(directory).toBeLessThanOrEqual(2);
      expect(directory).toBeGreaterThanOrEqual(1);
      await store.close();
      store = await machine.open();
      expect(sorted(await contentOf(store))).toEqual(sorted(model));
    }
    expect(cleaned).toBeGreaterThan(0);
    await store.close();
  });

  it("keeps space in proportion: ten random rewrites of everything take at most half as much again", async () => {
    const rng = seededRng(3);
    const disk = new SimDisk({ rng });
    const store = await ShardStore.open({
      disk,
      dir: "s",
      newGeneration: () => rng.below(2 ** 31),
      segmentPages: 256,
    });
    const all = Array.from({ length: 4_000 }, (_, page) => page);
    const write = (pages: readonly number[]): Promise<void> =>
      store.commit([], {
        writes: [
          {
            volume: 2,
            pageCount: pages.length,
            pages: pages.map((page) => [page, filled(page % 251)] as const),
          },
        ],
        removed: [],
      });
    await write(all);
    for (let i = 0; i < 40; i++) {
      const some = new Set(Array.from({ length: 1_150 }, () => rng.below(all.length)));
      await write([...some].sort((a, b) => a - b));
    }
    const { segments, livePages } = store.stats();
    expect((segments * 256) / livePages).toBeLessThanOrEqual(1.5);
    await store.close();
  });

  it("names volume and page when a page is damaged, and reads the others", async () => {
    const machine = new Machine(9);
    const store = await machine.open();
    await store.commit([], {
      writes: [
        {
          volume: 2,
          pageCount: 3,
          pages: [0, 1, 2].map((page) => [page, filled(page + 1)] as const),
        },
      ],
      removed: [],
    });
    const volume = await store.holdVolume(2);
    const entry = await volume?.map.lookup(1);
    const file = await machine.disk.open("segments/0000000001.seg");
    await file.write((entry as { page: number }).page * PAGE_BYTES + 100, new Uint8Array([77]), {
      sync: true,
    });
    await expect(volume?.read(1)).rejects.toSatisfy(
      (e) => isPinionError(e, "corruption") && e.details["volume"] === 2 && e.details["page"] === 1,
    );
    expect((await volume?.read(2))?.[0]).toBe(3);
    await file.close();
    await store.close();
  });

  it("opens any number of volumes at once", async () => {
    const machine = new Machine(11);
    let store = await machine.open();
    const ids = Array.from({ length: 200 }, (_, i) => i + 2);
    await store.commit([], {
      writes: ids.map((volume) => ({
        volume,
        pageCount: 1,
        pages: [[0, filled(volume % 251)]] as const,
      })),
      removed: [],
    });
    await store.close();
    store = await machine.open();
    const volumes = await Promise.all(ids.map((id) => store.holdVolume(id)));
    for (const [i, volume] of volumes.entries())
      expect((await volume?.read(0))?.[0]).toBe((ids[i] as number) % 251);
    await store.close();
  });
});

describe("a volume whose map grows by several levels at once", () => {
  const filled = (byte: number): Uint8Array => new Uint8Array(PAGE_BYTES).fill(byte);
  const put = async (
    store: ShardStore,
    volume: number,
    pages: readonly number[],
    removed: readonly number[] = [],
  ): Promise<void> => {
    const written = pages.map((page) => [page, filled(1 + (page % 200))] as const);
    await store.commit([], {
      writes: [{ volume, pageCount: pages.length, pages: written }],
      removed,
    });
  };
  const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

  it.each([
    [0, 300, 70_000],
    [0, 70_000],
    [0, 300, 256 ** 3 + 5],
  ])("gives all of it back (pages %j)", async (...pages) => {
    const store = await new Machine(1).open();
    await put(store, 3, [0]);
    const { livePages } = store.stats();
    for (const page of pages) await put(store, 2, [page]);
    await store.commit([], { writes: [], removed: [2] });
    expect(store.stats().livePages).toBe(livePages);
  });

  it("loses no segment that is still needed", async () => {
    for (let beside = 18; beside < 48; beside++) {
      const machine = new Machine(1);
      const store = await machine.open(0);
      await put(store, 2, [0]);
      await put(store, 3, upTo(beside));
      await put(store, 4, upTo(480), [3]);
      await put(store, 2, [70_000]);
      await store.close();
      const again = await machine.open(0);
      const volume = await again.holdVolume(2);
      expect((await volume?.read(0))?.[0], `${beside} pages beside it`).toBe(1);
      await again.close();
    }
  });
});
