import { noTelemetry } from "@pinion/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CallCounters, LatencyHistogram } from "./client-stats.ts";

describe("LatencyHistogram", () => {
  it("gives quantiles at most a sixteenth above the truth, and never below", () => {
    const samples = fc.array(fc.double({ min: 0.001, max: 1e6, noNaN: true }), {
      minLength: 1,
      maxLength: 300,
    });
    fc.assert(
      fc.property(samples, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, q) => {
        const histogram = new LatencyHistogram();
        for (const ms of values) histogram.record(ms);
        const sorted = [...values].sort((a, b) => a - b);
        const truth = sorted[Math.ceil(values.length * q) - 1] as number;
        expect(histogram.quantile(q)).toBeGreaterThanOrEqual(truth - 0.0006); // recorded to the µs
        expect(histogram.quantile(q)).toBeLessThanOrEqual((truth + 0.0006) * (1 + 1 / 16) + 0.001);
        expect(histogram.maxMs).toBe(sorted.at(-1));
      }),
    );
  });

  it("takes anything: nothing, zero, and more than it can tell apart", () => {
    const histogram = new LatencyHistogram();
    expect(histogram.quantile(0.5)).toBe(0);
    histogram.record(0);
    histogram.record(1e12);
    expect(histogram.quantile(1)).toBeGreaterThan(4_000_000);
  });
});

describe("CallCounters", () => {
  it("are read when somebody asks", () => {
    const metrics = new Map<string, () => number>();
    const counters = new CallCounters();
    counters.register(
      { ...noTelemetry, observe: (name, _help, read) => void metrics.set(name, read) },
      () => 7,
    );
    counters.calls = 3;
    counters.latency.record(2);
    expect(metrics.get("pinion_client_calls_total")?.()).toBe(3);
    expect(metrics.get("pinion_client_pending_calls")?.()).toBe(7);
    expect(metrics.get("pinion_client_latency_p99_seconds")?.()).toBeCloseTo(0.002, 3);
    expect([...metrics.keys()].every((name) => name.startsWith("pinion_client_"))).toBe(true);
  });
});
