import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CallTarget } from "./call-target.ts";
import { InFlightCalls } from "./in-flight-calls.ts";
import { PendingCall } from "./pending-call.ts";

const target = new CallTarget("counter", "a", "default", "main");
const callOf = (seq: number): PendingCall =>
  new PendingCall(
    seq,
    target,
    "m",
    undefined,
    () => {},
    () => {},
  );

describe("InFlightCalls", () => {
  it("finds exactly what was added and not deleted, however far apart the numbers are", () => {
    // Rings of calls are skipped by adding and deleting at once, so that slots are needed twice.
    const step = fc.oneof(
      fc.record({ kind: fc.constant("add" as const), count: fc.integer({ min: 1, max: 6_000 }) }),
      fc.record({ kind: fc.constant("delete" as const), pick: fc.nat() }),
      fc.record({ kind: fc.constant("pass" as const), count: fc.integer({ min: 1, max: 9_000 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const calls = new InFlightCalls();
        const model = new Set<number>();
        for (const s of steps) {
          if (s.kind === "delete") {
            const seq = [...model][s.pick % Math.max(1, model.size)];
            if (seq === undefined) continue;
            calls.delete(seq);
            model.delete(seq);
            continue;
          }
          for (let i = 0; i < s.count; i++) {
            const call = callOf(calls.next);
            calls.add(call);
            if (s.kind === "add" && i % 1000 === 0) model.add(call.seq);
            else calls.delete(call.seq);
          }
        }
        expect(calls.size).toBe(model.size);
        expect(calls.all().map((c) => c.seq)).toEqual([...model].sort((a, b) => a - b));
        expect(calls.lowest).toBe(Math.min(calls.next, ...model));
        for (const seq of model) expect(calls.get(seq)?.seq).toBe(seq);
        expect(calls.get(calls.next)).toBeUndefined();
      }),
      { numRuns: 60 },
    );
  });

  it("does not mind what is deleted twice, or was never there", () => {
    const calls = new InFlightCalls();
    calls.add(callOf(1));
    calls.delete(1);
    calls.delete(1);
    calls.delete(99);
    expect([calls.size, calls.lowest, calls.next]).toEqual([0, 2, 2]);
  });
});
