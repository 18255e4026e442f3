import { expect, test } from "vitest";
import { assertPlatform } from "./platform.ts";

test("the machine this runs on will do", () => assertPlatform());

test.each([
  ["win32", "26.0.0", /not on win32/],
  ["freebsd", "26.0.0", /not on freebsd/],
  ["linux", "20.20.0", /needs Node 24.*20\.20\.0/],
])("%s with Node %s is refused and told why", (system, node, message) => {
  expect(() => assertPlatform({ system, node })).toThrow(message);
  expect(() => assertPlatform({ system, node })).toThrow(
    expect.objectContaining({ code: "unsupported-platform" }) as Error,
  );
});

test.each(["linux", "darwin"])("%s is supported", (system) => {
  assertPlatform({ system, node: "24.0.0" });
});
