/**
 * Runs a log on the simulated disk and index, cuts it at an operation the seed chooses, opens it again on what is left, and
 * checks it against the oracle (log-oracle.ts); several lives in a row, so that openings are cut too.
 *
 * A life is ended by a power cut (unsynced sectors, names and commits are lost or torn), by killing the process (what was
 * written stays readable but unsynced), or by a write or sync that fails (the log stops itself).
 */
import {
  hlcTime,
  seededRng,
  shardId,
  term,
  VirtualClock,
  type Clock,
  type Rng,
} from "@pinion/core";
import {
  openLog,
  RecordKind,
  SimDisk,
  SimKv,
  type FlushPolicy,
  type SegmentedLog,
} from "@pinion/storage";
import { LogOracle, OracleError } from "./log-oracle.ts";

export interface LogCutOptions {
  readonly policy: FlushPolicy;
  readonly cuts: number;
  readonly seed: number;
  /** Only the run with this number, to replay a failure. */
  readonly only?: number;
}

interface CutCounts {
  byPower: number;
  byProcess: number;
  byFault: number;
  /** Cuts that fell into an opening. */
  duringOpening: number;
  /** Records appended in all. */
  records: number;
  /** Records that were accepted but never promised, and did not survive. */
  lost: number;
}

export interface LogCutResult extends Readonly<CutCounts> {
  readonly cuts: number;
}

const SHARDS = 4;
const SEGMENT_BYTES = 64 * 1024;
const STAGING_BYTES = 16 * 1024;
const LIVES = 3;

/** @throws the first violation, with the seed and number that replay it */
export async function runLogCuts(options: LogCutOptions): Promise<LogCutResult> {
  const { policy, cuts, seed, only } = options;
  const total = noCounts();
  let done = 0;
  for (let run = 0; done < cuts; run++) {
    if (only !== undefined && run !== only) {
      if (run > only) break;
      continue;
    }
    const rng = seededRng(seed).fork(`${policy.name}-${run}`);
    try {
      const one = await new CutRun(policy, rng).run();
      for (const key of Object.keys(total) as (keyof CutCounts)[]) total[key] += one[key];
      done += one.byPower + one.byProcess + one.byFault;
    } catch (e) {
      throw new OracleError(
        `policy ${policy.name}, seed ${seed}, run ${run}: ${e instanceof Error ? e.message : String(e)}`,
        {
          cause: e,
        },
      );
    }
  }
  return { cuts: done, ...total };
}

function noCounts(): CutCounts {
  return { byPower: 0, byProcess: 0, byFault: 0, duringOpening: 0, records: 0, lost: 0 };
}

/** Thrown to leave a life that was cut. */
class Cut extends Error {}

class CutRun {
  readonly #policy: FlushPolicy;
  readonly #rng: Rng;
  readonly #oracle = new LogOracle(SHARDS);
  readonly #counts = noCounts();
  #disk: SimDisk;
  #kv: SimKv;
  /** A new one for each life: what still waits in a dead one must not move the time of the next. */
  #clock = new VirtualClock();
  #timestamp = 1e15;
  /** Whether syncs take their time in this run, so that more is under way when the cut comes. */
  readonly #slow: boolean;
  /** The log that is alive: what was still waiting when another one was cut promises nothing any more. */
  #alive: SegmentedLog | undefined;

  constructor(policy: FlushPolicy, rng: Rng) {
    this.#policy = policy;
    this.#rng = rng;
    this.#slow = rng.chance(0.4);
    const patience = rng.fork("patience");
    const latencyMs = ({ kind }: { kind: string }): number =>
      kind === "sync" ? patience.pick([0, 0, 0, 5, 40]) : 0;
    this.#disk = new SimDisk(this.#slow ? { rng, clock: this.#diskClock(), latencyMs } : { rng });
    this.#kv = new SimKv({ rng });
  }

  async run(): Promise<CutCounts> {
    let cut: "power" | "process" = "power";
    for (let life = 0; life < LIVES; life++) cut = await this.#life(cut);
    // The index is only an index.
    if (this.#rng.chance(0.2)) this.#kv = new SimKv({ rng: this.#rng });
    const log = await this.#settled(this.#open());
    await this.#settled(this.#oracle.verify(log, cut));
    this.#counts.lost = this.#counts.records - this.#oracle.length;
    await this.#settled(log.close());
    const again = await this.#settled(this.#open());
    await this.#settled(this.#oracle.verify(again, "power"));
    await this.#settled(again.close());
    return this.#counts;
  }

  /** The disk survives the lives, its clock does not. */
  #diskClock(): Clock {
    const current = (): Clock => this.#clock;
    return {
      nowMs: () => current().nowMs(),
      wallMs: () => current().wallMs(),
      setTimer: (delayMs, fn) => current().setTimer(delayMs, fn),
      defer: (fn) => current().defer(fn),
    };
  }

  /** Waits for something that may take time of the clock, or for the cut. */
  async #settled<T>(promise: Promise<T>, ended?: Promise<never>): Promise<T> {
    const outcome = ended ? Promise.race([promise, ended]) : promise;
    if (!this.#slow) return outcome;
    let done = false;
    const finished = outcome.finally(() => (done = true));
    finished.catch(() => {});
    while (!done) await this.#clock.advance(2);
    return finished;
  }

  /** @returns how it ended */
  async #life(before: "power" | "process"): Promise<"power" | "process"> {
    const rng = this.#rng;
    this.#clock = new VirtualClock(this.#clock.wallMs() + 1000);
    const ending = rng.pick(["power", "power", "process", "fault"] as const);
    const ended = Promise.withResolvers<never>();
    ended.promise.catch(() => {});
    const [disk, kv] = [this.#disk, this.#kv];
    let operations = 0;
    // Openings take 10 to 40 operations, the work after them a few hundred.
    const cutAt = rng.chance(0.25) ? 1 + rng.below(40) : 20 + rng.below(160);
    const onOperation = (): void => {
      if (++operations !== cutAt || ending === "fault") return;
      this.#alive = undefined;
      this.#disk = ending === "power" ? disk.crash() : disk.kill();
      this.#kv = ending === "power" ? kv.crash() : kv.kill();
      ended.reject(new Cut());
    };
    disk.onOperation = onOperation;
    kv.onOperation = onOperation;
    let opened = false;
    try {
      const orCut = <T>(promise: Promise<T>): Promise<T> => this.#settled(promise, ended.promise);
      const log = await orCut(this.#open());
      opened = true;
      this.#alive = log;
      await orCut(this.#oracle.verify(log, before));
      if (ending === "fault")
        disk.fail({
          kind: rng.pick(["write", "sync"] as const),
          nth: 1 + rng.below(30),
          error: "EIO",
        });
      await this.#work(log, orCut);
      await orCut(log.close());
      if (log.failure) return this.#failed();
      this.#oracle.promiseFlushed(this.#oracle.length);
    } catch (e) {
      if (!(e instanceof Cut)) throw e;
      if (!opened) this.#counts.duringOpening++;
      this.#counts[ending === "power" ? "byPower" : "byProcess"]++;
      return opened
        ? (ending as "power" | "process")
        : worse(before, ending as "power" | "process");
    }
    this.#disk = disk.crash();
    this.#kv = kv.crash();
    this.#counts.byPower++;
    return "power";
  }

  /** The log has stopped itself; the process is started again, on a machine that may have been restarted too. */
  #failed(): "power" {
    this.#counts.byFault++;
    this.#disk.clearFaults();
    const power = this.#rng.chance(0.5);
    this.#disk = power ? this.#disk.crash() : this.#disk.kill();
    this.#kv = power ? this.#kv.crash() : this.#kv.kill();
    return "power";
  }

  #open(): Promise<SegmentedLog> {
    return openLog({
      disk: this.#disk,
      kv: this.#kv,
      dir: "data/log",
      clock: this.#clock,
      flush: this.#policy,
      shardCount: SHARDS,
      segmentBytes: SEGMENT_BYTES,
      stagingBytes: STAGING_BYTES,
    });
  }

  async #work(log: SegmentedLog, orCut: <T>(promise: Promise<T>) => Promise<T>): Promise<void> {
    const rng = this.#rng;
    const steps = 5 + rng.below(60);
    for (let step = 0; step < steps && !log.failure; step++) {
      const burst = 1 + rng.below(rng.chance(0.2) ? 60 : 6);
      for (let i = 0; i < burst && !log.failure; i++) this.#append(log);
      await orCut(this.#pause(log));
      this.#oracle.sawFlushed(log);
      if (rng.chance(0.05)) await orCut(this.#retain(log));
      if (rng.chance(0.03)) await orCut(this.#flood(log));
    }
  }

  /** Fills segment after segment faster than a slow sync ends. */
  async #flood(log: SegmentedLog): Promise<void> {
    for (let i = 0; i < 12 && !log.failure && log === this.#alive; i++) {
      for (let n = 0; n < 100 && !log.failure; n++) this.#append(log);
      await this.#clock.settle();
      if (log === this.#alive) this.#oracle.sawFlushed(log);
    }
  }

  #append(log: SegmentedLog): void {
    const rng = this.#rng;
    const shard = shardId(rng.below(SHARDS));
    const payload = new Uint8Array(rng.chance(0.05) ? rng.below(9000) : rng.below(200));
    for (let i = 0; i < payload.length; i += 7) payload[i] = rng.uint32();
    const timestamp = hlcTime(++this.#timestamp);
    const lsn = log.tryAppend(
      { shard, term: term(1 + (this.#timestamp % 3)), kind: RecordKind.commit, timestamp },
      payload,
    );
    if (lsn === undefined) return;
    this.#counts.records++;
    this.#oracle.appended({ shard, lsn, timestamp, payload });
  }

  async #pause(log: SegmentedLog): Promise<void> {
    const rng = this.#rng;
    const before = this.#oracle.length;
    const kind = rng.below(5);
    if (kind === 0) {
      log.requestFlush();
      await this.#clock.settle();
    } else if (kind === 1 && before > 0) {
      await this.#awaitFlush(log, before);
    } else if (kind === 2) {
      // Long enough for every policy's timer, and now and then for the marker that vouches for the last batch.
      await this.#clock.advance(rng.pick([10, 10, 25]));
      this.#promiseAfterWait(log, before);
    } else {
      await this.#clock.settle();
    }
  }

  async #awaitFlush(log: SegmentedLog, before: number): Promise<void> {
    const { shard, lsn } = this.#oracle.record(before - 1);
    const waited = log.whenFlushed(shard, lsn).then(
      () => true,
      () => false,
    );
    await this.#clock.advance(10);
    const resolved = await waited;
    if (log.failure || log !== this.#alive) return;
    if (resolved) this.#oracle.promiseFlushed(before);
    else if (!log.failure)
      throw new OracleError("whenFlushed rejected although the log has not failed");
  }

  /** What the policy has promised once its waiting time has passed. */
  #promiseAfterWait(log: SegmentedLog, before: number): void {
    // A slow disk may need longer than the wait: then only what the log says itself counts.
    if (this.#slow || log.failure || log !== this.#alive) return;
    if (this.#policy.name === "async") this.#oracle.promiseWritten(before);
    else this.#oracle.promiseFlushed(before);
  }

  async #retain(log: SegmentedLog): Promise<void> {
    if (log.failure) return;
    const position = log.position();
    const index = this.#oracle.length;
    this.#oracle.retainedFrom(position, index);
    await log.retain("checkpoint", position).catch((e: unknown) => {
      if (!log.failure) throw e;
    });
  }
}

/** A process that was cut while it opened has promised nothing new: what was promised before counts, under either cut. */
function worse(a: "power" | "process", b: "power" | "process"): "power" | "process" {
  return a === "power" || b === "power" ? "power" : "process";
}
