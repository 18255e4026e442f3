import { readFileSync } from "node:fs";
import { seededRng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import {
  PRESSURE_ACTIONS,
  PressureForecaster,
  type PressureForecast,
} from "./pressure-forecaster.ts";
import { probabilityWithin } from "./weighted-line.ts";

const LIMIT = 1_000_000;

/** @param share of the limit at second i */
function run(seconds: number, share: (i: number) => number): PressureForecast[] {
  const forecaster = new PressureForecaster();
  return Array.from({ length: seconds }, (_, i) =>
    forecaster.add({ atMs: i * 1_000, usedBytes: share(i) * LIMIT, limitBytes: LIMIT }),
  );
}

const last = (forecasts: PressureForecast[]): PressureForecast => forecasts.at(-1)!;
const changes = (forecasts: PressureForecast[]): string[] =>
  forecasts.map(({ action }) => action).filter((action, i, all) => action !== all[i - 1]);

describe("a forecast", () => {
  it("of flat use is flat, stable, certain, and asks for nothing", () => {
    const forecast = last(run(120, () => 0.5));
    expect(forecast).toMatchObject({
      trend: "stable",
      action: "none",
      timeToCriticalMs: undefined,
    });
    for (const { share, confidence } of forecast.horizons) {
      expect(share).toBeCloseTo(0.5, 6);
      expect(confidence).toBeGreaterThan(0.99);
    }
  });

  it("of a ramp says where it goes and when it becomes critical", () => {
    const forecast = last(run(101, (i) => 0.2 + i * 0.002));
    expect(forecast.trend).toBe("increasing");
    expect(forecast.horizons.map(({ share }) => share)).toEqual([
      expect.closeTo(0.46, 6),
      expect.closeTo(0.52, 6),
      expect.closeTo(0.64, 6),
    ]);
    expect(forecast.timeToCriticalMs).toBeCloseTo(275_000, -1);
    expect(forecast.growthBytesPerSecond).toBeCloseTo(0.002 * LIMIT, 3);
  });

  it("of a fall is decreasing, and never below nothing", () => {
    const forecast = last(run(100, (i) => 0.9 - i * 0.008));
    expect(forecast).toMatchObject({ trend: "decreasing", timeToCriticalMs: undefined });
    expect(forecast.horizons.at(-1)!.share).toBe(0);
  });

  it("escalates on a ramp, each action before use gets to its threshold", () => {
    const forecasts = run(200, (i) => Math.min(0.999, 0.3 + i * 0.004));
    expect(changes(forecasts)).toEqual(["none", "gentle", "aggressive", "emergency"]);
    const firstShare = (action: string) => forecasts.find((each) => each.action === action)!.share;
    expect(firstShare("gentle")).toBeLessThan(0.6);
    expect(firstShare("aggressive")).toBeLessThan(0.86);
    expect(firstShare("emergency")).toBeLessThan(0.94);
    const critical = forecasts.find(({ trend }) => trend === "critical")!;
    expect(critical.share).toBeLessThan(0.75);
  });

  it("of a step is unsure, and settles on the new level", () => {
    const forecasts = run(240, (i) => (i < 60 ? 0.2 : 0.6));
    const justAfter = forecasts[64]!;
    expect(justAfter.horizons.at(-1)!.confidence).toBeLessThan(0.5);
    expect(changes(forecasts)).toEqual(["none"]);
    expect(last(forecasts).trend).toBe("stable");
    expect(last(forecasts).horizons.at(-1)!.share).toBeCloseTo(0.6, 1);
  });

  it("of a sawtooth is stable, below the thresholds and around them without flapping", () => {
    const saw = (low: number, high: number) => (i: number) => low + ((i % 20) / 20) * (high - low);
    const below = run(600, saw(0.5, 0.65));
    expect(changes(below)).toEqual(["none"]);
    const late = below.slice(120).map(({ trend }) => trend);
    expect(late.filter((trend) => trend === "stable").length / late.length).toBeGreaterThan(0.95);
    const around = run(600, saw(0.84, 0.87));
    expect(changes(around)).toEqual(["none", "gentle"]);
    const slow = run(600, (i) => (i % 60 < 30 ? 0.855 : 0.84));
    expect(changes(slow)).toEqual(["gentle"]);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])("of noise is stable and asks for nothing (seed %i)", (seed) => {
    const rng = seededRng(seed);
    const forecasts = run(400, () => 0.7 + (rng.float() - 0.5) * 0.1);
    expect(changes(forecasts)).toEqual(["none"]);
    const late = forecasts.slice(30).map(({ trend }) => trend);
    expect(late.filter((trend) => trend === "stable").length / late.length).toBeGreaterThan(0.9);
  });

  it.each([1, 2, 3, 4])(
    "of a slow leak under noise sees it and acts a minute ahead (seed %i)",
    (seed) => {
      const rng = seededRng(seed);
      const forecasts = run(1_000, (i) => 0.4 + i * 0.0006 + (rng.float() - 0.5) * 0.02);
      const seen = forecasts.findIndex(({ trend }) => trend === "increasing");
      expect(seen).toBeLessThan(120);
      const late = forecasts.slice(120, 600);
      expect(late.filter(({ trend }) => trend === "increasing").length).toBeGreaterThan(430);
      const acted = forecasts.findIndex(({ action }) => action !== "none");
      const critical = forecasts.findIndex(({ share }) => share >= 0.95);
      expect(critical - acted).toBeGreaterThan(60);
      const strengths = forecasts.map(({ action }) => PRESSURE_ACTIONS.indexOf(action));
      expect(changes(forecasts).length).toBeLessThan(8);
      expect(strengths.at(-1)).toBeGreaterThan(1);
    },
  );

  it("of a short history makes no claims, but sees what is there", () => {
    const [first] = run(1, () => 0.96);
    expect(first).toMatchObject({
      horizons: [],
      trend: "stable",
      action: "emergency",
      timeToCriticalMs: 0,
    });
    const early = last(run(10, (i) => 0.1 + i * 0.01));
    expect(early.horizons.map(({ confidence }) => confidence < 0.5)).toEqual([true, true, true]);
    expect(early.action).toBe("none");
  });

  it("takes all samples against the limit as it is now", () => {
    const forecaster = new PressureForecaster();
    let forecast: PressureForecast | undefined;
    for (let i = 0; i < 60; i++) {
      forecast = forecaster.add({
        atMs: i * 1_000,
        usedBytes: 300,
        limitBytes: i < 50 ? 1_000 : 500,
      });
    }
    expect(forecast).toMatchObject({ share: 0.6, trend: "stable" });
  });

  it("keeps no more than 120 samples, and takes them only in order", () => {
    const forecaster = new PressureForecaster();
    for (let i = 0; i < 200; i++) {
      forecaster.add({ atMs: i * 1_000, usedBytes: 1, limitBytes: LIMIT });
    }
    expect(forecaster.samples).toBe(120);
    expect(() => forecaster.add({ atMs: 0, usedBytes: 1, limitBytes: LIMIT })).toThrow("order");
  });

  it("goes back step by step, and only once it has been calm for a while", () => {
    const forecasts = run(100, (i) => (i < 20 ? 0.97 : i < 60 ? 0.87 : 0.5));
    expect(changes(forecasts)).toEqual(["emergency", "gentle", "none"]);
    const index = (action: string) => forecasts.findIndex((each) => each.action === action);
    expect([index("gentle"), index("none")]).toEqual([29, 69]);
  });
});

describe("a recorded process that grows", () => {
  const { residentKib } = JSON.parse(
    readFileSync(new URL("./growing-process.test.fixture.json", import.meta.url), "utf8"),
  ) as { residentKib: number[] };
  const limitKib = 1.25 * 1024 * 1024;
  const forecasts = run(residentKib.length, (i) => residentKib[i]! / limitKib);

  it("is forecast within a few percent of the limit at 30 s", () => {
    const errors = forecasts
      .slice(10, -30)
      .map(({ horizons }, i) => Math.abs(horizons[0]!.share - residentKib[i + 40]! / limitKib));
    const mean = errors.reduce((sum, each) => sum + each, 0) / errors.length;
    expect(mean).toBeLessThan(0.07);
    const standingStill = forecasts
      .slice(10, -30)
      .map(({ share }, i) => Math.abs(share - residentKib[i + 40]! / limitKib));
    expect(mean).toBeLessThan(
      standingStill.reduce((sum, each) => sum + each, 0) / errors.length / 2,
    );
  });

  it("is warned of at least 30 s before it is critical, without wavering", () => {
    const critical = residentKib.findIndex((kib) => kib / limitKib >= 0.95);
    const acted = forecasts.findIndex(({ action }) => action !== "none");
    expect(critical - acted).toBeGreaterThanOrEqual(30);
    expect(changes(forecasts.slice(acted)).length).toBeLessThanOrEqual(6);
  });
});

describe("the probability of an error within a bound", () => {
  it("is that of the normal distribution", () => {
    expect(probabilityWithin(1, 1)).toBeCloseTo(0.6827, 4);
    expect(probabilityWithin(1.96, 1)).toBeCloseTo(0.95, 3);
    expect(probabilityWithin(1, 0)).toBe(1);
    expect(probabilityWithin(1, 1e9)).toBeCloseTo(0, 6);
  });
});
