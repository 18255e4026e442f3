/**
 * Puts a worker together from devices: log, replication and actors, recovered and ready. The same on a real machine
 * (open-worker.ts) and on virtual time over a simulated disk (testing/).
 */
import type { Clock, Rng, Telemetry } from "@pinion/core";
import {
  openLog,
  type Disk,
  type KvStore,
  type LogOptions,
  type SegmentedLog,
  type StateStore,
} from "@pinion/storage";
import type { ActorResidency, TurnMonitor } from "../activation/services.ts";
import type { ActorDefinition } from "../definition/define-actor.ts";
import { MajorityOfOne, type Replication } from "../replication/replication.ts";
import { ActorWorker } from "../worker/actor-worker.ts";
import type { WorkerLogger } from "../worker/worker-core.ts";
import type { WorkerOptions } from "../worker/worker-options.ts";

export interface WorkerDevices {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly disk: Disk;
  /** Of the log's segment index. */
  readonly logKv: KvStore;
  readonly store: StateStore;
  /** As `WorkerPorts.residency`. */
  readonly residency?: ActorResidency;
}

export interface WorkerSurroundings {
  readonly telemetry: Telemetry;
  readonly monitor: TurnMonitor;
  readonly logger: WorkerLogger;
}

export interface WorkerPlan {
  readonly worker: number;
  readonly log: Pick<
    LogOptions,
    "dir" | "flush" | "segmentBytes" | "stagingBytes" | "archive" | "sparesMax" | "newGeneration"
  >;
  readonly options: WorkerOptions;
  readonly definitions: readonly ActorDefinition[];
  /** When a record is committed; default: as soon as this disk has it. */
  readonly replicationOf?: (log: SegmentedLog) => Replication;
}

export interface AssembledWorker {
  readonly worker: ActorWorker;
  readonly log: SegmentedLog;
}

/** Turns bound what waits: those that must be recorded by the calls admitted, the others by `TURNS_WAITING_BYTES`. */
const APPENDS_WAITING_MAX = 1_000_000;

/**
 * Recovers and serves. The devices stay their owner's.
 * @throws `corruption`, `format-too-new`, `config-invalid`, `invalid-argument`, errors of the disk
 */
export async function assembleWorker(
  devices: WorkerDevices,
  surroundings: WorkerSurroundings,
  plan: WorkerPlan,
): Promise<AssembledWorker> {
  const { clock, rng, disk, logKv, store } = devices;
  const { telemetry, monitor, logger } = surroundings;
  const log = await openLog({
    ...plan.log,
    disk,
    kv: logKv,
    worker: plan.worker,
    shardCount: plan.options.shardCount,
    appendQueueMax: APPENDS_WAITING_MAX,
    clock,
    telemetry,
  });
  try {
    const ports = {
      clock,
      rng: rng.fork("worker"),
      log,
      store,
      ...(devices.residency === undefined ? {} : { residency: devices.residency }),
      replication: plan.replicationOf?.(log) ?? new MajorityOfOne(log),
      telemetry,
      monitor,
      logger,
    };
    const worker = new ActorWorker(ports, plan.options, plan.definitions);
    await worker.start();
    return { worker, log };
  } catch (error) {
    await log.close().catch(() => {});
    throw error;
  }
}
