/**
 * When a reminder is due, computed from its schedule alone: pure, so that recovery and a rerun agree.
 * Cron and time zones (daylight saving included) are croner's.
 */
import { PinionError } from "@pinion/core";
import { Cron } from "croner";
import type { MissedPolicy, ReminderSchedule } from "../definition/actor-context.ts";

/** Missed due times of a cron reminder that are counted one by one; of more, this many are reported. */
export const CRON_MISSED_COUNTED = 100;
/** Longest delay or interval: a century. Latest due time: the end of the year 9999. */
const DELAY_MS_MAX = 100 * 365 * 86_400_000;
const DUE_MS_MAX = 253_402_300_799_999;

function invalid(name: string, why: string): PinionError {
  return new PinionError("invalid-argument", `reminder "${name}": ${why}`, {
    details: { reminder: name },
  });
}

function cronOf(schedule: ReminderSchedule): Cron {
  return new Cron(schedule.cron as string, { timezone: schedule.timeZone ?? "UTC", paused: true });
}

/** @throws `invalid-argument` unless exactly one kind of time is given and it makes sense */
export function checkSchedule(name: string, schedule: ReminderSchedule): void {
  const given = [schedule.afterMs, schedule.at, schedule.everyMs, schedule.cron].filter(
    (v) => v !== undefined,
  ).length;
  if (given !== 1) throw invalid(name, "give exactly one of afterMs, at, everyMs and cron");
  if (
    schedule.afterMs !== undefined &&
    !(schedule.afterMs >= 0 && schedule.afterMs <= DELAY_MS_MAX)
  ) {
    throw invalid(
      name,
      `afterMs must be from 0 to ${DELAY_MS_MAX} (100 years), not ${schedule.afterMs}`,
    );
  }
  if (
    schedule.everyMs !== undefined &&
    !(schedule.everyMs >= 1 && schedule.everyMs <= DELAY_MS_MAX)
  ) {
    throw invalid(
      name,
      `everyMs must be from 1 to ${DELAY_MS_MAX} (100 years), not ${schedule.everyMs}`,
    );
  }
  if (schedule.at !== undefined && !(Math.abs(schedule.at.getTime()) <= DUE_MS_MAX))
    throw invalid(name, "at must be a valid date before the year 10000");
  if (schedule.timeZone !== undefined && schedule.cron === undefined)
    throw invalid(name, "timeZone goes with cron");
  if (schedule.missed !== undefined && !["once", "all", "skip"].includes(schedule.missed)) {
    throw invalid(name, `missed must be "once", "all" or "skip", not "${String(schedule.missed)}"`);
  }
  if (schedule.cron === undefined) return;
  try {
    if (cronOf(schedule).nextRun() === null) throw new Error("it is never due");
  } catch (cause) {
    throw new PinionError(
      "invalid-argument",
      `reminder "${name}": cron "${schedule.cron}": ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** The first due time, ms since the epoch, of a schedule set at `nowMs`. */
export function firstDueMs(schedule: ReminderSchedule, nowMs: number): number {
  if (schedule.afterMs !== undefined) return Math.ceil(nowMs + schedule.afterMs);
  if (schedule.at !== undefined) return Math.max(0, schedule.at.getTime());
  if (schedule.everyMs !== undefined) return Math.ceil(nowMs + schedule.everyMs);
  return cronOf(schedule).nextRun(new Date(nowMs))?.getTime() ?? nowMs;
}

/** The due time after `dueMs`; undefined for a reminder that is due once. */
export function nextDueMs(schedule: ReminderSchedule, dueMs: number): number | undefined {
  if (schedule.everyMs !== undefined) return dueMs + Math.ceil(schedule.everyMs);
  if (schedule.cron !== undefined) return cronOf(schedule).nextRun(new Date(dueMs))?.getTime();
  return undefined;
}

export interface Firing {
  /** The due time this turn is for; undefined when every passed one is skipped. */
  readonly dueMs: number | undefined;
  /** Due times before it that get no turn of their own; for cron counted up to `CRON_MISSED_COUNTED`. */
  readonly missed: number;
  /** Due time after this turn; undefined when the reminder is through. */
  readonly nextDueMs: number | undefined;
}

/**
 * What happens to a reminder due at `dueMs` that is looked at at `nowMs ≥ dueMs`. A due time counts as missed when a later one of the
 * same reminder has passed too.
 */
export function fireAt(schedule: ReminderSchedule, dueMs: number, nowMs: number): Firing {
  const policy: MissedPolicy = schedule.missed ?? "once";
  const next = nextDueMs(schedule, dueMs);
  if (next === undefined || next > nowMs) return { dueMs, missed: 0, nextDueMs: next };
  if (policy === "all") return { dueMs, missed: 0, nextDueMs: next };
  const { lastDueMs, passed } = lastPassed(schedule, next, nowMs);
  const after = nextDueMs(schedule, lastDueMs);
  // "skip" drops what was missed, but the newest passed due time is this one's own turn when it has only just come.
  if (policy === "skip") return { dueMs: undefined, missed: passed + 1, nextDueMs: after };
  return { dueMs: lastDueMs, missed: passed, nextDueMs: after };
}

/** The last due time at or before `nowMs`, from `next` on, and how many lie before it (the first one included). */
function lastPassed(
  schedule: ReminderSchedule,
  next: number,
  nowMs: number,
): { lastDueMs: number; passed: number } {
  if (schedule.everyMs !== undefined) {
    const step = Math.ceil(schedule.everyMs);
    const more = Math.floor((nowMs - next) / step);
    return { lastDueMs: next + more * step, passed: more + 1 };
  }
  const cron = cronOf(schedule);
  // Backwards from now: a forward search costs 35 µs for every due time of an outage.
  const lastDueMs = Math.max(next, cron.previousRuns(1, new Date(nowMs))[0]?.getTime() ?? next);
  let passed = 1;
  for (let due = next; due < lastDueMs && passed < CRON_MISSED_COUNTED; passed++) {
    due = cron.nextRun(new Date(due))?.getTime() ?? lastDueMs;
  }
  return { lastDueMs, passed };
}
