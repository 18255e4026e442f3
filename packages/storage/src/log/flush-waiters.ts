/**
 * Callers that wait until an LSN of a shard is flushed.
 *
 * I1 callers that wait for the same record share one promise, so there are at most as many entries as records that are not
 *    flushed yet, which the staging buffers bound.
 */
import type { PinionError } from "@pinion/core";

interface Waiting {
  /** Ascending, without repetition. */
  readonly lsns: number[];
  readonly promises: PromiseWithResolvers<void>[];
}

export class FlushWaiters {
  readonly #shards = new Map<number, Waiting>();

  wait(shard: number, lsn: number): Promise<void> {
    let waiting = this.#shards.get(shard);
    if (!waiting) this.#shards.set(shard, (waiting = { lsns: [], promises: [] }));
    const { lsns, promises } = waiting;
    let at = lsns.length;
    while (at > 0 && lsns[at - 1]! > lsn) at--;
    if (at > 0 && lsns[at - 1] === lsn) return promises[at - 1]!.promise;
    const deferred = Promise.withResolvers<void>();
    lsns.splice(at, 0, lsn);
    promises.splice(at, 0, deferred);
    return deferred.promise;
  }

  /** Resolves whoever waits for `flushed` or less. */
  settle(shard: number, flushed: number): void {
    const waiting = this.#shards.get(shard);
    if (!waiting) return;
    let done = 0;
    while (done < waiting.lsns.length && waiting.lsns[done]! <= flushed)
      waiting.promises[done++]!.resolve();
    if (done === waiting.lsns.length) {
      this.#shards.delete(shard);
    } else if (done > 0) {
      waiting.lsns.splice(0, done);
      waiting.promises.splice(0, done);
    }
  }

  rejectAll(error: PinionError): void {
    for (const { promises } of this.#shards.values())
      for (const { reject } of promises) reject(error);
    this.#shards.clear();
  }
}
