/**
 * The host's log: pino, one line of JSON a record on stderr, or a line of text for people at a terminal. Each thread writes its
 * own lines, so that a blocked or dying thread keeps nobody else's back.
 *
 * L1 writing never waits for whoever reads the pipe; what is still buffered when a thread gives up is written with `flush`.
 * L2 pino is loaded with the first line: a control thread that has nothing to say, or a host told to be silent, starts without it.
 */
import { createRequire } from "node:module";
import { isPinionError, type Clock } from "@pinion/core";
import type * as Pino from "pino";
import type { DestinationStream, Logger as PinoLogger } from "pino";

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

type LogTarget = DestinationStream & { flushSync?(): void };

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** "worker-0", "control". */
  readonly thread: string;
  readonly clock: Clock;
  /** Where lines go; default: stderr. */
  readonly destination?: LogTarget;
}

const STDERR = 2;

type Line = Exclude<LogLevel, "silent">;

/** From the most to the least talkative. */
const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error", "silent"];

export function createLogger(options: LoggerOptions): HostLogger {
  const { level } = options;
  let opened: { readonly log: PinoLogger; readonly target: LogTarget } | undefined;
  const write = (line: Line, message: string, details: LogDetails = {}, error?: unknown): void => {
    if (LEVELS.indexOf(line) < LEVELS.indexOf(level)) return;
    opened ??= openLog(options); // L2
    opened.log[line](error === undefined ? details : { ...details, err: error }, message);
  };
  return {
    debug: (message, details) => write("debug", message, details),
    info: (message, details) => write("info", message, details),
    warn: (message, error, details) => write("warn", message, details, error),
    error: (message, error, details) => write("error", message, details, error),
    flush: () => {
      try {
        opened?.target.flushSync?.();
      } catch {
        // Nobody reads the pipe any more, or it never opened: there is nobody to tell.
      }
    },
  };
}

function openLog(options: LoggerOptions): { log: PinoLogger; target: LogTarget } {
  const { level, format, thread, clock } = options;
  const { pino } = createRequire(import.meta.url)("pino") as typeof Pino;
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
  return { log, target };
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
