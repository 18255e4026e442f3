import { expect, test } from "vitest";

test.each([
  "@pinion/core",
  "@pinion/client",
  "@pinion/storage",
  "@pinion/placement",
  "@pinion/runtime",
  "@pinion/runtime/testing",
])("the public entry %s loads from its sources", async (entry) => {
  expect(import.meta.resolve(entry)).toMatch(/\/src\/.*index\.ts$/);
  await expect(import(entry)).resolves.toBeDefined();
});
