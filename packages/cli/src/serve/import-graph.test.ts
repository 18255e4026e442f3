import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { importGraph, importsOf } from "./import-graph.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "pinion-graph-"));
});
afterEach(() => rm(dir, { recursive: true }));

const names = async (entry: string): Promise<string[]> =>
  [...(await importGraph(join(dir, entry))).keys()]
    .map((path) => path.slice(dir.length + 1))
    .sort();

test.each([
  [`import { a } from "./a.ts";`],
  [`import type { a } from './a.ts';`],
  [`export * from "./a.ts";`],
  [`import "./a.ts";`],
  [`const m = await import("./a.ts");`],
  [`new Worker(new URL("./a.ts", import.meta.url))`],
  [`import {\n  a,\n  b,\n} from "./a.ts";`],
])("%s names a file", (source) => {
  expect(importsOf("/x/main.ts", source)).toEqual(["/x/a.ts"]);
});

test.each([`import { a } from "@pinion/runtime";`, `import "../node_modules/x/y.js";`, `"./a.ts"`])(
  "%s does not",
  (source) => {
    expect(importsOf("/x/src/main.ts", source)).toEqual([]);
  },
);

test("a module's graph follows imports, in circles too, and holds files that are missing", async () => {
  await mkdir(join(dir, "lib"));
  await writeFile(
    join(dir, "main.ts"),
    `import "./lib/a.ts"; import "./missing.ts"; import data from "./d.json"`,
  );
  await writeFile(join(dir, "lib/a.ts"), `import "../main.ts"; import "./b.ts"`);
  await writeFile(join(dir, "lib/b.ts"), "syntax error here {{{");
  await writeFile(join(dir, "d.json"), `{"x": "from './not-imported.ts'"}`);
  expect(await names("main.ts")).toEqual([
    "d.json",
    "lib/a.ts",
    "lib/b.ts",
    "main.ts",
    "missing.ts",
  ]);
});
