/** The `pinion` command as a function, for whoever wants it inside another program or a test. */
export { runCli } from "./run-cli.ts";
export type { CliIo } from "./command-frame.ts";
export type { TextSink } from "./output/output.ts";
export { ExitCode } from "./exit-codes.ts";
