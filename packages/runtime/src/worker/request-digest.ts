/**
 * Digest of a request: tells a retry from another call under the same id (`call-diverged`, P12). FNV-1a over the actor and the method,
 * CRC32C over arguments that are not small: 32 bits, because it guards against mistakes, not against attackers.
 */
import { crc32c } from "@pinion/storage";
import type { IncomingCall } from "../gateway/dispatcher.ts";

const PRIME = 0x01000193;
/** Below this a loop is faster than the call into native code. */
const LOOP_BYTES_MAX = 64;

function text(h: number, value: string): number {
  let hash = h;
  for (let i = 0; i < value.length; i++) hash = Math.imul(hash ^ value.charCodeAt(i), PRIME);
  return Math.imul(hash ^ 0xffff, PRIME);
}

export function requestDigest(call: IncomingCall): number {
  const { args } = call;
  let h = text(text(text(0x811c9dc5, call.method), call.key), call.type);
  h = text(text(h, call.namespace), call.branch);
  if (args.length > LOOP_BYTES_MAX) return Math.imul(h ^ crc32c(args), PRIME) >>> 0;
  for (let i = 0; i < args.length; i++) h = Math.imul(h ^ (args[i] as number), PRIME);
  return h >>> 0;
}
