/** Options of a host as flags of `pinion start` and `pinion dev`. */
import type { StartHostOptions } from "@pinion/runtime";
import type { Command } from "commander";
import { CliError } from "../cli-error.ts";
import type { CliIo } from "../command-frame.ts";
import { dataDirOf } from "../host-access/host-options.ts";

export interface HostFlags {
  readonly dataDir?: string;
  readonly port?: string;
  readonly adminPort?: string;
}

export type ServeOptions = Omit<StartHostOptions, "module" | "actors">;

export function hostFlags(command: Command): Command {
  return command
    .option("--data-dir <dir>", "where the host keeps its data (PINION_DATA_DIR, ./.pinion)")
    .option("--port <port>", "port of the gateway; 0: any free one (7465)")
    .option("--admin-port <port>", "port of health, metrics and administration (7466)");
}

/** @throws `usage` */
export function hostOptionsOf(io: CliIo, flags: HostFlags): ServeOptions {
  return {
    dataDir: dataDirOf(io, flags),
    port: portOf("--port", flags.port ?? "7465"),
    adminPort: portOf("--admin-port", flags.adminPort ?? "7466"),
  };
}

function portOf(flag: string, text: string): number {
  const port = Number(text);
  if (text.trim() !== "" && Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
  throw new CliError("usage", `${flag} takes a port from 0 to 65535, not ${JSON.stringify(text)}`);
}
