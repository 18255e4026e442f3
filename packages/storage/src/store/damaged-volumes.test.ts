/** Damage that a commit comes upon when it empties segments, or removes volumes: it keeps no others from being written. */
import { isPinionError, seededRng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { SimDisk } from "../disk/sim-disk.ts";
import type { PageEntry } from "../segment/page-entry.ts";
import { ShardStore } from "./shard-store.ts";

const PAGE_BYTES = 4096;
const BAD = 2;
const GOOD = 3;
const PAGES = 20;

const filled = (byte: number): Uint8Array => new Uint8Array(PAGE_BYTES).fill(byte);

class Machine {
  readonly rng = seededRng(3);
  readonly disk = new SimDisk({ rng: this.rng });
  store!: ShardStore;

  async open(): Promise<void> {
    this.store = await ShardStore.open({
      disk: this.disk,
      dir: "segments",
      newGeneration: () => this.rng.below(2 ** 31),
      segmentPages: 48,
      cachedPagesMax: 0,
    });
  }

  async put(volume: number, pages: readonly number[], byte: number): Promise<void> {
    const written = pages.map((page) => [page, filled(byte)] as const);
    const write = { volume, pageCount: pages.length, pages: written };
    await this.store.commit([], { writes: [write], removed: [] });
  }

  async entryOf(kind: "page" | "node"): Promise<PageEntry> {
    const volume = await this.store.holdVolume(BAD);
    const map = volume!.map;
    const entry = await (kind === "page" ? map.lookup(4) : map.entryOfNode(0, 0));
    this.store.releaseVolume(volume!);
    return entry!;
  }

  async read(volume: number, page: number): Promise<number | undefined> {
    const held = await this.store.holdVolume(volume);
    try {
      return (await held?.read(page))?.[0];
    } finally {
      if (held !== undefined) this.store.releaseVolume(held);
    }
  }
}

async function damaged(kind: "page" | "node"): Promise<Machine> {
  const machine = new Machine();
  await machine.open();
  const pages = Array.from({ length: PAGES }, (_, i) => i);
  await machine.put(BAD, pages, 1);
  await machine.put(GOOD, pages, 2);
  const { segment, page } = await machine.entryOf(kind);
  await machine.store.close();
  const path = `segments/${String(segment).padStart(10, "0")}.seg`;
  machine.disk.flipBit(path, (page * PAGE_BYTES + 64) * 8);
  await machine.open();
  return machine;
}

const code = (e: unknown): string => (isPinionError(e) ? e.code : String(e));

describe("a damaged volume that nothing is written to", () => {
  it.each(["page", "node"] as const)(
    "does not fail commits that empty the segment its %s is in",
    async (kind) => {
      const machine = await damaged(kind);
      for (let i = 0; i < 60; i++) await machine.put(GOOD, [i % PAGES, (i * 7) % PAGES], 10 + i);
      const { store } = machine;
      expect(store.stats().cleanedPages).toBeGreaterThan(0);
      expect(store.stats().segments).toBeLessThan(8);
      expect(await machine.read(GOOD, 59 % PAGES)).toBe(69);
      if (kind === "page") expect(await machine.read(BAD, 5)).toBe(1);
      await store.close();
      await machine.open();
      expect(await machine.read(GOOD, 59 % PAGES)).toBe(69);
      expect(await machine.read(BAD, 4).catch(code)).toBe("corruption");
      await machine.store.close();
    },
  );

  it.each(["page", "node"] as const)("can be removed where its %s is damaged", async (kind) => {
    const machine = await damaged(kind);
    await machine.store.commit([], { writes: [], removed: [BAD] });
    expect(await machine.store.holdVolume(BAD)).toBeUndefined();
    for (let i = 0; i < 60; i++) await machine.put(GOOD, [i % PAGES], 10 + i);
    await machine.store.close();
    await machine.open();
    expect(await machine.store.holdVolume(BAD)).toBeUndefined();
    expect(await machine.read(GOOD, 59 % PAGES)).toBe(69);
    await machine.store.close();
  });
});
