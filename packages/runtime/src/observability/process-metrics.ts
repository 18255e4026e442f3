/**
 * prom-client's own metrics of Node: heap, garbage collection and event-loop lag once per thread, the process's once per host.
 */
import type { Registry } from "prom-client";
import type { MetricSnapshot } from "./metric-set.ts";

/** Lag is sampled every so often; each sample wakes the thread. */
const LAG_SAMPLE_MS = 50;
/** Loading the library takes a thread 50 ms, which nobody should wait for who waits for a host. */
const LOAD_AFTER_MS = 500;

export class ProcessMetrics {
  #registry: Promise<Registry> | undefined;
  readonly #wanted: (name: string) => boolean;

  /** @param scope "thread": what each thread has of its own; "process": everything. */
  constructor(scope: "thread" | "process") {
    setTimeout(() => void this.#load(), LOAD_AFTER_MS).unref();
    this.#wanted = (name) =>
      name.startsWith("nodejs_") ? name !== "nodejs_version_info" : scope === "process";
  }

  #load(): Promise<Registry> {
    this.#registry ??= import("prom-client").then(({ collectDefaultMetrics, Registry }) => {
      const register = new Registry();
      collectDefaultMetrics({ register, eventLoopMonitoringPrecision: LAG_SAMPLE_MS });
      return register;
    });
    return this.#registry;
  }

  /** @param labels added to the series that each thread has; the process's own stay as they are. */
  async snapshot(labels: Readonly<Record<string, string>>): Promise<MetricSnapshot[]> {
    const metrics = (await (await this.#load()).getMetricsAsJSON()) as unknown as MetricSnapshot[];
    return metrics
      .filter(({ name }) => this.#wanted(name))
      .map((metric) => ({
        name: metric.name,
        help: metric.help,
        type: metric.type,
        aggregator: "sum",
        values: metric.values.map((v) => ({
          ...v,
          labels: metric.name.startsWith("nodejs_") ? { ...v.labels, ...labels } : { ...v.labels },
        })),
      }));
  }
}
