/** A majority of one whose commits a test can crash at: nothing leaves the host after the crash. */
import type { Lsn, ShardId } from "@pinion/core";
import type { Log } from "@pinion/storage";
import { MajorityOfOne, type Replication } from "../replication/replication.ts";
import type { CrashPoints } from "./crash-point.ts";

export class TestReplication implements Replication {
  readonly #inner: MajorityOfOne;
  readonly #points: CrashPoints;
  #down = false;

  constructor(log: Log, points: CrashPoints) {
    this.#inner = new MajorityOfOne(log);
    this.#points = points;
  }

  appended(): void {
    if (!this.#down && this.#points.on("append")) this.#down = true;
  }

  committed(shard: ShardId): Lsn {
    return this.#inner.committed(shard);
  }

  onCommitted(listener: () => void): () => void {
    return this.#inner.onCommitted(() => {
      if (!this.#down && this.#points.on("commit")) this.#down = true;
      if (!this.#down) listener();
    });
  }

  /** The host is down: what is still under way tells nobody. */
  stop(): void {
    this.#down = true;
  }
}
