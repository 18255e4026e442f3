import { describe, expect, it } from "vitest";
import { valueFromJson, valueToJson } from "./value-json.ts";

describe("values as JSON", () => {
  it.each<[string, unknown, string]>([
    ["undefined", undefined, "null"],
    ["undefined in an object", { a: undefined, b: 1 }, '{"b":1}'],
    ["undefined in a list", [undefined, 1], "[null,1]"],
    ["a bigint", 12345678901234567890n, '"12345678901234567890"'],
    ["what is no finite number", [NaN, Infinity, -Infinity], '["NaN","Infinity","-Infinity"]'],
    ["a date", new Date(978_307_200_123), '"2001-01-01T00:00:00.123Z"'],
    ["bytes", Uint8Array.of(1, 2, 255), '"AQL/"'],
    ["an ArrayBuffer", Uint8Array.of(1).buffer, '"AQ=="'],
    ["a DataView", new DataView(Uint8Array.of(9, 1).buffer, 1), '"AQ=="'],
    ["a typed array", Float64Array.of(1.5, NaN), '[1.5,"NaN"]'],
    ["a map with text keys", new Map([["a", new Set([1])]]), '{"a":[1]}'],
    [
      "a map with other keys",
      new Map<unknown, unknown>([
        [1, "a"],
        ["b", undefined],
      ]),
      '[[1,"a"],["b",null]]',
    ],
    ["a map with the key __proto__", new Map([["__proto__", 1]]), '{"__proto__":1}'],
    ["nested objects", { a: [{ b: null }] }, '{"a":[{"b":null}]}'],
  ])("show %s", (_what, value, json) => {
    expect(valueToJson(value)).toBe(json);
  });

  it("are indented when asked", () => {
    expect(valueToJson({ a: 1 }, 2)).toBe('{\n  "a": 1\n}');
  });

  it("are read, and a text that is not JSON is refused by its name", () => {
    expect(valueFromJson("[1]", "json_args")).toEqual([1]);
    expect(() => valueFromJson("[1", "json_args")).toThrow(/json_args is not JSON/);
  });
});
