import { describe, expect, it } from "vitest";
import { nearestNames } from "./nearest-names.ts";

describe("nearestNames", () => {
  it("finds typos, swapped letters and wrong case, nearest first", () => {
    expect(nearestNames("conuter", ["count", "airport", "counter"])).toEqual(["counter", "count"]);
    expect(nearestNames("Increment", ["increment", "decrement", "value"])).toEqual([
      "increment",
      "decrement",
    ]);
    expect(nearestNames("flushPolcy", ["flushPolicy", "flushIntervalMs"])).toEqual(["flushPolicy"]);
  });
  it("suggests nothing for what resembles nothing", () => {
    expect(nearestNames("zebra", ["counter", "airport"])).toEqual([]);
    expect(nearestNames("x", [])).toEqual([]);
  });
});
