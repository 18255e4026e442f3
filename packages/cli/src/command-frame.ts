/**
 * What all commands share: `--json` and `--debug`, an example in the help, and one place where an error becomes words and an
 * exit code.
 */
import { isPinionError, type Clock } from "@pinion/core";
import { Command } from "commander";
import { CliError } from "./cli-error.ts";
import { ExitCode } from "./exit-codes.ts";
import { Output, type TextSink } from "./output/output.ts";

/** The world of a command, so that a test can be it. */
export interface CliIo {
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly clock: Clock;
  /** Calls `listener` for each signal that asks the process to end. Returns what takes it off again. */
  onStopSignal(listener: () => void): () => void;
  /** Ends the process at once. */
  exitNow(code: number): void;
}

export interface CommonOptions {
  readonly json?: boolean;
  readonly debug?: boolean;
}

export interface CommandTexts {
  readonly summary: string;
  /** Below the summary in the command's own help. */
  readonly description?: string;
  /** Command lines with what they do. */
  readonly examples: readonly (readonly [line: string, meaning: string])[];
  /** What `--json` prints: field names with what they hold. Scripts rely on them. */
  readonly json: string;
}

type Body = (output: Output) => Promise<ExitCode | void>;

export class CommandFrame {
  readonly io: CliIo;
  exitCode: ExitCode = ExitCode.ok;
  /** What stood before the command. */
  #common: CommonOptions = {};

  constructor(io: CliIo) {
    this.io = io;
  }

  /** @param usage name and arguments as in `call <actor> <method> [args...]` */
  command(usage: string, texts: CommandTexts): Command {
    const [name = "", ...args] = usage.split(" ");
    const command = new Command(name);
    for (const arg of args) command.argument(arg);
    const { summary, description, examples, json } = texts;
    const width = Math.max(...examples.map(([line]) => line.length));
    const lines = examples.map(([line, meaning]) => `  $ ${line.padEnd(width)}  # ${meaning}`);
    return command
      .summary(summary)
      .description(description === undefined ? summary : `${summary}\n\n${description}`)
      .addHelpText("after", `\nExamples:\n${lines.join("\n")}\n\nWith --json:\n  ${json}`);
  }

  /** The options that end every command's list. */
  common(command: Command): Command {
    return command
      .option("--json", "print JSON: one document, or one a line; errors too")
      .option("--debug", "print the stack of an error");
  }

  setCommon(options: CommonOptions): void {
    this.#common = options;
  }

  /** Runs a command's body; whatever it throws is printed and decides the exit code. */
  async run(options: CommonOptions, body: Body): Promise<void> {
    const output = this.output(options);
    try {
      this.exitCode = (await body(output)) ?? ExitCode.ok;
    } catch (error) {
      output.error(error);
      this.exitCode = exitCodeOf(error);
    }
  }

  output(options: CommonOptions): Output {
    const { json = false, debug = false } = { ...options, ...this.#common };
    return new Output(this.io.stdout, this.io.stderr, this.io.env, { json, debug });
  }
}

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CliError) return error.exitCode;
  return isPinionError(error, "config-invalid") ? ExitCode.usage : ExitCode.failed;
}
