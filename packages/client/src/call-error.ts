/**
 * Failures as the caller sees them. The promise is settled with a thenable, which gives the error its stack only
 * when the engine asks for the outcome: inside that microtask V8 knows who awaits the promise, so the stack shows the
 * caller's own lines, and a call that succeeds pays nothing for it (a stack per call would cost more than the call).
 */
import { PinionError, type ErrorDetails } from "@pinion/core";
import type { PendingCall } from "./pending-call.ts";

export function settleWithError(call: PendingCall, error: PinionError): void {
  const failure = {
    // oxlint-disable-next-line unicorn/no-thenable -- a thenable is the point, see above
    then(this: void, _resolve: unknown, reject: (e: unknown) => void): void {
      Error.captureStackTrace(error, failure.then); // without our own frames, which say nothing to the caller
      reject(error);
    },
  };
  call.resolve(failure);
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
