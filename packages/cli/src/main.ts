#!/usr/bin/env node
/** The `pinion` command: the real process around runCli. */
import { systemClock } from "@pinion/core";
import { runCli } from "./run-cli.ts";

const STOP_SIGNALS = ["SIGINT", "SIGTERM"] as const;

// A reader that has seen enough (`pinion actors | head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await runCli(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  clock: systemClock,
  onStopSignal(listener) {
    for (const signal of STOP_SIGNALS) process.on(signal, listener);
    return () => {
      for (const signal of STOP_SIGNALS) process.off(signal, listener);
    };
  },
  exitNow: (code) => process.exit(code),
});
