/**
 * The floors' protocol: one bidirectional stream, and frames as long as ours. A frame is a head of
 * `CLIENT_FRAME_BYTES` or `HOST_FRAME_BYTES`, then slots of `CALL_BYTES` or `REPLY_BYTES`; a slot opens with its call's
 * number, u32 little endian. Nothing is encoded: who wants less has to leave out gRPC.
 */
const asIs = (bytes: Buffer): Buffer => bytes;

export const FLOOR_PATH = "/bench.Floor/Echo";

export const FLOOR_SERVICE = {
  echo: {
    path: FLOOR_PATH,
    requestStream: true,
    responseStream: true,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  },
} as const;
