/** Reads the layers of a host's options from this process and its disk. */
import {
  messageOf,
  PinionError,
  systemCode,
  type OptionLayers,
  type ResolvedOptions,
} from "@pinion/core";
import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { resolveHostOptions, type HostOptions, type HostOptionsGiven } from "./host-options.ts";

export const CONFIG_FILE_DEFAULT = "pinion.toml";
const CONFIG_FILE_VARIABLE = "PINION_CONFIG_FILE";
/** Larger files are no configuration; they are not read. */
const CONFIG_FILE_BYTES_MAX = 1024 * 1024;

export interface HostOptionsSources {
  /** What the caller gives; it wins over environment and file. */
  readonly argument?: HostOptionsGiven;
  /** The TOML file; by default PINION_CONFIG_FILE, or `pinion.toml` in the working directory if it is there. */
  readonly configFile?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

/**
 * Directories come back absolute.
 * @throws `config-invalid` naming the key, the value, where it stands, and what it must be; or the file that cannot be read
 */
export async function loadHostOptions(
  sources: HostOptionsSources,
): Promise<ResolvedOptions<HostOptions>> {
  const { argument = {}, env, cwd } = sources;
  const file = await readConfigFile(sources);
  const resolved = resolveHostOptions(
    file === undefined ? { argument, env } : { argument, env, file },
  );
  const { dataDir, archiveDir } = resolved.values;
  return Object.freeze({
    ...resolved,
    values: Object.freeze({
      ...resolved.values,
      dataDir: resolve(cwd, dataDir),
      archiveDir: archiveDir === undefined ? undefined : resolve(cwd, archiveDir),
    }),
  });
}

async function readConfigFile({
  configFile,
  env,
  cwd,
}: HostOptionsSources): Promise<OptionLayers["file"]> {
  const named = configFile ?? (env[CONFIG_FILE_VARIABLE] || undefined);
  const path = resolve(cwd, named ?? CONFIG_FILE_DEFAULT);
  try {
    const { size } = await stat(path);
    if (size > CONFIG_FILE_BYTES_MAX) throw new Error("it is longer than 1 MiB");
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
    return { path, text };
  } catch (e) {
    if (named === undefined && systemCode(e) === "ENOENT") return undefined;
    const why = systemCode(e) === "ENOENT" ? "there is no such file" : messageOf(e);
    throw new PinionError(
      "config-invalid",
      `the configuration file ${path} cannot be read: ${why}`,
      {
        details: { key: "configFile", value: path },
        cause: e,
      },
    );
  }
}
