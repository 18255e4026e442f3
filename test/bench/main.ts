/**
 * `pnpm bench <suite…> [--json] [--quick] [--only REGEX] [--dir FOLDER] [--traces FOLDER]`: runs suites and prints a table, or with `--json`
 * one object a line. `--quick` does a tenth of the work, `--dir` says which disk to measure (default: the folder for
 * temporary files), `--traces` where recorded traces are (test/bench/traces/block-trace.ts).
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { formatTable, runCase, type BenchRow, type BenchSuite } from "./harness.ts";

/** Loaded on demand, so that one suite needs nothing of another. */
const SUITES: Readonly<Record<string, () => Promise<{ suite: BenchSuite }>>> = {
  log: () => import("./suites/log.ts"),
  crc: () => import("./suites/crc.ts"),
  call: () => import("./suites/call.ts"),
  state: () => import("./suites/state.ts"),
  ckpt: () => import("./suites/ckpt.ts"),
  pin: () => import("./suites/pin.ts"),
  page: () => import("./suites/page.ts"),
  cache: () => import("./suites/cache.ts"),
  pool: () => import("./suites/pool.ts"),
  "cache-ablations": () => import("./suites/cache-ablations.ts"),
  mem: () => import("./suites/mem.ts"),
  scan: () => import("./suites/scan.ts"),
  blob: () => import("./suites/blob.ts"),
  structures: () => import("./suites/structures.ts"),
};

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      dir: { type: "string", default: tmpdir() },
      traces: { type: "string" },
    },
  });
  const unknown = positionals.filter((name) => !Object.hasOwn(SUITES, name));
  if (unknown.length > 0 || positionals.length === 0) {
    throw new Error(
      `${unknown.length > 0 ? `no suite ${unknown.join(", ")}; ` : ""}name one or more of: ${Object.keys(SUITES).join(", ")}`,
    );
  }
  const only = values.only === undefined ? undefined : new RegExp(values.only);
  const rows: BenchRow[] = [];
  for (const name of positionals) {
    const { suite } = await SUITES[name]!();
    const dir = await mkdtemp(join(values.dir, "pinion-bench-"));
    try {
      for (const bench of suite.cases({
        dir,
        scale: values.quick ? 0.1 : 1,
        traces: values.traces,
      })) {
        if (only && !only.test(`${suite.name}/${bench.name}`)) continue;
        const row = await runCase(suite.name, bench);
        rows.push(row);
        if (values.json) console.log(JSON.stringify(row));
      }
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }
  if (!values.json) console.log(formatTable(rows));
}

try {
  await main();
} catch (e) {
  console.error(e instanceof Error ? e.message : e);
  process.exitCode = 1;
}
