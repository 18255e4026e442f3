/** The gRPC side of actor.proto: method paths, trailers, and messages that stay bytes (our own codec reads them). */

export const CONNECT_PATH = "/pinion.v1.Gateway/Connect";
export const CALL_PATH = "/pinion.v1.Gateway/Call";
export const DESCRIBE_PATH = "/pinion.v1.Gateway/Describe";

/** The whole Error message of a failed stream or unary call; `-bin` makes gRPC carry bytes. */
export const ERROR_TRAILER = "pinion-error-bin";
/** Its code as text, for people with grpcurl. */
export const CODE_TRAILER = "pinion-code";

/** The codec is ours: grpc-js moves bytes. */
export const asIs = (bytes: Buffer): Buffer => bytes;
