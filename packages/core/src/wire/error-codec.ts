/**
 * Errors ↔ bytes (message `Error` of actor.proto). A `PinionError` keeps its code; anything else that was thrown becomes
 * `actor-error` with the class name, message, plain details, cause chain and stack of what the user threw.
 *
 * I1 whatever was thrown is encoded: strings, proxies, objects whose getters throw. Encoding an error never fails.
 * I2 an error is bounded: 8 KiB of message, 4 KiB of stack, 8 KiB of details, 4 causes; what is cut says so.
 * I3 a code this version does not know arrives as `internal`, with the name in `details.unknownCode` and the sender's
 *    retry advice, so that it is never taken for one of ours.
 */
import {
  ERROR_CODES,
  PinionError,
  type DetailValue,
  type ErrorCode,
  type ErrorDetails,
  type RetryAdvice,
} from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import { ProtoReader } from "./proto-reader.ts";
import {
  BYTES,
  closeLength,
  openLength,
  VARINT,
  writeText,
  writeTextItem,
  writeUint,
  writeVarint,
} from "./proto-writer.ts";

const CODE = (1 << 3) | VARINT;
const NAME = (2 << 3) | BYTES;
const MESSAGE = (3 << 3) | BYTES;
const RETRY = (4 << 3) | VARINT;
const RETRY_AFTER_MS = (5 << 3) | VARINT;
const DETAILS = (6 << 3) | BYTES;
const STACK = (7 << 3) | BYTES;
const CAUSE = (8 << 3) | BYTES;
const USER_NAME = (9 << 3) | BYTES;
const ENTRY_KEY = (1 << 3) | BYTES;
const ENTRY_VALUE = (2 << 3) | BYTES;

export const ERROR_MESSAGE_LENGTH_MAX = 8 * 1024;
export const ERROR_STACK_LENGTH_MAX = 4 * 1024;
export const ERROR_DETAILS_LENGTH_MAX = 8 * 1024;
export const ERROR_CAUSES_MAX = 4;
const USER_NAME_LENGTH_MAX = 128;

const RETRIES: readonly RetryAdvice[] = ["never", "backoff", "relocate"];
/** Position in `ERROR_CODES` + 1: zero means that only the name is given. */
const NUMBER_OF = new Map<string, number>(ERROR_CODES.map((code, i) => [code, i + 1]));

export interface ErrorEncoding {
  /** Leave out stacks, for callers that are not trusted with them. */
  readonly omitStack?: boolean;
  /** The error is the recorded outcome of its call: asking again gives the same, so the advice is `never`. */
  readonly final?: boolean;
}

const scratch = new ByteWriter(4 * 1024);

export function encodeError(thrown: unknown, encoding: ErrorEncoding = {}): Uint8Array {
  writeError(scratch, thrown, encoding);
  const bytes = Buffer.allocUnsafe(scratch.position - scratch.base);
  scratch.buffer.copy(bytes, 0, scratch.base, scratch.position);
  scratch.reset();
  return bytes;
}

/** Appends the fields of an `Error` message. */
export function writeError(w: ByteWriter, thrown: unknown, encoding: ErrorEncoding = {}): void {
  writeOne(w, thrown, encoding, ERROR_CAUSES_MAX);
}

function writeOne(
  w: ByteWriter,
  thrown: unknown,
  encoding: ErrorEncoding,
  causesLeft: number,
): void {
  const ours = attempt(() => thrown instanceof PinionError, false);
  const facts = ours ? factsOfOurs(thrown as PinionError) : factsOfUsers(thrown);
  writeUint(w, CODE, NUMBER_OF.get(facts.code) ?? 0);
  writeText(w, NAME, facts.code);
  writeText(w, MESSAGE, cut(facts.message, ERROR_MESSAGE_LENGTH_MAX));
  writeUint(w, RETRY, encoding.final === true ? 0 : RETRIES.indexOf(facts.retry));
  if (facts.retryAfterMs !== undefined) {
    writeVarint(w, RETRY_AFTER_MS);
    writeVarint(w, Math.min(Math.max(0, Math.ceil(facts.retryAfterMs) || 0), 0xffffffff));
  }
  writeDetails(w, facts.details);
  if (encoding.omitStack !== true) writeText(w, STACK, cut(facts.stack, ERROR_STACK_LENGTH_MAX));
  writeText(w, USER_NAME, cut(facts.userName, USER_NAME_LENGTH_MAX));
  if (facts.cause === undefined || causesLeft === 0) return;
  const at = openLength(w, CAUSE);
  writeOne(w, facts.cause, encoding, causesLeft - 1);
  closeLength(w, at);
}

interface ErrorFacts {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retry: RetryAdvice;
  readonly retryAfterMs: number | undefined;
  readonly details: Readonly<Record<string, unknown>>;
  readonly stack: string;
  readonly cause: unknown;
  readonly userName: string;
}

function factsOfOurs(e: PinionError): ErrorFacts {
  const here = e.stack ?? "";
  return {
    code: e.code,
    message: e.message,
    retry: e.retry,
    retryAfterMs: e.retryAfterMs,
    details: e.details,
    // An error that already crossed the wire: where it was thrown says more than where it was received.
    stack:
      e.remoteStack === undefined ? here : `${e.remoteStack}\n    --- received by ---\n${here}`,
    cause: e.cause,
    userName: e.userName ?? "",
  };
}

function factsOfUsers(thrown: unknown): ErrorFacts {
  const isObject = typeof thrown === "object" && thrown !== null;
  const isError = isObject && attempt(() => thrown instanceof Error, false);
  return {
    code: "actor-error",
    message: isError
      ? textOf(() => (thrown as Error).message)
      : textOf(() => describeThrown(thrown)),
    retry: "never",
    retryAfterMs: undefined,
    details: isObject ? attempt(() => userDetails(thrown), {}) : {},
    stack: isError ? textOf(() => (thrown as Error).stack ?? "") : "",
    cause: isError ? attempt(() => (thrown as Error).cause, undefined) : undefined,
    userName: isError ? textOf(() => userNameOf(thrown as Error)) : typeof thrown,
  };
}

function describeThrown(thrown: unknown): string {
  return typeof thrown === "object" && thrown !== null ? JSON.stringify(thrown) : String(thrown);
}

/** A class that extends Error rarely sets `name`; its constructor knows better. */
function userNameOf(e: Error): string {
  return e.name !== "Error" ? e.name : e.constructor.name;
}

/** `details` where the error has them, else its own properties (`code`, `status`…). */
function userDetails(thrown: object): Record<string, unknown> {
  const { details } = thrown as { readonly details?: unknown };
  const source =
    typeof details === "object" && details !== null && !Array.isArray(details) ? details : thrown;
  const skipped = new Set(["name", "message", "stack", "cause"]);
  return Object.fromEntries(Object.entries(source).filter(([key]) => !skipped.has(key)));
}

function attempt<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise; // a getter or proxy of the user's that throws (I1)
  }
}

function textOf(read: () => unknown): string {
  return attempt(() => String(read()), "(unreadable)").toWellFormed();
}

/** Cut between characters. */
function cut(text: string, lengthMax: number): string {
  if (text.length <= lengthMax) return text.toWellFormed();
  return `${text.slice(0, lengthMax).toWellFormed()}…`;
}

function writeDetails(w: ByteWriter, details: Readonly<Record<string, unknown>>): void {
  let left = ERROR_DETAILS_LENGTH_MAX;
  let omitted = 0;
  for (const key of attempt(() => Object.keys(details), [])) {
    const json = attempt(() => JSON.stringify(details[key], bigintAsText), undefined);
    if (json === undefined) continue; // functions, symbols, cycles: details are plain values
    left -= json.length + key.length;
    if (left < 0) omitted++;
    else writeEntry(w, key, json);
  }
  if (omitted > 0) writeEntry(w, "detailsOmitted", String(omitted));
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}

function writeEntry(w: ByteWriter, key: string, json: string): void {
  const at = openLength(w, DETAILS);
  writeTextItem(w, ENTRY_KEY, key.toWellFormed());
  writeTextItem(w, ENTRY_VALUE, json);
  closeLength(w, at);
}

/** The error in `bytes[start … end)`. @throws `malformed-frame` */
export function decodeError(bytes: Uint8Array, start = 0, end = bytes.length): PinionError {
  return readError(new ProtoReader(bytes, start, end), ERROR_CAUSES_MAX);
}

/** Reads up to the reader's end. */
function readError(r: ProtoReader, causesLeft: number): PinionError {
  let number = 0;
  let name = "";
  let message = "";
  let retry: RetryAdvice = "never";
  let retryAfterMs: number | undefined;
  let remoteStack: string | undefined;
  let userName: string | undefined;
  let cause: PinionError | undefined;
  const details: Record<string, DetailValue> = {};
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === CODE) number = r.uint32();
    else if (tag === NAME) name = r.text();
    else if (tag === MESSAGE) message = r.text();
    else if (tag === RETRY) retry = RETRIES[r.uint32()] ?? "never";
    else if (tag === RETRY_AFTER_MS) retryAfterMs = r.uint();
    else if (tag === DETAILS) readEntry(r, details);
    else if (tag === STACK) remoteStack = r.text();
    else if (tag === USER_NAME) userName = r.text();
    else if (tag === CAUSE && causesLeft > 0)
      cause = r.within((inner) => readError(inner, causesLeft - 1));
    else r.skip(tag);
  }
  const known = codeOf(number, name);
  if (known === undefined) details["unknownCode"] = name === "" ? number : name;
  return new PinionError(known ?? "internal", message, {
    retry,
    details: details satisfies ErrorDetails,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(remoteStack === undefined ? {} : { remoteStack }),
    ...(userName === undefined ? {} : { userName }),
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The name decides; the number serves a sender that leaves the name out. */
function codeOf(number: number, name: string): ErrorCode | undefined {
  if (name !== "") return NUMBER_OF.has(name) ? (name as ErrorCode) : undefined;
  return ERROR_CODES[number - 1];
}

function readEntry(r: ProtoReader, details: Record<string, DetailValue>): void {
  r.within(() => {
    let key = "";
    let json = "";
    while (r.at < r.end) {
      const tag = r.tag();
      if (tag === ENTRY_KEY) key = r.text();
      else if (tag === ENTRY_VALUE) json = r.text();
      else r.skip(tag);
    }
    if (key !== "__proto__") details[key] = detailOf(json);
  });
}

/** Objects are no `DetailValue`: they stay JSON text. So does what is not JSON at all. */
function detailOf(json: string): DetailValue {
  try {
    const value: unknown = JSON.parse(json);
    return isDetail(value) ? value : json;
  } catch {
    return json;
  }
}

function isDetail(value: unknown): value is DetailValue {
  if (Array.isArray(value)) return value.every(isDetail);
  return value === null || ["string", "number", "boolean"].includes(typeof value);
}
