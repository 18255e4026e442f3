import { expect, test } from "vitest";
import { bytesText, durationText } from "./units.ts";

test.each([
  [0, "0 bytes"],
  [1023, "1023 bytes"],
  [1536, "1.5 KiB"],
  [64 * 2 ** 20, "64 MiB"],
  [23.54 * 2 ** 30, "23.5 GiB"],
  [Infinity, "unlimited"],
])("%d bytes read %s", (bytes, text) => {
  expect(bytesText(bytes)).toBe(text);
});

test.each([
  [0.00004, "40 ns"],
  [0.057, "57 µs"],
  [1.64, "1.6 ms"],
  [350.2, "350 ms"],
  [2_540, "2.5 s"],
  [200_000, "3 min 20 s"],
  [3_600_000, "1 h"],
  [187_200_000, "2 d 4 h"],
])("%d ms read %s", (ms, text) => {
  expect(durationText(ms)).toBe(text);
});
