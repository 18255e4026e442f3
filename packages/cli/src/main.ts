#!/usr/bin/env node
/** The `pinion` command: the real process around runCli. */
import { enableCompileCache, getCompileCacheDir } from "node:module";
import { dirname } from "node:path";

const STOP_SIGNALS = ["SIGINT", "SIGTERM"] as const;

// A reader that has seen enough (`pinion actors | head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

// Measured: 0.64 s → 0.25 s until the first line runs, and a worker thread starts in 0.35 s instead of 0.85 s: threads read
// the variable. Everything else is imported after it for that reason.
enableCompileCache();
const cacheDir = getCompileCacheDir();
if (cacheDir !== undefined) process.env["NODE_COMPILE_CACHE"] ??= dirname(cacheDir);

const { systemClock } = await import("@pinion/core");
const { runCli } = await import("./run-cli.ts");

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
