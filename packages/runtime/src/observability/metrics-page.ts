/** Metrics of several threads as one page in the text format of Prometheus. */
import type { MetricSnapshot } from "./metric-set.ts";

export interface MetricsPage {
  readonly contentType: string;
  readonly text: string;
}

/** Series of the same name and labels are added up. */
export async function metricsPage(
  threads: readonly (readonly MetricSnapshot[])[],
): Promise<MetricsPage> {
  const { AggregatorRegistry } = await import("prom-client");
  const registry = AggregatorRegistry.aggregate(threads as unknown as object[]);
  return { contentType: registry.contentType, text: await registry.metrics() };
}
