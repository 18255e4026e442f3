#!/usr/bin/env node
// Everything `npm test` runs: the suites of test/suites.json, one after the other.
//   --verify        only those that are fast enough to run before every commit
//   --only a,b      only the named ones
//   --json          the result as JSON on stdout (what the suites print goes to stderr)
//
// With CI=true a skipped check is a failed one: there, nothing may be missing.
// The last line is always `N passed, N failed`, unless --json was asked for.
import { delimiter, dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { runSuite, stopRunningSuite } from "./lib/run-suite.mjs";
import { readText, ROOT } from "./lib/tree.mjs";

const inCi = process.env.CI === "true" || process.env.CI === "1";

function readOptions() {
  try {
    return parseArgs({
      options: {
        verify: { type: "boolean", default: false },
        only: { type: "string" },
        json: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    console.error(`error[USAGE]: ${error.message}`);
    process.exit(2);
  }
}

function choose(all, options) {
  if (options.only === undefined) return options.verify ? all.filter((suite) => suite.verify) : all;
  const names = options.only.split(",");
  const unknown = names.filter((name) => !all.some((suite) => suite.name === name));
  if (unknown.length > 0) {
    console.error(
      `error[USAGE]: no suite ${unknown.join(", ")}; there are ${all.map((suite) => suite.name).join(", ")}`,
    );
    process.exit(2);
  }
  return all.filter((suite) => names.includes(suite.name));
}

function printTable(results, totalBudgetSeconds) {
  const seconds = (n) => `${n.toFixed(n < 10 ? 1 : 0)} s`;
  const rows = [["suite", "budget", "measured", "passed", "failed", "skipped", ""]];
  for (const r of results) {
    const note = r.seconds > r.budgetSeconds ? "over budget" : "";
    rows.push([
      r.name,
      seconds(r.budgetSeconds),
      seconds(r.seconds),
      r.passed,
      r.failed,
      r.skipped.length,
      note,
    ]);
  }
  const total = results.reduce((sum, r) => sum + r.seconds, 0);
  const count = (key) => results.reduce((sum, r) => sum + r[key], 0);
  const skipped = results.reduce((sum, r) => sum + r.skipped.length, 0);
  const over = total > totalBudgetSeconds ? "over budget" : "";
  rows.push([
    "all",
    seconds(totalBudgetSeconds),
    seconds(total),
    count("passed"),
    count("failed"),
    skipped,
    over,
  ]);

  const widths = rows[0].map((_, column) =>
    Math.max(...rows.map((row) => String(row[column]).length)),
  );
  console.log();
  for (const row of rows) {
    const cells = row.map((cell, i) =>
      i === 0 || i === 6 ? String(cell).padEnd(widths[i]) : String(cell).padStart(widths[i]),
    );
    console.log(cells.join("  ").trimEnd());
  }
  console.log();
}

function printNotes(results) {
  for (const { name, problem, skipped, failures, seconds, budgetSeconds } of results) {
    if (problem !== undefined) console.log(`${name}: ${problem}`);
    // Again here: what a suite printed of it may be a thousand lines above.
    for (const { test, why } of failures ?? []) {
      console.log(`failed in ${name}: ${test}\n  ${why.replaceAll("\n", "\n  ")}`);
    }
    for (const { test, reason } of skipped) console.log(`skipped in ${name}: ${test}: ${reason}`);
    if (seconds > budgetSeconds)
      console.log(`over budget: ${name}, ${seconds.toFixed(0)} s of ${budgetSeconds} s`);
  }
}

const options = readOptions();
const { suites: all, totalBudgetSeconds } = JSON.parse(readText("test/suites.json"));
// The tools by name, on the Node that runs this script.
const path = [
  dirname(process.execPath),
  join(ROOT, "node_modules", ".bin"),
  process.env.PATH ?? "",
];
const env = { ...process.env, PATH: path.join(delimiter) };
const output = options.json ? process.stderr : process.stdout;

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
]) {
  process.on(signal, () => {
    stopRunningSuite();
    process.exit(code);
  });
}

const results = [];
for (const suite of choose(all, options)) {
  output.write(`\n── ${suite.name}: ${suite.checks}\n`);
  const result = await runSuite(suite, env, output);
  if (inCi) result.failed += result.skipped.length;
  results.push(result);
}

const sum = (key) => results.reduce((total, result) => total + result[key], 0);
const summary = { passed: sum("passed"), failed: sum("failed") };
process.exitCode = summary.failed === 0 ? 0 : 1;
if (options.json) {
  console.log(
    JSON.stringify(
      { ...summary, node: process.version, totalBudgetSeconds, suites: results },
      null,
      2,
    ),
  );
} else {
  printTable(results, totalBudgetSeconds);
  printNotes(results);
  if (inCi && results.some((result) => result.skipped.length > 0)) {
    console.log("CI=true: what was skipped counts as failed.");
  }
  console.log(`${summary.passed} passed, ${summary.failed} failed`);
}
