/**
 * The one error base of the project. A code exists only where a caller acts differently; `retry` says
 * how: `never` (asking again gives the same answer), `backoff` (ask again later, with the same call id),
 * `relocate` (ask another host). `details` are plain values that cross the wire and are safe to print.
 */

export type RetryAdvice = "never" | "backoff" | "relocate";

/** Every code with its default advice. The order is frozen: a code's position is its number on the wire. */
const CODES = {
  // what the caller sent
  "invalid-argument": "never",
  "invalid-actor-id": "never",
  "unknown-actor-type": "never",
  "unknown-method": "never",
  "not-serializable": "never",
  "malformed-frame": "never",
  "frame-too-large": "never",
  unauthenticated: "never",
  "permission-denied": "never",
  // what became of a call
  "actor-error": "never",
  "deadline-exceeded": "never",
  "turn-timeout": "never",
  cancelled: "never",
  "outcome-unknown": "never",
  "call-diverged": "never",
  interrupted: "never",
  poisoned: "never",
  cycle: "never",
  deadlock: "never",
  "readonly-violation": "never",
  "state-too-large": "never",
  "write-set-too-large": "never",
  "migration-failed": "never",
  // what the host can take
  overloaded: "backoff",
  unavailable: "backoff",
  draining: "relocate",
  relocate: "relocate",
  // storage
  "disk-full": "backoff",
  "disk-read-only": "never",
  "io-error": "never",
  corruption: "never",
  "log-closed": "never",
  "record-too-large": "never",
  "not-found": "never",
  // starting up
  "config-invalid": "never",
  "format-too-new": "never",
  "data-dir-locked": "never",
  "port-in-use": "never",
  "module-failed": "never",
  "unsupported-platform": "never",
  "clock-skew": "backoff",
  internal: "never",
  // memory
  "not-resident": "never",
  "view-expired": "never",
} as const satisfies Record<string, RetryAdvice>;

export type ErrorCode = keyof typeof CODES;

/** Codes in wire order. Append only. */
export const ERROR_CODES: readonly ErrorCode[] = Object.freeze(Object.keys(CODES) as ErrorCode[]);

export type DetailValue = string | number | boolean | null | readonly DetailValue[];
export type ErrorDetails = Readonly<Record<string, DetailValue>>;

export interface PinionErrorOptions {
  readonly details?: ErrorDetails;
  readonly cause?: unknown;
  /** Only where this occurrence differs from the code's default advice. */
  readonly retry?: RetryAdvice;
  /** Earliest sensible retry, ms from now; with `backoff`. */
  readonly retryAfterMs?: number;
  /** Stack of the side that threw, when the error crossed the wire. */
  readonly remoteStack?: string;
  /** Name of a user error's class, when `code` is `actor-error`. */
  readonly userName?: string;
}

export class PinionError extends Error {
  readonly code: ErrorCode;
  readonly retry: RetryAdvice;
  readonly details: ErrorDetails;
  readonly retryAfterMs: number | undefined;
  readonly remoteStack: string | undefined;
  readonly userName: string | undefined;

  constructor(code: ErrorCode, message: string, options: PinionErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "PinionError";
    this.code = code;
    this.retry = options.retry ?? CODES[code];
    this.details = options.details ?? {};
    this.retryAfterMs = options.retryAfterMs;
    this.remoteStack = options.remoteStack;
    this.userName = options.userName;
  }
}

export function isPinionError(e: unknown, code?: ErrorCode): e is PinionError {
  return e instanceof PinionError && (code === undefined || e.code === code);
}

/** Message of anything that was thrown. */
export function messageOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}

/** For branches our own logic rules out. Not for input, disk or network: those get typed errors. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new PinionError("internal", `assertion failed: ${message}`);
}

/** Node's `code` of a system error ("ENOSPC"), or undefined. */
export function systemCode(e: unknown): string | undefined {
  return e instanceof Error && "code" in e && typeof e.code === "string" ? e.code : undefined;
}

/** A disk's or the operating system's error as one of ours. */
export function fromSystemError(
  e: unknown,
  doing: string,
  details: ErrorDetails = {},
): PinionError {
  if (e instanceof PinionError) return e;
  const sys = systemCode(e);
  const code: ErrorCode =
    sys === "ENOSPC" || sys === "EDQUOT"
      ? "disk-full"
      : sys === "EROFS" || sys === "EACCES" || sys === "EPERM"
        ? "disk-read-only"
        : "io-error";
  return new PinionError(code, `${doing}: ${messageOf(e)}`, {
    details: sys === undefined ? details : { ...details, errno: sys },
    cause: e,
  });
}
