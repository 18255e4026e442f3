/**
 * Spans over the OpenTelemetry API, for client and runtime. Pinion starts no SDK: where the application has none, the API's
 * own no-op answers and `tracing` is false, so that nobody builds attributes for nothing. In worker threads the
 * application sets its SDK up as in any thread: `node --import ./otel.js` reaches them, too.
 */
import {
  context,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Context,
  type Span as OtelSpan,
  type Tracer,
} from "@opentelemetry/api";
import { isPinionError, messageOf } from "./errors.ts";
import type { Span } from "./telemetry.ts";

/** What the API has when nobody registered a provider. */
const NO_PROVIDER = new ProxyTracerProvider().getDelegate();

export function tracingEnabled(): boolean {
  const provider = trace.getTracerProvider();
  return !(provider instanceof ProxyTracerProvider) || provider.getDelegate() !== NO_PROVIDER;
}

let tracer: Tracer | undefined;

/** @param parent a W3C traceparent; without one, the active span of the caller is the parent. */
export function startSpan(name: string, parent?: string): Span {
  tracer ??= trace.getTracer("pinion");
  return new ApiSpan(tracer.startSpan(name, {}, parentContext(parent)));
}

class ApiSpan implements Span {
  readonly #span: OtelSpan;
  readonly traceparent: string | undefined;

  constructor(span: OtelSpan) {
    this.#span = span;
    const { traceId, spanId, traceFlags } = span.spanContext();
    const sampled = (traceFlags & TraceFlags.SAMPLED) !== 0;
    this.traceparent = sampled
      ? `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`
      : undefined;
  }

  setAttribute(name: string, value: string | number | boolean): void {
    this.#span.setAttribute(name, value);
  }

  end(error?: unknown): void {
    if (error !== undefined) {
      this.#span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) });
      if (isPinionError(error)) this.#span.setAttribute("pinion.error_code", error.code);
      if (error instanceof Error) this.#span.recordException(error);
    }
    this.#span.end();
  }
}

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/;

function parentContext(traceparent: string | undefined): Context {
  if (traceparent === undefined) return context.active();
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent) ?? [];
  // One we cannot read begins a trace of its own, as W3C Trace Context asks.
  if (traceId === undefined || spanId === undefined || flags === undefined) return ROOT_CONTEXT;
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
  });
}
