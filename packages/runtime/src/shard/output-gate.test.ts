import { lsn } from "@pinion/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OutputGate } from "./output-gate.ts";

describe("OutputGate", () => {
  it("holds until the LSN is committed and releases in order", () => {
    const gate = new OutputGate();
    const out: string[] = [];
    gate.hold(lsn(1), { release: () => out.push("a") });
    gate.hold(lsn(2), { release: () => out.push("b") });
    expect(out).toEqual([]);
    gate.open(lsn(1));
    expect(out).toEqual(["a"]);
    gate.open(lsn(5));
    expect(out).toEqual(["a", "b"]);
    gate.hold(lsn(5), { release: () => out.push("c") });
    expect(out).toEqual(["a", "b", "c"]);
  });

  it("never releases early, never forgets, and keeps the order of LSNs (property)", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ hold: fc.boolean(), by: fc.integer({ min: 0, max: 5 }) }), {
          maxLength: 300,
        }),
        (steps) => {
          const gate = new OutputGate();
          const released: { at: number; n: number }[] = [];
          const held: { at: number; n: number }[] = [];
          let top = 0;
          let committed = 0;
          let n = 0;
          for (const step of steps) {
            if (step.hold) {
              // a readonly answer may depend on something older than what was held last
              const at = step.by === 5 ? Math.max(0, top - 2) : (top += step.by);
              const item = { at, n: n++ };
              held.push(item);
              gate.hold(lsn(at), {
                release: () => {
                  expect(item.at).toBeLessThanOrEqual(committed);
                  released.push(item);
                },
              });
            } else {
              committed = Math.min(top, committed + step.by);
              gate.open(lsn(committed));
            }
          }
          committed = top;
          gate.open(lsn(top));
          expect(released.length).toBe(held.length);
          expect(gate.size).toBe(0);
          const sameLsn = released.every((r, i) => {
            const next = released[i + 1];
            return next === undefined || r.at !== next.at || r.n < next.n;
          });
          expect(sameLsn).toBe(true);
        },
      ),
    );
  });

  it("drops what it held when the shard is lost", () => {
    const gate = new OutputGate();
    const out: string[] = [];
    gate.hold(lsn(1), { release: () => out.push("released"), drop: (e) => out.push(e.message) });
    gate.discard(new Error("lost"));
    gate.open(lsn(9));
    expect(out).toEqual(["lost"]);
  });
});
