// Documents that name files, commands or budgets are held to what is there.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";

interface Suites {
  readonly totalBudgetSeconds: number;
  readonly suites: readonly {
    readonly name: string;
    readonly checks: string;
    readonly budgetSeconds: number;
  }[];
}

const ROOT = dirname(import.meta.dirname);
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

const markdownIn = (folder: string): string[] =>
  existsSync(join(ROOT, folder))
    ? readdirSync(join(ROOT, folder))
        .filter((name) => name.endsWith(".md"))
        .map((name) => join(folder, name))
    : [];
const documents = [".", "docs", "docs/decisions"].flatMap(markdownIn);

test("the table of suites in docs/testing.md agrees with test/suites.json", () => {
  const { suites } = JSON.parse(read("test/suites.json")) as Suites;
  const rows = read("docs/testing.md")
    .split("\n")
    .filter((line) => /^\| `[a-z]+` /.test(line))
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, 4)
        .map((cell) => cell.trim()),
    );
  expect(rows).toEqual(
    suites.map(({ name, budgetSeconds, checks }) => [`\`${name}\``, `${budgetSeconds} s`, checks]),
  );
});

test("the budgets of the suites add up to no more than the total", () => {
  const { suites, totalBudgetSeconds } = JSON.parse(read("test/suites.json")) as Suites;
  const sum = suites.reduce((total, suite) => total + suite.budgetSeconds, 0);
  expect(sum).toBeLessThanOrEqual(totalBudgetSeconds);
});

describe.each(documents)("%s", (document) => {
  const text = read(document);

  test("links only to files that exist", () => {
    const targets = [...text.matchAll(/\]\((?!\w+:|#)([^)#\s]+)[^)]*\)/g)].map(
      (match) => match[1]!,
    );
    const missing = targets.filter((path) => !existsSync(join(ROOT, dirname(document), path)));
    expect(missing).toEqual([]);
  });

  test("names only files of the repository that exist", () => {
    const paths = text.matchAll(
      /`((?:packages|test|scripts|docs|examples|tools|deploy)\/[\w./-]+)`/g,
    );
    const missing = [...paths]
      .map((match) => match[1]!)
      .filter((path) => !existsSync(join(ROOT, path)));
    expect(missing).toEqual([]);
  });

  test("names only scripts that package.json has", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const ofPnpm = new Set(["add", "exec", "install", "run", "changeset"]);
    const named = [...text.matchAll(/`(?:npx )?(?:pnpm(?:@12)?|npm run) ([a-z:-]+)/g)].map(
      (match) => match[1]!,
    );
    expect(named.filter((name) => !ofPnpm.has(name) && !Object.hasOwn(scripts, name))).toEqual([]);
  });
});
