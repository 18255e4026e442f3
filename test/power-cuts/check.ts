/**
 * Looks at what a cut has left: here, where this machine lets us mount it, else in a guest. The file system repairs itself first, as it would
 * after a power cut; then the stores do (guest/look.ts).
 */
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Prerequisites } from "../guest/prerequisites.ts";
import { runMachine } from "../guest/virtual-machine.ts";
import { FILES_BYTES, FILES_OFFSET } from "./disk.ts";
import type { Found, LookRequest } from "./guest/look.ts";
import type { WorkRequest } from "./guest/main.ts";
import { LEDGERS } from "./ledger.ts";
import type { Marks } from "./marks.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
const LOOK_MS_MAX = 240_000;
const run = promisify(execFile);

export type Look = (image: string, request: LookRequest) => Promise<Found[]>;

/** @param where a folder that may become a mount point @param cacheDir of compiled modules: a process a disk @returns or why this machine cannot */
export function lookHere(where: string, image: string, cacheDir: string): Look | string {
  try {
    mount(image, where);
    unmount(where);
  } catch (e) {
    return String((e as { stderr?: unknown }).stderr ?? e).trim();
  }
  const env = { ...process.env, NODE_COMPILE_CACHE: cacheDir };
  return async (path, request) => {
    mount(path, where);
    try {
      const program = join(HERE, "look-process.ts");
      const args = ["--conditions=source", program, where, JSON.stringify(request)];
      const { stdout } = await run(process.execPath, args, { env, timeout: LOOK_MS_MAX });
      return JSON.parse(stdout.slice(stdout.indexOf("found ") + 6)) as Found[];
    } finally {
      unmount(where);
    }
  };
}

function mount(image: string, where: string): void {
  mkdirSync(where, { recursive: true });
  const options = `loop,offset=${FILES_OFFSET},sizelimit=${FILES_BYTES}`;
  execFileSync("mount", ["-t", "ext4", "-o", options, image, where], { stdio: "pipe" });
}

const unmount = (where: string): void => void execFileSync("umount", [where], { stdio: "pipe" });

export function lookInGuest(prerequisites: Prerequisites, initramfs: string): Look {
  return async (image, request) => {
    let found: Found[] | undefined;
    const lines: string[] = [];
    const ended = await runMachine({
      prerequisites,
      initramfs,
      processors: 2,
      memoryMib: 2_048,
      devices: [
        ...["-blockdev", `driver=file,node-name=disk,filename=${image},cache.no-flush=on`],
        ...["-device", "virtio-blk-pci,drive=disk"],
      ],
      append: taskOf("look", request),
      msMax: LOOK_MS_MAX,
      printed: (line, said) => {
        lines.push(line);
        if (said.startsWith("found ")) found = JSON.parse(said.slice(6)) as Found[];
      },
    });
    if (found === undefined)
      throw new Error(`the guest ended (${ended}) and found nothing:\n${lines.join("\n")}`);
    return found;
  };
}

/** Kernel parameters that tell a guest what to do (guest/main.ts). */
export function taskOf(task: "work" | "look", request: WorkRequest | LookRequest): string {
  const text = Buffer.from(JSON.stringify(request)).toString("base64url");
  return `PINION_TASK=${task} PINION_REQUEST=${text}`;
}

/** What a cut must not do. @param marks what was acknowledged before it */
export function problemsOf(found: readonly Found[], marks: Marks): string[] {
  const problems: string[] = [];
  for (const { subject, counts, problems: seen } of found) {
    problems.push(...seen.map((each) => `${subject}: ${each}`));
    if (counts.length < LEDGERS) continue;
    for (const [ledger, count] of counts.entries()) {
      const acknowledged = marks.of(subject, ledger);
      if (count < acknowledged)
        problems.push(
          `${subject}: ledger ${ledger} has ${count}, ${acknowledged} were acknowledged`,
        );
      // The next is asked for once the mark is written.
      if (count > acknowledged + 1)
        problems.push(
          `${subject}: ledger ${ledger} has ${count}, ${acknowledged + 1} were asked for`,
        );
    }
  }
  return problems;
}
