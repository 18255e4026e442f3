/**
 * The host's log: pino, one line of JSON a record on stderr, or a line of text for people at a terminal. Each thread writes its
 * own lines, so that a blocked or dying thread keeps nobody else's back.
 *
 * L1 writing never waits for whoever reads the pipe; what is still buffered when a thread gives up is written with `flush`.
 */
import { isPinionError, type Clock } from "@pinion/core";
import pino, { type DestinationStream, type Logger as PinoLogger } from "pino";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";
export type LogFormat = "json" | "text";
export type LogDetails = Readonly<Record<string, string | number | boolean | null>>;

export interface HostLogger {
  readonly debug: (message: string, details?: LogDetails) => void;
  readonly info: (message: string, details?: LogDetails) => void;
  readonly warn: (message: string, error?: unknown, details?: LogDetails) => void;
  readonly error: (message: string, error?: unknown, details?: LogDetails) => void;
  flush(): void;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** "worker-0", "control". */
  readonly thread: string;
  readonly clock: Clock;
  /** Where lines go; default: stderr. */
  readonly destination?: DestinationStream & { flushSync?(): void };
}

const STDERR = 2;

export function createLogger(options: LoggerOptions): HostLogger {
  const { level, format, thread, clock } = options;
  const target = options.destination ?? pino.destination({ fd: STDERR, sync: false });
  const destination = format === "text" ? new TextLines(target) : target;
  const log = pino(
    {
      level,
      base: { thread },
      timestamp: () => `,"time":"${new Date(clock.wallMs()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
    },
    destination,
  );
  return {
    debug: (message, details = {}) => log.debug(details, message),
    info: (message, details = {}) => log.info(details, message),
    warn: (message, error, details) => write(log, "warn", message, error, details),
    error: (message, error, details) => write(log, "error", message, error, details),
    flush: () => {
      try {
        target.flushSync?.();
      } catch {
        // Nobody reads the pipe any more, or it never opened: there is nobody to tell.
      }
    },
  };
}

function write(
  log: PinoLogger,
  level: "warn" | "error",
  message: string,
  error: unknown,
  details: LogDetails = {},
): void {
  log[level](error === undefined ? details : { ...details, err: error }, message);
}

function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message, stack } = error;
  const cause = error.cause === undefined ? {} : { cause: describeError(error.cause) };
  return isPinionError(error)
    ? { code: error.code, message, details: error.details, stack, ...cause }
    : { name, message, stack, ...cause };
}

/** "12:01:07 WARN worker-0 a checkpoint failed … (disk-full: …) actor=counter/1" */
class TextLines implements DestinationStream {
  readonly #target: DestinationStream;

  constructor(target: DestinationStream) {
    this.#target = target;
  }

  write(line: string): void {
    const record = JSON.parse(line) as Record<string, unknown>;
    const { level, time, thread, msg, err, ...details } = record;
    const rest = Object.entries(details).map(([key, value]) => ` ${key}=${String(value)}`);
    this.#target.write(
      `${String(time).slice(11, 19)} ${String(level).toUpperCase().padEnd(5)} ${String(thread)} ${String(msg)}${textOf(err)}${rest.join("")}\n`,
    );
  }
}

function textOf(err: unknown): string {
  if (typeof err !== "object" || err === null)
    return err === undefined ? "" : ` (${JSON.stringify(err)})`;
  const { code, name, message, stack } = err as Record<string, string | undefined>;
  const own = ` (${code ?? name ?? "error"}: ${message ?? ""})`;
  // Errors that are not ours are bugs: where they come from matters.
  return code === undefined && stack !== undefined ? `${own}\n${stack}` : own;
}
