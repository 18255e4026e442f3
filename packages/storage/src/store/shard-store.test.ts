import { setImmediate } from "node:timers/promises";
import { isPinionError } from "@pinion/core";
import { describe, expect, it } from "vitest";
import type { SimDisk } from "../disk/sim-disk.ts";
import type { KvWrite } from "../kv/kv-store.ts";
import {
  bytesOf,
  contentOf,
  Machine,
  someWrites,
  sorted,
  type Model,
} from "./shard-store.test.fixture.ts";

describe("a store in segments", () => {
  it.each(Array.from({ length: 40 }, (_, i) => i + 1))(
    "has after a cut exactly what some commit left, and none that resolved is missing (seed %i)",
    async (seed) => {
      const machine = new Machine(seed);
      const { rng } = machine;
      let model: Model = new Map();
      for (let life = 0; life < 6; life++) {
        const kv = await machine.open();
        expect(sorted(await contentOf(kv))).toEqual(sorted(model));
        const cutAt = machine.disk.operationCount + 1 + rng.below(60);
        let crashed: SimDisk | undefined;
        machine.disk.onOperation = ({ index }) => {
          if (index !== cutAt) return;
          crashed = rng.chance(0.7) ? machine.disk.crash() : machine.disk.kill();
        };
        let next: Model = model;
        const commits = async (): Promise<void> => {
          for (;;) {
            next = new Map(model);
            await kv.commit(someWrites(rng, next, 1 + rng.below(40)));
            model = next;
          }
        };
        const cut = new Promise<void>((resolve) => {
          const look = async (): Promise<void> => {
            while (!crashed) await setImmediate();
            resolve();
          };
          void look();
        });
        await Promise.race([commits(), cut]);
        machine.disk = crashed as SimDisk;
        const found = sorted(await contentOf(await machine.open()));
        // The commit under way is there or not; as a whole.
        if (JSON.stringify(found) === JSON.stringify(sorted(next))) model = next;
        expect(found).toEqual(sorted(model));
      }
    },
  );

  it("finds what was first in a leaf that is split in front of it", async () => {
    const kv = await new Machine(4).open();
    const put = (...names: string[]): Promise<void> =>
      kv.commit(
        names.map((name) => ({ table: "t", key: bytesOf(name), value: new Uint8Array(1_000) })),
      );
    await put("k0", "k1", "k2", "k3", "k4", "k5");
    await put("a0", "a1", "a2");
    expect([...(await contentOf(kv)).keys()]).toEqual([..."a0 a1 a2 k0 k1 k2 k3 k4 k5".split(" ")]);
  });

  it("keeps its space in proportion to what is live", async () => {
    const machine = new Machine(1);
    const kv = await machine.open({ segmentPages: 256 });
    const model: Model = new Map();
    for (let i = 0; i < 400; i++) await kv.commit(someWrites(machine.rng, model, 30, 3000));
    const { livePages, segments, cleanedPages, writtenPages } = kv.stats();
    expect(cleanedPages).toBeGreaterThan(0);
    expect(writtenPages).toBeGreaterThan(10 * (livePages as number));
    expect(segments * 256).toBeLessThan(1.6 * (livePages as number) + 3 * 256);
    expect(sorted(await contentOf(kv))).toEqual(sorted(model));
    await kv.close();
    expect(sorted(await contentOf(await machine.open({ segmentPages: 256 })))).toEqual(
      sorted(model),
    );
  });

  it("finds again what was committed after a segment's first write had failed", async () => {
    for (let nth = 1; nth <= 40; nth++) {
      const machine = new Machine(100 + nth);
      let kv = await machine.open();
      let model: Model = new Map();
      machine.disk.fail({ kind: "write", nth, error: "ENOSPC" });
      // Up to the first success behind the failure: later checkpoints would hide what is wrong with this one.
      for (let failed = false, done = false; !done;) {
        const next = new Map(model);
        // Large enough to begin several segments before its last part.
        const ok = await kv.commit(someWrites(machine.rng, next, 150)).then(
          () => true,
          () => false,
        );
        if (ok) model = next;
        done = ok && failed;
        failed ||= !ok;
      }
      machine.disk = machine.disk.crash({ survivalRate: 0 });
      kv = await machine.open();
      expect(sorted(await contentOf(kv))).toEqual(sorted(model));
    }
  });

  it("goes on after a full disk as if the commit had never been tried", async () => {
    const machine = new Machine(2);
    let kv = await machine.open();
    let model: Model = new Map();
    await kv.commit(someWrites(machine.rng, model, 50));
    for (const error of ["ENOSPC", "EIO"] as const) {
      for (let nth = 1; nth < 4; nth++) {
        for (const kind of ["write", "sync"] as const) {
          machine.disk.fail({ kind, nth, error });
          const next = new Map(model);
          const failed = await kv.commit(someWrites(machine.rng, next, 60)).then(
            () => undefined,
            (e: unknown) => e,
          );
          machine.disk.clearFaults();
          if (failed === undefined) model = next;
          else expect(isPinionError(failed)).toBe(true);
          expect(sorted(await contentOf(kv))).toEqual(sorted(model));
          await kv.commit(someWrites(machine.rng, model, 20));
          expect(sorted(await contentOf(kv))).toEqual(sorted(model));
          await kv.close();
          kv = await machine.open();
          expect(sorted(await contentOf(kv))).toEqual(sorted(model));
        }
      }
    }
  });

  it("answers reads of any number while commits go on, each from one commit", async () => {
    const machine = new Machine(3);
    const kv = await machine.open({ cachedPagesMax: 4 });
    const put = (n: number): KvWrite[] =>
      Array.from({ length: 100 }, (_, i) => ({
        table: "t",
        key: bytesOf(`k${i}`),
        value: bytesOf(`${n} ${"x".repeat((n * 37 + i) % 300)}`),
      }));
    await kv.commit(put(0));
    let done = false;
    const readers = Array.from({ length: 5 }, async () => {
      while (!done) {
        await setImmediate();
        const seen = new Set([...(await contentOf(kv)).values()].map((text) => text.split(" ")[0]));
        expect(seen.size).toBe(1);
        const pair = await kv.getMany([
          { table: "t", key: bytesOf("k1") },
          { table: "t", key: bytesOf("k98") },
        ]);
        expect(
          new Set(
            pair.map(
              (b) =>
                Buffer.from(b as Uint8Array)
                  .toString()
                  .split(" ")[0],
            ),
          ).size,
        ).toBe(1);
      }
    });
    for (let n = 1; n <= 60; n++) await kv.commit(put(n));
    done = true;
    await Promise.all(readers);
  });

  it("writes of its tree what a change changes, and not the way to it", async () => {
    const kv = await new Machine(5).open({ segmentPages: 4_096, cachedPagesMax: 4_096 });
    const value = (n: number): Uint8Array => bytesOf(`${n}`.padEnd(200, "x"));
    const keyOf = (i: number): Uint8Array => bytesOf(`key ${String(i).padStart(6, "0")}`);
    await kv.commit(
      Array.from({ length: 20_000 }, (_, i) => ({ table: "t", key: keyOf(i), value: value(i) })),
    );
    const written = async (writes: readonly KvWrite[]): Promise<number> => {
      const before = kv.stats().writtenPages;
      await kv.commit(writes);
      return kv.stats().writtenPages - before;
    };
    // One leaf, and two nodes of the map that lead to its new place.
    expect(await written([{ table: "t", key: keyOf(7_000), value: value(1) }])).toBe(3);
    expect(await written([{ table: "t", key: bytesOf("no such key"), value: undefined }])).toBe(0);
    expect((await contentOf(kv)).get("key 007000")).toBe(Buffer.from(value(1)).toString());
    await kv.close();
  });
});
