/** From the words of a command line to an exit code. */
import { Command, CommanderError } from "commander";
import { CliError } from "./cli-error.ts";
import { CommandFrame, type CliIo, type CommonOptions } from "./command-frame.ts";
import { actorsCommand } from "./commands/actors.ts";
import { callCommand } from "./commands/call.ts";
import { configCommand } from "./commands/config.ts";
import { devCommand } from "./commands/dev.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { extentsCommand } from "./commands/extents.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { pinsCommand } from "./commands/pins.ts";
import { segmentsCommand } from "./commands/segments.ts";
import { startCommand } from "./commands/start.ts";
import { statusCommand } from "./commands/status.ts";
import { stopCommand } from "./commands/stop.ts";
import { ExitCode } from "./exit-codes.ts";
import { VERSION } from "./version.ts";

const COMMANDS = [
  devCommand,
  startCommand,
  stopCommand,
  statusCommand,
  callCommand,
  actorsCommand,
  inspectCommand,
  extentsCommand,
  pinsCommand,
  segmentsCommand,
  doctorCommand,
  configCommand,
];

const EXIT_CODES = `
Exit codes:
  0  ok
  1  the call failed, the host refused, or a check found a failure
  2  the command line or the configuration is wrong
  3  no host is running there`;

/** All commands over one world. */
export function makeProgram(frame: CommandFrame): Command {
  const program = new Command("pinion")
    .description("Durable virtual actors for TypeScript.")
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand(false)
    .addHelpText("after", EXIT_CODES);
  // Before the command they mean the same as behind it.
  frame.common(program).hook("preAction", () => frame.setCommon(program.opts<CommonOptions>()));
  for (const make of COMMANDS) {
    const command = frame.common(make(frame)).helpOption("-h, --help", "print this help");
    program.addCommand(command.copyInheritedSettings(program));
  }
  return program;
}

/** @param args without the program's name. */
export async function runCli(args: readonly string[], io: CliIo): Promise<ExitCode> {
  const frame = new CommandFrame(io);
  const program = makeProgram(frame);
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: () => {}, // told below, in the form that was asked for
      getOutHelpWidth: () => io.stdout.columns ?? 100,
    });
  }
  try {
    await program.parseAsync(args, { from: "user" });
    return frame.exitCode;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return ExitCode.ok; // help and version, as asked
    const output = frame.output({ json: optionsOf(args).includes("--json") });
    output.error(usageError(error, program, args));
    return ExitCode.usage;
  }
}

function usageError(error: CommanderError, program: Command, args: readonly string[]): CliError {
  const named = program.commands.find((command) => command.name() === args[0]);
  const help = `pinion ${named === undefined ? "" : `${named.name()} `}--help`;
  if (error.code === "commander.help") {
    const names = program.commands.map((command) => command.name()).join(", ");
    return new CliError("usage", `no command given; there are ${names}`, {
      hints: [`see ${help}`],
    });
  }
  const [message = "", ...suggestions] = error.message.replace(/^error: /, "").split("\n");
  return new CliError("usage", message, { hints: [...suggestions, `see ${help}`] });
}

/** What stands behind `--` is an argument, however it looks. */
function optionsOf(args: readonly string[]): readonly string[] {
  const end = args.indexOf("--");
  return end < 0 ? args : args.slice(0, end);
}
