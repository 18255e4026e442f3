/**
 * Starts a virtual machine with two NUMA nodes and runs the checks of guest/ in it: memory, workers and pins of this source tree, on a kernel that
 * has something to decide. `pnpm test:numa`; exit code 77 and the reason on the last line when it cannot be done here.
 *
 *   --keep    leaves the initramfs for another look
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, freemem, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeInitramfs } from "../guest/initramfs.ts";
import { prerequisites, type Prerequisites } from "../guest/prerequisites.ts";
import { runMachine } from "../guest/virtual-machine.ts";

const EXIT_SKIPPED = 77;
const MIB = 1024 * 1024;
/** Node 1 has a page of 1 GiB set aside at boot. */
const NODE_MIB = [1_024, 2_048] as const;
const DISTANCE = 21;
/** A machine without hardware virtualisation takes 20 s. */
const GUEST_MS_MAX = 240_000;
/** What the guest prints if everything is checked: fewer lines are a failure, too. */
const CHECKS_MIN = 30;

const seconds = (sinceMs: number): string => ((performance.now() - sinceMs) / 1000).toFixed(1);

async function main(): Promise<number> {
  const { keep } = parseArgs({ options: { keep: { type: "boolean", default: false } } }).values;
  const here = dirname(fileURLToPath(import.meta.url));
  const cacheDir = join(here, "../../node_modules/.cache/pinion-guest");
  const found = prerequisites(cacheDir);
  const needed = NODE_MIB.reduce<number>((sum, mib) => sum + mib, 0) * MIB;
  const why =
    typeof found === "string"
      ? found
      : freemem() < needed
        ? `the guest takes ${needed / MIB} MiB, and ${Math.floor(freemem() / MIB)} are free`
        : undefined;
  if (why !== undefined) {
    console.log(`skipped: ${why}`);
    return EXIT_SKIPPED;
  }
  mkdirSync(cacheDir, { recursive: true });
  const workDir = mkdtempSync(join(tmpdir(), "pinion-numa-"));
  try {
    const startMs = performance.now();
    const initramfs = join(workDir, "initramfs");
    const byteCount = writeInitramfs(initramfs, workDir, {
      start: join(here, "guest/start.mjs"),
      trace: join(here, "guest/trace.mjs"),
      kernelModules: [],
    });
    console.log(`initramfs: ${Math.round(byteCount / MIB)} MiB in ${seconds(startMs)} s`);
    return await runGuest(found as Prerequisites, initramfs);
  } finally {
    if (keep) console.log(`kept: ${workDir}`);
    else rmSync(workDir, { recursive: true, force: true });
  }
}

function nodeArguments(): string[] {
  const nodes = NODE_MIB.flatMap((mib, node) => [
    "-object",
    `memory-backend-ram,id=m${node},size=${mib}M`,
    "-numa",
    `node,nodeid=${node},cpus=${node},memdev=m${node}`,
  ]);
  return [...nodes, "-numa", `dist,src=0,dst=1,val=${DISTANCE}`];
}

async function runGuest(found: Prerequisites, initramfs: string): Promise<number> {
  const startMs = performance.now();
  const counts = { ok: 0, failed: 0 };
  const ended = await runMachine({
    prerequisites: found,
    initramfs,
    processors: NODE_MIB.length,
    memoryMib: NODE_MIB[0] + NODE_MIB[1],
    devices: nodeArguments(),
    append: "transparent_hugepage=madvise hugepagesz=1G hugepages=1:1",
    msMax: GUEST_MS_MAX,
    printed: (line, said) => {
      console.log(`${seconds(startMs).padStart(5)}  ${line}`);
      if (said.startsWith("ok ")) counts.ok++;
      if (said.startsWith("failed ")) counts.failed++;
    },
  });
  const complete = ended === "exit 0" && counts.ok + counts.failed >= CHECKS_MIN;
  if (!complete) console.log(`the guest did not come to its end: ${ended ?? "it was cut off"}`);
  console.log(
    `numa: ${counts.ok} passed, ${counts.failed} failed in ${seconds(startMs)} s on ${availableParallelism()} processors`,
  );
  return complete && counts.failed === 0 ? 0 : 1;
}

process.exitCode = await main();
