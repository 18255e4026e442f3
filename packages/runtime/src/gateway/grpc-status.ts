/** Our errors as gRPC statuses, for streams and unary calls. The whole error travels in a trailer. */
import { Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { CODE_TRAILER, ERROR_TRAILER } from "@pinion/client";
import { encodeError, PinionError, type ErrorCode } from "@pinion/core";

/** gRPC's own retry rules act on these: only what may be asked again becomes UNAVAILABLE. */
const STATUS_OF: Readonly<Partial<Record<ErrorCode, status>>> = {
  "invalid-argument": status.INVALID_ARGUMENT,
  "invalid-actor-id": status.INVALID_ARGUMENT,
  "not-serializable": status.INVALID_ARGUMENT,
  "malformed-frame": status.INVALID_ARGUMENT,
  "frame-too-large": status.RESOURCE_EXHAUSTED,
  "unknown-actor-type": status.NOT_FOUND,
  "unknown-method": status.UNIMPLEMENTED,
  unauthenticated: status.UNAUTHENTICATED,
  "permission-denied": status.PERMISSION_DENIED,
  "deadline-exceeded": status.DEADLINE_EXCEEDED,
  "turn-timeout": status.DEADLINE_EXCEEDED,
  cancelled: status.CANCELLED,
  "call-diverged": status.ALREADY_EXISTS,
  cycle: status.FAILED_PRECONDITION,
  deadlock: status.ABORTED,
  "readonly-violation": status.FAILED_PRECONDITION,
  "state-too-large": status.FAILED_PRECONDITION,
  "write-set-too-large": status.FAILED_PRECONDITION,
  overloaded: status.RESOURCE_EXHAUSTED,
  unavailable: status.UNAVAILABLE,
  draining: status.UNAVAILABLE,
  relocate: status.UNAVAILABLE,
  "disk-full": status.UNAVAILABLE,
  corruption: status.DATA_LOSS,
  "not-found": status.NOT_FOUND,
  "format-too-new": status.FAILED_PRECONDITION,
  internal: status.INTERNAL,
};

/** gRPC limits headers and trailers to 8 KiB in many proxies: a long error is cut down to its message. */
const TRAILER_BYTES_MAX = 6 * 1024;
const DETAILS_LENGTH_MAX = 1024;

/** @param encoded the error as bytes, where they are at hand. */
export function serviceErrorOf(error: PinionError, encoded?: Uint8Array): ServiceError {
  const metadata = new Metadata();
  const bytes = encoded ?? encodeError(error, { omitStack: true });
  if (bytes.length <= TRAILER_BYTES_MAX) metadata.set(ERROR_TRAILER, Buffer.from(bytes));
  else metadata.set(ERROR_TRAILER, Buffer.from(encodeError(shortened(error), { omitStack: true })));
  metadata.set(CODE_TRAILER, error.code);
  // grpc-js looks at these three, whatever the object is
  return Object.assign(new Error(error.message), {
    code: STATUS_OF[error.code] ?? status.UNKNOWN,
    details: statusText(error.message),
    metadata,
  });
}

function shortened(error: PinionError): PinionError {
  return new PinionError(error.code, statusText(error.message), {
    retry: error.retry,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    ...(error.userName === undefined ? {} : { userName: error.userName }),
    details: { shortened: true },
  });
}

function statusText(message: string): string {
  return message.length <= DETAILS_LENGTH_MAX
    ? message
    : `${message.slice(0, DETAILS_LENGTH_MAX).toWellFormed()}…`;
}
