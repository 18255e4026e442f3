import {
  context,
  trace,
  TraceFlags,
  type Context,
  type Span as ApiSpan,
  type Tracer,
  type TracerProvider,
} from "@opentelemetry/api";
import { describe, expect, it } from "vitest";
import { PinionError } from "./errors.ts";
import { startSpan, tracingEnabled } from "./otel-spans.ts";

interface Recorded {
  name: string;
  parentSpanId: string | undefined;
  parentTraceId: string | undefined;
  attributes: Record<string, unknown>;
  status?: string | undefined;
  ended: boolean;
}

/** A provider that records, as an SDK would. */
function recordingProvider(): { provider: TracerProvider; spans: Recorded[]; sampled: boolean } {
  const spans: Recorded[] = [];
  const startSpanOf = (
    name: string,
    _options: unknown,
    ctx: Context = context.active(),
  ): ApiSpan => {
    const parent = trace.getSpanContext(ctx);
    const span: Recorded = {
      name,
      parentSpanId: parent?.spanId,
      parentTraceId: parent?.traceId,
      attributes: {},
      ended: false,
    };
    spans.push(span);
    return {
      spanContext: () => ({
        traceId: "0af7651916cd43dd8448eb211c80319c",
        spanId: "b7ad6b7169203331",
        traceFlags: recorder.sampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
      }),
      setAttribute: (key: string, value: unknown) => void (span.attributes[key] = value),
      setStatus: (status: { message?: string }) => void (span.status = status.message),
      recordException: () => {},
      end: () => void (span.ended = true),
    } as unknown as ApiSpan;
  };
  const recorder = {
    provider: { getTracer: () => ({ startSpan: startSpanOf }) as unknown as Tracer },
    spans,
    sampled: true,
  };
  return recorder;
}

/** A process registers a provider once; so does this file. */
const otel = recordingProvider();

describe("spans over OpenTelemetry", () => {
  it("go nowhere, and say so, while no provider is registered", () => {
    expect(tracingEnabled()).toBe(false);
    expect(startSpan("x").traceparent).toBeUndefined();
  });

  it("continue the trace they are given, and hand on their own", () => {
    trace.setGlobalTracerProvider(otel.provider);
    expect(tracingEnabled()).toBe(true);
    const span = startSpan(
      "pinion.call",
      "00-11111111111111111111111111111111-2222222222222222-01",
    );
    span.setAttribute("pinion.actor", "counter/a");
    span.end(new PinionError("overloaded", "full"));
    expect(span.traceparent).toBe("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    expect(otel.spans).toMatchObject([
      {
        parentTraceId: "11111111111111111111111111111111",
        parentSpanId: "2222222222222222",
        attributes: { "pinion.actor": "counter/a", "pinion.error_code": "overloaded" },
        status: "full",
        ended: true,
      },
    ]);
  });

  it("begin a trace of their own when the parent cannot be read, and send nothing when not sampled", () => {
    otel.sampled = false;
    expect(startSpan("x", "nonsense").traceparent).toBeUndefined();
    expect(otel.spans.at(-1)?.parentSpanId).toBeUndefined();
  });
});
