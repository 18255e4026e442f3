/**
 * Whether the log continues what the store holds. LSNs of a shard have no gaps, so that a store which is older than what the log was
 * cut for shows: its checkpoint was damaged or put back, and records that nobody has are missing. So does a log that is older than
 * the store: what it appends would get LSNs that the store takes for known.
 *
 * L1 a shard sees each record behind its applied LSN, in order, up to the one the log says is its last; anything else is `corruption`.
 */
import { isPinionError, PinionError, type Lsn, type ShardId } from "@pinion/core";
import type { Log, LogPosition, LogRecord } from "@pinion/storage";

export class LogContinuity {
  readonly #log: Log;
  /** Of each shard the last LSN that is accounted for. */
  readonly #lsns = new Map<ShardId, Lsn>();
  readonly #positions: (LogPosition | undefined)[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  /** @param position where the records behind the checkpoint begin; undefined: there is no checkpoint */
  expect(shard: ShardId, applied: Lsn, position: LogPosition | undefined): void {
    this.#lsns.set(shard, applied);
    this.#positions.push(position);
  }

  /** The log from the earliest position on; each record has to be shown to `isNew` before the next is asked for. @throws `corruption` */
  async *records(): AsyncGenerator<LogRecord> {
    try {
      yield* this.#log.reader(this.#from());
    } catch (error) {
      // The position that the checkpoint names is not in the log, or not any more.
      if (!isPinionError(error) || !POSITION_CODES.has(error.code)) throw error;
      throw new PinionError(
        "corruption",
        `the log does not reach back to the last checkpoint: ${error.message}`,
        { cause: error, details: error.details },
      );
    }
    for (const [shard, lsn] of this.#lsns) {
      const end = this.#log.appended(shard);
      if (end > lsn) throw gap(shard, lsn, end);
      if (end < lsn) {
        throw new PinionError(
          "corruption",
          `shard ${shard}: the log ends with LSN ${end}, the checkpoint has ${lsn}: the log is older than the checkpoint`,
          { details: { shard, lsn: end, appliedLsn: lsn } },
        );
      }
    }
  }

  /** Whether the store has yet to be told of this record. @throws `corruption` for one that is not the next (L1) */
  isNew({ shard, lsn }: LogRecord): boolean {
    const before = this.#lsns.get(shard);
    if (before === undefined || lsn <= before) return false;
    if (lsn !== before + 1) throw gap(shard, before, lsn);
    this.#lsns.set(shard, lsn);
    return true;
  }

  /** The earliest position; the whole log where a shard has none: its first checkpoint may have failed when others did not. */
  #from(): { from?: LogPosition } {
    let from: LogPosition | undefined;
    for (const position of this.#positions) {
      if (position === undefined) return {};
      if (from === undefined || isBefore(position, from)) from = position;
    }
    return from === undefined ? {} : { from };
  }
}

const POSITION_CODES: ReadonlySet<string> = new Set(["not-found", "invalid-argument"]);

function isBefore(a: LogPosition, b: LogPosition): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);
}

function gap(shard: ShardId, before: Lsn, next: Lsn): PinionError {
  return new PinionError(
    "corruption",
    `shard ${shard}: LSN ${before} is followed by ${next} in the log: the checkpoint is older than the one the log was cut for`,
    { details: { shard, appliedLsn: before, lsn: next } },
  );
}
