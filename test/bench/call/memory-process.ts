/**
 * A host whose memory is measured: one worker in the process's main thread, garbage collection exposed. argv: data directory,
 * idle time after which an actor leaves memory. Asked for its "target", its "memory" after a full collection, or the number
 * of "active" actors.
 */
import { readFileSync } from "node:fs";
import { getHeapStatistics } from "node:v8";
import { startHost, type HostStatus } from "@pinion/runtime";
import { serveQuestions } from "./child.ts";
import { Counter } from "./counter.ts";

export type MemoryQuestion = "target" | "memory" | "active";

export interface MemoryReport {
  /** Of V8's heap and of what hangs on it. */
  readonly heapBytes: number;
  /**
   * Resident and of nobody else: files mapped by the key-value store are not in it, nor is what V8 keeps ready in its heap for the next
   * objects (up to 200 MiB after a load).
   */
  readonly residentBytes: number;
}

const LOOKS = 4;
const LOOK_EVERY_MS = 250;

const [, , dataDir, idleMs] = process.argv as [string, string, string, string];
const host = await startHost({
  actors: [Counter],
  dataDir,
  port: 0,
  adminPort: 0,
  logLevel: "warn",
  idleDeactivationMs: Number(idleMs),
});

/** The least of several looks: a checkpoint that is under way needs memory for a moment only. */
async function memory(): Promise<MemoryReport> {
  let least = look();
  for (let i = 1; i < LOOKS; i++) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    const { heapBytes, residentBytes } = look();
    least = {
      heapBytes: Math.min(least.heapBytes, heapBytes),
      residentBytes: Math.min(least.residentBytes, residentBytes),
    };
  }
  return least;
}

function look(): MemoryReport {
  for (let i = 0; i < 3; i++) globalThis.gc?.(); // finalizers of one round are garbage of the next
  const { heapUsed, external } = process.memoryUsage();
  const { total_physical_size: physical, used_heap_size: used } = getHeapStatistics();
  const anonymousKib = /^RssAnon:\s+(\d+) kB$/m.exec(
    readFileSync("/proc/self/status", "utf8"),
  )?.[1];
  const residentBytes = Number(anonymousKib) * 1024 - (physical - used);
  return { heapBytes: heapUsed + external, residentBytes };
}

async function active(): Promise<number> {
  const answer = await fetch(`http://${host.adminEndpoint}/api/v1/status`);
  const { workers } = (await answer.json()) as HostStatus;
  return workers.reduce((sum, { status }) => sum + (status?.activations ?? 0), 0);
}

serveQuestions(
  async (what: MemoryQuestion) => {
    if (what === "target") return host.endpoint;
    return what === "memory" ? memory() : active();
  },
  () => host.stop({ graceMs: 1_000 }),
);
