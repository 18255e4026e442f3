/**
 * What this repository's own tests and benchmarks look into. Not published: the entry exists only for sources.
 */
export { ActorWorker } from "./worker/actor-worker.ts";
export { WORKER_DEFAULTS, type WorkerOptions } from "./worker/worker-options.ts";
export type { WorkerPorts } from "./worker/worker-core.ts";
export { MajorityOfOne } from "./replication/replication.ts";
export type { CallSink, Dispatcher, IncomingCall, Outcome, Session } from "./gateway/dispatcher.ts";
