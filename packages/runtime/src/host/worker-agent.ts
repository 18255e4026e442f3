/**
 * A worker's end of its talk with the control thread: beats on the turn board, answers requests, says when the worker has
 * failed. Lives in the worker's thread, whichever that is.
 */
import { systemClock, type Clock, type PinionError, type Timer } from "@pinion/core";
import type { WorkerRequests } from "../admin/index.ts";
import { workerAnswers } from "../admin/worker.ts";
import {
  createLogger,
  ProcessMetrics,
  ThreadTelemetry,
  type HostLogger,
} from "../observability/index.ts";
import type { ActorDefinition } from "../definition/define-actor.ts";
import type { IndexStart } from "./index-start.ts";
import type { RpcHandlers } from "./message-rpc.ts";
import { openWorker, type OpenWorker } from "./open-worker.ts";
import { BEAT_MS, TurnBoardWriter } from "./turn-board.ts";
import { observeWorker } from "./worker-metrics.ts";
import type { WorkerSpec } from "./worker-spec.ts";

/** Says that the event loop turns, until stopped. */
export class Heartbeat {
  readonly writer: TurnBoardWriter;
  readonly #clock: Clock;
  #timer: Timer | undefined;

  constructor(board: SharedArrayBuffer, clock: Clock) {
    this.writer = new TurnBoardWriter(board);
    this.#clock = clock;
    this.#beat();
  }

  #beat(): void {
    this.writer.beat();
    this.#timer = this.#clock.setTimer(BEAT_MS, () => this.#beat());
  }

  stop(): void {
    this.#timer?.cancel();
  }
}

export interface RunningWorker {
  readonly open: OpenWorker;
  readonly logger: HostLogger;
  readonly answers: RpcHandlers<WorkerRequests>;
}

/**
 * Opens a worker in this thread with everything that observes it.
 * @param index of its log, if begun already @throws as `openWorker`
 */
export async function runWorker(
  spec: WorkerSpec,
  definitions: readonly ActorDefinition[],
  heartbeat: Heartbeat,
  onFailure: (error: PinionError) => void,
  index?: IndexStart,
): Promise<RunningWorker> {
  const clock = systemClock;
  const { worker } = spec.identity;
  const logger = createLogger({
    level: spec.logLevel,
    format: spec.logFormat,
    thread: `worker-${worker}`,
    clock,
  });
  const telemetry = new ThreadTelemetry();
  const startedAtMs = clock.nowMs();
  const open = await openWorker(spec, {
    definitions,
    telemetry,
    monitor: heartbeat.writer,
    logger,
    index,
  });
  // Loads its library a while later: not before the worker serves.
  const processMetrics = new ProcessMetrics("thread");
  observeWorker(open.worker, telemetry);
  open.worker.onFailure((error) => {
    logger.error("the worker has failed", error);
    onFailure(error);
  });
  const { records, rerun, redelivered, ms } = open.worker.recovery;
  logger.info(`worker ${worker} serves ${open.gateway.address}`, {
    recoveredRecords: records,
    rerun,
    redelivered,
    recoveryMs: Math.round(ms),
  });
  const labels = { worker: String(worker) };
  const answers = workerAnswers({
    index: worker,
    worker: open.worker,
    log: open.log,
    gateway: open.gateway,
    disk: open.disk,
    store: open.store,
    memory: open.memory,
    dir: spec.dir,
    segmentBytes: spec.log.segmentBytes,
    startedAtMs,
    metrics: async () => [
      ...telemetry.metrics.snapshot(labels),
      ...(await processMetrics.snapshot(labels)),
    ],
  });
  return { open, logger, answers };
}
