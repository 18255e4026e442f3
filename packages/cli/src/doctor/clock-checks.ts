/**
 * The machine's clocks: what the kernel counts with, and whether it keeps the wall clock in step with the world. Reminders
 * and record timestamps follow the wall clock; turns and deadlines do not.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "@pinion/core";
import { durationText } from "../output/units.ts";
import { ok, warn, type Finding } from "./finding.ts";

/** Counters read without leaving the process; the others cost a microsecond or more each time. */
const FAST_SOURCES = new Set([
  "tsc",
  "kvm-clock",
  "arch_sys_counter",
  "hyperv_clocksource_tsc_page",
]);
/** Left by systemd-timesyncd, chrony and ntpd while they are at work. */
const SYNC_MARKS = ["run/systemd/timesync/synchronized", "run/chrony/chronyd.pid", "run/ntpd.pid"];
const READINGS = 10_000;

/** @param root where /proc, /sys and /run are found. */
export async function clockChecks(clock: Clock, root = "/"): Promise<Finding[]> {
  const source = await readFile(
    join(root, "sys/devices/system/clocksource/clocksource0/current_clocksource"),
    "utf8",
  ).then(
    (text) => text.trim(),
    () => undefined,
  );
  return [sourceCheck(source, readingMs(clock)), syncCheck(root)];
}

function readingMs(clock: Clock): number {
  const startMs = clock.nowMs();
  for (let i = 0; i < READINGS; i++) clock.nowMs();
  return (clock.nowMs() - startMs) / READINGS;
}

function sourceCheck(source: string | undefined, costMs: number): Finding {
  const found = `${source ?? "unknown source"}, ${durationText(costMs)} a reading`;
  const figures = { clockReadingMs: costMs };
  if (source === undefined || FAST_SOURCES.has(source)) return ok("clock", found, figures);
  return warn(
    "clock",
    found,
    "the kernel counts time with a slow device: every turn reads the clock",
    "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource",
    figures,
  );
}

function syncCheck(root: string): Finding {
  if (SYNC_MARKS.some((mark) => existsSync(join(root, mark))))
    return ok("time-sync", "synchronised");
  // A container sees its host's clock, but none of these.
  if (existsSync(join(root, ".dockerenv")) || existsSync(join(root, "run/.containerenv"))) {
    return ok("time-sync", "left to the container's host");
  }
  return warn(
    "time-sync",
    "no time service found",
    "reminders are due by the wall clock, and a clock that jumps makes them early or late",
    "sudo timedatectl set-ntp true",
  );
}
