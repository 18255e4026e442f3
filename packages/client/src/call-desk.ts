/**
 * Where calls begin and end: numbers them, sends them by the router's word, retries what may be retried, and settles every
 * promise exactly once.
 *
 * I1 a call is settled once; whatever comes for it afterwards is counted as late and ignored.
 * I2 a retry has the call's own number, so it cannot run twice; none is made once the host may have forgotten that number.
 * I3 at most `maxPending` calls are unsettled.
 * I4 every unsettled call has somebody who will settle it: a link that carries it, a retry timer, or the deadline queue.
 */
import {
  decodeError,
  decodeValue,
  encodeArgs,
  isPinionError,
  messageOf,
  PinionError,
  type CallExtras,
  type CallOptions,
} from "@pinion/core";
import {
  deadlineExceeded,
  describeFailure,
  detailsOf,
  givenUp,
  withCallersStack,
} from "./call-error.ts";
import type { CallTarget } from "./call-target.ts";
import type { ClientSession } from "./client-session.ts";
import { CallCounters } from "./client-stats.ts";
import { DeadlineQueue } from "./deadline-queue.ts";
import type { ResolvedClientOptions } from "./options.ts";
import { careOf, PendingCall, type CallCare, type FrameTime } from "./pending-call.ts";
import { ProcessHold } from "./process-hold.ts";
import { retryDelayMs } from "./retry-policy.ts";
import type { Router } from "./router.ts";
import type { CallOutcomes, WorkerLink } from "./worker-link.ts";

/** What a reference's `with` takes. */
export interface ActorCallOptions extends CallOptions {
  /**
   * No reply: the promise resolves once the call is handed to the connection, and the call is never sent again. It runs at
   * most once, and whether it ran is not told.
   */
  readonly oneWay?: boolean;
}

/** A call's options, checked and in the wire's terms. Made once per `with`, not per call. */
export interface PreparedOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly extras: CallExtras | undefined;
}

/** A promise calls its executor at once, so one executor serves all of them: a closure less per call. */
let capturedResolve: (value: unknown) => void = () => {};
let capturedReject: (error: PinionError) => void = () => {};
const capture = (resolve: (value: unknown) => void, reject: (error: unknown) => void): void => {
  capturedResolve = resolve;
  capturedReject = reject;
};

export class CallDesk implements CallOutcomes {
  readonly counters = new CallCounters();
  readonly #session: ClientSession;
  readonly #options: ResolvedClientOptions;
  readonly #router: Router;
  /** At most half of what the host keeps a silent session for (I2). */
  #retryHorizonMs: number;
  readonly #deadlines: DeadlineQueue;
  readonly #hold = new ProcessHold();
  #closed = false;
  /** Resolves when the last pending call is settled. */
  #onIdle: (() => void) | undefined;

  constructor(session: ClientSession, options: ResolvedClientOptions, router: Router) {
    this.#session = session;
    this.#options = options;
    this.#retryHorizonMs = options.retryHorizonMs;
    this.#deadlines = new DeadlineQueue(options.clock, (call) => this.#onDue(call));
    this.#router = router;
    this.counters.register(options.telemetry, () => this.pending);
  }

  get defaultTimeoutMs(): number {
    return this.#options.timeoutMs;
  }

  get pending(): number {
    return this.#session.calls.size;
  }

  get router(): Router {
    return this.#router;
  }

  /** Makes a call. Every failure is a rejection with a `PinionError`. */
  call(
    target: CallTarget,
    method: string,
    args: readonly unknown[],
    options: PreparedOptions,
  ): Promise<unknown> {
    const outcome = new Promise<unknown>(capture);
    const call = new PendingCall(
      this.#session.calls.next,
      target,
      method,
      options.extras,
      capturedResolve,
      capturedReject,
    );
    this.#begin(call, args, options);
    return outcome.then(undefined, withCallersStack);
  }

  #begin(call: PendingCall, args: readonly unknown[], options: PreparedOptions): void {
    this.counters.calls++;
    const refusal = this.#refusal(call, options);
    if (refusal !== undefined) {
      this.#settleFailed(call, refusal);
      return;
    }
    this.#session.calls.add(call);
    if (options.timeoutMs > 0) this.#setDeadline(call, options.timeoutMs);
    if (options.signal !== undefined) this.#listen(call, options.signal);
    if (this.#options.telemetry.tracing) this.#startSpan(call);
    this.#dispatch(call, args);
  }

  #refusal(call: PendingCall, options: PreparedOptions): PinionError | undefined {
    if (this.#closed)
      return new PinionError("cancelled", `${call.name}: the client is closed`, {
        details: detailsOf(call),
      });
    if (options.signal?.aborted === true) return cancelled(call, options.signal);
    if (this.pending >= this.#options.maxPending) {
      return new PinionError(
        "overloaded",
        `${call.name}: ${this.pending} calls are pending, the limit is maxPending = ${this.#options.maxPending}`,
        { details: { ...detailsOf(call), maxPending: this.#options.maxPending } },
      );
    }
    return undefined;
  }

  #setDeadline(call: PendingCall, timeoutMs: number): void {
    const care = careOf(call);
    care.timeoutMs = timeoutMs;
    care.deadlineAtMs = this.#options.clock.nowMs() + timeoutMs;
    this.#deadlines.update(call);
  }

  #listen(call: PendingCall, signal: AbortSignal): void {
    const onAbort = (): void => this.abandon(call, cancelled(call, signal));
    signal.addEventListener("abort", onAbort, { once: true });
    careOf(call).stopListening = () => signal.removeEventListener("abort", onAbort);
  }

  #startSpan(call: PendingCall): void {
    const span = this.#options.telemetry.span(`pinion.call ${call.target.type}/${call.method}`);
    span.setAttribute("pinion.actor", call.target.toString());
    careOf(call).span = span;
    if (span.traceparent !== undefined)
      call.extras = { ...call.extras, traceparent: span.traceparent };
  }

  /** First transmission, at once or as soon as there is a connection. */
  #dispatch(call: PendingCall, args: readonly unknown[]): void {
    const link = this.#router.linkFor(call.target);
    try {
      if (link.open) link.send(call, args);
      else {
        call.argsBuffer = encodeArgs(args);
        call.argsEnd = call.argsBuffer.length;
        link.park(call);
        this.watchProcess();
      }
    } catch (e) {
      this.#settleFailed(call, ours(call, e));
      return;
    }
  }

  // ---------------------------------------------------------------- from the links

  onReply(
    seq: number,
    ok: boolean,
    bytes: Uint8Array,
    start: number,
    end: number,
    nowMs: number,
  ): void {
    const call = this.#session.calls.get(seq);
    if (call === undefined || call.state !== "sent") {
      this.counters.lateReplies++; // I1
      return;
    }
    (call.carrier as WorkerLink).release();
    try {
      if (ok) {
        const value = start === end ? undefined : decodeValue(bytes, start, end);
        this.counters.succeeded++;
        this.counters.latency.record(nowMs - (call.lastSent as FrameTime).atMs);
        this.#settle(call, value);
      } else this.#onRefused(call, decodeError(bytes, start, end));
    } catch (e) {
      this.#settleFailed(call, ours(call, e));
    }
  }

  #onRefused(call: PendingCall, error: PinionError): void {
    const care = careOf(call);
    if (error.code === "overloaded") care.overloads++;
    if (error.code === "relocate" || error.code === "draining") this.#router.relocateBy(error);
    const delayMs = retryDelayMs(
      error,
      { attempts: call.attempts, overloads: care.overloads },
      this.#options.overloadRetries,
      this.#options.rng,
    );
    if (delayMs === undefined) this.#settleFailed(call, this.#withHint(call, error));
    else this.#retry(call, error, delayMs);
  }

  /** A mistyped name: the host told its types and methods at connect. */
  #withHint(call: PendingCall, error: PinionError): PinionError {
    let hint = "";
    if (
      (error.code === "unknown-method" || error.code === "unknown-actor-type") &&
      !("nearest" in error.details)
    ) {
      const nearest = this.#router.nearest(call.target.type, call.method);
      if (nearest.length > 0) hint = `; did you mean ${nearest.join(" or ")}?`;
    }
    return describeFailure(call, error, { attempts: call.attempts }, hint);
  }

  #retry(call: PendingCall, error: PinionError, delayMs: number): void {
    call.state = "waiting";
    call.carrier = undefined;
    this.startHorizon(call, error);
    this.counters.retries++;
    if (delayMs === 0) {
      this.#resend(call);
      return;
    }
    const care = careOf(call);
    care.retryTimer = this.#options.clock.setTimer(delayMs, () => {
      care.retryTimer = undefined;
      this.#resend(call);
    });
    this.watchProcess();
  }

  /** From now on the call is retried for a limited time. */
  startHorizon(call: PendingCall, error: PinionError): void {
    const care = careOf(call);
    care.lastError = error;
    if (care.retryUntilMs !== Infinity) return;
    care.retryUntilMs = this.#options.clock.nowMs() + this.#retryHorizonMs;
    this.#deadlines.update(call);
  }

  /** Retries must end before the host forgets the session (I2). */
  limitHorizon(sessionExpiryMs: number): void {
    const { retryHorizonMs } = this.#options;
    this.#retryHorizonMs =
      sessionExpiryMs > 0 ? Math.min(retryHorizonMs, sessionExpiryMs / 2) : retryHorizonMs;
  }

  #resend(call: PendingCall): void {
    this.#router.linkFor(call.target).park(call);
    this.watchProcess();
  }

  onUnsendable(call: PendingCall, error: unknown): void {
    this.#settleFailed(call, ours(call, error));
  }

  /** Not when it is merely encoded: its frame would then acknowledge it, and the host take it for one that has run. */
  onWritten(call: PendingCall): void {
    if (call.state === "sent") this.#settle(call, undefined);
  }

  // ---------------------------------------------------------------- endings

  #onDue(call: PendingCall): void {
    const { clock } = this.#options;
    const care = careOf(call);
    if (clock.nowMs() >= care.deadlineAtMs) {
      this.abandon(call, deadlineExceeded(call));
      return;
    }
    if (call.state === "sent") {
      // It reached a host again: from here on the host's own limits end it.
      care.retryUntilMs = Infinity;
      this.#deadlines.update(call);
      return;
    }
    const mayHaveRun = care.uncertain && !this.#router.isReadonly(call.target.type, call.method);
    this.abandon(call, givenUp(call, care.lastError, this.#retryHorizonMs, mayHaveRun));
  }

  /** Fails a call that somebody still carries. */
  abandon(call: PendingCall, error: PinionError): void {
    const { state, carrier } = call;
    if (state === "settled") return;
    // Settled first: in the host's own process the answer to the cancellation comes at once.
    this.#settleFailed(call, error);
    carrier?.abandon(call, state === "sent");
  }

  #settle(call: PendingCall, value: unknown): void {
    this.#finish(call);
    call.care?.span?.end();
    call.resolve(value);
  }

  #settleFailed(call: PendingCall, error: PinionError): void {
    this.#finish(call);
    this.counters.countFailure(error.code);
    call.care?.span?.end(error);
    call.reject(error);
  }

  #finish(call: PendingCall): void {
    call.state = "settled";
    call.carrier = undefined;
    call.argsBuffer = undefined;
    if (call.care !== undefined) this.#release(call, call.care);
    this.#session.calls.delete(call.seq);
    if (this.#session.calls.size === 0) this.#onEmpty();
  }

  #release(call: PendingCall, care: CallCare): void {
    this.#deadlines.remove(call);
    care.stopListening?.();
    care.retryTimer?.cancel();
  }

  #onEmpty(): void {
    this.#hold.set(false);
    this.#onIdle?.();
  }

  /** A connection in use keeps the process alive by itself; pending calls without one must. */
  watchProcess(): void {
    this.#hold.set(
      this.pending > 0 && ![...this.#router.links].every((link) => link.state === "ready"),
    );
  }

  /**
   * Takes no new calls; resolves when all pending ones are settled, at the latest after `graceMs`, when the rest fails:
   * `outcome-unknown` if it was sent, else `cancelled`.
   */
  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    if (this.pending > 0 && graceMs > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
        this.#options.clock.setTimer(graceMs, resolve);
      });
    }
    // What waits goes first: giving up a call that was sent would make room for it.
    const calls = this.#session.calls.all();
    for (const call of calls) if (call.state !== "sent") this.abandon(call, closed(call));
    for (const call of calls) this.abandon(call, closed(call));
    this.#deadlines.stop();
    this.#hold.set(false);
  }
}

function cancelled(call: PendingCall, signal: AbortSignal): PinionError {
  const reason: unknown = signal.reason;
  return new PinionError(
    "cancelled",
    `${call.name}: cancelled by its signal (${messageOf(reason)})`,
    {
      details: detailsOf(call),
      cause: reason,
    },
  );
}

function closed(call: PendingCall): PinionError {
  const code = call.attempts > 0 ? "outcome-unknown" : "cancelled";
  return new PinionError(code, `${call.name}: the client was closed`, { details: detailsOf(call) });
}

function ours(call: PendingCall, e: unknown): PinionError {
  const error = isPinionError(e) ? e : new PinionError("internal", messageOf(e), { cause: e });
  return describeFailure(call, error, { attempts: call.attempts }, "");
}
