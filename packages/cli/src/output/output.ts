/**
 * Where a command's words go. With `--json` standard output holds JSON only: one document, or one a line, errors included;
 * without, results go to standard output and everything else to standard error.
 */
import { errorJson, errorText } from "./error-text.ts";
import { paintFor, type Paint } from "./style.ts";

export interface TextSink {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface OutputOptions {
  readonly json: boolean;
  readonly debug: boolean;
}

export class Output {
  readonly json: boolean;
  readonly debug: boolean;
  readonly paint: Paint;
  readonly columns: number;
  readonly #out: TextSink;
  readonly #err: TextSink;
  readonly #errPaint: Paint;

  constructor(out: TextSink, err: TextSink, env: NodeJS.ProcessEnv, options: OutputOptions) {
    this.#out = out;
    this.#err = err;
    this.json = options.json;
    this.debug = options.debug;
    this.paint = paintFor(out.isTTY === true, env);
    this.#errPaint = paintFor(err.isTTY === true, env);
    this.columns = out.columns ?? 100;
  }

  /** What the command was asked for: as JSON, or as text. */
  result(json: unknown, text: () => string): void {
    this.#out.write(`${this.json ? jsonText(json) : text()}\n`);
  }

  /** Something that happened meanwhile. `event` names it in JSON, next to `fields`. */
  event(event: string, fields: Readonly<Record<string, unknown>>, text: string): void {
    if (this.json) this.#out.write(`${jsonText({ event, ...fields })}\n`);
    else this.#out.write(`${text}\n`);
  }

  /** Something that went wrong without ending the command. */
  failure(event: string, error: unknown, text: string): void {
    if (this.json) this.event(event, { error: errorJson(error, this.debug) }, "");
    else this.#err.write(`${text}\n${errorText(error, this.debug, this.#errPaint)}\n`);
  }

  /** For people only. */
  note(text: string): void {
    if (!this.json) this.#err.write(`${text}\n`);
  }

  error(error: unknown): void {
    if (this.json) this.#out.write(`${jsonText({ error: errorJson(error, this.debug) })}\n`);
    else this.#err.write(`${errorText(error, this.debug, this.#errPaint)}\n`);
  }
}

/** One line. Infinity, which JSON lacks, is written as "unlimited": the only meaning it has here. */
function jsonText(value: unknown): string {
  return JSON.stringify(value, (_key, v: unknown) => (v === Infinity ? "unlimited" : v)) ?? "null";
}
