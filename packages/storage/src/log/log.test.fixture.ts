/** A machine for tests of the log: virtual time, a simulated disk and index, and logs opened on them. */
import {
  hlcTime,
  seededRng,
  shardId,
  term,
  VirtualClock,
  type Lsn,
  type ShardId,
} from "@pinion/core";
import { SimDisk, type SimDiskOptions } from "../disk/sim-disk.ts";
import { SimKv } from "../kv/sim-kv.ts";
import { flushPolicy } from "./flush-policy.ts";
import type { LogOptions } from "./log-options.ts";
import { RecordKind, type AppendInput, type Log, type LogRecord } from "./log.ts";
import { openLog, type SegmentedLog } from "./segmented-log.ts";

export const A = shardId(0);
export const B = shardId(1);
export const START_US = 1_000_000_000_000_000;

export class LogMachine {
  readonly clock = new VirtualClock();
  readonly rng;
  disk: SimDisk;
  kv: SimKv;
  readonly #logs: SegmentedLog[] = [];

  constructor(seed = 1, disk: Partial<SimDiskOptions> = {}) {
    this.rng = seededRng(seed);
    this.disk = new SimDisk({ rng: this.rng, ...disk });
    this.kv = new SimKv({ rng: this.rng });
  }

  /** A small log: 64 KiB segments, 16 KiB buffers, 4 shards. */
  async open(options: Partial<LogOptions> = {}): Promise<SegmentedLog> {
    const { clock, disk, kv } = this;
    const small = { dir: "log", segmentBytes: 65_536, stagingBytes: 16_384, shardCount: 4 };
    const log = await openLog({ disk, kv, clock, ...small, ...options });
    this.#logs.push(log);
    return log;
  }

  /** The power goes and comes back. */
  crash(survivalRate?: number): void {
    const options = survivalRate === undefined ? {} : { survivalRate };
    this.disk = this.disk.crash(options);
    this.kv = this.kv.crash(options);
  }

  /** The process dies, the machine goes on. */
  kill(): void {
    this.disk = this.disk.kill();
    this.kv = this.kv.kill();
  }

  segmentPaths(): string[] {
    return this.disk.paths().filter((path) => path.endsWith(".log"));
  }
}

export function input(shard: ShardId = A, timestampUs: number = START_US): AppendInput {
  return { shard, term: term(1), kind: RecordKind.commit, timestamp: hlcTime(timestampUs) };
}

/** A payload that says which record it belongs to. */
export function payloadOf(n: number, bytes = 100): Uint8Array {
  const payload = new Uint8Array(bytes).fill(n);
  if (bytes >= 8) new DataView(payload.buffer).setFloat64(0, n);
  return payload;
}

/** Appends `count` records and waits until they are flushed. @returns the last LSN */
export async function appendFlushed(
  log: Log,
  count: number,
  shard: ShardId = A,
  bytes = 100,
): Promise<Lsn> {
  let last = log.appended(shard);
  for (let i = 0; i < count; i++) {
    const n = last + 1;
    last = await log.append(input(shard, START_US + n), payloadOf(n, bytes));
  }
  log.requestFlush();
  await log.whenFlushed(shard, last);
  return last;
}

export interface ReadRecord extends Omit<LogRecord, "payload"> {
  readonly payload: Uint8Array;
}

/** Everything the log holds, payloads copied. */
export async function readAll(
  log: Log,
  options: Parameters<Log["reader"]>[0] = {},
): Promise<ReadRecord[]> {
  const records: ReadRecord[] = [];
  for await (const record of log.reader(options))
    records.push({ ...record, payload: new Uint8Array(record.payload) });
  return records;
}

export async function lsns(log: Log, shard: ShardId = A): Promise<number[]> {
  return (await readAll(log)).filter((record) => record.shard === shard).map(({ lsn }) => lsn);
}

/** 1 … n */
export function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1);
}

export const SYNC_MS = 1000;

/**
 * A log under `async` on a disk that takes `SYNC_MS` for each flush of a file but its first, which makes the file. After a crash
 * the disk is fast.
 */
export async function slowlySynced(
  options: Partial<LogOptions> = {},
  capacityBytes = Infinity,
): Promise<{ machine: LogMachine; log: SegmentedLog }> {
  const machine = new LogMachine();
  const made = new Set<string>();
  let opened = false;
  const disk = new SimDisk({
    rng: machine.rng,
    clock: machine.clock,
    capacityBytes,
    latencyMs: ({ kind, path }) => {
      if (kind !== "sync") return 0;
      if (opened && machine.disk === disk && made.has(path)) return SYNC_MS;
      made.add(path);
      return 0;
    },
  });
  machine.disk = disk;
  const log = await machine.open({ flush: flushPolicy.async, ...options });
  opened = true;
  return { machine, log };
}

/** Appends until nothing but time helps. */
export async function appendUntilStuck(machine: LogMachine, log: SegmentedLog): Promise<void> {
  for (let refused = 0, i = 0; refused < 10; i++) {
    if (log.tryAppend(input(), payloadOf(i)) !== undefined) {
      refused = 0;
    } else {
      refused++;
      await machine.clock.settle();
    }
  }
}
