/** The door: starts a host in this process. */
import type { ActorDefinition } from "../definition/define-actor.ts";
import { WORKER_DEFAULTS } from "../worker/worker-options.ts";
import type { Host } from "./host.ts";
import type { HostSettings } from "./host-settings.ts";
import { moduleUrl } from "./load-definitions.ts";
import { startModuleHost } from "./module-host.ts";
import { startValuesHost } from "./values-host.ts";

/** PROVISIONAL until host-options.ts is there. */
export interface StartHostOptions {
  readonly actors?: readonly ActorDefinition[];
  readonly module?: URL | string;
  readonly dataDir: string;
  readonly port?: number;
  readonly adminPort?: number;
  readonly blockedRestartMs?: number;
  readonly shardCount?: number;
  readonly logLevel?: HostSettings["logLevel"];
  readonly workerHeapBytes?: number;
}

export async function startHost(options: StartHostOptions): Promise<Host> {
  const settings: HostSettings = {
    dataDir: options.dataDir,
    workers: 1,
    gateway: {
      host: "127.0.0.1",
      port: options.port ?? 0,
      insecurePlaintext: false,
      maxInFlight: 65_536,
      maxFrameBytes: 4 << 20,
    },
    admin: { host: "127.0.0.1", port: options.adminPort ?? 0, insecurePlaintext: false },
    log: { flush: "group", segmentBytes: 64 << 20, stagingBytes: 8 << 20, archiveDir: undefined },
    worker: { ...WORKER_DEFAULTS, shardCount: options.shardCount ?? 16 },
    logLevel: options.logLevel ?? "info",
    logFormat: "text",
    stopGraceMs: 5_000,
    blockedRestartMs: options.blockedRestartMs ?? 10_000,
    workerHeapBytes: options.workerHeapBytes ?? 2 ** 31,
  };
  if (options.actors !== undefined) return startValuesHost(settings, options.actors);
  return startModuleHost(settings, moduleUrl(options.module ?? "").href);
}
