/**
 * Arguments, replies and state values ↔ bytes. The format and its table: value-format.ts.
 *
 * Results of `encodeValue` and `encodeArgs` own their memory: they may be kept for as long as one likes. Where many are made
 * and soon forgotten, `writeValue` and `writeArgs` append to a shared `ByteWriter` instead.
 */
import { ByteWriter } from "./byte-writer.ts";
import { writeArgs, writeValue } from "./value-encoder.ts";

export { writeArgs, writeValue } from "./value-encoder.ts";
export { decodeArgs, decodeValue } from "./value-decoder.ts";

/** The encoded empty argument list. */
export const NO_ARGS: Uint8Array = Uint8Array.of(0x90);
const UNDEFINED = Uint8Array.of(0xd4, 0, 0);
const NULL = Uint8Array.of(0xc0);
const FALSE = Uint8Array.of(0xc2);
const TRUE = Uint8Array.of(0xc3);

const SCRATCH_BYTES_KEPT = 1024 * 1024;
const scratch = new ByteWriter();

/** Moves what was written behind `start` into memory of its own. From `start`, because a getter may encode a value, too. */
function takeCopy(start: number): Uint8Array {
  const copy = Buffer.allocUnsafe(scratch.position - start);
  scratch.buffer.copy(copy, 0, start, scratch.position);
  scratch.position = start;
  // One large value must not keep its memory for ever.
  if (start === 0 && scratch.buffer.length > SCRATCH_BYTES_KEPT) scratch.take();
  return copy;
}

/**
 * @param name what the value is called in an error's path.
 * @throws `not-serializable`, naming the path; `frame-too-large` beyond 64 MiB.
 */
export function encodeValue(value: unknown, name = "value"): Uint8Array {
  // What most calls return. These constants are shared: nobody writes to encoded bytes.
  if (value === undefined) return UNDEFINED;
  if (value === null) return NULL;
  if (value === true) return TRUE;
  if (value === false) return FALSE;
  const start = scratch.position;
  writeValue(scratch, value, name);
  return takeCopy(start);
}

/** @throws `not-serializable`, naming the path from `args`; `frame-too-large` beyond 64 MiB. */
export function encodeArgs(args: readonly unknown[]): Uint8Array {
  if (args.length === 0) return NO_ARGS;
  const start = scratch.position;
  writeArgs(scratch, args);
  return takeCopy(start);
}
