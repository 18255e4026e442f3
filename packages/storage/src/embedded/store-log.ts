/**
 * The log as the embedded store uses it: records of one shard, each published the moment it is appended.
 *
 * G1 between the append of a record and its `publish` nothing else of this store runs, except where the record had to wait for room: then
 *    `settled` is false for a moment.
 * G2 a record that was refused, or given up while it waited, is not in the log and never will be.
 * G3 after a failure of the log every append and every wait rejects with `log-closed`, its cause the first error.
 */
import {
  FIRST_TERM,
  HybridClock,
  PinionError,
  shardId,
  type Clock,
  type HlcTime,
  type Lsn,
} from "@pinion/core";
import { copyOf } from "../extent/copies.ts";
import type { MaybePromise } from "../structures/structure.ts";
import { RecordKind, type AppendInput } from "../log/log.ts";
import type { SegmentedLog } from "../log/segmented-log.ts";

export const SHARD = shardId(0);
/** A disk that takes longer than this to make room is not going to. */
const ROOM_WAIT_MS = 5_000;
/** Larger records than this have memory of their own. */
const SCRATCH_BYTES = 4_096;

export class StoreLog {
  readonly log: SegmentedLog;
  readonly #clock: Clock;
  readonly #hlc: HybridClock;
  /** How many records are published: one that waited for room may be later than another that was appended after it. */
  #published: number;
  /** A view of the bytes that small records are made in. */
  #scratch = new Uint8Array(new ArrayBuffer(SCRATCH_BYTES), 0, 0);

  /** @param after timestamps are later than this one */
  constructor(log: SegmentedLog, clock: Clock, after: HlcTime) {
    this.log = log;
    this.#clock = clock;
    this.#hlc = new HybridClock(clock, { startAfter: after });
    this.#published = log.appended(SHARD);
  }

  /** The last record. While `settled`, everything up to here is what the volumes are (G1). */
  get appended(): Lsn {
    return this.log.appended(SHARD);
  }

  /** @throws `log-closed` once the log has failed (G3) */
  checkOpen(): void {
    if (this.log.failure !== undefined) throw closedByFailure(this.log.failure);
  }

  get settled(): boolean {
    return this.appended === this.#published;
  }

  /** Bytes for the next record, to be filled and appended at once: the next call may give them out again. */
  recordBytes(length: number): Uint8Array {
    if (length > SCRATCH_BYTES) return new Uint8Array(length);
    // Turns that follow one another mostly write records of one length, and another view costs as much as the copy into the log.
    if (this.#scratch.length !== length)
      this.#scratch = new Uint8Array(this.#scratch.buffer, 0, length);
    return this.#scratch;
  }

  /**
   * Appends a record and makes it count: at once where there is room.
   * @param payload of `recordBytes`, or stays as it is until this resolves
   * @param signal gives up a wait for room
   * @throws `log-closed`, `disk-full`, `overloaded`, `record-too-large`, the signal's reason: nothing was appended
   */
  append(payload: Uint8Array, publish: (at: Lsn) => void, signal?: AbortSignal): MaybePromise<Lsn> {
    const input = {
      shard: SHARD,
      term: FIRST_TERM,
      kind: RecordKind.user,
      timestamp: this.#hlc.tick(),
    };
    const published = (at: Lsn): Lsn => {
      this.#published++;
      publish(at);
      return at;
    };
    const at = this.log.tryAppend(input, payload);
    if (at !== undefined) return published(at);
    const kept = payload === this.#scratch ? copyOf(payload) : payload;
    return this.#wait(input, kept, signal).then(published);
  }

  async #wait(
    input: AppendInput,
    payload: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<Lsn> {
    const refusal = this.log.backpressure();
    if (refusal !== undefined) throw refusal;
    const late = new AbortController();
    const timer = this.#clock.setTimer(ROOM_WAIT_MS, () =>
      late.abort(
        this.log.backpressure() ??
          new PinionError("overloaded", `the log had no room for ${ROOM_WAIT_MS} ms`),
      ),
    );
    const signals = signal === undefined ? [late.signal] : [late.signal, signal];
    try {
      return await this.log.append(input, payload, AbortSignal.any(signals));
    } finally {
      timer.cancel();
    }
  }

  /** Resolves once a record may be answered for: flushed, unless the flush policy says that nobody waits for that. @throws `log-closed` */
  durable(at: Lsn): MaybePromise<void> {
    if (this.log.policy.replyWaits) return this.log.whenFlushed(SHARD, at);
    this.checkOpen();
  }

  /** Resolves once everything up to `at` is flushed, whatever the policy. */
  flushed(at: Lsn): Promise<void> {
    if (this.log.flushed(SHARD) >= at) return Promise.resolve();
    this.log.requestFlush();
    return this.log.whenFlushed(SHARD, at);
  }
}

function closedByFailure(failure: PinionError): PinionError {
  return new PinionError(
    "log-closed",
    `the store has failed and takes nothing more: ${failure.message}`,
    { cause: failure },
  );
}
