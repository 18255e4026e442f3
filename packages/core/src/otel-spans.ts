/**
 * Spans over the OpenTelemetry API, for client and runtime. Pinion starts no SDK: where the application has none, the API's
 * own no-op answers and `tracing` is false, so that nobody builds attributes for nothing. In worker threads the
 * application sets its SDK up as in any thread: `node --import ./otel.js` reaches them, too.
 *
 * The API is a hundred files, which every thread of a host would load for nothing: it is loaded once somebody has registered something with
 * it. All copies of the API, of whatever version 1, register in one global of this name, so looking there answers whether anybody has.
 */
import { createRequire } from "node:module";
import type * as Otel from "@opentelemetry/api";
import { isPinionError, messageOf } from "./errors.ts";
import type { Span } from "./telemetry.ts";

const REGISTRY = Symbol.for("opentelemetry.js.api.1");
const STATUS_ERROR: Otel.SpanStatusCode.ERROR = 2;
const FLAG_SAMPLED: Otel.TraceFlags.SAMPLED = 1;

let loaded: typeof Otel | undefined;
/** What the API has when nobody registered a provider. */
let noProvider: unknown;
let tracer: Otel.Tracer | undefined;

function api(): typeof Otel {
  if (loaded === undefined) {
    loaded = createRequire(import.meta.url)("@opentelemetry/api") as typeof Otel;
    noProvider = new loaded.ProxyTracerProvider().getDelegate();
  }
  return loaded;
}

export function tracingEnabled(): boolean {
  if ((globalThis as Record<symbol, unknown>)[REGISTRY] === undefined) return false;
  const { trace, ProxyTracerProvider } = api();
  const provider = trace.getTracerProvider();
  return !(provider instanceof ProxyTracerProvider) || provider.getDelegate() !== noProvider;
}

/** @param parent a W3C traceparent; without one, the active span of the caller is the parent. */
export function startSpan(name: string, parent?: string): Span {
  const found = tracer ?? api().trace.getTracer("pinion");
  // One from before a provider was registered knows only of those that this copy of the API registers.
  if (tracer === undefined && tracingEnabled()) tracer = found;
  return new ApiSpan(found.startSpan(name, {}, parentContext(parent)));
}

class ApiSpan implements Span {
  readonly #span: Otel.Span;
  readonly traceparent: string | undefined;

  constructor(span: Otel.Span) {
    this.#span = span;
    const { traceId, spanId, traceFlags } = span.spanContext();
    const sampled = (traceFlags & FLAG_SAMPLED) !== 0;
    this.traceparent = sampled
      ? `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`
      : undefined;
  }

  setAttribute(name: string, value: string | number | boolean): void {
    this.#span.setAttribute(name, value);
  }

  end(error?: unknown): void {
    if (error !== undefined) {
      this.#span.setStatus({ code: STATUS_ERROR, message: messageOf(error) });
      if (isPinionError(error)) this.#span.setAttribute("pinion.error_code", error.code);
      if (error instanceof Error) this.#span.recordException(error);
    }
    this.#span.end();
  }
}

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/;

function parentContext(traceparent: string | undefined): Otel.Context {
  const { context, trace, ROOT_CONTEXT } = api();
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
