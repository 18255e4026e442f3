/** What a host runs with: every option resolved, in the terms of the parts that use it. */
import type { AdaptiveOptions } from "@pinion/storage";
import type { MemorySettings } from "../memory/host-memory.ts";
import type { NumaAffinity } from "../memory/worker-home.ts";
import type { LogFormat, LogLevel } from "../observability/index.ts";
import type { WorkerOptions } from "../worker/worker-options.ts";
import type { GatewaySettings, LogSettings } from "./worker-spec.ts";

export interface AdminSettings {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly insecurePlaintext: boolean;
}

export interface HostSettings {
  readonly dataDir: string;
  readonly workers: number;
  readonly gateway: GatewaySettings;
  readonly admin: AdminSettings;
  readonly log: LogSettings;
  readonly worker: WorkerOptions;
  readonly memory: MemorySettings;
  readonly adaptive: AdaptiveOptions;
  readonly numaAffinity: NumaAffinity;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** How long a stop, a reload or a drain waits for calls and turns. */
  readonly stopGraceMs: number;
  /** A worker of a module host whose event loop is blocked for so long is replaced. */
  readonly blockedRestartMs: number;
  /** Heap of one worker thread of a module host. */
  readonly workerHeapBytes: number;
}
