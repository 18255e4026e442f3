/** The service of actor.proto as grpc-js registers it: messages stay bytes, our own codec reads them. */
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";
import { asIs, CALL_PATH, CONNECT_PATH, DESCRIBE_PATH } from "@pinion/client";

function method(path: string, streams: boolean): MethodDefinition<Buffer, Buffer> {
  return {
    path,
    requestStream: streams,
    responseStream: streams,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
}

export const GATEWAY_SERVICE = {
  Connect: method(CONNECT_PATH, true),
  Call: method(CALL_PATH, false),
  Describe: method(DESCRIBE_PATH, false),
} satisfies ServiceDefinition;
