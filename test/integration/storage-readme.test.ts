/** The examples of @pinion/storage: each does what it says, and is in the README as it is. */
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ROOT, runProgram } from "../support/program.ts";

const EXAMPLES = "examples/storage";
const PRINTED: Readonly<Record<string, RegExp>> = {
  "airport.ts": /^mean delay: 12 min$/m,
  "blob.ts": /^120000 bytes read; 240024 in all, \d{4,6} of them stored$/m,
  "bytes.ts": /^3 bookings$/m,
  "column.ts": /^3 rows, mean 21, the last from the cellar$/m,
  "graph.ts": /^LAX: 1 flights\nHNL: 2 flights$/m,
  "log.ts": /^1: closed\n2: opened$/m,
  "map.ts": /^pear: 30 cents\nplum: 10 cents$/m,
};

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "pinion-storage-readme-"));
});
afterEach(() => rm(dir, { recursive: true }));

test("every example is run here", () => {
  expect(readdirSync(join(ROOT, EXAMPLES)).toSorted()).toEqual(Object.keys(PRINTED));
});

test.each(Object.entries(PRINTED))("%s prints what it should", async (name, printed) => {
  const env = { PINION_DATA_DIR: join(dir, "data") };
  const { code, stdout, stderr } = await runProgram(`${EXAMPLES}/${name}`, [], { env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(printed);
});

test("the README shows the examples as they are", () => {
  const readme = readFileSync(join(ROOT, "packages/storage/README.md"), "utf8");
  const blocks = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code as string);
  const files = Object.keys(PRINTED).map((name) =>
    readFileSync(join(ROOT, EXAMPLES, name), "utf8"),
  );
  expect(blocks.toSorted()).toEqual(files.toSorted());
});
