/**
 * Starts a virtual machine with two NUMA nodes and runs the checks of guest/ in it: memory, workers and pins of this source tree, on a kernel that
 * has something to decide. `pnpm test:numa`; exit code 77 and the reason on the last line when it cannot be done here.
 *
 *   --keep    leaves the initramfs for another look
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, freemem, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { MARK } from "./guest/checks.ts";
import { writeInitramfs } from "./initramfs.ts";
import { prerequisites, type Prerequisites } from "./prerequisites.ts";

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
  const cacheDir = join(here, "../../node_modules/.cache/pinion-numa");
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
    const byteCount = writeInitramfs(initramfs, workDir);
    console.log(`initramfs: ${Math.round(byteCount / MIB)} MiB in ${seconds(startMs)} s`);
    return await runGuest(found as Prerequisites, initramfs);
  } finally {
    if (keep) console.log(`kept: ${workDir}`);
    else rmSync(workDir, { recursive: true, force: true });
  }
}

function qemuArguments(kernel: string, initramfs: string): string[] {
  const kvm = existsSync("/dev/kvm") ? ["-accel", "kvm", "-accel", "tcg,thread=multi"] : [];
  const accel = kvm.length > 0 ? kvm : ["-accel", "tcg,thread=multi"];
  const nodes = NODE_MIB.flatMap((mib, node) => [
    "-object",
    `memory-backend-ram,id=m${node},size=${mib}M`,
    "-numa",
    `node,nodeid=${node},cpus=${node},memdev=m${node}`,
  ]);
  return [
    ...accel,
    ...["-cpu", "max", "-smp", "2", "-m", `${NODE_MIB[0] + NODE_MIB[1]}`],
    ...nodes,
    ...["-numa", `dist,src=0,dst=1,val=${DISTANCE}`],
    ...["-kernel", kernel, "-initrd", initramfs],
    "-append",
    "console=ttyS0 quiet panic=-1 edd=off transparent_hugepage=madvise hugepagesz=1G hugepages=1:1",
    ...["-nographic", "-no-reboot", "-nic", "none", "-monitor", "none"],
  ];
}

async function runGuest({ qemu, kernel }: Prerequisites, initramfs: string): Promise<number> {
  const startMs = performance.now();
  const child = spawn(qemu, qemuArguments(kernel, initramfs), {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), GUEST_MS_MAX);
  const counts = { ok: 0, failed: 0 };
  let ended: string | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    const text = line.replaceAll(/[\r\x1b]/g, "");
    console.log(`${seconds(startMs).padStart(5)}  ${text}`);
    const said = text.startsWith(`${MARK} `) ? text.slice(MARK.length + 1) : "";
    if (said.startsWith("ok ")) counts.ok++;
    if (said.startsWith("failed ")) counts.failed++;
    if (said.startsWith("exit ") || said.startsWith("ended ")) ended = said;
  }
  clearTimeout(timer);
  const complete = ended === "exit 0" && counts.ok + counts.failed >= CHECKS_MIN;
  if (!complete) console.log(`the guest did not come to its end: ${ended ?? "it was cut off"}`);
  console.log(
    `numa: ${counts.ok} passed, ${counts.failed} failed in ${seconds(startMs)} s on ${availableParallelism()} processors`,
  );
  return complete && counts.failed === 0 ? 0 : 1;
}

process.exitCode = await main();
