/**
 * What a log may and must hold after a cut, worked out from what was appended and what was promised.
 *
 * O1 the records that survive are a prefix of the order in which they were appended: nothing lost in the middle, nothing
 *    invented, nothing reordered, every byte as it was.
 * O2 the prefix reaches at least as far as what was promised: flushed for a power cut, written for a killed process.
 */
import { isDeepStrictEqual } from "node:util";
import { lsn, shardId, type Lsn, type ShardId } from "@pinion/core";
import type { LogPosition, LogRecord, SegmentedLog } from "@pinion/storage";

export interface OracleRecord {
  readonly shard: ShardId;
  readonly lsn: Lsn;
  readonly timestamp: number;
  readonly payload: Uint8Array;
}

export class OracleError extends Error {}

function demand(condition: boolean, message: string): asserts condition {
  if (!condition) throw new OracleError(message);
}

export class LogOracle {
  readonly shards: number;
  /** Everything that was appended and is not lost, in order. */
  #records: OracleRecord[] = [];
  /** How many of them survive a power cut, and the death of the process. */
  #flushed = 0;
  #written = 0;
  /** Records before this one may have been let go. */
  #retained: LogPosition | undefined;
  #retainedIndex = 0;

  constructor(shards: number) {
    this.shards = shards;
  }

  get length(): number {
    return this.#records.length;
  }

  record(index: number): OracleRecord {
    return this.#records[index]!;
  }

  appended(record: OracleRecord): void {
    const last = this.lastLsn(record.shard);
    demand(
      record.lsn === last + 1,
      `append to shard ${record.shard} returned LSN ${record.lsn} after ${last}`,
    );
    this.#records.push(record);
  }

  lastLsn(shard: ShardId): number {
    for (let i = this.#records.length - 1; i >= 0; i--) {
      if (this.#records[i]!.shard === shard) return this.#records[i]!.lsn;
    }
    return 0;
  }

  /** The log says how far each shard is flushed: everything up to there was promised. */
  sawFlushed(log: SegmentedLog): void {
    for (let i = this.#flushed; i < this.#records.length; i++) {
      const { shard, lsn: number } = this.#records[i]!;
      if (log.flushed(shard) < number) break;
      this.#flushed = i + 1;
    }
    this.#written = Math.max(this.#written, this.#flushed);
  }

  /** The first `count` records must survive a cut. */
  promiseFlushed(count: number): void {
    this.#flushed = Math.max(this.#flushed, count);
    this.#written = Math.max(this.#written, count);
  }

  promiseWritten(count: number): void {
    this.#written = Math.max(this.#written, count);
  }

  retainedFrom(position: LogPosition, index: number): void {
    this.#retained = position;
    this.#retainedIndex = index;
  }

  /** Checks a log that was opened after a cut, and takes what it lost as lost. */
  async verify(log: SegmentedLog, cut: "power" | "process"): Promise<void> {
    const survived = this.#survivors(log);
    const promised = cut === "power" ? this.#flushed : this.#written;
    demand(
      survived >= promised,
      `${promised} records were promised, ${survived} survived (${cut})`,
    );
    this.#records.length = survived;
    this.#flushed = survived;
    this.#written = survived;
    const read = await this.#verifyOrder(log);
    await this.#verifyPointReads(log, read);
  }

  /** How many records the log still has, by its LSNs; they must be a prefix (O1). */
  #survivors(log: SegmentedLog): number {
    const left = Array.from(
      { length: this.shards },
      (_, shard) => log.appended(shardId(shard)) as number,
    );
    let survived = 0;
    const seen = left.map(() => 0);
    while (survived < this.#records.length) {
      const { shard, lsn: number } = this.#records[survived]!;
      if (number > left[shard]!) break;
      seen[shard] = number;
      survived++;
    }
    demand(
      isDeepStrictEqual(seen, left),
      `the log ends at ${left.join()}, which no prefix does: ${seen.join()}`,
    );
    return survived;
  }

  /** @returns the index of the first record the log still holds */
  async #verifyOrder(log: SegmentedLog): Promise<number> {
    let index = -1;
    let first = this.#records.length;
    let before: LogPosition = { segment: 0, offset: 0 };
    for await (const record of log.reader()) {
      if (index === -1) {
        index = this.#records.findIndex(
          ({ shard, lsn: n }) => shard === record.shard && n === record.lsn,
        );
        demand(
          index >= 0,
          `the log begins with record ${record.lsn} of shard ${record.shard}, which was never appended`,
        );
        first = index;
      }
      const expected = this.#records[index++];
      demand(
        expected !== undefined,
        `the log holds record ${record.lsn} of shard ${record.shard} too much`,
      );
      demandSame(record, expected);
      const { position } = record;
      demand(
        position.segment > before.segment ||
          (position.segment === before.segment && position.offset > before.offset),
        "positions go back",
      );
      before = position;
    }
    const needed = this.#retained ? this.#retainedIndex : 0;
    const missing = index === -1 ? needed < this.#records.length : index < this.#records.length;
    demand(!missing, `the log ends after ${index} of ${this.#records.length} records`);
    demand(
      first <= Math.min(needed, this.#records.length),
      `the log begins at record ${first}, retained from ${needed}`,
    );
    return first;
  }

  async #verifyPointReads(log: SegmentedLog, first: number): Promise<void> {
    const step = Math.max(1, Math.floor((this.#records.length - first) / 8));
    for (let i = first; i < this.#records.length; i += step) {
      const expected = this.#records[i]!;
      const record = await log.read(expected.shard, expected.lsn);
      // Let go meanwhile, as it may be.
      if (!record && this.#retained && i < this.#retainedIndex) continue;
      demand(
        record !== undefined,
        `record ${expected.lsn} of shard ${expected.shard} cannot be read`,
      );
      demandSame(record, expected);
      const at = await log.lsnAt(expected.shard, record.timestamp);
      demand(
        at === expected.lsn || (this.#retained !== undefined && i < this.#retainedIndex),
        `lsnAt(${record.timestamp}) is ${at}, not ${expected.lsn}`,
      );
    }
    for (let shard = 0; shard < this.shards; shard++) {
      const beyond = lsn(this.lastLsn(shardId(shard)) + 1);
      demand(
        (await log.read(shardId(shard), beyond)) === undefined,
        "a record beyond the end was read",
      );
    }
  }
}

function demandSame(record: LogRecord, expected: OracleRecord): void {
  const same =
    record.shard === expected.shard &&
    record.lsn === expected.lsn &&
    record.timestamp === expected.timestamp &&
    Buffer.compare(record.payload, expected.payload) === 0;
  demand(
    same,
    `record ${record.lsn} of shard ${record.shard} is not record ${expected.lsn} of shard ${expected.shard} as it was appended`,
  );
}
