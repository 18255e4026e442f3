/** Mistakes on the command line and hosts that are not there. What a host or a disk says stays a `PinionError`. */
import type { DetailValue } from "@pinion/core";
import { ExitCode } from "./exit-codes.ts";

export type CliErrorCode = "usage" | "no-host";

export interface CliErrorOptions {
  readonly details?: Readonly<Record<string, DetailValue>>;
  /** What to do now: commands or sentences, one a line. */
  readonly hints?: readonly string[];
  readonly cause?: unknown;
}

export class CliError extends Error {
  readonly code: CliErrorCode;
  readonly details: Readonly<Record<string, DetailValue>>;
  readonly hints: readonly string[];

  constructor(code: CliErrorCode, message: string, options: CliErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CliError";
    this.code = code;
    this.details = options.details ?? {};
    this.hints = options.hints ?? [];
  }

  get exitCode(): ExitCode {
    return this.code === "usage" ? ExitCode.usage : ExitCode.noHost;
  }
}
