export { connect } from "./connect.ts";
export { ActorSpace, Client } from "./client.ts";
export { actorIdOf, type ActorRef, type ActorRefMembers } from "./actor-ref.ts";
export type { ActorCallOptions } from "./call-desk.ts";
export type { ClientEvent } from "./events.ts";
export type { ClientStats } from "./client-stats.ts";
export { resolveClientOptions, type ClientOptions, type ResolvedClientOptions } from "./options.ts";
// For the host's in-process client, and for transports of one's own.
export type { Connection, ConnectionListener, Connector } from "./connection.ts";
export type { ClientSession } from "./client-session.ts";
export type { PendingCall } from "./pending-call.ts";
export type { CallTarget } from "./call-target.ts";
export {
  asIs,
  CALL_PATH,
  CODE_TRAILER,
  CONNECT_PATH,
  DESCRIBE_PATH,
  ERROR_TRAILER,
} from "./grpc-paths.ts";
