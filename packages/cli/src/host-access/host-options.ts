/** The options that say which host a command means. */
import type { Command } from "commander";

const MEANING = {
  gateway: "gateway of the host, for instance 127.0.0.1:7465",
  admin: "admin address of the host, for instance 127.0.0.1:7466",
} as const;

export function hostOptions(command: Command, door: keyof typeof MEANING): Command {
  return command
    .option(
      "--data-dir <dir>",
      "data directory of a host on this machine (PINION_DATA_DIR, ./.pinion)",
    )
    .option("--host <address>", MEANING[door]);
}
