/** The door: starts a host in this process. */
import { PinionError } from "@pinion/core";
import { isActorDefinition, type ActorDefinition } from "../definition/define-actor.ts";
import type { Host } from "./host.ts";
import type { HostOptionsGiven } from "./host-options.ts";
import { loadHostOptions } from "./load-host-options.ts";
import { moduleUrl } from "./load-definitions.ts";
import { settingsOf } from "./settings-of-options.ts";
import { startValuesHost } from "./values-host.ts";

/** Where the actors come from, and any of the host's options (docs/configuration.md); exactly one of `actors` and `module`. */
export interface StartHostOptions extends HostOptionsGiven {
  /** Definitions: they run in the caller's thread, next to the caller's own code. */
  readonly actors?: readonly ActorDefinition[] | undefined;
  /** URL, or path from the working directory, of a module that exports definitions: they run in threads of their own. */
  readonly module?: URL | string | undefined;
  /** A TOML file with options; default: PINION_CONFIG_FILE, or `pinion.toml` in the working directory if it is there. */
  readonly configFile?: string | undefined;
}

/**
 * Starts a host: opens or creates its data directory, recovers, and serves. Options not given come from the environment, the
 * configuration file and the defaults, in this order.
 *
 * Resolves once calls are served. Everything a failed start has taken (lock, ports, threads) is given back.
 *
 * @throws `config-invalid`, `unsupported-platform`, `data-dir-locked`, `format-too-new`, `corruption`, `port-in-use`,
 * `module-failed`, `invalid-argument` (definitions that cannot be), `disk-full`, `disk-read-only`, `io-error`
 */
export async function startHost(options: StartHostOptions): Promise<Host> {
  const { actors, module, configFile, ...given } = options;
  if ((actors === undefined) === (module === undefined)) {
    throw new PinionError(
      "config-invalid",
      `startHost takes either actors (values) or module (a URL or path)${actors === undefined ? "" : ", not both"}`,
      { details: { key: actors === undefined ? "actors" : "module" } },
    );
  }
  const { values } = await loadHostOptions({
    argument: given,
    configFile,
    env: process.env,
    cwd: process.cwd(),
  });
  const settings = settingsOf(values);
  if (module !== undefined) {
    const { href } = moduleUrl(module);
    // What only this kind of host needs, an HTTP server among it, is loaded for it alone.
    return (await import("./module-host.ts")).startModuleHost(settings, href);
  }
  return startValuesHost(settings, checked(actors ?? []));
}

function checked(actors: readonly ActorDefinition[]): readonly ActorDefinition[] {
  if (actors.length > 0 && actors.every(isActorDefinition)) return actors;
  throw new PinionError(
    "config-invalid",
    actors.length === 0
      ? "actors is empty: give at least one of what defineActor returns"
      : "actors holds something that defineActor has not returned",
    { details: { key: "actors" } },
  );
}
