/** The options that say which host a command means. */
import { resolve } from "node:path";
import type { Command } from "commander";
import type { CliIo } from "../command-frame.ts";
import type { HostChoice } from "./find-host.ts";

export const DATA_DIR_DEFAULT = ".pinion";

const MEANING = {
  gateway: "gateway of the host, for instance 127.0.0.1:7465",
  admin: "admin address of the host, for instance 127.0.0.1:7466",
} as const;

export function hostOptions(command: Command, door: keyof typeof MEANING): Command {
  return command
    .option(
      "--data-dir <dir>",
      `data directory of a host on this machine (PINION_DATA_DIR, ./${DATA_DIR_DEFAULT})`,
    )
    .option("--host <address>", MEANING[door]);
}

/** Absolute. */
export function dataDirOf(io: CliIo, choice: HostChoice): string {
  // An empty variable is an unset one.
  return resolve(io.cwd, choice.dataDir ?? (io.env["PINION_DATA_DIR"] || DATA_DIR_DEFAULT));
}
