import { isPinionError, seededRng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import type { KvWrite } from "./kv-store.ts";
import { SimKv } from "./sim-kv.ts";

const SEEDS = Array.from({ length: 200 }, (_, seed) => seed);
const entry = (n: number): KvWrite => ({
  table: "t",
  key: Uint8Array.of(n),
  value: Uint8Array.of(n),
});

const keys = async (kv: SimKv): Promise<number[]> =>
  (await kv.range("t", {})).map(({ key }) => key[0] as number);

const code = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
  } catch (e) {
    return isPinionError(e) ? e.code : String(e);
  }
  return "no error";
};

describe("SimKv", () => {
  it("keeps synced commits at a crash, and of the others a prefix, each whole or not at all", async () => {
    const seen = new Set<string>();
    for (const seed of SEEDS) {
      const kv = new SimKv({ rng: seededRng(seed) });
      await kv.commit([entry(1), entry(2)]);
      await kv.sync();
      await kv.commit([entry(3), entry(4)]);
      await kv.commit([entry(5), { table: "t", key: Uint8Array.of(1), value: undefined }]);
      seen.add((await keys(kv.crash())).join(" "));
    }
    expect([...seen].sort()).toEqual(["1 2", "1 2 3 4", "2 3 4 5"]);
  });

  it("may have let a commit under way through", async () => {
    const seen = new Set<string>();
    for (const seed of SEEDS) {
      const kv = new SimKv({ rng: seededRng(seed) });
      const cut = Promise.withResolvers<SimKv>();
      kv.onOperation = ({ kind }) => {
        if (kind === "commit") cut.resolve(kv.crash());
      };
      void kv.commit([entry(1)]);
      seen.add((await keys(await cut.promise)).join(" "));
    }
    expect([...seen].sort()).toEqual(["", "1"]);
  });

  it("loses nothing that resolved when only the process is killed, though it is still unsynced", async () => {
    const kv = new SimKv({ rng: seededRng(1) });
    await kv.commit([entry(1)]);
    await kv.sync();
    await kv.commit([entry(2)]);
    const next = kv.kill();
    expect(await keys(next)).toEqual([1, 2]);
    expect(await keys(next.crash({ survivalRate: 0 }))).toEqual([1]);
  });

  it("hears nothing after a crash, and leaves an image that goes on by itself", async () => {
    const kv = new SimKv({ rng: seededRng(1) });
    await kv.commit([entry(1)]);
    const image = kv.crashImage({ survivalRate: 1 });
    await kv.commit([entry(2)]);
    await image.commit([entry(3)]);
    expect(await keys(image)).toEqual([1, 3]);
    expect(await keys(kv)).toEqual([1, 2]);
    kv.halt();
    let settled = false;
    void kv.commit([entry(4)]).finally(() => (settled = true));
    await keys(image);
    await keys(image);
    expect(settled).toBe(false);
  });

  it("goes on after a full disk", async () => {
    const kv = new SimKv({ rng: seededRng(1) });
    kv.fail({ kind: "commit", error: "ENOSPC" });
    expect(await code(kv.commit([entry(1)]))).toBe("disk-full");
    expect(await keys(kv)).toEqual([]);
    await kv.commit([entry(2)]);
    expect(await keys(kv)).toEqual([2]);
  });

  it.each(["commit", "sync"] as const)("is at its end after a failed %s", async (kind) => {
    const kv = new SimKv({ rng: seededRng(1) });
    await kv.commit([entry(1)]);
    kv.fail({ kind, error: "EIO" });
    expect(await code(kind === "commit" ? kv.commit([entry(2)]) : kv.sync())).toBe("io-error");
    expect(await code(kv.commit([entry(3)]))).toBe("io-error");
    expect(await code(kv.get("t", Uint8Array.of(1)))).toBe("io-error");
    expect(await code(kv.sync())).toBe("io-error");
    await kv.close();
  });

  it("fails a read without an end to the store", async () => {
    const kv = new SimKv({ rng: seededRng(1) });
    await kv.commit([entry(1)]);
    kv.fail({ kind: "get", error: "EIO" });
    expect(await code(kv.get("t", Uint8Array.of(1)))).toBe("io-error");
    expect(await kv.get("t", Uint8Array.of(1))).toEqual(Uint8Array.of(1));
  });
});
