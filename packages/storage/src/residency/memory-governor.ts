/**
 * Keeps a host from running into its memory limit: samples what is used, forecasts, and has pool and pins give memory back in time.
 *
 * | action     | per sample        | the pool first, then pins up to | admission of pins |
 * | ---------- | ----------------- | ------------------------------- | ----------------- |
 * | gentle     | a quarter of need | none                            | open              |
 * | aggressive | half of it        | background                      | closed            |
 * | emergency  | all of it         | all classes                     | closed            |
 *
 * need = what is above 80 % of the limit, or else what the next 30 s would add.
 *
 * G1 one sample at a time, and none after `stop`; a sample that cannot be taken changes nothing.
 * G2 nothing is asked for twice: pins that are on their way out count as gone.
 */
import { noTelemetry, type Clock, type Telemetry, type Timer } from "@pinion/core";
import { checkBounds } from "./option-bounds.ts";
import type { EvictionReason, PinPriority } from "./pin-types.ts";
import {
  PRESSURE_ACTIONS,
  PressureForecaster,
  type PressureAction,
  type PressureForecast,
} from "./pressure-forecaster.ts";

export interface MemoryUse {
  readonly usedBytes: number;
  readonly limitBytes: number;
}

export interface GovernorPorts {
  /** Undefined: it cannot be told now. */
  usage(): MemoryUse | undefined;
  readonly pool: {
    /** @returns bytes it gives back */
    shrink(byteCount: number): number;
  };
  readonly pins: {
    /** @returns bytes that are on their way out by this */
    shed(byteCount: number, upTo: PinPriority, reason: EvictionReason): number;
    holdAdmission(held: boolean): void;
  };
}

export interface GovernorOptions {
  readonly clock: Clock;
  readonly ports: GovernorPorts;
  /** Default 1,000, 100 … 60,000. */
  readonly sampleMs?: number;
  readonly telemetry?: Telemetry;
}

export interface GovernorReport {
  /** Of the last sample; undefined before the first. */
  readonly forecast: PressureForecast | undefined;
  readonly samples: number;
  /** Samples that could not be taken. */
  readonly unmeasured: number;
  /** Samples at which each action stood. */
  readonly actions: Readonly<Record<PressureAction, number>>;
  readonly poolBytes: number;
  readonly pinBytes: number;
}

const RELAX_TO = 0.8;
const LOOK_AHEAD_S = 30;

const MEASURES: Readonly<
  Record<Exclude<PressureAction, "none">, { readonly part: number; readonly upTo: PinPriority }>
> = {
  gentle: { part: 0.25, upTo: "none" },
  aggressive: { part: 0.5, upTo: "background" },
  emergency: { part: 1, upTo: "tail-latency-critical" },
};

export class MemoryGovernor {
  readonly #clock: Clock;
  readonly #ports: GovernorPorts;
  readonly #sampleMs: number;
  readonly #forecaster = new PressureForecaster();
  readonly #actions: Record<PressureAction, number> = {
    none: 0,
    gentle: 0,
    aggressive: 0,
    emergency: 0,
  };
  #forecast: PressureForecast | undefined;
  #timer: Timer | undefined;
  #stopped = false;
  #unmeasured = 0;
  #poolBytes = 0;
  #pinBytes = 0;

  /** @throws `config-invalid` */
  constructor(options: GovernorOptions) {
    this.#clock = options.clock;
    this.#ports = options.ports;
    this.#sampleMs = options.sampleMs ?? 1_000;
    checkBounds("memory", { sampleMs: { min: 100, max: 60_000 } }, { sampleMs: this.#sampleMs });
    this.#observe(options.telemetry ?? noTelemetry);
  }

  start(): void {
    if (this.#stopped || this.#timer !== undefined) return;
    // At once, so that nobody reads figures of nothing.
    this.#sample();
    this.#timer = this.#clock.setTimer(this.#sampleMs, () => {
      this.#timer = undefined;
      this.start();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  report(): GovernorReport {
    return {
      forecast: this.#forecast,
      samples: this.#forecaster.samples,
      unmeasured: this.#unmeasured,
      actions: { ...this.#actions },
      poolBytes: this.#poolBytes,
      pinBytes: this.#pinBytes,
    };
  }

  #sample(): void {
    const { pins, pool } = this.#ports;
    const use = this.#ports.usage();
    if (use === undefined || !(use.limitBytes > 0)) {
      this.#unmeasured++;
      return;
    }
    const forecast = this.#forecaster.add({ ...use, atMs: this.#clock.nowMs() });
    const { action } = forecast;
    this.#forecast = forecast;
    this.#actions[action]++;
    pins.holdAdmission(action === "aggressive" || action === "emergency");
    if (action === "none") return;
    const { part, upTo } = MEASURES[action];
    const above = use.usedBytes - RELAX_TO * use.limitBytes;
    const ahead = forecast.growthBytesPerSecond * LOOK_AHEAD_S;
    const need = Math.ceil(Math.max(above, above + ahead, 0) * part);
    if (need === 0) return;
    const fromPool = pool.shrink(need);
    this.#poolBytes += fromPool;
    if (fromPool < need) this.#pinBytes += pins.shed(need - fromPool, upTo, "pressure");
  }

  #observe(telemetry: Telemetry): void {
    telemetry.observe(
      "pinion_memory_used_share",
      "Memory in use, as a share of the limit",
      () => this.#forecast?.share ?? 0,
    );
    telemetry.observe(
      "pinion_memory_pressure_action",
      "What memory pressure calls for: 0 nothing, 1 gentle, 2 aggressive, 3 emergency eviction",
      () => PRESSURE_ACTIONS.indexOf(this.#forecast?.action ?? "none"),
    );
    for (const [i, seconds] of [30, 60, 120].entries()) {
      telemetry.observe(
        "pinion_memory_forecast_share",
        "Forecast of memory in use, as a share of the limit",
        () => this.#forecast?.horizons[i]?.share ?? 0,
        { horizon_seconds: `${seconds}` },
      );
    }
  }
}
