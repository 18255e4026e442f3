import { seededRng } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { PageCache } from "./page-cache.ts";

const page = (n: number): Uint8Array => Uint8Array.of(n % 256);

describe("a page cache", () => {
  test("keeps what was used and lets the rest go, oldest first", () => {
    const cache = new PageCache(3);
    for (const n of [1, 2, 3]) cache.keep(n, page(n));
    cache.get(1);
    cache.keep(4, page(4));
    expect([1, 2, 3, 4].map((n) => cache.get(n)?.[0])).toEqual([1, undefined, 3, 4]);
  });

  test("lets one go also where all were used, and keeps nothing where it may not", () => {
    const cache = new PageCache(2);
    for (const n of [1, 2]) cache.keep(n, page(n));
    for (const n of [1, 2]) cache.get(n);
    cache.keep(3, page(3));
    expect(cache.size).toBe(2);
    const none = new PageCache(0);
    none.keep(1, page(1));
    expect(none.get(1)).toBeUndefined();
  });

  test("has the newest bytes of a page, or none, and never too many (seeds)", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const rng = seededRng(seed);
      const cache = new PageCache(8);
      const newest = new Map<number, Uint8Array>();
      for (let i = 0; i < 2_000; i++) {
        const n = rng.below(24);
        const kind = rng.below(8);
        if (kind === 0) {
          cache.delete(n);
          newest.delete(n);
        } else if (kind < 4) {
          const bytes = page(i);
          newest.set(n, bytes);
          cache.keep(n, bytes);
        } else expect([undefined, newest.get(n)]).toContain(cache.get(n));
        expect(cache.size).toBeLessThanOrEqual(8);
      }
    }
  });
});
