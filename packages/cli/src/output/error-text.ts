/** Errors as text for people and as JSON for programs. Field names are stable. */
import {
  isPinionError,
  messageOf,
  systemCode,
  type DetailValue,
  type ErrorCode,
  type PinionError,
} from "@pinion/core";
import { CliError } from "../cli-error.ts";
import type { Paint } from "./style.ts";

export interface ErrorJson {
  readonly code: string;
  readonly message: string;
  readonly retry?: string;
  readonly details: Readonly<Record<string, DetailValue>>;
  /** Class of the error an actor's method threw. */
  readonly name?: string;
  readonly hints: readonly string[];
  readonly cause?: ErrorJson;
  /** With --debug. */
  readonly stack?: string;
  readonly remoteStack?: string;
}

/** What a person at a terminal can do about an error of the runtime. */
const HINTS: Partial<Record<ErrorCode, (error: PinionError) => readonly string[]>> = {
  "data-dir-locked": ({ details }) => [
    `stop the host that runs there:  pinion stop --data-dir ${String(details["dir"])}`,
    "or use another directory:       --data-dir DIR",
  ],
  "port-in-use": () => ["take any free ports:  --port 0 --admin-port 0"],
  "module-failed": (error) =>
    /Cannot find package '@pinion\/runtime'/.test(error.message)
      ? ["install it next to the module:  npm install @pinion/runtime"]
      : [],
};

/** Causes of causes are followed this far. */
const CAUSES_MAX = 5;

export function errorJson(error: unknown, debug: boolean, depth = 0): ErrorJson {
  const cause = error instanceof Error ? error.cause : undefined;
  const remoteStack = isPinionError(error) ? error.remoteStack : undefined;
  return {
    code: codeOf(error),
    message: messageOf(error),
    ...(isPinionError(error) && { retry: error.retry }),
    details: detailsOf(error),
    ...(isPinionError(error) && error.userName !== undefined && { name: error.userName }),
    hints: hintsOf(error),
    ...(cause !== undefined && depth < CAUSES_MAX && { cause: errorJson(cause, debug, depth + 1) }),
    ...(debug && error instanceof Error && error.stack !== undefined && { stack: error.stack }),
    ...(debug && remoteStack !== undefined && { remoteStack }),
  };
}

export function errorText(error: unknown, debug: boolean, paint: Paint): string {
  const head =
    isPinionError(error, "actor-error") && error.userName !== undefined
      ? error.userName
      : codeOf(error);
  const lines = [`${paint("red", `error[${head}]:`)} ${messageOf(error)}`];
  for (const cause of causesOf(error)) lines.push(`  caused by: ${messageOf(cause)}`);
  for (const hint of hintsOf(error)) lines.push(`  ${hint}`);
  if (debug) lines.push(...stacksOf(error).map((stack) => paint("dim", stack)));
  else if (codeOf(error) === "internal") lines.push("  run it again with --debug to see where");
  return lines.join("\n");
}

function codeOf(error: unknown): string {
  if (isPinionError(error) || error instanceof CliError) return error.code;
  return systemCode(error) ?? "internal"; // "ENOENT": somebody else's codes are better than none
}

function detailsOf(error: unknown): Readonly<Record<string, DetailValue>> {
  return isPinionError(error) || error instanceof CliError ? error.details : {};
}

function hintsOf(error: unknown): readonly string[] {
  if (error instanceof CliError) return error.hints;
  return isPinionError(error) ? (HINTS[error.code]?.(error) ?? []) : [];
}

/** Only those that say something the error has not said already. */
function causesOf(error: unknown): unknown[] {
  const causes: unknown[] = [];
  let said = messageOf(error);
  let cause = error instanceof Error ? error.cause : undefined;
  for (
    ;
    cause !== undefined && causes.length < CAUSES_MAX;
    cause = (cause as Partial<Error>).cause
  ) {
    if (!said.includes(messageOf(cause))) causes.push(cause);
    said += messageOf(cause);
    if (!(cause instanceof Error)) break;
  }
  return causes;
}

function stacksOf(error: unknown): string[] {
  const stacks: string[] = [];
  if (error instanceof Error && error.stack !== undefined) stacks.push(error.stack);
  const remote = (error as Partial<PinionError>).remoteStack;
  if (typeof remote === "string") stacks.push(`on the host: ${remote}`);
  return stacks;
}
