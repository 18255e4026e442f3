import { VirtualClock } from "@pinion/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CallTarget } from "./call-target.ts";
import { DeadlineQueue } from "./deadline-queue.ts";
import { careOf, PendingCall } from "./pending-call.ts";

const target = new CallTarget("counter", "a", "default", "main");

function callDueAt(seq: number, dueMs: number): PendingCall {
  const call = new PendingCall(
    seq,
    target,
    "m",
    undefined,
    () => {},
    () => {},
  );
  careOf(call).deadlineAtMs = dueMs;
  return call;
}

describe("DeadlineQueue", () => {
  it("reports every call that is still there when it is due, in the order of their times", async () => {
    const plan = fc.array(
      fc.record({ dueMs: fc.nat(100), removed: fc.boolean(), movedTo: fc.option(fc.nat(100)) }),
      { maxLength: 40 },
    );
    await fc.assert(
      fc.asyncProperty(plan, async (items) => {
        const clock = new VirtualClock();
        const due: { seq: number; atMs: number }[] = [];
        const queue = new DeadlineQueue(clock, (call) =>
          due.push({ seq: call.seq, atMs: clock.nowMs() }),
        );
        const calls = items.map((item, i) => callDueAt(i, item.dueMs));
        for (const call of calls) queue.update(call);
        const expected: { seq: number; atMs: number }[] = [];
        items.forEach((item, i) => {
          const call = calls[i] as PendingCall;
          if (item.removed) queue.remove(call);
          else if (item.movedTo !== null) {
            careOf(call).deadlineAtMs = item.movedTo;
            queue.update(call);
          }
          if (!item.removed) expected.push({ seq: i, atMs: item.movedTo ?? item.dueMs });
        });
        await clock.advance(101);
        const bySeq = (a: { seq: number }, b: { seq: number }) => a.seq - b.seq;
        expect([...due].sort(bySeq)).toEqual(expected);
        expect(due.map((d) => d.atMs)).toEqual(due.map((d) => d.atMs).sort((a, b) => a - b));
        expect([queue.size, clock.pending]).toEqual([0, 0]);
      }),
      { numRuns: 60 },
    );
  });

  it("does not hold a call without a due time", () => {
    const queue = new DeadlineQueue(new VirtualClock(), () => {});
    queue.update(callDueAt(1, Infinity));
    expect(queue.size).toBe(0);
  });

  it("reports nothing after it was stopped", async () => {
    const clock = new VirtualClock();
    const queue = new DeadlineQueue(clock, () => expect.unreachable());
    queue.update(callDueAt(1, 10));
    queue.stop();
    await clock.advance(100);
  });
});
