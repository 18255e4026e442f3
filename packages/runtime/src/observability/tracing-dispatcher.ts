/**
 * The span of a call inside the host: from its arrival at the gateway to its answer. Only calls whose client is traced have
 * one; all others pass through as they are.
 */
import { decodeError, type Span, type Telemetry } from "@pinion/core";
import type {
  ActorTypeDescription,
  CallSink,
  Dispatcher,
  IncomingCall,
  Outcome,
  Session,
} from "../gateway/dispatcher.ts";

export class TracingDispatcher implements Dispatcher {
  readonly #inner: Dispatcher;
  readonly #telemetry: Telemetry;

  constructor(inner: Dispatcher, telemetry: Telemetry) {
    this.#inner = inner;
    this.#telemetry = telemetry;
  }

  submit(call: IncomingCall): void {
    if (call.traceparent === undefined || !this.#telemetry.tracing) this.#inner.submit(call);
    else this.#inner.submit(this.#traced(call, call.traceparent));
  }

  #traced(call: IncomingCall, traceparent: string): IncomingCall {
    const span = this.#telemetry.span(`pinion.gateway ${call.type}/${call.method}`, traceparent);
    span.setAttribute("pinion.attempt", call.attempt);
    // Field by field: a call's fields may be accessors of its class.
    return {
      session: call.session,
      seq: call.seq,
      path: call.path,
      namespace: call.namespace,
      branch: call.branch,
      type: call.type,
      key: call.key,
      method: call.method,
      args: call.args,
      deadlineAtMs: call.deadlineAtMs,
      attempt: call.attempt,
      issuedAt: call.issuedAt,
      consistency: call.consistency,
      idempotencyKey: call.idempotencyKey,
      idempotencyTtlMs: call.idempotencyTtlMs,
      traceparent: span.traceparent ?? traceparent,
      chain: call.chain,
      sink: new TracedSink(call, span),
    };
  }

  session(id: string): Session {
    return this.#inner.session(id);
  }

  cancel(session: Session, seq: number): void {
    this.#inner.cancel(session, seq);
  }

  detach(session: Session, sink: CallSink): void {
    this.#inner.detach(session, sink);
  }

  describe(): readonly ActorTypeDescription[] {
    return this.#inner.describe();
  }

  exchangeTime(callerHlc: number): number {
    return this.#inner.exchangeTime(callerHlc);
  }
}

class TracedSink implements CallSink {
  readonly #call: IncomingCall;
  readonly #span: Span;

  constructor(call: IncomingCall, span: Span) {
    this.#call = call;
    this.#span = span;
  }

  get closed(): boolean {
    return this.#call.sink.closed ?? false;
  }

  reply(_call: IncomingCall, outcome: Outcome): void {
    this.#span.end(outcome.ok ? undefined : decodeError(outcome.bytes));
    this.#call.sink.reply(this.#call, outcome);
  }
}
