/**
 * The admin port: what the control thread runs. What workers answer it is in worker.ts: that needs the storage package, which takes a thread
 * three times as long to load as all the rest.
 */
export {
  AdminApi,
  type HealthAnswer,
  type HostStatus,
  type InspectAnswer,
  type PinsAnswer,
} from "./admin-api.ts";
export type {
  AdminHost,
  AdminWorker,
  BlockedTurn,
  Degradation,
  HostFacts,
  QuarantineEntry,
  WorkerCondition,
} from "./admin-host.ts";
export { EventLoopLag } from "./event-loop-lag.ts";
export { HttpServer } from "./http-server.ts";
export { blockedFinding, Readiness, type Finding, type ReadyReport } from "./readiness.ts";
export type {
  ActorExtentsReport,
  ExtentRow,
  HostMemoryFacts,
  PinRow,
  PinsQuery,
  SegmentsRow,
  WorkerPins,
} from "./memory-requests.ts";
export type {
  ActorInspection,
  ActorRow,
  ActorsPage,
  ActorsQuery,
  TurnSummary,
  TypeSummary,
  WorkerRequests,
  WorkerStatus,
} from "./worker-requests.ts";
