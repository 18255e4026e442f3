/** Options of a host as flags of `pinion start` and `pinion dev`. */
import type { HostOptions } from "@pinion/runtime";
import type { Command } from "commander";
import type { CliIo } from "../command-frame.ts";

export interface HostFlags {
  readonly dataDir?: string;
  readonly port?: string;
  readonly adminPort?: string;
}

export function hostFlags(command: Command): Command {
  return command
    .option("--data-dir <dir>", "where the host keeps its data (PINION_DATA_DIR, ./.pinion)")
    .option("--port <port>", "port of the gateway; 0: any free one (7465)")
    .option("--admin-port <port>", "port of health, metrics and administration (7466)");
}

export function hostOptionsOf(io: CliIo, flags: HostFlags): Omit<HostOptions, "module" | "actors"> {
  return {} as Omit<HostOptions, "module" | "actors">;
}
