/** Everything the guest checks: two workers, and the machine while these are loading. */
import { deepEqual } from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { MARK } from "../../guest/mark.ts";
import { check, cpusOf } from "./checks.ts";
import { checkMachine } from "./machine.ts";
import type { WorkerTask } from "./worker.ts";

const WORKERS = 2;

/** @param entry a module that calls this, also in a worker */
export async function runGuest(entry: URL): Promise<void> {
  if (!isMainThread) {
    // Only there: most of what the guest loads.
    const { runWorker } = await import("./worker.ts");
    await runWorker(workerData as WorkerTask);
    // Stays, with its memory threads, until it is ended.
    parentPort!.on("message", () => {});
    parentPort!.postMessage("done");
    return;
  }
  console.log(
    `${MARK} starts: Linux ${readFileSync("/proc/version", "latin1").split(" ")[2]}, Node ${process.version}`,
  );
  const workers = Array.from(
    { length: WORKERS },
    (_, worker) => new Worker(entry, { workerData: { worker } satisfies WorkerTask }),
  );
  // Both have done their work, and their threads are still there: who has failed is not.
  const done = workers.map(
    (each) => new Promise((resolve) => each.once("message", resolve).once("exit", resolve)),
  );
  await checkMachine();
  await Promise.all(done);
  await check("the memory threads of each worker run on its node", () => {
    const bound = readdirSync("/proc/self/task")
      .filter(
        (task) => readFileSync(`/proc/self/task/${task}/comm`, "latin1").trim() === "pinion-memory",
      )
      .map((task) => cpusOf(`/proc/self/task/${task}/status`))
      .sort();
    // Those of the main thread run anywhere.
    deepEqual(bound, ["0", "0", "0-1", "0-1", "1", "1"]);
  });
  await Promise.all(workers.map((each) => each.terminate()));
}
