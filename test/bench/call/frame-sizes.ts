/** How many bytes these benchmarks' frames take on the wire, by the code that writes them: a floor moves as many. */
import {
  ByteWriter,
  closeLength,
  encodeValue,
  openCall,
  openCallArgs,
  writeArgs,
  writeCallHeader,
  writeClientFrameEnd,
  writeHostFrameEnd,
  writeReply,
} from "@pinion/core";

/** A number of calls, and an instant in µs, of usual length. */
const SEQ = 1_000_000;
const HLC_US = 1_700_000_000_000_000;

function sizeOf(write: (w: ByteWriter) => void): number {
  const w = new ByteWriter();
  write(w);
  return w.take().length;
}

export const CALL_BYTES = sizeOf((w) => {
  const call = openCall(w);
  const target = { namespace: "default", branch: "main", type: "counter", key: "hot-0-0" };
  writeCallHeader(w, SEQ, target, "increment", 0, 1, 0, undefined);
  const args = openCallArgs(w);
  writeArgs(w, [1]);
  closeLength(w, args);
  closeLength(w, call);
});

export const REPLY_BYTES = sizeOf((w) => writeReply(w, SEQ, true, encodeValue(SEQ), 0, 0, ""));

/** What a frame holds besides its calls or replies. */
export const CLIENT_FRAME_BYTES = sizeOf((w) => writeClientFrameEnd(w, SEQ, HLC_US));
export const HOST_FRAME_BYTES = sizeOf((w) => writeHostFrameEnd(w, HLC_US));
