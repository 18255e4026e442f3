/**
 * Digest of a request: tells a retry from another call under the same id (`call-diverged`, P12). FNV-1a over method and arguments,
 * and the actor: 32 bits, because it guards against mistakes, not against attackers.
 */
import type { IncomingCall } from "../gateway/dispatcher.ts";

const PRIME = 0x01000193;
/** Larger arguments are sampled: head, tail and length, so that a megabyte does not cost a millisecond. */
const WHOLE_BYTES = 4096;

export function requestDigest(call: IncomingCall): number {
  let h = 0x811c9dc5;
  const { method, key, args } = call;
  for (let i = 0; i < method.length; i++) h = Math.imul(h ^ method.charCodeAt(i), PRIME);
  h = Math.imul(h ^ 0xff, PRIME);
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), PRIME);
  h = Math.imul(h ^ args.length, PRIME);
  const whole = args.length <= WHOLE_BYTES;
  const head = whole ? args.length : WHOLE_BYTES / 2;
  for (let i = 0; i < head; i++) h = Math.imul(h ^ (args[i] as number), PRIME);
  if (!whole)
    for (let i = args.length - WHOLE_BYTES / 2; i < args.length; i++)
      h = Math.imul(h ^ (args[i] as number), PRIME);
  return h >>> 0;
}
