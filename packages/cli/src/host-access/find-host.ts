/**
 * Which host a command talks to: the one named with `--host`, or the one that runs on the data directory.
 */
import { PinionError } from "@pinion/core";
import { readHostInfo, type HostInfo } from "@pinion/runtime";
import { CliError } from "../cli-error.ts";
import type { CliIo } from "../command-frame.ts";
import { dataDirOf } from "../config/host-config.ts";
import { pathText } from "../output/path-text.ts";

export interface HostChoice {
  readonly host?: string;
  readonly dataDir?: string;
}

export interface HostAddress {
  /** "name:port" */
  readonly address: string;
  /** Where it was found; undefined when the address was given. */
  readonly dataDir: string | undefined;
  /** Undefined when the address was given. */
  readonly info: HostInfo | undefined;
}

const ADDRESS = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$/;

/** @throws `usage`, `no-host`, `config-invalid` */
export async function findHost(
  io: CliIo,
  choice: HostChoice,
  door: "gateway" | "admin",
): Promise<HostAddress> {
  if (choice.host !== undefined) {
    if (!ADDRESS.test(choice.host)) {
      const example = door === "gateway" ? "127.0.0.1:7465" : "127.0.0.1:7466";
      throw new CliError(
        "usage",
        `--host takes "name:port", for instance ${example}, not ${JSON.stringify(choice.host)}`,
      );
    }
    return { address: choice.host, dataDir: undefined, info: undefined };
  }
  const dataDir = await dataDirOf(io, choice);
  const info = await runningHost(dataDir, io.cwd);
  const address = door === "gateway" ? info.endpoints[0] : withoutScheme(info.adminEndpoint);
  if (address === undefined || address === "")
    throw noHost(dataDir, io.cwd, "its host has no gateway");
  return { address, dataDir, info };
}

/** @throws `no-host` */
async function runningHost(dataDir: string, cwd: string): Promise<HostInfo> {
  let found;
  try {
    found = await readHostInfo(dataDir);
  } catch (error) {
    throw noHost(dataDir, cwd, "its host.json cannot be read", error);
  }
  if (found === undefined) throw noHost(dataDir, cwd, "no host is running");
  if (!found.running) {
    const { pid, startedAt } = found.info;
    throw noHost(
      dataDir,
      cwd,
      `the host that ran there (process ${pid}, started ${startedAt}) is gone`,
    );
  }
  return found.info;
}

function noHost(dataDir: string, cwd: string, why: string, cause?: unknown): CliError {
  const dir = pathText(dataDir, cwd);
  const option = dir === ".pinion" ? "" : ` --data-dir ${dir}`;
  return new CliError("no-host", `${why} on the data directory ${dir}`, {
    details: { dataDir },
    cause,
    hints: [
      `start one:            pinion dev ./my-actors.ts${option}`,
      "or name another one:  --data-dir DIR, or --host name:port",
    ],
  });
}

/** A host that should be there does not answer. */
export function noAnswer(host: HostAddress, cause: unknown): CliError {
  const hints =
    host.info === undefined
      ? ["is the address right? pinion dev and pinion start print both of a host's addresses"]
      : [
          `process ${host.info.pid} runs, but does not answer: see its output, or end it with kill ${host.info.pid}`,
        ];
  const said = cause instanceof PinionError ? cause.message : `nothing answers at ${host.address}`;
  return new CliError("no-host", said, { details: { address: host.address }, cause, hints });
}

const withoutScheme = (endpoint: string): string =>
  endpoint.replace(/^https?:\/\//, "").replace(/\/$/, "");
