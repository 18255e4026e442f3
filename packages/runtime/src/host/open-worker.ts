/**
 * One worker on this machine, in the current thread: real disk, LMDB, log, state store, actors and gateway.
 *
 * O1 what was opened before a failure is closed again, in reverse order: no port, lock or thread is left behind.
 * O2 the gateway listens only once the worker has recovered.
 */
import { join } from "node:path";
import { randomSeed, seededRng, systemClock, type PinionError, type Telemetry } from "@pinion/core";
import {
  FilesystemArchive,
  RealDisk,
  SegmentStateStore,
  type ArchiveOptions,
  type SegmentedLog,
} from "@pinion/storage";
import { typeBudgetOf } from "../activation/declared-extents.ts";
import type { TurnMonitor } from "../activation/services.ts";
import type { ActorDefinition } from "../definition/define-actor.ts";
import { loadGrpcServer } from "../gateway/gateway.ts";
import { Gateway, type Dispatcher, type GatewayIdentity } from "../gateway/index.ts";
import { takeHome } from "../memory/worker-home.ts";
import { WorkerMemory } from "../memory/worker-memory.ts";
import { TracingDispatcher, type HostLogger } from "../observability/index.ts";
import type { ActorWorker } from "../worker/actor-worker.ts";
import { assembleWorker } from "./assemble-worker.ts";
import { workerPaths } from "./data-directory.ts";
import { IndexStart } from "./index-start.ts";
import type { WorkerSpec } from "./worker-spec.ts";

export interface WorkerContext {
  readonly definitions: readonly ActorDefinition[];
  readonly telemetry: Telemetry;
  readonly monitor: TurnMonitor;
  readonly logger: HostLogger;
  /** The log's index, if its thread has been begun already. */
  readonly index?: IndexStart | undefined;
}

export interface OpenWorker {
  readonly worker: ActorWorker;
  readonly log: SegmentedLog;
  readonly gateway: Gateway;
  /** Where calls go in: what the gateway and an in-process client use. */
  readonly dispatcher: Dispatcher;
  readonly disk: RealDisk;
  readonly store: SegmentStateStore;
  readonly memory: WorkerMemory;
  readonly identity: () => GatewayIdentity;
  /** Lets calls and turns end for up to `graceMs`, checkpoints everything, and closes. May be called again. */
  stop(graceMs: number, reason?: string): Promise<void>;
}

/** @throws `corruption`, `format-too-new`, `config-invalid`, `port-in-use`, errors of the disk */
export async function openWorker(spec: WorkerSpec, context: WorkerContext): Promise<OpenWorker> {
  await using opened = new AsyncDisposableStack(); // O1
  const { definitions, telemetry, monitor, logger } = context;
  const paths = workerPaths(spec.dir);
  const disk = new RealDisk();
  const clock = systemClock;
  const index = spec.identity.worker;
  // First: threads that are started from here on run where this one does.
  const home = takeHome(index, spec.numaAffinity);

  // Its thread starts while memory is set up here.
  const start = context.index ?? new IndexStart(paths.logIndex);
  const opening = start.open(disk.mkdir(paths.log));
  opened.defer(async () => (await opening.catch(() => undefined))?.close());
  // Likewise; a failure is told by the gateway when it starts.
  loadGrpcServer().catch(() => {});
  const memory = new WorkerMemory({
    clock,
    telemetry,
    worker: index,
    home,
    adaptive: spec.adaptive,
    budget: spec.pinBudget,
    typeBudgets: spec.typeBudgets,
    poolBytes: spec.poolBytes,
    types: definitions.flatMap(({ name, options: { memory } }) =>
      memory?.extents === undefined ? [] : [{ name, budget: typeBudgetOf(name, memory) }],
    ),
  });
  opened.defer(() => memory.stop());
  const logKv = await opening;
  const { residency, pool } = memory;
  const store = new SegmentStateStore({
    disk,
    dir: paths.segments,
    superblocks: logKv,
    newGeneration: randomSeed,
    clock,
    onDamage: (error) => logger.error("a stored record is damaged", error),
    shardCount: spec.options.shardCount,
    pool,
  });
  opened.defer(() => store.close());

  const { worker, log } = await assembleWorker(
    { clock, rng: seededRng(spec.seed), disk, logKv, store, residency },
    { telemetry, monitor, logger: { warn: logger.warn } },
    {
      worker: index,
      log: {
        dir: paths.log,
        flush: spec.log.flush,
        segmentBytes: spec.log.segmentBytes,
        stagingBytes: spec.log.stagingBytes,
        ...archiveOf(spec, disk),
      },
      options: spec.options,
      definitions,
    },
  );
  opened.defer(() => log.close());
  opened.defer(() => worker.stop(0));

  const dispatcher = new TracingDispatcher(worker, telemetry);
  const identity = (): GatewayIdentity => ({
    ...spec.identity,
    shardMap: spec.shardMap,
    sessionExpiryMs: spec.options.dedupe.sessionExpiryMs,
  });
  const gateway = new Gateway({ ...spec.gateway, dispatcher, identity, telemetry, clock });
  await gateway.start(); // O2
  opened.defer(() => gateway.stop());

  const parts = opened.move();
  let stopping: Promise<void> | undefined;
  return {
    worker,
    log,
    gateway,
    dispatcher,
    disk,
    store,
    memory,
    identity,
    stop: (graceMs, reason) => {
      stopping ??= stopAll(worker, gateway, parts, graceMs, reason);
      return stopping;
    },
  };
}

function archiveOf({ log, identity }: WorkerSpec, disk: RealDisk): { archive?: ArchiveOptions } {
  if (log.archiveDir === undefined) return {};
  const dir = join(log.archiveDir, `host-${identity.host}`);
  return { archive: { store: new FilesystemArchive(disk, dir) } };
}

async function stopAll(
  worker: ActorWorker,
  gateway: Gateway,
  parts: AsyncDisposableStack,
  graceMs: number,
  reason: string | undefined,
): Promise<void> {
  await using _closed = parts;
  // A worker that has failed answers nothing any more: waiting for its calls would only delay whoever takes over.
  const failure: PinionError | undefined = worker.core.failure;
  await gateway.drain(failure === undefined ? graceMs : 0, reason);
  await worker.stop(graceMs);
}
