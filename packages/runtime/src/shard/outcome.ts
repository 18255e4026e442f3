/** Results of calls, encoded once: the same bytes go into the commit record, the dedupe window and the reply. */
import { encodeError, encodeValue, isPinionError, PinionError } from "@pinion/core";
import type { Log } from "@pinion/storage";
import { plainOf } from "../state-value/index.ts";
import type { Outcome } from "../gateway/dispatcher.ts";

/** @throws `not-serializable` */
export function valueOutcome(value: unknown): Outcome {
  return { ok: true, bytes: encodeValue(plainOf(value)) };
}

/** Whatever was thrown, as the caller will see it. */
export function errorOutcome(error: unknown): Outcome {
  return { ok: false, bytes: encodeError(error) };
}

/** The call is not run and not recorded. */
export function refusedOutcome(error: unknown): Outcome {
  const transient = isPinionError(error) && error.retry !== "never";
  return { ok: false, bytes: encodeError(error), refused: transient ? "transient" : "final" };
}

export function overloaded(message: string, retryAfterMs: number): PinionError {
  return new PinionError("overloaded", message, { retryAfterMs });
}

/** Why the log does not take a record: a full disk or an archive that is behind is named, so that somebody does something. */
export function logRefuses(shard: { readonly log: Log }): PinionError {
  const why = shard.log.backpressure();
  if (why === undefined) return overloaded("the log cannot take more right now", 10);
  if (why.code !== "io-error") return why;
  // The next segment could not be made, and the log tries again: what is written is not in doubt, so asking again may help.
  const { message, details } = why;
  return new PinionError("io-error", message, { details, cause: why, retry: "backoff" });
}
