/**
 * A worker thread of a host whose actors come from a module. It loads the module when told to, opens when told to (the old
 * worker must have closed by then), and ends with its last request.
 */
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { assert, encodeError, PinionError, systemClock } from "@pinion/core";
import type { WorkerRequests } from "../admin/index.ts";
import type { ActorDefinition } from "../definition/define-actor.ts";
import { loadDefinitions } from "./load-definitions.ts";
import { RpcPeer, type RpcHandlers } from "./message-rpc.ts";
import { Heartbeat, runWorker, type RunningWorker } from "./worker-agent.ts";
import type { SlotEvents, ThreadRequests, WorkerThreadData } from "./worker-thread.ts";

const { index, module, board } = workerData as WorkerThreadData;
const heartbeat = new Heartbeat(board, systemClock);
let definitions: readonly ActorDefinition[] = [];
let running: RunningWorker | undefined;

/** Of a worker that is open. */
function answer<K extends keyof WorkerRequests>(kind: K): RpcHandlers<WorkerRequests>[K] {
  return ((args: WorkerRequests[K]["args"]) => {
    if (running === undefined)
      throw new PinionError("unavailable", `worker ${index} is not open yet`);
    return running.answers[kind](args);
  }) as RpcHandlers<WorkerRequests>[K];
}

const handlers: RpcHandlers<ThreadRequests> = {
  load: async () => {
    definitions = await loadDefinitions(module);
    return null;
  },
  open: async (spec) => {
    running = await runWorker(spec, definitions, heartbeat, (error) => {
      void peer.request("failed", { error: encodeError(error) }, FAILED_TIMEOUT_MS).catch(() => {});
    });
    return { address: running.open.gateway.address };
  },
  stop: async ({ graceMs, reason }) => {
    await running?.open.stop(graceMs, reason);
    running?.logger.flush();
    heartbeat.stop();
    return null;
  },
  probe: answer("probe"),
  metrics: answer("metrics"),
  status: answer("status"),
  types: answer("types"),
  actors: answer("actors"),
  inspect: answer("inspect"),
  pins: answer("pins"),
  extents: answer("extents"),
  segments: answer("segments"),
};

const FAILED_TIMEOUT_MS = 5_000;

assert(parentPort !== null, "this file runs in a worker thread");
const port: MessagePort = parentPort;
const peer = new RpcPeer<SlotEvents, ThreadRequests>(port, "the host", systemClock, handlers);
// Whoever started this thread ends it.
port.ref();
