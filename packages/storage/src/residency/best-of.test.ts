import { seededRng } from "@pinion/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { bestOf } from "./best-of.ts";

test("the best of any are those that sorting puts first", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 50 })), fc.nat(20), (items, limit) => {
      const sorted = items.toSorted((a, b) => a - b).slice(0, limit);
      expect(bestOf(items, limit, (a, b) => a - b)).toEqual(sorted);
    }),
  );
});

test("of very many each is looked at about once", () => {
  const rng = seededRng(1);
  const items = Array.from({ length: 100_000 }, () => rng.uint32());
  let compared = 0;
  bestOf(items, 128, (a, b) => {
    compared++;
    return a - b;
  });
  expect(compared).toBeLessThan(1.3 * items.length);
});
