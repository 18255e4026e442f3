/** One bidirectional stream, bytes in and out: the least gRPC can do. */
const asIs = (bytes: Buffer): Buffer => bytes;

export const floorService = {
  batch: {
    path: "/bench.Floor/Batch",
    requestStream: true,
    responseStream: true,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  },
} as const;
