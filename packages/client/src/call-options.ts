/** A call's options, checked once per `with` and kept in the wire's terms. */
import {
  IDEMPOTENCY_KEY_LENGTH_MAX,
  PinionError,
  type CallExtras,
  type Consistency,
} from "@pinion/core";
import type { ActorCallOptions, PreparedOptions } from "./call-desk.ts";

const IDEMPOTENCY_TTL_MS_DEFAULT = 24 * 60 * 60 * 1000;
const TIMEOUT_MS_MAX = 2 ** 32 - 1;
const CONSISTENCIES: readonly Consistency[] = ["linearizable", "quorum", "eventual"];
const KNOWN: ReadonlySet<string> = new Set([
  "signal",
  "timeoutMs",
  "idempotencyKey",
  "idempotencyTtlMs",
  "consistency",
  "oneWay",
] satisfies (keyof ActorCallOptions)[]);

function invalid(key: string, rule: string): PinionError {
  return new PinionError("invalid-argument", `call option ${key} ${rule}`, {
    details: { key, rule },
  });
}

/** @throws `invalid-argument` naming the option. */
export function prepareOptions(
  options: ActorCallOptions,
  defaultTimeoutMs: number,
): PreparedOptions {
  for (const key of Object.keys(options)) {
    if (!KNOWN.has(key)) throw invalid(key, `does not exist; there are ${[...KNOWN].join(", ")}`);
  }
  const { signal, timeoutMs, idempotencyKey, idempotencyTtlMs, consistency, oneWay } = options;
  if (timeoutMs !== undefined && !(timeoutMs > 0 && timeoutMs <= TIMEOUT_MS_MAX)) {
    throw invalid("timeoutMs", `must be above 0 and at most ${TIMEOUT_MS_MAX}, not ${timeoutMs}`);
  }
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw invalid("signal", "must be an AbortSignal");
  if (idempotencyKey !== undefined) checkIdempotencyKey(idempotencyKey);
  if (
    idempotencyTtlMs !== undefined &&
    !(idempotencyTtlMs > 0 && Number.isSafeInteger(Math.ceil(idempotencyTtlMs)))
  ) {
    throw invalid("idempotencyTtlMs", `must be above 0, not ${idempotencyTtlMs}`);
  }
  if (consistency !== undefined && !CONSISTENCIES.includes(consistency)) {
    throw invalid("consistency", `must be one of ${CONSISTENCIES.join(", ")}`);
  }
  const extras: CallExtras = {
    consistency,
    oneWay,
    idempotencyKey,
    idempotencyTtlMs:
      idempotencyKey === undefined ? undefined : (idempotencyTtlMs ?? IDEMPOTENCY_TTL_MS_DEFAULT),
  };
  return {
    timeoutMs: timeoutMs ?? defaultTimeoutMs,
    signal,
    extras: Object.values(extras).every((value) => value === undefined) ? undefined : extras,
  };
}

function checkIdempotencyKey(key: unknown): void {
  if (
    typeof key !== "string" ||
    key === "" ||
    key.length > IDEMPOTENCY_KEY_LENGTH_MAX ||
    !key.isWellFormed()
  ) {
    throw invalid(
      "idempotencyKey",
      `must be a text of 1 to ${IDEMPOTENCY_KEY_LENGTH_MAX} characters`,
    );
  }
}
