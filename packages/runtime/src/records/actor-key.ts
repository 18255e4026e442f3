/**
 * An actor's id as one string: the key of log records, stores and maps. Unescaped, unlike the text form;
 * the default namespace and branch cost nothing. Names hold no "@", ":" or "/", so the first "/" ends the type.
 */
import { actorId, DEFAULT_NAMESPACE, MAIN_BRANCH, type ActorId } from "@pinion/core";
import type { ActorKey } from "@pinion/storage";

export function actorKeyOf(namespace: string, branch: string, type: string, key: string): ActorKey {
  return namespace === DEFAULT_NAMESPACE && branch === MAIN_BRANCH
    ? `${type}/${key}`
    : `${namespace}@${branch}:${type}/${key}`;
}

export const actorKeyOfId = (id: ActorId): ActorKey =>
  actorKeyOf(id.namespace, id.branch, id.type, id.key);

/** @throws `invalid-actor-id` when it is not an actor key. */
export function parseActorKey(actor: ActorKey): ActorId {
  const slash = actor.indexOf("/");
  const head = actor.slice(0, Math.max(0, slash));
  const key = actor.slice(slash + 1);
  const at = head.indexOf("@");
  if (at < 0) return actorId(head, key);
  const colon = head.indexOf(":", at);
  return actorId(head.slice(colon + 1), key, head.slice(0, at), head.slice(at + 1, colon));
}
