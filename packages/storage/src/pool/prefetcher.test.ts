import { seededRng } from "@pinion/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DEPTH_MAX, DEPTH_MIN, Prefetcher } from "./prefetcher.ts";

/** Reads pages `gapMs` apart. @returns what was proposed after each */
function read(prefetcher: Prefetcher, keys: readonly number[], gapMs = 1, startMs = 0): number[][] {
  return keys.map((key, i) => {
    const into: number[] = [];
    prefetcher.access(key, startMs + i * gapMs, into);
    return into;
  });
}

const slow = (latencyMs: number): Prefetcher => {
  const prefetcher = new Prefetcher();
  for (let i = 0; i < 100; i++) prefetcher.noteRead(latencyMs);
  return prefetcher;
};

test.each([
  ["forward", 1],
  ["back", -1],
  ["in steps of 7", 7],
  ["back in steps of 40", -40],
])("three pages %s start it, and then every page is proposed once, in time", (_, stride) => {
  const keys = Array.from({ length: 50 }, (_unused, i) => 10_000 + i * stride);
  const proposals = read(slow(4), keys);
  expect(proposals.slice(0, 2)).toEqual([[], []]);
  expect(proposals[2]!.length).toBeGreaterThanOrEqual(DEPTH_MIN);
  const all = proposals.flat();
  expect(all).toEqual(
    Array.from({ length: all.length }, (_unused, i) => keys[2]! + (i + 1) * stride),
  );
  for (let i = 2; i < keys.length - 1; i++)
    expect(proposals.slice(0, i + 1).flat()).toContain(keys[i + 1]!);
});

test("two runs that take turns are both followed", () => {
  const keys = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 1000 + i / 2 : 90_000 - i));
  const all = read(slow(2), keys).flat();
  expect(all).toContain(1008);
  expect(all).toContain(90_000 - 15);
});

test("a run goes on over pages that it was not told of", () => {
  const proposals = read(slow(2), [1, 2, 3, 4, 5, 9, 10]);
  expect(proposals.slice(0, 6).flat()).toContain(10);
  expect(proposals[6]!.length + proposals[5]!.length).toBeGreaterThan(0);
});

test("a set that is read again in the same order is proposed from the third page on", () => {
  const set = [5_000, 17, 999_000, 44_123, 777, 31_000_000];
  const proposals = read(new Prefetcher(), [...set, ...set]);
  expect(proposals.slice(0, 8).flat()).toEqual([]);
  expect(proposals[8]).toEqual(expect.arrayContaining([44_123, 777, 31_000_000]));
});

test("it looks as far ahead as pages are read while one comes in", () => {
  const ahead = (latencyMs: number, gapMs: number): number => {
    const keys = Array.from({ length: 64 }, (_, i) => i);
    const all = read(slow(latencyMs), keys, gapMs).flat();
    return all.at(-1)! - 63;
  };
  expect(ahead(1, 10)).toBe(DEPTH_MIN);
  expect(ahead(10, 1)).toBeGreaterThanOrEqual(6);
  expect(ahead(10, 1)).toBeLessThanOrEqual(12);
  expect(ahead(1000, 1)).toBeGreaterThan(DEPTH_MAX / 2 - 1);
  expect(ahead(1000, 1)).toBeLessThanOrEqual(DEPTH_MAX);
});

test("wasted pages lower the depth, used ones raise it again", () => {
  const prefetcher = slow(1000);
  for (let i = 0; i < 1000; i++) prefetcher.noteWasted();
  expect(prefetcher.depthCap).toBe(DEPTH_MIN);
  const proposals = read(prefetcher, [1, 2, 3]);
  expect(proposals[2]).toEqual([4, 5]);
  for (let i = 0; i < 1000; i++) prefetcher.noteUsed();
  expect(prefetcher.depthCap).toBe(DEPTH_MAX);
});

test("a long run counts as one scan", () => {
  const prefetcher = new Prefetcher();
  read(
    prefetcher,
    Array.from({ length: 1000 }, (_, i) => i),
  );
  expect(prefetcher.scansSeen).toBe(1);
});

test("reads at random propose next to nothing", () => {
  const rng = seededRng(3);
  const keys = Array.from({ length: 5_000 }, () => rng.below(10_000_000));
  expect(read(new Prefetcher(), keys).flat().length).toBeLessThan(50);
});

test("whatever is read, proposals are few, distinct page numbers", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 12 }), { maxLength: 400 }), (keys) => {
      for (const into of read(new Prefetcher(), keys)) {
        expect(into.length).toBeLessThanOrEqual(DEPTH_MAX);
        for (const key of into) expect(Number.isSafeInteger(key) && key >= 0).toBe(true);
      }
    }),
  );
});
