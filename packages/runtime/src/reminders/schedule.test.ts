import { isPinionError } from "@pinion/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkSchedule, CRON_MISSED_COUNTED, fireAt, firstDueMs, nextDueMs } from "./schedule.ts";

const t0 = Date.UTC(2026, 2, 28, 12, 0, 0);

describe("reminder schedules", () => {
  it("refuse what makes no sense, naming the reminder", () => {
    const bad = [
      {},
      { afterMs: 1, everyMs: 1 },
      { afterMs: -1 },
      { everyMs: 0 },
      { afterMs: 1e17 },
      { at: new Date(8.64e15) },
      { at: new Date(NaN) },
      { cron: "not a cron" },
      { cron: "0 0 1 1 *", timeZone: "Mars/Base" },
      { everyMs: 5, timeZone: "Europe/Berlin" },
      { everyMs: 5, missed: "never" as "skip" },
    ];
    for (const schedule of bad) {
      let thrown: unknown;
      try {
        checkSchedule("bill", schedule);
      } catch (e) {
        thrown = e;
      }
      expect(isPinionError(thrown, "invalid-argument"), JSON.stringify(schedule)).toBe(true);
      expect((thrown as Error).message).toContain("bill");
    }
  });

  it("are due once, at intervals, or by cron in a time zone with daylight saving", () => {
    expect(firstDueMs({ afterMs: 250 }, t0)).toBe(t0 + 250);
    expect(nextDueMs({ afterMs: 250 }, t0)).toBeUndefined();
    expect(nextDueMs({ everyMs: 7 }, t0)).toBe(t0 + 7);
    // Europe/Berlin changes to summer time on 2026-03-29: 09:00 local is 08:00 UTC the day before, 07:00 after
    const nine = { cron: "0 9 * * *", timeZone: "Europe/Berlin" };
    const first = firstDueMs(nine, Date.UTC(2026, 2, 28, 0, 0));
    expect(new Date(first).toISOString()).toBe("2026-03-28T08:00:00.000Z");
    expect(new Date(nextDueMs(nine, first) as number).toISOString()).toBe(
      "2026-03-29T07:00:00.000Z",
    );
  });

  it("coalesce, make up for or skip missed due times by policy", () => {
    expect(fireAt({ everyMs: 10 }, t0, t0 + 35)).toEqual({
      dueMs: t0 + 30,
      missed: 3,
      nextDueMs: t0 + 40,
    });
    expect(fireAt({ everyMs: 10, missed: "all" }, t0, t0 + 35)).toEqual({
      dueMs: t0,
      missed: 0,
      nextDueMs: t0 + 10,
    });
    expect(fireAt({ everyMs: 10, missed: "skip" }, t0, t0 + 35)).toEqual({
      dueMs: undefined,
      missed: 4,
      nextDueMs: t0 + 40,
    });
    expect(fireAt({ everyMs: 10, missed: "skip" }, t0, t0 + 5)).toEqual({
      dueMs: t0,
      missed: 0,
      nextDueMs: t0 + 10,
    });
    expect(fireAt({ afterMs: 1 }, t0, t0 + 1e9)).toEqual({
      dueMs: t0,
      missed: 0,
      nextDueMs: undefined,
    });
    const hourly = { cron: "0 * * * *" };
    expect(fireAt(hourly, t0, t0 + 3.5 * 3_600_000)).toEqual({
      dueMs: t0 + 3 * 3_600_000,
      missed: 3,
      nextDueMs: t0 + 4 * 3_600_000,
    });
  });

  it("find the last passed due time of a long outage without walking through it", () => {
    const day = 86_400_000;
    const firing = fireAt({ cron: "* * * * * *" }, t0, t0 + day + 500);
    expect(firing).toEqual({
      dueMs: t0 + day,
      missed: CRON_MISSED_COUNTED,
      nextDueMs: t0 + day + 1000,
    });
  });

  it("give each due time at most one turn and never go back (property)", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.constantFrom("once" as const, "all" as const, "skip" as const),
        fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 40 }),
        (everyMs, missed, gaps) => {
          const seen = new Set<number>();
          let due = t0;
          let now = t0;
          for (const gap of gaps) {
            now = Math.max(now + gap, due);
            const f = fireAt({ everyMs, missed }, due, now);
            if (f.dueMs !== undefined) {
              expect(seen.has(f.dueMs)).toBe(false);
              seen.add(f.dueMs);
              expect(f.dueMs).toBeLessThanOrEqual(now);
              expect((f.dueMs - t0) % everyMs).toBe(0);
            }
            expect(f.nextDueMs as number).toBeGreaterThan(due);
            if (missed !== "all") expect(f.nextDueMs as number).toBeGreaterThan(now);
            due = f.nextDueMs as number;
          }
        },
      ),
    );
  });
});
