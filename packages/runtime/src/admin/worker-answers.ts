/** How a worker answers the control thread (worker-requests.ts). */
import { lsn, PinionError } from "@pinion/core";
import { RecordKind, type Disk, type SegmentedLog, type SegmentStateStore } from "@pinion/storage";
import type { Gateway } from "../gateway/index.ts";
import type { WorkerMemory } from "../memory/worker-memory.ts";
import type { MetricSnapshot } from "../observability/index.ts";
import type { ActorWorker } from "../worker/actor-worker.ts";
import { inspectActor } from "./actor-inspection.ts";
import { listActors } from "./actor-listing.ts";
import { extentsOf, pinsOf, segmentsOf } from "./memory-answers.ts";
import { slowTurns } from "./turn-summaries.ts";
import type { ProbeResult, TypeSummary, WorkerRequests, WorkerStatus } from "./worker-requests.ts";

/** Room a worker needs to go on: the segments it writes, prepares and keeps for reuse. */
const SEGMENTS_NEEDED = 4;

export interface AnsweringWorker {
  readonly index: number;
  readonly worker: ActorWorker;
  readonly log: SegmentedLog;
  readonly gateway: Pick<Gateway, "address" | "stats">;
  readonly disk: Disk;
  readonly store: SegmentStateStore;
  readonly memory: WorkerMemory;
  readonly dir: string;
  readonly segmentBytes: number;
  readonly startedAtMs: number;
  metrics(): Promise<readonly MetricSnapshot[]>;
}

type Answers = {
  readonly [K in keyof WorkerRequests]: (
    args: WorkerRequests[K]["args"],
  ) => WorkerRequests[K]["result"] | Promise<WorkerRequests[K]["result"]>;
};

export function workerAnswers(source: AnsweringWorker): Answers {
  const { core } = source.worker;
  return {
    probe: () => probe(source),
    metrics: () => source.metrics(),
    status: () => statusOf(source),
    types: () => typesOf(source.worker),
    actors: (query) => listActors(core, query),
    inspect: ({ id }) => inspectActor(core, source.index, id),
    pins: (query) => pinsOf(source.index, source.memory, query),
    extents: ({ id }) => extentsOf(core, source.index, source.memory, id),
    segments: () => segmentsOf(source.index, source.store),
  };
}

/**
 * Commits a record that says nothing.
 * @throws what keeps the worker from committing
 */
async function probe({ worker, log }: AnsweringWorker): Promise<ProbeResult> {
  const { core } = worker;
  if (core.failure !== undefined) throw core.failure;
  const shard = core.shards.values().next().value?.shard;
  if (shard === undefined || core.state !== "serving")
    throw new PinionError("unavailable", `the worker is ${core.state}`);
  const { clock } = core.ports;
  const startedMs = clock.nowMs();
  const at = shard.tryAppend(RecordKind.probe, new Uint8Array(0));
  if (at === undefined) {
    throw (
      log.backpressure() ?? new PinionError("overloaded", "the log's buffer is full at the moment")
    );
  }
  // Also where replies do not wait for the flush: whether the disk still takes writes is what is asked.
  await Promise.all([shard.whenCommitted(at), log.whenFlushed(shard.id, lsn(at))]);
  return { tookMs: clock.nowMs() - startedMs };
}

async function statusOf(source: AnsweringWorker): Promise<WorkerStatus> {
  const { worker, log, gateway, disk, dir, segmentBytes } = source;
  const { core, checkpointer } = worker;
  const { clock } = core.ports;
  const archive = log.archiveHealth();
  const stats = log.stats();
  const flushes = Object.values(stats.flushes).reduce((sum, n) => sum + n, 0);
  return {
    worker: source.index,
    state: core.state,
    endpoint: gateway.address,
    failure: core.failure?.message ?? null,
    uptimeMs: Math.round(clock.nowMs() - source.startedAtMs),
    activations: core.catalog.size,
    callsInFlight: gateway.stats().inFlight,
    outboxEntries: core.outboxSize,
    streams: gateway.stats().streams,
    sessions: worker.sessionCount,
    recovery: worker.recovery,
    checkpoint: {
      completed: checkpointer.completed,
      lastError: checkpointer.lastError ?? null,
      logBytesSince: checkpointer.logBytesSince,
      dirtyBytes: core.unwritten.bytes,
    },
    log: {
      policy: log.policy.name,
      segments: stats.segments,
      flushes,
      flushP99Us: stats.latencyUs.p99,
      backpressure: log.backpressure()?.message ?? null,
      troubles: stats.troubles,
    },
    archive: {
      state: archive.state,
      error: archive.error?.message ?? null,
      failingForMs: archive.failingForMs,
      backlogSegments: archive.backlogSegments,
    },
    disk: { freeBytes: await disk.freeBytes(dir), neededBytes: SEGMENTS_NEEDED * segmentBytes },
    clockAheadMs: Math.round(core.hlc.aheadMs()),
    slowTurns: slowTurns(core),
  };
}

function typesOf(worker: ActorWorker): TypeSummary[] {
  const { core } = worker;
  return [...core.types.values()].map((type) => ({
    name: type.name,
    stateVersion: type.stateVersion,
    reentrancy: type.reentrancy,
    methods: type.description.methods,
    activations: core.catalog.countOfType(type.name),
  }));
}
