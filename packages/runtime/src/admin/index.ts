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
export { inspectActor } from "./actor-inspection.ts";
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
export { workerAnswers, type AnsweringWorker } from "./worker-answers.ts";
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
