/**
 * The append-only log on the real disk. Floors write the same bytes as the log's records have, headers included, to a
 * growing file with synchronous calls: no thread, no checksum, no event loop.
 */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { hlcTime, shardId, term } from "@pinion/core";
import {
  flushPolicy,
  LmdbKv,
  nativeDoor,
  openLog,
  RealDisk,
  RecordKind,
  type FlushPolicy,
  type LogOptions,
  type SegmentedLog,
} from "@pinion/storage";
import { open as openLmdb } from "lmdb";
import {
  percentile,
  perSecond,
  type BenchCase,
  type BenchContext,
  type BenchSuite,
  type Contender,
  type Measurement,
} from "../harness.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const INPUT = {
  shard: shardId(7),
  term: term(1),
  kind: RecordKind.commit,
  timestamp: hlcTime(1_700_000_000_000_000),
};
const SIZES = [64, KIB, 16 * KIB, 64 * KIB];

const recordBytes = (payloadBytes: number): number => (payloadBytes + 39) & -8;
const sizeName = (bytes: number): string => (bytes < KIB ? `${bytes}b` : `${bytes / KIB}kb`);

/** A case has warmed up when its floor does the same in several rounds, up to this factor. */
const STEADY_FACTOR = 1.2;
const WARM_UPS_MIN = 3;
const WARM_UPS_MAX = 10;

interface OpenLog {
  readonly log: SegmentedLog;
  readonly close: () => Promise<void>;
}

async function openAt(dir: string, options: Partial<LogOptions> = {}): Promise<OpenLog> {
  const kv = await LmdbKv.open(join(dir, "index"));
  const log = await openLog({
    disk: new RealDisk(nativeDoor()),
    kv,
    dir: join(dir, "log"),
    ...options,
  });
  return {
    log,
    close: async () => {
      await log.close();
      await kv.close();
    },
  };
}

/** A case whose log stays open over all rounds, so that its segments are recycled as in a long-running process. */
function caseWithLog(
  { dir }: BenchContext,
  policy: FlushPolicy,
  rest: Omit<BenchCase, "subject" | "setUp"> & {
    subject: (log: SegmentedLog) => Promise<Measurement>;
    floor: Contender;
  },
): BenchCase {
  let opened: OpenLog | undefined;
  const subject = async (): Promise<Measurement> => {
    const { log } = opened!;
    const result = await rest.subject(log);
    await log.retain("bench", log.position());
    return result;
  };
  return {
    ...rest,
    setUp: async () => {
      const own = await mkdtemp(join(dir, "case-"));
      const current = await openAt(own, { flush: policy });
      opened = current;
      // A process that has run for a while writes to files, memory and blocks it has written before. Blocks that were freed
      // come back only some commits of the file system later: until then the floor is up to four times as slow.
      const floors: number[] = [];
      do {
        if (floors.length % 2 === 0) await subject();
        floors.push((await rest.floor()).value);
        if (floors.length % 2 === 1) await subject();
      } while (floors.length < WARM_UPS_MAX && !isSteady(floors.slice(-WARM_UPS_MIN)));
      return async () => {
        await current.close();
        await rm(own, { recursive: true });
      };
    },
    subject,
  };
}

function isSteady(floors: readonly number[]): boolean {
  return (
    floors.length === WARM_UPS_MIN && Math.max(...floors) < STEADY_FACTOR * Math.min(...floors)
  );
}

/** Writes `count` times `bytes` bytes to a growing file. */
function floorWrites(
  dir: string,
  writes: number,
  bytes: number,
  perWrite: number,
  flush: boolean,
): Measurement {
  const path = join(dir, "floor");
  const buffer = Buffer.alloc(bytes, 7);
  const fd = openSync(path, "w");
  try {
    const latenciesMs: number[] = [];
    const startMs = performance.now();
    for (let i = 0; i < writes; i++) {
      const beganMs = performance.now();
      writeSync(fd, buffer);
      if (flush) fdatasyncSync(fd);
      latenciesMs.push(performance.now() - beganMs);
    }
    const measured = perSecond(writes * perWrite, startMs);
    return flush
      ? { ...measured, p50: percentile(latenciesMs, 50), p99: percentile(latenciesMs, 99) }
      : measured;
  } finally {
    closeSync(fd);
    rmSync(path);
  }
}

/** `callers` loops that each append a record and wait until it is flushed. */
async function durableAppends(
  log: SegmentedLog,
  callers: number,
  perCaller: number,
  payload: Uint8Array,
): Promise<Measurement> {
  const latenciesMs: number[] = [];
  const caller = async (): Promise<void> => {
    for (let i = 0; i < perCaller; i++) {
      const beganMs = performance.now();
      const lsn = log.tryAppend(INPUT, payload) ?? (await log.append(INPUT, payload));
      await log.whenFlushed(INPUT.shard, lsn);
      latenciesMs.push(performance.now() - beganMs);
    }
  };
  const startMs = performance.now();
  await Promise.all(Array.from({ length: callers }, caller));
  const measured = perSecond(callers * perCaller, startMs);
  return { ...measured, p50: percentile(latenciesMs, 50), p99: percentile(latenciesMs, 99) };
}

/** How far a checkpoint follows behind: what it lets go is recycled. */
const RETAIN_EVERY_BYTES = 128 * MIB;

/**
 * Appends as fast as the log takes them, until `count` records are flushed, or written if the policy does not flush. What is flushed
 * behind the back of such a policy is waited for after the clock has stopped: it must not disturb the floor.
 */
async function streamedAppends(
  log: SegmentedLog,
  count: number,
  payload: Uint8Array,
): Promise<Measurement> {
  const retainEvery = Math.ceil(RETAIN_EVERY_BYTES / recordBytes(payload.length));
  const flushed = async (): Promise<void> => {
    log.requestFlush();
    await log.whenFlushed(INPUT.shard, log.appended(INPUT.shard));
  };
  const recordsAfter = log.stats().records + count;
  const startMs = performance.now();
  for (let i = 0; i < count; i++) {
    if (log.tryAppend(INPUT, payload) === undefined) await log.append(INPUT, payload);
    if (i % retainEvery === 0) void log.retain("bench", log.position());
  }
  if (log.policy.replyWaits) await flushed();
  else while (log.stats().records < recordsAfter) await setImmediate();
  const measured = perSecond(count, startMs);
  await flushed();
  return measured;
}

function sync1(context: BenchContext): BenchCase {
  const count = Math.round(10_000 * context.scale);
  return caseWithLog(context, flushPolicy.group, {
    name: "sync-1",
    unit: "records/s",
    better: "higher",
    subject: (log) => durableAppends(log, 1, count, new Uint8Array(KIB)),
    floor: async () => floorWrites(context.dir, count, recordBytes(KIB), 1, true),
  });
}

function group64(context: BenchContext): BenchCase {
  const perCaller = Math.round(4000 * context.scale);
  const lmdb = openLmdb({ path: join(context.dir, "lmdb"), maxDbs: 1 });
  const value = Buffer.alloc(KIB);
  let key = 0;
  return caseWithLog(context, flushPolicy.group, {
    name: "group-64",
    unit: "records/s",
    better: "higher",
    subject: (log) => durableAppends(log, 64, perCaller, new Uint8Array(KIB)),
    floor: async () => floorWrites(context.dir, perCaller, 64 * recordBytes(KIB), 64, true),
    peers: {
      lmdb: async () => {
        const startMs = performance.now();
        const caller = async (): Promise<void> => {
          for (let i = 0; i < perCaller / 4; i++) {
            await lmdb.put(key++ % 100_000, value);
            await lmdb.flushed;
          }
        };
        await Promise.all(Array.from({ length: 64 }, caller));
        return perSecond(64 * (perCaller / 4), startMs);
      },
    },
  });
}

function batched(context: BenchContext, records: number, payloadBytes: number): BenchCase {
  const budgetBytes = 256 * MIB * context.scale;
  const batches = Math.max(
    4,
    Math.floor(
      Math.min(budgetBytes / recordBytes(payloadBytes), 1_000_000 * context.scale) / records,
    ),
  );
  return caseWithLog(context, flushPolicy.batched(records), {
    name: `batched-${records}/${sizeName(payloadBytes)}`,
    unit: "records/s",
    better: "higher",
    subject: (log) => streamedAppends(log, batches * records, new Uint8Array(payloadBytes)),
    floor: async () =>
      floorWrites(context.dir, batches, records * recordBytes(payloadBytes), records, true),
  });
}

/**
 * A hundred records, then a wait until they are flushed: without it a flush may carry several hundreds, which the floor's cannot.
 * Reported beside the streamed rows.
 */
function batchedWaiting(context: BenchContext, payloadBytes: number): BenchCase {
  const records = 100;
  const batches = Math.round(4_000 * context.scale);
  const payload = new Uint8Array(payloadBytes);
  return caseWithLog(context, flushPolicy.batched(records), {
    name: `batched-${records}-waiting/${sizeName(payloadBytes)}`,
    unit: "records/s",
    better: "higher",
    subject: async (log) => {
      const startMs = performance.now();
      for (let i = 0; i < batches; i++) {
        for (let n = 0; n < records; n++) {
          if (log.tryAppend(INPUT, payload) === undefined) await log.append(INPUT, payload);
        }
        await log.whenFlushed(INPUT.shard, log.appended(INPUT.shard));
      }
      return perSecond(batches * records, startMs);
    },
    floor: async () =>
      floorWrites(context.dir, batches, records * recordBytes(payloadBytes), records, true),
  });
}

function asynchronous(context: BenchContext, payloadBytes: number): BenchCase {
  const count = Math.floor(
    Math.min((512 * MIB) / recordBytes(payloadBytes), 2_000_000) * context.scale,
  );
  const writes = Math.ceil((count * recordBytes(payloadBytes)) / (64 * KIB));
  return caseWithLog(context, flushPolicy.async, {
    name: `async/${sizeName(payloadBytes)}`,
    unit: "records/s",
    better: "higher",
    subject: (log) => streamedAppends(log, count, new Uint8Array(payloadBytes)),
    floor: async () => floorWrites(context.dir, writes, 64 * KIB, count / writes, false),
  });
}

/** Opens a log of 1 GiB and one of 10 GiB in turn; "floor" is the short one, so that the ratio must stay above 1 / 1.2. */
function recover(context: BenchContext): BenchCase {
  const short = join(context.dir, "short");
  const long = join(context.dir, "long");
  const reopen = (dir: string) => async (): Promise<Measurement> => {
    const startMs = performance.now();
    const { close } = await openAt(dir, { flush: flushPolicy.async });
    const value = performance.now() - startMs;
    await close();
    return { value };
  };
  return {
    name: `recover/${10 * context.scale}-vs-${context.scale}-gib`,
    unit: "ms",
    better: "lower",
    rounds: 9,
    setUp: async () => {
      await fill(short, 1024 * MIB * context.scale);
      await fill(long, 10 * 1024 * MIB * context.scale);
      return async () => {
        await rm(short, { recursive: true });
        await rm(long, { recursive: true });
      };
    },
    subject: reopen(long),
    floor: reopen(short),
  };
}

async function fill(dir: string, bytes: number): Promise<void> {
  const { log, close } = await openAt(dir, { flush: flushPolicy.async });
  const payload = new Uint8Array(16 * KIB);
  for (let done = 0; done < bytes; done += recordBytes(payload.length))
    await log.append(INPUT, payload);
  await close();
}

export const suite: BenchSuite = {
  name: "log",
  cases: (context) => [
    sync1(context),
    group64(context),
    ...[100, 1000].flatMap((records) => SIZES.map((bytes) => batched(context, records, bytes))),
    ...[64, KIB].map((bytes) => batchedWaiting(context, bytes)),
    ...SIZES.map((bytes) => asynchronous(context, bytes)),
    recover(context),
  ],
};
