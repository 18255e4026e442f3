/** The floors' side of the load: the calls of one event-loop turn share a frame, as ours do. */
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { FLOOR_SERVICE } from "./floor-service.ts";
import { CALL_BYTES, CLIENT_FRAME_BYTES, HOST_FRAME_BYTES, REPLY_BYTES } from "./frame-sizes.ts";
import type { LoadClient } from "./load.ts";

/** More than callers: a number's slot is free again when it comes round. */
const RING = 4_096;

export function open(target: string): LoadClient {
  const client = new Client(target, credentials.createInsecure());
  const { path, requestSerialize, responseDeserialize } = FLOOR_SERVICE.echo;
  const stream = client.makeBidiStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    new Metadata(),
  );
  const waiting: ((value: number) => void)[] = [];
  let seq = 0;
  let firstUnsent = 0;

  const send = (): void => {
    const frame = Buffer.allocUnsafe(CLIENT_FRAME_BYTES + (seq - firstUnsent) * CALL_BYTES);
    const view = new DataView(frame.buffer, frame.byteOffset);
    for (let at = CLIENT_FRAME_BYTES; firstUnsent < seq; at += CALL_BYTES) {
      view.setUint32(at, firstUnsent++, true);
    }
    stream.write(frame);
  };
  stream.on("data", (frame: Buffer) => {
    const view = new DataView(frame.buffer, frame.byteOffset);
    for (let at = HOST_FRAME_BYTES; at < frame.length; at += REPLY_BYTES) {
      const call = view.getUint32(at, true);
      (waiting[call % RING] as (value: number) => void)(call);
    }
  });
  // A call that fails fails the benchmark.
  stream.on("error", (error) => {
    throw error;
  });

  const call = (): Promise<number> =>
    new Promise((resolve) => {
      if (seq === firstUnsent) setImmediate(send);
      waiting[seq++ % RING] = resolve;
    });
  return { increment: call, value: call, close: () => void stream.end() };
}
