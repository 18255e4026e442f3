/**
 * Where memory use is going: a line through the last samples, forecasts with a confidence, and what should be done about it.
 *
 * State: up to 120 samples, the action that stands, and for how long a weaker one would have done.
 *
 * F1 a stronger action is taken at once; a weaker one only after `CALM_SAMPLES` samples in a row that did not ask for more, judged by
 *    thresholds that are 2 % of the limit lower. So use that wavers around a threshold does not make the action waver.
 * F2 what is only forecast counts when it is likelier than not; what is measured counts always.
 */
import { assert } from "@pinion/core";
import { fitLine, probabilityWithin, type WeightedLine } from "./weighted-line.ts";

export interface MemorySample {
  /** Monotonic. */
  readonly atMs: number;
  readonly usedBytes: number;
  readonly limitBytes: number;
}

/** `critical`: it grows by more than 2 % of the limit per second, or will be critical within a minute. */
export type MemoryTrend = "decreasing" | "stable" | "increasing" | "critical";

/** Weakest first. */
export const PRESSURE_ACTIONS = Object.freeze([
  "none",
  "gentle",
  "aggressive",
  "emergency",
] as const);
export type PressureAction = (typeof PRESSURE_ACTIONS)[number];

export interface HorizonForecast {
  readonly horizonMs: number;
  /** Of the limit; above 1 when it would exceed it, never below 0. */
  readonly share: number;
  /** Probability that it comes within 10 % of the limit around that, if things go on as they are. */
  readonly confidence: number;
}

export interface PressureForecast {
  /** Of the limit, now. */
  readonly share: number;
  readonly limitBytes: number;
  readonly growthBytesPerSecond: number;
  readonly trend: MemoryTrend;
  /** At 30, 60 and 120 s; none while the history is too short. */
  readonly horizons: readonly HorizonForecast[];
  readonly action: PressureAction;
  /** Undefined: not in sight. */
  readonly timeToCriticalMs: number | undefined;
}

const SAMPLES_MAX = 120;
const SAMPLES_MIN = 8;
const WEIGHT_HALF_LIFE_MS = 30_000;
const HORIZONS_MS = [30_000, 60_000, 120_000] as const;
const CONFIDENCE_BAND = 0.1;
const CONFIDENCE_MIN = 0.5;
const CALM_SAMPLES = 10;
const CALM_MARGIN = 0.02;

const GENTLE_FROM = 0.85;
const AGGRESSIVE_FROM = 0.9;
const CRITICAL_FROM = 0.95;
const EMERGENCY_WITHIN_MS = 10_000;
const CRITICAL_TREND_WITHIN_MS = 60_000;
const CRITICAL_GROWTH_PER_MS = 0.02 / 1_000;
/** Slower than half a percent of the limit per minute is standing still. */
const STABLE_GROWTH_PER_MS = 0.005 / 60_000;
/** A slope of fewer standard errors than this may be chance. */
const SIGNIFICANT_ERRORS = 3;

export class PressureForecaster {
  readonly #samples: MemorySample[] = [];
  #action: PressureAction = "none";
  #calmSamples = 0;
  /** The strongest that the calm samples asked for. */
  #calmAction: PressureAction = "none";

  get samples(): number {
    return this.#samples.length;
  }

  /** @returns what it looks like with this sample */
  add(sample: MemorySample): PressureForecast {
    const last = this.#samples.at(-1);
    assert(last === undefined || sample.atMs > last.atMs, "samples come in the order of time");
    assert(sample.limitBytes > 0, "a limit above 0");
    this.#samples.push(sample);
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
    const outlook = look(this.#samples);
    this.#settle(outlook);
    return { ...outlook, action: this.#action };
  }

  #settle(outlook: Outlook): void {
    const wanted = actionFor(outlook, 0);
    if (strength(wanted) >= strength(this.#action)) {
      this.#action = wanted;
      this.#calmSamples = 0;
      this.#calmAction = "none";
      return;
    }
    const cautious = actionFor(outlook, CALM_MARGIN);
    if (strength(cautious) >= strength(this.#action)) {
      this.#calmSamples = 0;
      this.#calmAction = "none";
      return;
    }
    if (strength(cautious) > strength(this.#calmAction)) this.#calmAction = cautious;
    if (++this.#calmSamples < CALM_SAMPLES) return;
    this.#action = this.#calmAction;
    this.#calmSamples = 0;
    this.#calmAction = "none";
  }
}

type Outlook = Omit<PressureForecast, "action">;

function look(samples: readonly MemorySample[]): Outlook {
  const { atMs, usedBytes, limitBytes } = samples.at(-1)!;
  const share = usedBytes / limitBytes;
  // All against today's limit: it may have been lowered.
  const points = samples.map((each) => ({ x: each.atMs, y: each.usedBytes / limitBytes }));
  if (points.length < SAMPLES_MIN) {
    const timeToCriticalMs = share >= CRITICAL_FROM ? 0 : undefined;
    return {
      share,
      limitBytes,
      growthBytesPerSecond: 0,
      trend: "stable",
      horizons: [],
      timeToCriticalMs,
    };
  }
  const line = fitLine(points, WEIGHT_HALF_LIFE_MS);
  const spanMs = atMs - points[0]!.x;
  const growth = significantSlope(line);
  const timeToCriticalMs = timeToCritical(share, line.at(atMs), growth);
  const horizons = HORIZONS_MS.map((horizonMs) => ({
    horizonMs,
    share: Math.max(0, line.at(atMs + horizonMs)),
    // Nobody knows from ten seconds what comes in two minutes, however straight the line is.
    confidence:
      probabilityWithin(CONFIDENCE_BAND, line.errorAt(atMs + horizonMs)) *
      Math.min(1, spanMs / horizonMs),
  }));
  return {
    share,
    limitBytes,
    growthBytesPerSecond: growth * limitBytes * 1_000,
    trend: trendOf(growth, timeToCriticalMs),
    horizons,
    timeToCriticalMs,
  };
}

/** Share of the limit per ms; 0 when it may be chance or is too slow to matter. */
function significantSlope({ slope, slopeError }: WeightedLine): number {
  const size = Math.abs(slope);
  return size < STABLE_GROWTH_PER_MS || size < SIGNIFICANT_ERRORS * slopeError ? 0 : slope;
}

function timeToCritical(share: number, fitted: number, growth: number): number | undefined {
  if (share >= CRITICAL_FROM) return 0;
  if (growth <= 0) return undefined;
  return Math.max(0, (CRITICAL_FROM - Math.max(share, fitted)) / growth);
}

function trendOf(growth: number, timeToCriticalMs: number | undefined): MemoryTrend {
  if (growth === 0) return "stable";
  if (growth < 0) return "decreasing";
  const soon = timeToCriticalMs !== undefined && timeToCriticalMs <= CRITICAL_TREND_WITHIN_MS;
  return soon || growth >= CRITICAL_GROWTH_PER_MS ? "critical" : "increasing";
}

/** @param margin how much lower than usual the thresholds are */
function actionFor(outlook: Outlook, margin: number): PressureAction {
  const { share, timeToCriticalMs, trend, horizons } = outlook;
  const grows = trend === "increasing" || trend === "critical";
  const reaches = ({ share: then, confidence }: HorizonForecast): boolean =>
    grows && confidence >= CONFIDENCE_MIN && then >= CRITICAL_FROM - margin;
  const [soon, ...later] = horizons;
  const soonReached = soon !== undefined && reaches(soon);
  const imminent =
    soonReached && timeToCriticalMs !== undefined && timeToCriticalMs <= EMERGENCY_WITHIN_MS;
  if (share >= CRITICAL_FROM - margin || imminent) return "emergency";
  if (share >= AGGRESSIVE_FROM - margin || soonReached) return "aggressive";
  if (share >= GENTLE_FROM - margin || later.some(reaches)) return "gentle";
  return "none";
}

function strength(action: PressureAction): number {
  return PRESSURE_ACTIONS.indexOf(action);
}
