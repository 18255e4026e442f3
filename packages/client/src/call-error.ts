/**
 * Failures as the caller sees them. Nothing is recorded when a call is made: a stack per call would cost more than the call. A
 * failed one gets its stack in the reaction of its own promise, where V8 still knows who awaits that promise, so that it shows
 * the caller's lines. `Promise.all` and async functions in between show, too.
 */
import { PinionError, type ErrorDetails } from "@pinion/core";
import type { PendingCall } from "./pending-call.ts";

/** Rejection handler of every call's promise. Its frames and ours are left out: they say nothing to the caller. */
export function withCallersStack(error: unknown): never {
  if (error instanceof Error) Error.captureStackTrace(error, withCallersStack);
  throw error;
}

/** The host's error with what only this side knows. @param hint appended to the message. */
export function describeFailure(
  call: PendingCall,
  error: PinionError,
  extra: ErrorDetails,
  hint: string,
): PinionError {
  const options = {
    details: {
      ...error.details,
      ...extra,
      type: call.target.type,
      key: call.target.key,
      method: call.method,
    },
    retry: error.retry,
    cause: error.cause,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    ...(error.remoteStack === undefined ? {} : { remoteStack: error.remoteStack }),
    ...(error.userName === undefined ? {} : { userName: error.userName }),
  };
  return new PinionError(error.code, `${error.message}${hint}`, options);
}

/** The deadline passed here. */
export function deadlineExceeded(call: PendingCall): PinionError {
  return new PinionError(
    "deadline-exceeded",
    `${call.name}: no answer within ${Math.round(call.care?.timeoutMs ?? 0)} ms`,
    {
      details: detailsOf(call),
    },
  );
}

/** The retry horizon passed here. */
export function givenUp(
  call: PendingCall,
  last: PinionError | undefined,
  horizonMs: number,
  mayHaveRun: boolean,
): PinionError {
  const tries = `${call.attempts} ${call.attempts === 1 ? "attempt" : "attempts"}`;
  const why = last === undefined ? "" : `; last error: ${last.message}`;
  return mayHaveRun
    ? new PinionError(
        "outcome-unknown",
        `${call.name}: sent, but its outcome could not be learnt in ${horizonMs} ms and ${tries}${why}`,
        {
          details: detailsOf(call),
          cause: last,
        },
      )
    : new PinionError(
        "unavailable",
        `${call.name}: no host took the call in ${horizonMs} ms and ${tries}${why}`,
        {
          details: detailsOf(call),
          cause: last,
        },
      );
}

export function detailsOf(call: PendingCall): ErrorDetails {
  return {
    type: call.target.type,
    key: call.target.key,
    method: call.method,
    attempts: call.attempts,
  };
}
