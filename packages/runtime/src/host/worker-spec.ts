/** Everything a worker needs to open, as plain values: it may have to cross into another thread. */
import type { AdaptiveOptions } from "@pinion/storage";
import type { ShardMapMessage } from "@pinion/core";
import type { NumaAffinity } from "../memory/worker-home.ts";
import type { LogFormat, LogLevel } from "../observability/index.ts";
import type { WorkerOptions } from "../worker/worker-options.ts";

export interface WorkerIdentity {
  readonly clusterId: string;
  readonly host: string;
  readonly incarnation: number;
  readonly worker: number;
  readonly hostVersion: string;
}

export interface LogSettings {
  /** Text form of a flush policy. */
  readonly flush: string;
  readonly segmentBytes: number;
  readonly stagingBytes: number;
  /** Folder to which finished segments are copied; undefined for none. */
  readonly archiveDir: string | undefined;
}

export interface GatewaySettings {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly insecurePlaintext: boolean;
  readonly maxInFlight: number;
  readonly maxFrameBytes: number;
}

export interface WorkerSpec {
  readonly identity: WorkerIdentity;
  readonly shardMap: ShardMapMessage;
  /** The worker's own folder. */
  readonly dir: string;
  readonly log: LogSettings;
  readonly gateway: GatewaySettings;
  readonly options: WorkerOptions;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** Shared memory for heartbeat and turns (turn-board.ts). */
  readonly board: SharedArrayBuffer;
  /** What all workers of the host count their pins in (BudgetCounter). */
  readonly pinBudget: SharedArrayBuffer;
  /** The same for actor types with bounds of their own (TypeBudgetTable). */
  readonly typeBudgets: SharedArrayBuffer;
  /** Memory for pages that are not pinned. */
  readonly poolBytes: number;
  readonly adaptive: AdaptiveOptions;
  readonly numaAffinity: NumaAffinity;
  /** What the worker's randomness comes from. */
  readonly seed: number;
}
