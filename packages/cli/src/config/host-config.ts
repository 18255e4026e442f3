/**
 * The options of a host as this command line sees them: flags > `--set` > environment > TOML file > default, with the place
 * each came from. The same layers decide where a running host is looked for.
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { OptionSource } from "@pinion/core";
import { CONFIG_FILE_DEFAULT, loadHostOptions, type HostOptions } from "@pinion/runtime";
import type { Command } from "commander";
import { CliError } from "../cli-error.ts";
import type { CliIo } from "../command-frame.ts";

const CONFIG_VARIABLE = "PINION_CONFIG_FILE";

export interface ConfigFlags {
  readonly dataDir?: string;
  readonly port?: string;
  readonly adminPort?: string;
  readonly config?: string;
  /** "key=value" */
  readonly set?: readonly string[];
}

export interface HostConfig {
  /** `dataDir` is absolute. */
  readonly values: HostOptions;
  readonly sources: Readonly<Record<keyof HostOptions, OptionSource>>;
  /** The file that was read. */
  readonly file: string | undefined;
  readonly notes: readonly string[];
}

/** Flags for any option of a host: the common ones by name, the rest by `--set`. */
export function configFlags(command: Command): Command {
  return command
    .option("--data-dir <dir>", "where the host keeps its data (./.pinion)")
    .option("--port <port>", "port of the gateway; 0: any free one (7465)")
    .option(
      "--admin-port <port>",
      "port of health, metrics and administration; 0: any free one (7466)",
    )
    .option(
      "--set <key=value>",
      "any other option; see pinion config",
      (word, all: string[]) => [...all, word],
      [],
    )
    .option(
      "--config <file>",
      `TOML file with options (${CONFIG_VARIABLE}, ./${CONFIG_FILE_DEFAULT} if there is one)`,
    );
}

/** @throws `config-invalid`; `usage` */
export async function hostConfig(io: CliIo, flags: ConfigFlags): Promise<HostConfig> {
  const { env, cwd } = io;
  const options = { argument: argumentsOf(flags), configFile: flags.config, env, cwd };
  return { ...(await loadHostOptions(options)), file: configPath(io, flags) };
}

/** Where a host on this machine is looked for; absolute. @throws `config-invalid` */
export async function dataDirOf(
  io: CliIo,
  { dataDir }: Pick<ConfigFlags, "dataDir">,
): Promise<string> {
  return (await hostConfig(io, dataDir === undefined ? {} : { dataDir })).values.dataDir;
}

/** Which file `loadHostOptions` has read. */
function configPath(io: CliIo, { config }: ConfigFlags): string | undefined {
  const named = config ?? (io.env[CONFIG_VARIABLE] || undefined);
  if (named !== undefined) return resolve(io.cwd, named);
  const usual = resolve(io.cwd, CONFIG_FILE_DEFAULT);
  return existsSync(usual) ? usual : undefined;
}

function argumentsOf({ dataDir, port, adminPort, set = [] }: ConfigFlags): Record<string, string> {
  const given: Record<string, string> = {};
  for (const word of set) {
    const at = word.indexOf("=");
    if (at < 1) throw new CliError("usage", `--set takes key=value, not ${JSON.stringify(word)}`);
    given[word.slice(0, at)] = word.slice(at + 1);
  }
  if (dataDir !== undefined) given["dataDir"] = dataDir;
  if (port !== undefined) given["port"] = port;
  if (adminPort !== undefined) given["adminPort"] = adminPort;
  return given;
}
