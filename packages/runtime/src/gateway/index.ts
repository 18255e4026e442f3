export type {
  ActorTypeDescription,
  CallSink,
  Dispatcher,
  IncomingCall,
  MethodDescription,
  Outcome,
  Session,
} from "./dispatcher.ts";
export { Gateway, type GatewayState, type GatewayStats } from "./gateway.ts";
export type { GatewayIdentity, GatewayOptions } from "./gateway-options.ts";
export {
  LOOPBACK_ADDRESS,
  LoopbackConnector,
  type LoopbackOptions,
} from "./loopback-connection.ts";
