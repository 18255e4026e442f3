import { seededRng } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { diffArrays, SpliceLog, type ArrayEdits } from "./array-edits.ts";

function applied(
  before: readonly unknown[],
  after: readonly unknown[],
  edits: ArrayEdits,
): unknown[] {
  const result: unknown[] = [];
  const inserted = edits.inserted.map((index) => after[index]);
  let from = 0;
  for (let i = 0; i < edits.runs.length; i += 3) {
    const [keep, drop, insert] = edits.runs.slice(i, i + 3) as [number, number, number];
    result.push(...before.slice(from, from + keep), ...inserted.splice(0, insert));
    from += keep + drop;
  }
  return [...result, ...before.slice(from)];
}

describe("both ways of finding edits", () => {
  test("describe random splices so that they can be done again", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const rng = seededRng(seed);
      const before = Array.from({ length: rng.below(20) }, () => rng.below(5));
      const after = [...before];
      const log = new SpliceLog(before.length);
      for (let n = rng.below(8); n > 0; n--) {
        const start = rng.below(after.length + 1);
        const drop = rng.below(Math.min(4, after.length - start + 1));
        const added = Array.from({ length: rng.below(4) }, () => rng.below(5));
        after.splice(start, drop, ...added);
        expect(log.splice(start, drop, added.length)).toBe(true);
        expect(log.length, `seed ${seed}`).toBe(after.length);
      }
      for (const edits of [log.edits(), diffArrays(before, after)]) {
        expect(applied(before, after, edits), `seed ${seed}`).toEqual(after);
        const kept = before.length - edits.dropped.length;
        expect(kept + edits.inserted.length, `seed ${seed}`).toBe(after.length);
      }
    }
  });
});

describe("a splice log", () => {
  test("gives up when there are more runs than are worth composing", () => {
    const log = new SpliceLog(10_000);
    const useful = Array.from({ length: 100 }, (_, i) => log.splice(i * 97, 1, 1));
    expect(useful.at(10)).toBe(true);
    expect(useful.at(-1)).toBe(false);
  });

  test("takes any number of pushes, and of shifts", () => {
    const log = new SpliceLog(3);
    for (let i = 0; i < 10_000; i++) expect(log.splice(3 + i, 0, 1)).toBe(true);
    for (let i = 0; i < 5_000; i++) expect(log.splice(0, 1, 0)).toBe(true);
    expect(log.edits().runs).toEqual([0, 3, 5_003]);
  });
});

describe("comparing", () => {
  test.each<[string, unknown[], unknown[], number[]]>([
    ["equal arrays", [1, NaN, -0], [1, NaN, -0], []],
    ["zero and minus zero", [0], [-0], [0, 1, 1]],
    ["a replaced element", [1, 2, 3, 4], [1, 9, 3, 4], [1, 1, 1]],
    ["an appended element", [1, 2], [1, 2, 3], [2, 0, 1]],
    ["a removed first element", [1, 2, 3], [2, 3], [0, 1, 0]],
    ["an inserted element", [1, 2, 3], [1, 9, 2, 3], [1, 0, 1]],
    ["nothing in common", [1, 2], [3, 4], [0, 2, 2]],
  ])("finds %s", (_, before, after, runs) => {
    expect(diffArrays(before, after).runs).toEqual(runs);
  });

  test("finds a long removal", () => {
    const before = Array.from({ length: 1_000 }, (_, i) => i);
    expect(diffArrays(before, before.slice(400)).runs).toEqual([0, 400, 0]);
  });
});
