import { describe, expect, test } from "vitest";
import { CliError } from "../cli-error.ts";
import { parseArgument } from "./parse-argument.ts";

describe("an argument on the command line", () => {
  test.each([
    ["3", 3],
    ["-3.5e2", -350],
    ["true", true],
    ["null", null],
    ['"3"', "3"],
    ['{"a":[1,"x"]}', { a: [1, "x"] }],
    ["[]", []],
  ])("%s that is JSON is that value", (word, value) => {
    expect(parseArgument(word)).toEqual(value);
  });

  test.each(["hello", "two words", "2001-01-01", "JFK", "", "ключ", "a{b}", "1,5"])(
    "%j that is not JSON is a text",
    (word) => {
      expect(parseArgument(word)).toBe(word);
    },
  );

  test.each(['{"a":1', "{a:1}", "[1,2", '"open', ' {"a"'])(
    "%s that begins like JSON and is none is refused, saying how to mean it as a text",
    (word) => {
      const attempt = () => parseArgument(word);
      expect(attempt).toThrow(CliError);
      expect(attempt).toThrow(
        expect.objectContaining({ hints: [expect.stringContaining(JSON.stringify(word))] }),
      );
    },
  );
});
