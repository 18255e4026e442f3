/**
 * The activations of one worker: found by id, and in order of last use, so that idle ones end and memory stays bounded.
 *
 * K1 at most one activation per actor at any time.
 */
import { DEFAULT_NAMESPACE, MAIN_BRANCH } from "@pinion/core";
import type { Activation } from "../activation/activation.ts";

export class Catalog {
  /** By type, then by namespace, branch and key. The default place has no prefix: the usual look-up builds no string. */
  readonly #byType = new Map<string, Map<string, Activation>>();
  #count = 0;
  /** Told when there is an activation where there was none. */
  onFirst: () => void = () => {};
  /** Ends of the list by last use. */
  #newest: Activation | undefined;
  #oldest: Activation | undefined;

  get size(): number {
    return this.#count;
  }

  countOfType(type: string): number {
    return this.#byType.get(type)?.size ?? 0;
  }

  find(type: string, namespace: string, branch: string, key: string): Activation | undefined {
    return this.#byType.get(type)?.get(localKey(namespace, branch, key));
  }

  add(activation: Activation): void {
    const { type, namespace, branch, key } = activation.id;
    let ofType = this.#byType.get(type);
    if (ofType === undefined) this.#byType.set(type, (ofType = new Map()));
    ofType.set(localKey(namespace, branch, key), activation);
    if (++this.#count === 1) this.onFirst();
    this.#link(activation);
  }

  remove(activation: Activation): void {
    const { type, namespace, branch, key } = activation.id;
    const ofType = this.#byType.get(type);
    const local = localKey(namespace, branch, key);
    if (ofType?.get(local) !== activation) return;
    ofType.delete(local);
    this.#count--;
    this.#unlink(activation);
  }

  /** Moves an activation to the fresh end of the list. */
  touch(activation: Activation): void {
    if (this.#newest === activation) return;
    this.#unlink(activation);
    this.#link(activation);
  }

  /** From the one used longest ago. */
  *byLastUse(): Iterable<Activation> {
    let next: Activation | undefined;
    for (let a = this.#oldest; a !== undefined; a = next) {
      next = a.newer;
      yield a;
    }
  }

  *ofType(type: string): Iterable<Activation> {
    yield* this.#byType.get(type)?.values() ?? [];
  }

  #link(activation: Activation): void {
    activation.older = this.#newest;
    activation.newer = undefined;
    if (this.#newest !== undefined) this.#newest.newer = activation;
    this.#newest = activation;
    this.#oldest ??= activation;
  }

  #unlink(activation: Activation): void {
    if (activation.older !== undefined) activation.older.newer = activation.newer;
    else if (this.#oldest === activation) this.#oldest = activation.newer;
    if (activation.newer !== undefined) activation.newer.older = activation.older;
    else if (this.#newest === activation) this.#newest = activation.older;
    activation.newer = activation.older = undefined;
  }
}

function localKey(namespace: string, branch: string, key: string): string {
  if (namespace === DEFAULT_NAMESPACE && branch === MAIN_BRANCH) return key;
  // A key holds no control character, so this never meets a plain one.
  return `${namespace}\u0000${branch}\u0000${key}`;
}
