/**
 * The seam through which the core parts report. Subsystems hold a `Telemetry` and never see a metrics or
 * tracing library; the composition root connects prom-client and OpenTelemetry. The default does nothing,
 * so that `@pinion/storage` alone costs nothing it does not use.
 */

export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  add(n: number): void;
}
export interface Gauge {
  set(value: number): void;
}
export interface Histogram {
  /** `value` in the unit that ends the metric's name. */
  record(value: number): void;
}

export interface Span {
  setAttribute(name: string, value: string | number | boolean): void;
  end(error?: unknown): void;
  /** W3C `traceparent` of this span, to send along; undefined when it is not sampled. */
  readonly traceparent: string | undefined;
}

export interface Telemetry {
  /** Names carry their unit and start with `pinion_`: `pinion_log_flush_seconds`. */
  counter(name: string, help: string, labels?: Labels): Counter;
  gauge(name: string, help: string, labels?: Labels): Gauge;
  histogram(name: string, help: string, labels?: Labels): Histogram;
  /** Reads `collect` when somebody asks for metrics: free while nobody does. */
  observe(name: string, help: string, collect: () => number, labels?: Labels): void;
  /** True when spans go anywhere; callers skip building attributes otherwise. */
  readonly tracing: boolean;
  span(name: string, parent?: string): Span;
}

const noCounter: Counter = Object.freeze({ add: () => {} });
const noGauge: Gauge = Object.freeze({ set: () => {} });
const noHistogram: Histogram = Object.freeze({ record: () => {} });
const noSpan: Span = Object.freeze({
  setAttribute: () => {},
  end: () => {},
  traceparent: undefined,
});

export const noTelemetry: Telemetry = Object.freeze({
  counter: () => noCounter,
  gauge: () => noGauge,
  histogram: () => noHistogram,
  observe: () => {},
  tracing: false,
  span: () => noSpan,
});
