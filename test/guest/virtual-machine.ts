/** Runs a guest in QEMU until it turns itself off, and reads what it prints. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { MARK } from "./mark.ts";
import type { Prerequisites } from "./prerequisites.ts";

/** The firmware clears a screen in front of the first line. */
// oxlint-disable-next-line no-control-regex
const TERMINAL_CODES = /\x1b(?:\[[?\d;]*[A-Za-z]|c)|\r/g;

export interface MachineOptions {
  readonly prerequisites: Prerequisites;
  readonly initramfs: string;
  readonly processors: number;
  readonly memoryMib: number;
  /** Further arguments of QEMU. */
  readonly devices: readonly string[];
  /** Further parameters of the kernel; those it does not know, such as `A=b`, are the first process's environment. */
  readonly append: string;
  /** After this it is ended. */
  readonly msMax: number;
  /** Told of every line; `said` is what follows the mark, "" without one. */
  readonly printed: (line: string, said: string) => void;
}

/** @returns "exit 0" or how else its program ended; undefined if the machine was cut off */
export async function runMachine(options: MachineOptions): Promise<string | undefined> {
  const child = spawn(options.prerequisites.qemu, qemuArguments(options), {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), options.msMax);
  let ended: string | undefined;
  for await (const raw of createInterface({ input: child.stdout })) {
    const line = raw.replaceAll(TERMINAL_CODES, "");
    const said = line.startsWith(`${MARK} `) ? line.slice(MARK.length + 1) : "";
    if (said.startsWith("exit ") || said.startsWith("ended ")) ended = said;
    options.printed(line, said);
  }
  clearTimeout(timer);
  return ended;
}

function qemuArguments(options: MachineOptions): string[] {
  const { prerequisites, initramfs, processors, memoryMib, devices, append } = options;
  const accel = ["-accel", "tcg,thread=multi"];
  return [
    ...(existsSync("/dev/kvm") ? ["-accel", "kvm", ...accel] : accel),
    ...["-cpu", "max", "-smp", String(processors), "-m", String(memoryMib)],
    ...devices,
    ...["-kernel", prerequisites.kernel, "-initrd", initramfs],
    ...["-append", `console=ttyS0 quiet panic=-1 edd=off ${append}`],
    ...["-nographic", "-no-reboot", "-nic", "none", "-monitor", "none"],
  ];
}
