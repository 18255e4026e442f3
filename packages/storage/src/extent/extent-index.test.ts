import { isPinionError, seededRng, type Rng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { NO_FACTS, type ExtentFacts } from "./extent-facts.ts";
import { ExtentIndex, type ExtentQuery } from "./extent-index.ts";

type Entry = readonly [name: string, facts: ExtentFacts];

function entriesOf(rng: Rng): Entry[] {
  return Array.from({ length: rng.below(60) }, (_, i): Entry => {
    const fromMs = rng.below(40);
    return [
      `e${String((i * 37) % 61).padStart(2, "0")}`,
      {
        ...NO_FACTS,
        attributes: {
          rowGroup: rng.chance(0.5) ? rng.below(8) : undefined,
          partition: rng.chance(0.3) ? rng.below(4) : undefined,
          timeBucket: rng.chance(0.6)
            ? { fromMs, toMs: fromMs + 1 + rng.below(rng.chance(0.2) ? 40 : 4) }
            : undefined,
        },
      },
    ];
  });
}

/** The same by looking at all of them. */
function scan(entries: readonly Entry[], query: ExtentQuery): string[] {
  const { rowGroup, partition, atMs, within } = query;
  const found = entries.filter(([, { attributes }]) => {
    const { timeBucket: bucket } = attributes;
    if (rowGroup !== undefined) return attributes.rowGroup === rowGroup;
    if (partition !== undefined) return attributes.partition === partition;
    if (bucket === undefined) return false;
    if (atMs !== undefined) return bucket.fromMs <= atMs && atMs < bucket.toMs;
    return within !== undefined && bucket.fromMs < within.toMs && within.fromMs < bucket.toMs;
  });
  const byTime = rowGroup === undefined && partition === undefined;
  return found
    .sort(([a, x], [b, y]) => {
      const first = x.attributes.timeBucket?.fromMs ?? 0;
      const second = y.attributes.timeBucket?.fromMs ?? 0;
      return (byTime ? first - second : 0) || (a < b ? -1 : 1);
    })
    .map(([name]) => name);
}

describe("the index of extents", () => {
  it("finds what looking at all of them finds", () => {
    const rng = seededRng(1);
    let found = 0;
    for (let run = 0; run < 300; run++) {
      const entries = entriesOf(rng);
      const index = new ExtentIndex(entries);
      for (let i = 0; i < 20; i++) {
        const fromMs = rng.below(50) - 2;
        const query = rng.pick<ExtentQuery>([
          { rowGroup: rng.below(9) },
          { partition: rng.below(5) },
          { atMs: fromMs },
          { within: { fromMs, toMs: fromMs + 1 + rng.below(10) } },
        ]);
        const names = index.find(query);
        expect(names).toEqual(scan(entries, query));
        found += names.length;
      }
    }
    expect(found).toBeGreaterThan(5_000);
  });

  it("is not changed through what it has found", () => {
    const facts = { ...NO_FACTS, attributes: { ...NO_FACTS.attributes, rowGroup: 1 } };
    const index = new ExtentIndex([["a", facts]]);
    index.find({ rowGroup: 1 }).push("b");
    expect(index.find({ rowGroup: 1 })).toEqual(["a"]);
  });

  it("wants exactly one thing to look for", () => {
    const index = new ExtentIndex([]);
    const wrong = [{}, { rowGroup: 1, atMs: 1 }, { rowGroup: "1" }, { within: { fromMs: "1" } }];
    for (const query of wrong as ExtentQuery[]) {
      expect(() => index.find(query)).toThrow(
        expect.toSatisfy((e) => isPinionError(e, "invalid-argument")),
      );
    }
    expect(index.find({ within: { fromMs: 5, toMs: 5 } })).toEqual([]);
  });
});
