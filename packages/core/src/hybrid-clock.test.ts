import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPinionError } from "./errors.ts";
import { CLIENT_ADVANCE_MS_MAX, HybridClock } from "./hybrid-clock.ts";
import { hlcTime } from "./lsn.ts";
import { VirtualClock } from "./virtual-clock.ts";

describe("HybridClock", () => {
  it("only grows, whatever the wall clock and the peers say (property)", () => {
    const step = fc.record({
      kind: fc.constantFrom("tick", "jump", "client", "host"),
      by: fc.integer({ min: -100_000, max: 100_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const clock = new VirtualClock();
        const hlc = new HybridClock(clock);
        let last = 0;
        for (const { kind, by } of steps) {
          if (kind === "jump") clock.jumpWall(by);
          else if (kind === "client") hlc.adoptFromClient((clock.wallMs() + by) * 1000);
          else if (kind === "host") {
            try {
              hlc.adoptFromHost((clock.wallMs() + by) * 1000);
            } catch (e) {
              if (!isPinionError(e, "clock-skew")) throw e;
              expect(by).toBeGreaterThan(10_000);
            }
          }
          const t = hlc.tick();
          expect(t).toBeGreaterThan(last);
          expect(Number.isSafeInteger(t)).toBe(true);
          last = t;
        }
      }),
    );
  });

  it("lets a client pull it by 500 ms at most, and refuses a host beyond the skew", () => {
    const clock = new VirtualClock();
    const hlc = new HybridClock(clock, { maxClockSkewMs: 1_000 });
    hlc.adoptFromClient((clock.wallMs() + 60_000) * 1000);
    expect(hlc.aheadMs()).toBeLessThanOrEqual(CLIENT_ADVANCE_MS_MAX);
    expect(() => hlc.adoptFromHost((clock.wallMs() + 1_001) * 1000)).toThrow(/ahead/);
    hlc.adoptFromHost((clock.wallMs() + 999) * 1000);
    expect(Math.round(hlc.aheadMs())).toBe(999);
  });

  it("goes on after what recovery has seen when the wall clock was set back", () => {
    const clock = new VirtualClock();
    const hlc = new HybridClock(clock);
    const seen = hlcTime(clock.wallMs() * 1000 + 5_000_000);
    hlc.startAfter(seen);
    expect(hlc.tick()).toBe(seen + 1);
  });
});
