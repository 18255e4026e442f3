/**
 * One call from the moment it has a sequence number until its promise is settled.
 *
 * | state   | meaning                                             | next                      |
 * |---------|-----------------------------------------------------|---------------------------|
 * | waiting | in a link's queue, or until a retry is due          | sent, settled             |
 * | sent    | on a connection; the host may be running it         | waiting (retry), settled  |
 * | settled | its promise is; a reply that still comes is ignored | –                         |
 *
 * Calls are the client's garbage, so what most of them never need is kept apart (`CallCare`) and made on demand.
 */
import type { CallExtras, PinionError, Span, Timer } from "@pinion/core";
import type { CallTarget } from "./call-target.ts";

export type CallState = "waiting" | "sent" | "settled";

/** What holds the call while it is waiting or sent. */
export interface CallCarrier {
  /** The call is settled: forget it, and tell the host if it may be running it. */
  abandon(call: PendingCall, wasSent: boolean): void;
}

/** When a frame was begun; shared by its calls. */
export interface FrameTime {
  /** Monotonic ms. */
  readonly atMs: number;
  /** Hybrid-logical-clock µs. */
  readonly hlcUs: number;
}

/** What a call has that waits with a deadline, a signal or a span, or was sent more than once. */
export class CallCare {
  /** As the caller gave it; 0: none. */
  timeoutMs = 0;
  /** Monotonic ms; Infinity: no deadline. */
  deadlineAtMs = Infinity;
  /** Monotonic ms after which it is not retried any more; Infinity until the first retry. */
  retryUntilMs = Infinity;
  /** Place in the deadline queue; −1: not in it. */
  queueIndex = -1;
  /** Transmissions refused as `overloaded`. */
  overloads = 0;
  /** A connection was lost while it was sent: it may have run. */
  uncertain = false;
  /** Why it was sent again. */
  lastError: PinionError | undefined = undefined;
  retryTimer: Timer | undefined = undefined;
  stopListening: (() => void) | undefined = undefined;
  span: Span | undefined = undefined;

  /** When the deadline queue must look at it. */
  get dueAtMs(): number {
    return Math.min(this.deadlineAtMs, this.retryUntilMs);
  }
}

export class PendingCall {
  readonly seq: number;
  readonly target: CallTarget;
  readonly method: string;
  extras: CallExtras | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: PinionError) => void;

  state: CallState = "waiting";
  carrier: CallCarrier | undefined = undefined;
  /** Encoded arguments: `argsBuffer[argsStart … argsEnd)`. */
  argsBuffer: Uint8Array | undefined = undefined;
  argsStart = 0;
  argsEnd = 0;
  /** Transmissions so far. */
  attempts = 0;
  /** The first and the latest of them. */
  firstSent: FrameTime | undefined = undefined;
  lastSent: FrameTime | undefined = undefined;
  care: CallCare | undefined = undefined;

  constructor(
    seq: number,
    target: CallTarget,
    method: string,
    extras: CallExtras | undefined,
    resolve: (value: unknown) => void,
    reject: (error: PinionError) => void,
  ) {
    this.seq = seq;
    this.target = target;
    this.method = method;
    this.extras = extras;
    this.resolve = resolve;
    this.reject = reject;
  }

  get name(): string {
    return `${this.target.toString()}.${this.method}`;
  }

  /** How long the caller will still wait, ms; 0: no deadline. */
  timeoutMsAt(nowMs: number): number {
    const { care } = this;
    return care === undefined || care.deadlineAtMs === Infinity
      ? 0
      : Math.max(1, care.deadlineAtMs - nowMs);
  }
}

/** The call's care, made if need be. */
export function careOf(call: PendingCall): CallCare {
  call.care ??= new CallCare();
  return call.care;
}
