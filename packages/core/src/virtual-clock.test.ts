import { describe, expect, it } from "vitest";
import { VirtualClock } from "./virtual-clock.ts";

describe("VirtualClock", () => {
  it("fires timers in order of due time, then of setting", async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    clock.setTimer(20, () => seen.push("late"));
    clock.setTimer(10, () => seen.push("first"));
    clock.setTimer(10, () => seen.push("second"));
    await clock.advance(10);
    expect(seen).toEqual(["first", "second"]);
    await clock.advance(10);
    expect(seen).toEqual(["first", "second", "late"]);
  });

  it("fires a timer set by a timer within the same advance, at its own time", async () => {
    const clock = new VirtualClock();
    const times: number[] = [];
    clock.setTimer(5, () => clock.setTimer(5, () => times.push(clock.nowMs())));
    await clock.advance(100);
    expect(times).toEqual([10]);
    expect(clock.nowMs()).toBe(100);
  });

  it("lets what a timer started settle before the next timer fires", async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    clock.setTimer(1, () =>
      clock.defer(() => void Promise.resolve().then(() => seen.push("deferred"))),
    );
    clock.setTimer(2, () => seen.push("timer"));
    await clock.advance(2);
    expect(seen).toEqual(["deferred", "timer"]);
  });

  it("does not fire a cancelled timer", async () => {
    const clock = new VirtualClock();
    const timer = clock.setTimer(1, () => expect.unreachable());
    timer.cancel();
    await clock.advance(10);
    expect(clock.pending).toBe(0);
  });

  it("keeps monotonic time when the calendar jumps back", async () => {
    const clock = new VirtualClock(1_000_000);
    await clock.advance(50);
    clock.jumpWall(-10_000);
    expect(clock.nowMs()).toBe(50);
    expect(clock.wallMs()).toBe(990_050);
  });
});
