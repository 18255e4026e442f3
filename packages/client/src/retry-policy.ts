/**
 * Whether and when a call is sent again after an error (pure).
 *
 * Only errors that say the call was not run, or that its outcome can still be learnt with the same call id, are retried.
 * `overloaded` is retried a bounded number of times, because retrying for ever is what keeps an overload going. Delays grow
 * exponentially and are drawn at random below their bound ("full jitter"), so that clients that failed together do not
 * come back together.
 */
import type { PinionError, Rng } from "@pinion/core";

const RETRY_DELAY_MS_FIRST = 20;
const RETRY_DELAY_MS_MAX = 5_000;
/** A hint may be this much too long. */
const RETRY_AFTER_MS_MAX = 60_000;

export interface Failures {
  /** Transmissions so far. */
  readonly attempts: number;
  /** Of these, refused as `overloaded`. */
  readonly overloads: number;
}

/** Delay before the next transmission, ms; undefined: the caller gets the error. */
export function retryDelayMs(
  error: PinionError,
  failures: Failures,
  overloadRetries: number,
  rng: Rng,
): number | undefined {
  switch (error.code) {
    case "overloaded":
      if (failures.overloads > overloadRetries) return undefined;
      break;
    case "relocate":
      // The first time we were merely out of date, and now know better.
      if (failures.attempts === 1) return 0;
      break;
    case "unavailable":
    case "draining":
      break;
    default:
      return undefined;
  }
  const hintMs = Math.min(error.retryAfterMs ?? 0, RETRY_AFTER_MS_MAX);
  return hintMs + backoffMs(failures.attempts, RETRY_DELAY_MS_FIRST, RETRY_DELAY_MS_MAX, rng);
}

/** Uniform in (0, min(max, first × 2^(failures − 1))]. @param failures ≥ 1 */
export function backoffMs(failures: number, firstMs: number, maxMs: number, rng: Rng): number {
  const boundMs = Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return boundMs * (1 - rng.float());
}
