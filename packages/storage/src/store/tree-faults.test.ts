/** The tree of a shard's store against a plain map: keys and values of all sizes, disks that fail, readers meanwhile, restarts. */
import { setImmediate } from "node:timers/promises";
import { assert, isPinionError, seededRng, type Rng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { SimDisk } from "../disk/sim-disk.ts";
import type { KvWrite } from "../kv/kv-store.ts";
import { ShardStore } from "./shard-store.ts";

type Model = Map<string, Buffer>;

const KEY_BYTES_MORE = [0, 200, 900];

class Trial {
  readonly rng: Rng;
  readonly #keys: number;
  readonly #moreBytes: number;
  readonly #segmentPages: number;
  disk: SimDisk;
  model: Model = new Map();
  /** What failed commits since the last good one would have left: a failed root record may count after all. */
  doubtful: Model[] = [];

  constructor(seed: number) {
    this.rng = seededRng(seed);
    this.disk = new SimDisk({ rng: this.rng, inMemoryRate: this.rng.pick([0, 0.5, 1]) });
    this.#segmentPages = this.rng.pick([16, 64, 256]);
    this.#keys = this.rng.pick([300, 3_000, 10_000]);
    this.#moreBytes = this.rng.pick(KEY_BYTES_MORE);
  }

  open(): Promise<ShardStore> {
    return ShardStore.open({
      disk: this.disk,
      dir: "store",
      newGeneration: () => this.rng.below(2 ** 31),
      segmentPages: this.#segmentPages,
      cachedPagesMax: this.rng.pick([0, 2, 64, 4_096]),
    });
  }

  key(): string {
    return this.#keyOf(this.rng.below(this.#keys));
  }

  #keyOf(n: number): string {
    const more = this.#moreBytes === 0 ? 0 : (n * 7_919) % this.#moreBytes;
    return `${String(n).padStart(6, "0")}${"x".repeat(more)}`;
  }

  #value(): Buffer {
    const { rng } = this;
    const length = rng.chance(0.03) ? rng.below(30_000) : rng.chance(0.1) ? 1_300 : rng.below(80);
    return Buffer.alloc(length, 97 + rng.below(26));
  }

  /** Some writes; what they make of the model. */
  change(): { writes: KvWrite[]; next: Model } {
    const { rng } = this;
    const next = new Map(this.model);
    const writes: KvWrite[] = [];
    const put = (key: string, value: Buffer | undefined): void => {
      writes.push({ table: "t", key: Buffer.from(key), value });
      if (value === undefined) next.delete(key);
      else next.set(key, value);
    };
    const from = rng.below(this.#keys);
    switch (rng.below(5)) {
      case 0: // a range goes, nearly
        for (let n = from; n < this.#keys; n++)
          if (rng.chance(0.95)) put(this.#keyOf(n), undefined);
        break;
      case 1: // thinned out
        for (let n = 0; n < this.#keys; n += 1 + rng.below(12)) put(this.#keyOf(n), undefined);
        break;
      case 2: // densely filled
        for (let n = from; n < Math.min(this.#keys, from + 1_000); n++)
          put(this.#keyOf(n), this.#value());
        break;
      default:
        for (let i = rng.below(400); i >= 0; i--)
          put(this.key(), rng.chance(0.25) ? undefined : this.#value());
    }
    return { writes, next };
  }

  /** One of the next operations of the disk fails. */
  arm(): void {
    const kind = this.rng.pick(["write", "write", "read", "sync", "create"] as const);
    const error = kind === "write" && this.rng.chance(0.5) ? "ENOSPC" : "EIO";
    this.disk.fail({ kind, nth: 1 + this.rng.below(12), error });
  }
}

const isDiskError = (e: unknown): boolean =>
  isPinionError(e, "io-error") || isPinionError(e, "disk-full");

async function contentIs(kv: ShardStore, model: Model): Promise<boolean> {
  const found = await kv.range("t", { limit: Infinity });
  const expected = [...model].sort(([a], [b]) => (a < b ? -1 : 1));
  return (
    found.length === expected.length &&
    expected.every(([key, value], i) => {
      const entry = found[i];
      return (
        entry !== undefined &&
        value.equals(entry.value) &&
        Buffer.from(entry.key).toString() === key
      );
    })
  );
}

/** Reads single keys until told to stop: each is as before or after, and stays what it was. */
async function read(
  kv: ShardStore,
  trial: Trial,
  states: readonly Model[],
  isOver: () => boolean,
): Promise<void> {
  const kept: { bytes: Uint8Array; copy: Buffer }[] = [];
  while (!isOver()) {
    const key = trial.key();
    const found = await kv.get("t", Buffer.from(key)).catch((e: unknown) => {
      assert(isDiskError(e), String(e));
      return null;
    });
    await setImmediate();
    if (found === null) continue;
    const fits = states.some((state) => {
      const value = state.get(key);
      return value === undefined ? found === undefined : found !== undefined && value.equals(found);
    });
    expect(fits, key.slice(0, 6)).toBe(true);
    if (found !== undefined) kept.push({ bytes: found, copy: Buffer.from(found) });
  }
  for (const { bytes, copy } of kept) expect(copy.equals(bytes)).toBe(true);
}

describe("the tree of a store on a disk that fails", () => {
  it.each(Array.from({ length: 24 }, (_, i) => i + 1))(
    "has what some commit left (seed %i)",
    async (seed) => {
      const trial = new Trial(seed);
      let kv = await trial.open();
      for (let round = 0; round < 12; round++) {
        const { writes, next } = trial.change();
        if (trial.rng.chance(0.3)) trial.arm();
        let over = false;
        const readers = [1, 2].map(() => read(kv, trial, [trial.model, next], () => over));
        try {
          await kv.commit(writes);
          trial.model = next;
          trial.doubtful = [];
        } catch (e) {
          expect(isDiskError(e), String(e)).toBe(true);
          trial.doubtful.push(next);
        }
        over = true;
        await Promise.all(readers);
        trial.disk.clearFaults();
        expect(await contentIs(kv, trial.model), `round ${round}`).toBe(true);
        if (!trial.rng.chance(0.3)) continue;
        if (trial.rng.chance(0.5)) await kv.close();
        trial.disk = trial.rng.chance(0.5) ? trial.disk.kill() : trial.disk.crash();
        kv = await trial.open();
        const possible = [trial.model, ...trial.doubtful];
        const hits = await Promise.all(possible.map((model) => contentIs(kv, model)));
        expect(hits, `round ${round}, after a restart`).toContain(true);
        trial.model = possible[hits.indexOf(true)] as Model;
        trial.doubtful = [];
      }
      await kv.close();
    },
  );
});
