#!/usr/bin/env node
// The public API of every package as text in docs/api/, so that a change to it shows in a review.
//   node scripts/api-report.mjs            fails when the text is out of date, or has an `any`
//   node scripts/api-report.mjs --update   rewrites it
// Reads what `tsc -b` emitted.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { flatten } from "./lib/declarations.mjs";
import { listFiles, packageNames, readText, ROOT } from "./lib/tree.mjs";

const update = process.argv.includes("--update");
const problems = [];
const expected = new Set();

/** `any` as a type: not in a string, not as the name of a member. */
function findAny(text) {
  const bare = text.replaceAll(/"(?:\\.|[^"\\\n])*"/g, '""');
  return bare.split("\n").filter((line) => /(?<![.\w$])any(?![\w$]|\??\s*[:(])/.test(line));
}

/** The lines only one of the two has: enough to see what changed. */
function difference(before, after) {
  const [old, now] = [before.split("\n"), after.split("\n")];
  const lines = [
    ...old.filter((line) => !now.includes(line)).map((line) => `  - ${line}`),
    ...now.filter((line) => !old.includes(line)).map((line) => `  + ${line}`),
  ];
  return [...lines.slice(0, 40), ...(lines.length > 40 ? [`  … ${lines.length - 40} more`] : [])];
}

for (const name of packageNames()) {
  const manifest = JSON.parse(readText(`packages/${name}/package.json`));
  for (const [entry, target] of Object.entries(manifest.exports ?? {})) {
    if (typeof target.types !== "string") continue;
    const suffix = entry === "." ? "" : `-${entry.slice(2).replaceAll("/", "-")}`;
    const reportPath = `docs/api/${name}${suffix}.d.ts.txt`;
    expected.add(reportPath);
    const emitted = join(ROOT, "packages", name, target.types);
    if (!existsSync(emitted)) {
      problems.push(
        `${manifest.name}${entry.slice(1)}: ${target.types} is missing: run \`tsc -b\` first`,
      );
      continue;
    }
    const text = `# ${manifest.name}${entry.slice(1)}\n\n${flatten(emitted)}`;
    for (const line of findAny(text))
      problems.push(`${reportPath}: a public type is any: ${line.trim()}`);
    const before = existsSync(join(ROOT, reportPath)) ? readText(reportPath) : "";
    if (before === text) continue;
    if (update) {
      mkdirSync(join(ROOT, "docs", "api"), { recursive: true });
      writeFileSync(join(ROOT, reportPath), text);
      console.log(`${reportPath} rewritten`);
    } else {
      problems.push(
        `${reportPath} is out of date (pnpm api --update):`,
        ...difference(before, text),
      );
    }
  }
}
if (existsSync(join(ROOT, "docs", "api"))) {
  for (const path of listFiles("docs/api")) {
    if (!expected.has(path)) problems.push(`${path} belongs to no public entry: remove it`);
  }
}

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
