import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BlockSampler } from "./block-sampler.ts";
import { INDEX_BLOCK_BYTES, lastAtMost, SparseIndex } from "./sparse-index.ts";

describe("SparseIndex", () => {
  it("names the newest sample at or before what is asked for", () => {
    const index = new SparseIndex();
    index.add(1, 10, 4096, 100);
    index.add(2, 5, 4200, 110);
    index.add(1, 20, 200_000, 200);
    expect([9, 10, 19, 20, 99].map((lsn) => index.before(1, lsn))).toEqual([
      undefined,
      4096,
      4096,
      200_000,
      200_000,
    ]);
    expect([99, 100, 199, 200].map((time) => index.beforeTime(1, time))).toEqual([
      undefined,
      4096,
      4096,
      200_000,
    ]);
    expect(index.before(3, 1)).toBeUndefined();
    expect(index.beforeTime(3, 1)).toBeUndefined();
  });
});

describe("BlockSampler", () => {
  it("takes the first record of each shard in each block, so that the wanted one begins in the block of its sample", () => {
    const record = fc.record({
      shard: fc.nat({ max: 3 }),
      bytes: fc.integer({ min: 1, max: 8000 }),
    });
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 200 }), (records) => {
        const sampler = new BlockSampler();
        const lsns = [0, 0, 0, 0];
        const placed: { shard: number; lsn: number; offset: number }[] = [];
        let offset = 4096;
        for (const { shard, bytes } of records) {
          const lsn = ++lsns[shard]!;
          sampler.record(shard, lsn, offset, lsn);
          placed.push({ shard, lsn, offset });
          offset += bytes * 8;
        }
        const block = (at: number): number => Math.floor(at / INDEX_BLOCK_BYTES);
        for (const { shard, lsn, offset: at } of placed) {
          const from = sampler.index.before(shard, lsn)!;
          expect(from).toBeLessThanOrEqual(at);
          expect(block(from)).toBe(block(at));
        }
      }),
    );
  });
});

describe("lastAtMost", () => {
  it("finds what a scan finds", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100)), fc.nat(100), (values, wanted) => {
        const ascending = values.toSorted((a, b) => a - b);
        expect(lastAtMost(ascending, wanted)).toBe(
          ascending.findLastIndex((value) => value <= wanted),
        );
      }),
    );
  });
});
