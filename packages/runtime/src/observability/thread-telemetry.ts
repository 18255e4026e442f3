/** The `Telemetry` of one thread: metrics in a `MetricSet`, spans through OpenTelemetry. */
import {
  startSpan,
  tracingEnabled,
  type Counter,
  type Gauge,
  type Histogram,
  type Labels,
  type Span,
  type Telemetry,
} from "@pinion/core";
import { MetricSet } from "./metric-set.ts";

export class ThreadTelemetry implements Telemetry {
  readonly metrics = new MetricSet();

  counter(name: string, help: string, labels?: Labels): Counter {
    return this.metrics.counter(name, help, labels);
  }

  gauge(name: string, help: string, labels?: Labels): Gauge {
    return this.metrics.gauge(name, help, labels);
  }

  histogram(name: string, help: string, labels?: Labels): Histogram {
    return this.metrics.histogram(name, help, labels);
  }

  observe(name: string, help: string, collect: () => number, labels?: Labels): void {
    this.metrics.observe(name, help, collect, labels);
  }

  get tracing(): boolean {
    return tracingEnabled();
  }

  span(name: string, parent?: string): Span {
    return startSpan(name, parent);
  }
}
