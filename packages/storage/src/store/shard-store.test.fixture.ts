/** A store in small segments on a simulated disk, and what is in it. */
import { assert, seededRng, type Rng } from "@pinion/core";
import { SimDisk } from "../disk/sim-disk.ts";
import type { KvWrite } from "../kv/kv-store.ts";
import { ShardStore, type ShardStoreOptions } from "./shard-store.ts";

export class Machine {
  readonly rng: Rng;
  disk: SimDisk;

  constructor(seed: number) {
    this.rng = seededRng(seed);
    this.disk = new SimDisk({ rng: this.rng, inMemoryRate: 0.5 });
  }

  open(options: Partial<ShardStoreOptions> = {}): Promise<ShardStore> {
    return ShardStore.open({
      disk: this.disk,
      dir: "segments",
      newGeneration: () => this.rng.below(2 ** 31),
      segmentPages: 32,
      cachedPagesMax: 16,
      ...options,
    });
  }
}

export type Model = Map<string, string>;

export const bytesOf = (text: string): Uint8Array => Buffer.from(text, "latin1");

/** Some writes, among few keys, of values small and large; applied to `model`, too. */
export function someWrites(rng: Rng, model: Model, count: number, keys = 200): KvWrite[] {
  return Array.from({ length: count }, () => {
    const key = `key ${rng.below(keys)}`;
    if (rng.below(4) === 0) {
      model.delete(key);
      return { table: "t", key: bytesOf(key), value: undefined };
    }
    const length = rng.below(10) === 0 ? rng.below(20_000) : rng.below(400);
    const text = String.fromCharCode(97 + rng.below(26)).repeat(length);
    model.set(key, text);
    return { table: "t", key: bytesOf(key), value: bytesOf(text) };
  });
}

export async function contentOf(kv: ShardStore): Promise<Model> {
  const entries = await kv.range("t", { limit: Infinity });
  // Each by itself as well: a tree may list what it does not lead to.
  const alone = await kv.getMany(entries.map(({ key }) => ({ table: "t", key })));
  for (const [i, { key, value }] of entries.entries()) {
    const found = alone[i];
    assert(
      found !== undefined && Buffer.from(found).equals(value),
      `${Buffer.from(key).toString("latin1")} is listed, and not found`,
    );
  }
  return new Map(
    entries.map(({ key, value }) => [
      Buffer.from(key).toString("latin1"),
      Buffer.from(value).toString("latin1"),
    ]),
  );
}

export const sorted = (model: Model): [string, string][] =>
  [...model].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
