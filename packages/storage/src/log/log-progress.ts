/**
 * How far the log has come: appended, written and flushed, per shard and in the file, and whoever waits for it.
 *
 * I1 appended ≥ written ≥ flushed, for every shard and as positions.
 * I2 `flushed` moves only to what a finished sync covers: the end of what had been written when the sync was issued.
 * I3 a listener sees `flushed` moved already; listeners come before the promises of `whenFlushed`.
 * I4 readers see up to `visible`: what is flushed, or with a policy whose replies do not wait, what is written.
 */
import { PinionError } from "@pinion/core";
import { FlushWaiters } from "./flush-waiters.ts";
import { Listeners } from "./listeners.ts";
import type { LogPosition } from "./log.ts";
import { comparePositions } from "./position.ts";
import type { ShardHeads } from "./shard-heads.ts";

/** What a sync that was issued now would cover. */
export interface WrittenMark {
  readonly position: LogPosition;
  readonly lsns: Float64Array;
}

export class LogProgress {
  /** Last record of each shard that was appended. */
  readonly appended: ShardHeads;
  readonly flushed: Float64Array;
  readonly #written: Float64Array;
  /** Shards with written > flushed. */
  #ahead: number[] = [];
  readonly #showsWritten: boolean;
  #writtenPosition: LogPosition;
  #flushedPosition: LogPosition;
  #failure: PinionError | undefined;
  readonly #waiters = new FlushWaiters();
  readonly onFlushed = new Listeners<void>();
  readonly onVisible = new Listeners<void>();
  readonly onFailure = new Listeners<PinionError>();

  /** @param heads everything in them is flushed, up to `position` */
  constructor(heads: ShardHeads, position: LogPosition, showsWritten: boolean) {
    this.appended = heads.copy();
    this.flushed = heads.lsn.slice();
    this.#written = heads.lsn.slice();
    this.#writtenPosition = position;
    this.#flushedPosition = position;
    this.#showsWritten = showsWritten;
  }

  get failure(): PinionError | undefined {
    return this.#failure;
  }

  get flushedPosition(): LogPosition {
    return this.#flushedPosition;
  }

  get visible(): LogPosition {
    return this.#showsWritten ? this.#writtenPosition : this.#flushedPosition;
  }

  isVisible(shard: number, lsn: number): boolean {
    return lsn <= (this.#showsWritten ? this.#written : this.flushed)[shard]!;
  }

  /** One shard's records up to `lsn` are in the file; `reached` follows once all shards of the write have been told. */
  wrote(shard: number, lsn: number): void {
    if (this.#written[shard] === this.flushed[shard]) this.#ahead.push(shard);
    this.#written[shard] = lsn;
  }

  /** The file holds everything before `position`; `synced` says that it is flushed, too. */
  reached(position: LogPosition, synced: boolean): void {
    this.#writtenPosition = position;
    if (synced) this.flushedUpTo(this.mark());
    else this.onVisible.call();
  }

  /** To be taken when a sync is issued, and given to `flushedUpTo` when it has ended (I2). */
  mark(): WrittenMark {
    return { position: this.#writtenPosition, lsns: this.#written };
  }

  /** As `mark`, for a sync during which writes go on. */
  lastingMark(): WrittenMark {
    return { position: this.#writtenPosition, lsns: this.#written.slice() };
  }

  flushedUpTo(mark: WrittenMark): void {
    if (comparePositions(mark.position, this.#flushedPosition) <= 0) return;
    this.#flushedPosition = mark.position;
    const moved = this.#ahead;
    for (const shard of moved) this.flushed[shard] = mark.lsns[shard]!;
    this.#ahead = moved.filter((shard) => this.flushed[shard]! < this.#written[shard]!);
    this.onFlushed.call();
    for (const shard of moved) this.#waiters.settle(shard, this.flushed[shard]!);
    this.onVisible.call();
  }

  whenFlushed(shard: number, lsn: number): Promise<void> {
    if (lsn <= this.flushed[shard]!) return Promise.resolve();
    if (this.#failure) return Promise.reject(closedBy(this.#failure));
    if (lsn > this.appended.lsn[shard]!) {
      return Promise.reject(
        new PinionError(
          "invalid-argument",
          `shard ${shard} has no record ${lsn} to wait for: its last is ${this.appended.lsn[shard]}`,
        ),
      );
    }
    return this.#waiters.wait(shard, lsn);
  }

  /** Ends all waiting. The first failure stays. */
  fail(error: PinionError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#waiters.rejectAll(closedBy(error));
    this.onFailure.call(error);
    this.onVisible.call();
  }

  /** Ends all waiting at a regular stop. */
  stop(): void {
    this.#waiters.rejectAll(new PinionError("log-closed", "the log was closed"));
    this.onVisible.call();
  }
}

/** What appends and waits get once the log has failed. */
export function closedBy(failure: PinionError): PinionError {
  return new PinionError(
    "log-closed",
    `the log has failed and takes nothing more: ${failure.message}`,
    {
      cause: failure,
    },
  );
}
