/** A worker thread that reserves and gives back as fast as it can, and watches what was granted to all. */
import { parentPort, workerData } from "node:worker_threads";
import { assert, seededRng } from "@pinion/core";
import { BudgetCounter } from "./budget-counter.ts";

const { shared, witness, worker, seed, rounds } = workerData as {
  shared: SharedArrayBuffer;
  witness: SharedArrayBuffer;
  worker: number;
  seed: number;
  rounds: number;
};
const counter = new BudgetCounter(shared);
const budget = counter.open(worker);
const rng = seededRng(seed);
/** Pages that were granted; times there were too many. */
const seen = new Int32Array(witness);
const limitPages = counter.limitBytes / 4096;
const mine: number[] = [];
for (let i = 0; i < rounds; i++) {
  if (mine.length > 0 && rng.chance(0.5)) {
    const pages = mine.pop()!;
    Atomics.sub(seen, 0, pages);
    budget.release(pages * 4096);
  } else {
    const pages = budget.reserveUpTo((1 + rng.below(64)) * 4096) / 4096;
    if (Atomics.add(seen, 0, pages) + pages > limitPages) Atomics.add(seen, 1, 1);
    if (pages > 0) mine.push(pages);
  }
}
assert(parentPort !== null, "a worker thread");
parentPort.postMessage(mine.reduce((sum, pages) => sum + pages, 0) * 4096);
// Keeps what it has until it is ended.
parentPort.on("message", () => {});
