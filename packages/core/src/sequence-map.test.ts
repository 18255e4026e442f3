import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SequenceMap } from "./sequence-map.ts";

interface Value {
  readonly of: number;
}

const NUMBER = fc.oneof(
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 300 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 5_000 }) },
);

const OPERATION = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("next" as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("burst" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("set" as const), number: NUMBER }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("delete" as const), number: NUMBER }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("upTo" as const), number: NUMBER }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("oldest" as const) }) },
);

const beyond = (model: ReadonlyMap<number, Value>, last: number): number =>
  [...model.keys()].filter((number) => number > last).length;

describe("SequenceMap", () => {
  it("holds what a Map holds, in the order of the numbers", () => {
    fc.assert(
      fc.property(fc.array(OPERATION, { maxLength: 120 }), (operations) => {
        const map = new SequenceMap<Value>();
        const model = new Map<number, Value>();
        let next = 1;
        const set = (number: number): void => {
          const value = { of: number };
          map.set(number, value);
          model.set(number, value);
        };
        for (const operation of operations) {
          if (operation.do === "next") set(next++);
          else if (operation.do === "burst") for (let i = 0; i < 90; i++) set(next++);
          else if (operation.do === "set") set(operation.number);
          else if (operation.do === "oldest") {
            const oldest = [...model.keys()].toSorted((a, b) => a - b)[0] ?? 1;
            expect(map.delete(oldest)).toBe(model.delete(oldest));
          } else if (operation.do === "delete") {
            expect(map.delete(operation.number)).toBe(model.delete(operation.number));
          } else {
            const gone = ({ of }: Value): boolean => of % 3 !== 0;
            map.deleteUpTo(operation.number, gone);
            for (const [number, value] of [...model]) {
              if (number > operation.number || !gone(value)) continue;
              // More than a few strays beyond: what lies behind them may be left for later.
              if (map.has(number)) expect(beyond(model, operation.number)).toBeGreaterThan(8);
              else model.delete(number);
            }
          }
          expect(map.size).toBe(model.size);
        }
        expect([...map]).toEqual([...model].toSorted(([a], [b]) => a - b));
        for (const [number, value] of model) expect(map.get(number)).toBe(value);
        expect(map.get(next + 10_000)).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });

  it("deletes everything up to a number when all came in order", () => {
    const map = new SequenceMap<Value>();
    for (let of = 1; of <= 1_000; of++) map.set(of, { of });
    map.deleteUpTo(900, ({ of }) => of !== 7);
    expect([...map].map(([number]) => number)).toEqual([
      7,
      ...Array.from({ length: 100 }, (_, i) => 901 + i),
    ]);
  });

  it("takes a hundred thousand numbers in descending order without looking at each for each", () => {
    const map = new SequenceMap<Value>();
    const count = 100_000;
    for (let of = count; of > 0; of--) map.set(of, { of });
    expect(map.size).toBe(count);
    expect(map.get(1)).toEqual({ of: 1 });
    map.clear();
    expect([...map]).toEqual([]);
  });

  it("deletes strays up to a number, past a few that are beyond it", () => {
    const map = new SequenceMap<Value>();
    for (let of = 1_000; of < 1_100; of++) map.set(of, { of });
    // Far out of order, each of them: strays.
    const strays = [900, 901, 902, 903, 1, 2, 3, 4];
    for (const of of strays) map.set(of, { of });
    map.deleteUpTo(10, () => true);
    expect([...map].slice(0, 5).map(([number]) => number)).toEqual([900, 901, 902, 903, 1_000]);
  });

  it("is empty again after a burst, and goes on", () => {
    const map = new SequenceMap<Value>();
    for (let of = 1; of <= 10_000; of++) map.set(of, { of });
    for (let of = 1; of <= 10_000; of++) map.delete(of);
    expect(map.size).toBe(0);
    map.set(10_001, { of: 1 });
    expect(map.get(10_001)).toEqual({ of: 1 });
  });
});
