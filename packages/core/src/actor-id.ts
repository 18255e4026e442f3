/**
 * Actor ids: `type / key`, in a namespace and on a branch of it.
 *
 * Text form, the one word a person types and a log line shows:
 *
 *     [ namespace [ "@" branch ] ":" ] type "/" key
 *
 * `default` and `main` are left out when printed. The key is everything after the first "/", so it may hold
 * "/", ":" and "@" itself; only `%` and white space are percent-encoded (as UTF-8), so that an id stays
 * one word. The parser accepts any percent-encoded UTF-8.
 *
 * Frozen by golden vectors (actor-id.test.ts): this text form and `shardOf`. The shard is a hash range of type and key
 * alone, so that every namespace and branch of an actor lives on one shard and a fork stays local.
 */
import { PinionError } from "./errors.ts";
import { shardId, type ShardId } from "./lsn.ts";

export interface ActorId {
  readonly namespace: string;
  readonly branch: string;
  readonly type: string;
  readonly key: string;
}

export const DEFAULT_NAMESPACE = "default";
export const MAIN_BRANCH = "main";
/** UTF-8 bytes of `type/key`. */
export const ACTOR_ID_BYTES_MAX = 512;
export const NAME_LENGTH_MAX = 64;

const NAME = /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/;
// C0, DEL and C1 controls, and surrogates that are not half of a pair
const FORBIDDEN_IN_KEY = /[\u0000-\u001f\u007f-\u009f]|\p{Cs}/u;
const ASCII = /^[\u0020-\u007e]*$/;

/** Whether a text is not empty and holds neither control characters nor lone surrogates: what names in stores and logs are made of. */
export function isPlainText(text: string): boolean {
  return text !== "" && (ASCII.test(text) || !FORBIDDEN_IN_KEY.test(text));
}

function invalid(what: string, value: string, rule: string): PinionError {
  const shown = JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  return new PinionError("invalid-actor-id", `${what} ${shown} ${rule}`, { details: { rule } });
}

/** @throws `invalid-actor-id` */
export function assertName(what: "actor type" | "namespace" | "branch", name: string): void {
  if (!NAME.test(name)) {
    throw invalid(
      what,
      name,
      `must be 1 to ${NAME_LENGTH_MAX} of A-Z a-z 0-9 _ . - and start with a letter`,
    );
  }
}

/** @throws `invalid-actor-id` for an empty key, a control character, or `type/key` of more than 512 bytes. */
export function assertKey(type: string, key: string): void {
  if (typeof key !== "string" || key === "")
    throw invalid("actor key", String(key), "must be a non-empty string");
  if (!ASCII.test(key) && FORBIDDEN_IN_KEY.test(key)) {
    throw invalid("actor key", key, "must not hold control characters or lone surrogates");
  }
  // A UTF-16 unit is at most 3 bytes of UTF-8: short keys need no exact count.
  if (
    (key.length + type.length + 1) * 3 > ACTOR_ID_BYTES_MAX &&
    Buffer.byteLength(key) + type.length + 1 > ACTOR_ID_BYTES_MAX
  ) {
    throw invalid("actor key", key, `makes an id of more than ${ACTOR_ID_BYTES_MAX} bytes`);
  }
}

/** @throws `invalid-actor-id` */
export function actorId(
  type: string,
  key: string,
  namespace = DEFAULT_NAMESPACE,
  branch = MAIN_BRANCH,
): ActorId {
  assertName("actor type", type);
  assertKey(type, key);
  if (namespace !== DEFAULT_NAMESPACE) assertName("namespace", namespace);
  if (branch !== MAIN_BRANCH) assertName("branch", branch);
  return { namespace, branch, type, key };
}

export function formatActorId(id: ActorId): string {
  const place =
    id.branch !== MAIN_BRANCH
      ? `${id.namespace}@${id.branch}:`
      : id.namespace !== DEFAULT_NAMESPACE
        ? `${id.namespace}:`
        : "";
  return `${place}${id.type}/${id.key.replace(/[%\s]/gu, encodeURIComponent)}`;
}

/** @throws `invalid-actor-id` */
export function parseActorId(text: string): ActorId {
  const slash = text.indexOf("/");
  if (slash < 0)
    throw invalid("actor id", text, 'must look like "type/key", for instance counter/visits');
  const head = text.slice(0, slash);
  let key: string;
  try {
    key = decodeURIComponent(text.slice(slash + 1).replace(/%(?![0-9A-Fa-f]{2})/g, "%25"));
  } catch {
    throw invalid("actor id", text, "holds percent-encoding that is not UTF-8");
  }
  const colon = head.indexOf(":");
  if (colon < 0) return actorId(head, key);
  const place = head.slice(0, colon);
  const at = place.indexOf("@");
  return at < 0
    ? actorId(head.slice(colon + 1), key, place)
    : actorId(head.slice(colon + 1), key, place.slice(0, at), place.slice(at + 1));
}

/** MurmurHash3 x86_32 (Appleby, public domain), seed 0, over the UTF-8 bytes of `type/key`. */
export function actorHash(type: string, key: string): number {
  const text = `${type}/${key}`;
  const bytes = ASCII.test(text) ? undefined : Buffer.from(text, "utf8");
  const length = bytes?.length ?? text.length;
  const at = (i: number): number => (bytes ? (bytes[i] as number) : text.charCodeAt(i));
  let h = 0;
  const whole = length & ~3;
  for (let i = 0; i < whole; i += 4) {
    let k = at(i) | (at(i + 1) << 8) | (at(i + 2) << 16) | (at(i + 3) << 24);
    k = Math.imul(k, 0xcc9e2d51);
    k = (k << 15) | (k >>> 17);
    h ^= Math.imul(k, 0x1b873593);
    h = (h << 13) | (h >>> 19);
    h = (Math.imul(h, 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  if ((length & 3) > 2) tail ^= at(whole + 2) << 16;
  if ((length & 3) > 1) tail ^= at(whole + 1) << 8;
  if ((length & 3) > 0) {
    tail = Math.imul(tail ^ at(whole), 0xcc9e2d51);
    tail = (tail << 15) | (tail >>> 17);
    h ^= Math.imul(tail, 0x1b873593);
  }
  h ^= length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The shard of an actor among `shardCount` equal hash ranges. */
export function shardOf(type: string, key: string, shardCount: number): ShardId {
  return shardId(Math.floor((actorHash(type, key) * shardCount) / 2 ** 32));
}
