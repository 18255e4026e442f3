import { VirtualClock, type Telemetry, noTelemetry } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { MemoryGovernor, type MemoryUse } from "./memory-governor.ts";
import { MIB, PinHost } from "./residency.test.fixture.ts";
import type { PinPriority } from "./pin-types.ts";

const LIMIT = 1_000 * MIB;

class GovernedHost extends PinHost {
  /** Used by things nobody governs. */
  otherBytes = 0;
  poolBytes = 0;
  use: (() => MemoryUse | undefined) | undefined;
  readonly governor: MemoryGovernor;
  readonly gauges = new Map<string, () => number>();

  constructor(use?: () => MemoryUse | undefined) {
    super(400 * MIB);
    this.use = use;
    const telemetry: Telemetry = {
      ...noTelemetry,
      observe: (name, _help, collect, labels) =>
        void this.gauges.set(`${name}${Object.values(labels ?? {}).join("")}`, collect),
    };
    this.governor = new MemoryGovernor({
      clock: this.clock,
      telemetry,
      ports: {
        usage: () => (this.use === undefined ? this.measured() : this.use()),
        pool: {
          shrink: (byteCount) => {
            const given = Math.min(byteCount, this.poolBytes);
            this.poolBytes -= given;
            return given;
          },
        },
        pins: this.pins,
      },
    });
    this.governor.start();
  }

  measured(): MemoryUse {
    const usedBytes = this.otherBytes + this.poolBytes + this.counter.usedBytes;
    return { usedBytes, limitBytes: LIMIT };
  }

  async fill(priority: PinPriority, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const key = `${priority}-${i}`;
      await this.pins.pin(key, this.target(key, 10 * MIB), { priority });
    }
  }

  counts(): number[] {
    const { byPriority } = this.pins.stats();
    return Object.values(byPriority).map(({ count }) => count);
  }
}

describe("the governor", () => {
  it("lets the pool pay first, a part at a time while pressure is gentle", async () => {
    const host = new GovernedHost();
    host.otherBytes = 560 * MIB;
    host.poolBytes = 300 * MIB;
    await host.fill("background", 1);
    await host.clock.advance(1_000);
    expect(host.governor.report()).toMatchObject({ forecast: { action: "gentle" }, pinBytes: 0 });
    expect(host.poolBytes).toBe((300 - 70 / 4) * MIB);
    await host.clock.advance(60_000);
    expect(host.measured().usedBytes).toBeLessThan(0.83 * LIMIT);
    expect(host.governor.report().forecast!.action).toBe("none");
    expect(host.counts()).toEqual([0, 0, 1, 0]);
  });

  it("takes pins class by class as it gets worse, holds admission, and stops when it is enough", async () => {
    const host = new GovernedHost();
    await host.fill("tail-latency-critical", 20);
    await host.fill("background", 10);
    await host.fill("none", 2);
    host.otherBytes = (860 - 320) * MIB;
    await host.clock.advance(1_000);
    expect(host.governor.report().forecast!.action).toBe("gentle");
    expect(host.counts()).toEqual([20, 0, 10, 0]);
    host.otherBytes += 80 * MIB;
    await host.clock.advance(1_000);
    expect(host.governor.report().forecast!.action).toBe("aggressive");
    expect(host.counts()[0]).toBe(20);
    expect(host.counts()[2]).toBeLessThan(6);
    const refused = await host.pins.pin("x", host.target("x"), { priority: "background" });
    expect(refused).toMatchObject({ reason: "pressure" });
    host.otherBytes += 150 * MIB;
    await host.clock.advance(1_000);
    expect(host.governor.report().forecast!.action).toBe("emergency");
    expect(host.measured().usedBytes).toBeLessThanOrEqual(0.8 * LIMIT);
    const left = host.counts();
    expect(left[0]).toBeGreaterThan(0);
    expect(left[0]).toBeLessThan(20);
    host.otherBytes -= 300 * MIB;
    await host.clock.advance(120_000);
    expect(host.governor.report().forecast!.action).toBe("none");
    expect(host.counts()).toEqual(left);
    expect(await host.pins.pin("x", host.target("x"), { priority: "background" })).toEqual({
      kind: "locked",
    });
  });

  it("acts on a forecast before the level is reached", async () => {
    const host = new GovernedHost();
    host.poolBytes = 200 * MIB;
    for (let second = 0; second < 100 && host.governor.report().poolBytes === 0; second++) {
      host.otherBytes += 5 * MIB;
      await host.clock.advance(1_000);
    }
    const { forecast, poolBytes } = host.governor.report();
    expect(poolBytes).toBeGreaterThan(0);
    expect(forecast!.share).toBeLessThan(0.85);
  });

  it("does nothing when nobody can tell what is used, and says so", async () => {
    const host = new GovernedHost(() => undefined);
    await host.clock.advance(2_000);
    expect(host.governor.report()).toMatchObject({
      samples: 0,
      unmeasured: 3,
      forecast: undefined,
    });
    host.use = () => ({ usedBytes: 1, limitBytes: 0 });
    await host.clock.advance(1_000);
    expect(host.governor.report()).toMatchObject({ samples: 0, unmeasured: 4 });
    host.governor.stop();
    await host.clock.advance(5_000);
    expect(host.governor.report().unmeasured).toBe(4);
    expect(host.clock.pending).toBe(0);
  });

  it("shows use, forecasts and action as gauges, use from the start on", async () => {
    const host = new GovernedHost(() => ({ usedBytes: 970 * MIB, limitBytes: LIMIT }));
    const gauge = (name: string) => host.gauges.get(`pinion_memory_${name}`)!();
    expect(gauge("used_share")).toBeCloseTo(0.97, 6);
    host.use = undefined;
    host.otherBytes = 970 * MIB;
    await host.clock.advance(20_000);
    expect(gauge("used_share")).toBeCloseTo(0.97, 6);
    expect(gauge("pressure_action")).toBe(3);
    expect(gauge("forecast_share120")).toBeCloseTo(0.97, 6);
  });

  it("refuses a pace that makes no sense", () => {
    const { ports, clock } = { ports: undefined as never, clock: new VirtualClock() };
    expect(() => new MemoryGovernor({ clock, ports, sampleMs: 5 })).toThrow("memory.sampleMs is 5");
  });
});
