/** The actor a call is for. One per reference, so that the hash is computed at most once. */
import { actorHash, actorId, formatActorId, type ActorId } from "@pinion/core";

export class CallTarget implements ActorId {
  readonly namespace: string;
  readonly branch: string;
  readonly type: string;
  readonly key: string;
  #hash = -1;

  /** @throws `invalid-actor-id` */
  constructor(type: string, key: string, namespace: string, branch: string) {
    const id = actorId(type, key, namespace, branch);
    this.namespace = id.namespace;
    this.branch = id.branch;
    this.type = id.type;
    this.key = id.key;
  }

  get hash(): number {
    if (this.#hash < 0) this.#hash = actorHash(this.type, this.key);
    return this.#hash;
  }

  toString(): string {
    return formatActorId(this);
  }
}
