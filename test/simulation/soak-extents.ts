/** `pnpm soak:extents [--operations N] [--seed S]`: extent-soak.ts for hand. */
import { parseArgs } from "node:util";
import { randomSeed } from "@pinion/core";
import { soakExtents } from "./extent-soak.ts";

const OPERATIONS_DEFAULT = 10_000_000;
const REPORT_MS = 10_000;

const { values } = parseArgs({
  options: { operations: { type: "string" }, seed: { type: "string" } },
});
const seed = values.seed === undefined ? randomSeed() : Number(values.seed);
const operations = Number(values.operations ?? OPERATIONS_DEFAULT);
console.log(`seed ${seed}, ${operations.toLocaleString("en-US")} operations`);
const startMs = performance.now();
let reportedMs = startMs;
const report = await soakExtents({
  operations,
  seed,
  progress: ({ operations: done, lives }) => {
    const nowMs = performance.now();
    if (nowMs - reportedMs < REPORT_MS) return;
    reportedMs = nowMs;
    console.log(`${((nowMs - startMs) / 1000).toFixed(0)} s: ${done} operations, ${lives} lives`);
  },
});
const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
console.log(`ok in ${seconds} s ${JSON.stringify(report)}`);
