/**
 * Operations on logs and columns. Their writes come one after the other; reads may be under way when one begins, and see what was before it.
 */
import type { Rng } from "@pinion/core";
import {
  bytesOf,
  Comparisons,
  pause,
  same,
  sameRows,
  textOf,
  valueOf,
  type Bench,
  type Exercise,
  type Handles,
  type Model,
} from "./structure-model.ts";

export const LOG: Exercise = {
  async change(bench: Bench, { log }: Handles, model: Model, rng: Rng): Promise<void> {
    const reads = new Comparisons();
    const expected = model.log;
    const { entries } = expected;
    for (let left = 1 + rng.below(8); left > 0; left--) {
      if (rng.below(3) === 0) bench.poke("log");
      switch (rng.below(9)) {
        case 0:
        case 1:
        case 2: {
          const value = rng.below(5) === 0 ? bytesOf(rng, 30_000) : valueOf(rng);
          const timeMs = rng.below(2) === 0 ? expected.timeMs + rng.below(50) : undefined;
          const number = expected.first + entries.length;
          same("append", await log.append(value, timeMs), number);
          expected.timeMs = timeMs ?? expected.timeMs;
          entries.push(value);
          break;
        }
        case 3: {
          if (rng.below(2) === 0) break;
          const number = expected.first + rng.below(entries.length + 1);
          await log.truncateBefore(number);
          entries.splice(0, number - expected.first);
          expected.first = number;
          break;
        }
        case 4: {
          const count = rng.below(6);
          const read = async (): Promise<unknown> =>
            (await log.tail(count)).map(({ value }) => value);
          const last = count === 0 ? [] : entries.slice(-count);
          reads.add(`tail ${count}`, read, last);
          break;
        }
        case 5: {
          const reverse = rng.below(2) === 0;
          const found: unknown[] = [];
          for await (const { value } of log.entries({ reverse })) {
            found.push(value);
            if (rng.below(6) > 0) continue;
            bench.poke("log");
            await pause(rng);
          }
          same("entries", found, reverse ? entries.toReversed() : entries);
          break;
        }
        default:
          for (let count = 1 + rng.below(4); count > 0; count--) {
            const at = rng.below(entries.length + 1);
            const number = expected.first + at;
            const read = async (): Promise<unknown> => (await log.get(number))?.value;
            reads.add(`get ${number}`, read, entries[at]);
            if (rng.below(3) === 0) bench.poke("log");
          }
          if (rng.below(3) === 0) reads.add("length", () => log.length, entries.length);
      }
      if (rng.below(3) === 0) await reads.done();
    }
    await reads.done();
  },

  async verify({ log }: Handles, model: Model, rng: Rng): Promise<void> {
    same("length", await log.length, model.log.entries.length);
    const found: unknown[] = [];
    for await (const { value } of log.entries()) {
      found.push(value);
      if (rng.below(10) === 0) await pause(rng);
    }
    same("log", found, model.log.entries);
  },
};

type Numbers = Handles["numbers"];

const sumOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

function readAggregate(numbers: Numbers, reads: Comparisons, values: number[], rng: Rng): void {
  const isEmpty = values.length === 0;
  switch (rng.below(5)) {
    case 0:
      return reads.add("count", () => numbers.count(), values.length);
    case 1:
      return reads.add("sum", () => numbers.sum(), sumOf(values));
    case 2: {
      const largest = values.reduce((a, b) => Math.max(a, b), -Infinity);
      return reads.add("max", () => numbers.max(), isEmpty ? undefined : largest);
    }
    case 3: {
      const smallest = values.reduce((a, b) => Math.min(a, b), Infinity);
      return reads.add("min", () => numbers.min(), isEmpty ? undefined : smallest);
    }
    default:
      return reads.add("length", () => numbers.length, values.length);
  }
}

type NumbersView = ReturnType<Numbers["view"]>;

/** A view sees each write of its turn, as long as the column is in memory. */
function lookThrough(bench: Bench, view: NumbersView, values: readonly number[], rng: Rng): void {
  if (values.length === 0) return;
  const row = rng.below(values.length);
  try {
    same(`row ${row} of a view`, view.get(row), values[row]);
    if (rng.below(2) === 0) bench.poke("numbers");
    same("length of a view", view.length, values.length);
    const to = Math.min(values.length, row + 50);
    sameRows("a part of a view", [...view.toTypedArray(row, to)], values.slice(row, to));
  } catch (e) {
    bench.allowNotResident(e);
  }
}

function viewOf(bench: Bench, numbers: Numbers): NumbersView | undefined {
  try {
    return numbers.view();
  } catch (e) {
    bench.allowNotResident(e);
    return undefined;
  }
}

export const NUMBERS: Exercise = {
  async change(bench: Bench, { numbers }: Handles, model: Model, rng: Rng): Promise<void> {
    const reads = new Comparisons();
    const expected = model.numbers;
    const isViewed = bench.isResident("numbers") && rng.below(2) === 0;
    const view = isViewed ? viewOf(bench, numbers) : undefined;
    for (let left = 1 + rng.below(6); left > 0; left--) {
      if (rng.below(3) === 0) bench.poke("numbers");
      switch (rng.below(8)) {
        case 0: {
          const value = rng.below(1000) / 8;
          await numbers.append(value);
          expected.push(value);
          break;
        }
        case 1: {
          // Some fill a block and more.
          const length = rng.below(rng.below(4) === 0 ? 12_000 : 100);
          const values = Float64Array.from({ length }, (_, i) =>
            rng.below(3) === 0 ? rng.below(1000) / 4 : i % 17,
          );
          await numbers.appendMany(values);
          for (const value of values) expected.push(value);
          break;
        }
        case 2:
        case 3: {
          if (expected.length === 0) break;
          const row = rng.below(expected.length);
          const value = rng.below(5000) / 2;
          await numbers.set(row, value);
          expected[row] = value;
          break;
        }
        case 4:
          for (let count = 1 + rng.below(3); count > 0; count--) {
            readAggregate(numbers, reads, expected, rng);
            if (rng.below(3) === 0) bench.poke("numbers");
          }
          break;
        case 5: {
          const found: number[] = [];
          for await (const { values } of numbers.scan()) {
            for (const value of values) found.push(value);
            if (rng.below(2) === 0) continue;
            bench.poke("numbers");
            await pause(rng);
          }
          sameRows("scan", found, expected);
          break;
        }
        default:
          for (let count = 1 + rng.below(4); count > 0 && expected.length > 0; count--) {
            const row = rng.below(expected.length);
            reads.add(`row ${row}`, () => numbers.get(row), expected[row]);
            if (rng.below(3) === 0) bench.poke("numbers");
          }
      }
      if (rng.below(3) === 0) await reads.done();
      if (view !== undefined) lookThrough(bench, view, expected, rng);
    }
    await reads.done();
  },

  async verify({ numbers }: Handles, model: Model, rng: Rng): Promise<void> {
    same("length", await numbers.length, model.numbers.length);
    const found: number[] = [];
    for await (const { values } of numbers.scan()) {
      for (const value of values) found.push(value);
      await pause(rng);
    }
    sameRows("numbers", found, model.numbers);
    same("sum", await numbers.sum(), sumOf(model.numbers));
  },
};

export const TEXTS: Exercise = {
  async change(bench: Bench, { texts }: Handles, model: Model, rng: Rng): Promise<void> {
    const reads = new Comparisons();
    const expected = model.texts;
    for (let left = 1 + rng.below(8); left > 0; left--) {
      if (rng.below(3) === 0) bench.poke("texts");
      // Short ones come again: the dictionary knows them.
      const text = textOf(rng, rng.below(2) === 0 ? 3 : 40);
      switch (rng.below(6)) {
        case 0:
          await texts.append(text);
          expected.push(text);
          break;
        case 1: {
          const many = Array.from({ length: rng.below(60) }, () => textOf(rng, 3));
          await texts.appendMany(many);
          expected.push(...many);
          break;
        }
        case 2: {
          if (expected.length === 0) break;
          const row = rng.below(expected.length);
          await texts.set(row, text);
          expected[row] = text;
          break;
        }
        default:
          for (let count = 1 + rng.below(4); count > 0 && expected.length > 0; count--) {
            const row = rng.below(expected.length);
            reads.add(`row ${row}`, () => texts.get(row), expected[row]);
            if (rng.below(3) === 0) bench.poke("texts");
          }
          if (rng.below(3) === 0) reads.add("length", () => texts.length, expected.length);
      }
      if (rng.below(3) === 0) await reads.done();
    }
    await reads.done();
  },

  async verify({ texts }: Handles, model: Model, rng: Rng): Promise<void> {
    const found: string[] = [];
    for await (const { values } of texts.scan()) {
      for (const value of values) found.push(value);
      await pause(rng);
    }
    sameRows("texts", found, model.texts);
  },
};
