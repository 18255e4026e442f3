/**
 * The unary `Call` for other languages and scripts, over the same dispatcher as the streams.
 *
 * A request without a session gets a number in the gateway's own: its identity is then known to nobody else, so sending it
 * again is a new call. That session acknowledges as it goes, so its stored replies do not pile up.
 */
import {
  CallMessage,
  decodeCallRequest,
  decodeError,
  decodeValue,
  encodeArgs,
  encodeCallResponse,
  isPinionError,
  messageOf,
  PinionError,
  valueFromJson,
  valueToJson,
  type CallRequest,
  type Clock,
} from "@pinion/core";
import type { CallSink, Dispatcher, IncomingCall, Outcome, Session } from "./dispatcher.ts";
import { DRAINING, OVERLOADED, type InFlightBudget } from "./in-flight-budget.ts";
import { assertSessionId, refusalOf, StreamCall } from "./stream-call.ts";

export type UnaryResult =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly error: PinionError; readonly bytes: Uint8Array | undefined };

export interface UnaryContext {
  readonly dispatcher: Dispatcher;
  readonly clock: Clock;
  readonly budget: InFlightBudget;
  readonly draining: boolean;
}

export class UnaryCalls {
  readonly #context: UnaryContext;
  readonly #session: Session;
  #nextSeq = 1;
  /** Numbers of the own session without an outcome, ascending: they are entered in order. */
  readonly #open = new Set<number>();

  /** @param sessionId of the gateway, random. */
  constructor(context: UnaryContext, sessionId: string) {
    this.#context = context;
    this.#session = context.dispatcher.session(sessionId);
  }

  /**
   * @param deadlineMs how long the caller waits by gRPC's own deadline; Infinity: no deadline.
   * @param done called once, unless the call is cancelled first.
   * @returns cancels the call; harmless afterwards.
   */
  call(bytes: Uint8Array, deadlineMs: number, done: (result: UnaryResult) => void): () => void {
    try {
      return this.#start(decodeCallRequest(bytes), deadlineMs, done);
    } catch (e) {
      const error = isPinionError(e) ? e : new PinionError("internal", messageOf(e), { cause: e });
      done({ ok: false, error, bytes: undefined });
      return () => {};
    }
  }

  #start(
    request: CallRequest,
    deadlineMs: number,
    done: (result: UnaryResult) => void,
  ): () => void {
    const { dispatcher, clock, budget } = this.#context;
    const args = argsOf(request);
    const refusal = refusalOf(request.idempotencyKey);
    if (refusal !== undefined) throw refusal;
    const refuse = ({ bytes }: Outcome): (() => void) => {
      done({ ok: false, error: decodeError(bytes), bytes });
      return () => {};
    };
    if (this.#context.draining) return refuse(DRAINING);
    const own = request.sessionId === "";
    // May throw: nothing is taken from the budget before.
    const session = own ? this.#session : this.#foreignSession(request);
    if (!budget.take(args.length)) return refuse(OVERLOADED);
    const hlcUs = dispatcher.exchangeTime(request.hlcUs);
    const seq = own ? this.#nextSeq++ : request.seq;
    if (own) this.#open.add(seq);
    const finish = (): void => {
      budget.release(1, args.length);
      if (own) this.#acknowledge(seq);
    };
    const sink = new UnarySink(
      request.jsonArgs !== "" || request.wantJson,
      dispatcher,
      finish,
      done,
    );
    const message = messageFor(request, seq, args, hlcUs, deadlineMs);
    const nowMs = clock.nowMs();
    session.lastSeenMs = nowMs;
    dispatcher.submit(new StreamCall(message, session, sink, nowMs));
    // Not before: the request itself must not count as one whose reply is there.
    if (!own && request.ackedBelow > session.ackedBelow) session.ackedBelow = request.ackedBelow;
    return () => {
      if (sink.finished) return;
      sink.abandon();
      dispatcher.cancel(session, seq);
    };
  }

  #foreignSession(request: CallRequest): Session {
    assertSessionId(request.sessionId);
    if (request.seq === 0) {
      throw new PinionError(
        "invalid-argument",
        "session_id was given without seq: a call's number in its session starts at 1",
      );
    }
    return this.#context.dispatcher.session(request.sessionId);
  }

  #acknowledge(seq: number): void {
    this.#open.delete(seq);
    const [lowest] = this.#open;
    this.#session.ackedBelow = lowest ?? this.#nextSeq;
  }
}

class UnarySink implements CallSink {
  finished = false;
  readonly #json: boolean;
  readonly #dispatcher: Dispatcher;
  readonly #finish: () => void;
  readonly #done: (result: UnaryResult) => void;

  constructor(
    json: boolean,
    dispatcher: Dispatcher,
    finish: () => void,
    done: (result: UnaryResult) => void,
  ) {
    this.#json = json;
    this.#dispatcher = dispatcher;
    this.#finish = finish;
    this.#done = done;
  }

  get closed(): boolean {
    return this.finished;
  }

  reply(_call: IncomingCall, outcome: Outcome): void {
    if (this.finished) return;
    this.abandon();
    this.#done(this.#resultOf(outcome));
  }

  /** Nobody waits any more. */
  abandon(): void {
    if (this.finished) return;
    this.finished = true;
    this.#finish();
  }

  #resultOf(outcome: Outcome): UnaryResult {
    if (!outcome.ok) return { ok: false, error: decodeError(outcome.bytes), bytes: outcome.bytes };
    return {
      ok: true,
      bytes: encodeCallResponse({
        value: this.#json ? NOTHING : outcome.bytes,
        jsonValue: this.#json ? valueToJson(decodeValue(outcome.bytes)) : "",
        lsn: outcome.lsn ?? 0,
        shard: outcome.shard ?? 0,
        hlcUs: this.#dispatcher.exchangeTime(0),
      }),
    };
  }
}

const NOTHING: Uint8Array = new Uint8Array(0);

/** @throws `invalid-argument` */
function argsOf(request: CallRequest): Uint8Array {
  if (request.jsonArgs === "") return request.args.length === 0 ? encodeArgs([]) : request.args;
  if (request.args.length > 0)
    throw new PinionError("invalid-argument", "both args and json_args were given");
  const value = valueFromJson(request.jsonArgs, "json_args");
  if (!Array.isArray(value)) {
    throw new PinionError(
      "invalid-argument",
      'json_args must be a JSON array of the arguments, for instance [3, "x"]',
    );
  }
  return encodeArgs(value);
}

function messageFor(
  request: CallRequest,
  seq: number,
  args: Uint8Array,
  hlcUs: number,
  deadlineMs: number,
): CallMessage {
  const message = new CallMessage();
  message.seq = seq;
  message.type = request.type;
  message.key = request.key;
  message.method = request.method;
  message.args = args;
  message.namespace = request.namespace;
  message.branch = request.branch;
  message.timeoutMs = timeoutOf(request.timeoutMs, deadlineMs);
  message.issuedAtUs = request.hlcUs === 0 ? hlcUs : request.hlcUs;
  message.consistency = request.consistency;
  message.idempotencyKey = request.idempotencyKey === "" ? undefined : request.idempotencyKey;
  message.idempotencyTtlMs = request.idempotencyTtlMs;
  message.traceparent = request.traceparent === "" ? undefined : request.traceparent;
  message.principal = request.principal;
  return message;
}

/** The shorter of the two; 0: none. */
function timeoutOf(requestMs: number, deadlineMs: number): number {
  const shorter = Math.min(requestMs === 0 ? Infinity : requestMs, deadlineMs);
  return shorter === Infinity ? 0 : Math.max(1, shorter);
}
