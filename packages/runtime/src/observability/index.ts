export {
  createLogger,
  type HostLogger,
  type LogDetails,
  type LogFormat,
  type LogLevel,
} from "./logger.ts";
export { metricsPage, type MetricsPage } from "./metrics-page.ts";
export { MetricSet, type MetricSnapshot, type MetricValue } from "./metric-set.ts";
export { ProcessMetrics } from "./process-metrics.ts";
export { ThreadTelemetry } from "./thread-telemetry.ts";
export { TracingDispatcher } from "./tracing-dispatcher.ts";
