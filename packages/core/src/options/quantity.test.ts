import { seededRng } from "../rng.ts";
import { expect, test } from "vitest";
import { formatQuantity, parseQuantity, type QuantityUnit } from "./quantity.ts";

test.each<[string, QuantityUnit, number | undefined]>([
  ["64MiB", "bytes", 67_108_864],
  [" 64 mib ", "bytes", 67_108_864],
  ["1.5KiB", "bytes", 1_536],
  ["64MB", "bytes", 64_000_000],
  ["67_108_864", "bytes", 67_108_864],
  ["0B", "bytes", 0],
  ["10ms", "ms", 10],
  ["1.5 h", "ms", 5_400_000],
  ["5m", "ms", 300_000],
  ["7d", "ms", 604_800_000],
  ["-1s", "ms", -1_000],
  ["10", "ms", 10],
  ["0.5ms", "ms", undefined],
  ["1.0001KiB", "bytes", undefined],
  ["10s", "bytes", undefined],
  ["10MiB", "ms", undefined],
  ["ten", "ms", undefined],
  ["", "ms", undefined],
  ["1e3", "ms", undefined],
  ["0x10", "bytes", undefined],
  ["9007199254740993", "bytes", undefined],
  ["99999999TiB", "bytes", undefined],
  ["NaN", "ms", undefined],
])("%j as %s is %j", (text, unit, value) => {
  expect(parseQuantity(text, unit)).toBe(value);
});

test.each<[number, QuantityUnit, string]>([
  [65_536, "bytes", "64KiB"],
  [1_000, "bytes", "1000B"],
  [0, "bytes", "0B"],
  [30_000, "ms", "30s"],
  [1_500, "ms", "1500ms"],
  [86_400_000, "ms", "1d"],
])("%d in %s is written %s", (value, unit, text) => {
  expect(formatQuantity(value, unit)).toBe(text);
});

test("what is written reads back as the same number", () => {
  const rng = seededRng(3);
  for (let i = 0; i < 1_000; i++) {
    const value = rng.below(2 ** 20) * rng.pick([1, 1_000, 1_024, 60_000, 2 ** 20, 86_400_000]);
    for (const unit of ["bytes", "ms"] as const) {
      expect(parseQuantity(formatQuantity(value, unit), unit)).toBe(value);
    }
  }
});
