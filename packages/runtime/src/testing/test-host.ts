/**
 * A host for tests of actors: in this process, on virtual time, on a simulated machine that loses its power where a test says so.
 * The turn engine, the log, the checkpoints, the recovery and the client are the real ones; only clock, disk and network are not.
 *
 * T1 nothing happens by the machine's clock: time moves when the test moves it.
 * T2 the same seed and the same calls give the same history.
 * T3 after a crash nothing of the old life acts any more: no reply, no send, no write.
 */
import { Client, resolveClientOptions, type ClientOptions } from "@pinion/client";
import {
  assert,
  formatActorId,
  noTelemetry,
  PinionError,
  seededRng,
  VirtualClock,
  type ActorId,
  type Rng,
} from "@pinion/core";
import type { SegmentedLog, SimCrashOptions, SimDisk, StateStore } from "@pinion/storage";
import type { ActorInspection } from "../admin/index.ts";
import { inspectActor } from "../admin/worker.ts";
import type { ActorDefinition } from "../definition/define-actor.ts";
import { LOOPBACK_ADDRESS, type GatewayIdentity, type LoopbackOptions } from "../gateway/index.ts";
import { assembleWorker } from "../host/assemble-worker.ts";
import type { ActorWorker, RecoverySummary } from "../worker/actor-worker.ts";
import { WORKER_DEFAULTS, type WorkerOptions } from "../worker/worker-options.ts";
import { CrashPoints, type CrashPoint } from "./crash-point.ts";
import { Machine } from "./machine.ts";
import { TestConnector } from "./test-connector.ts";
import { TestReplication } from "./test-replication.ts";

export interface TestHostOptions {
  readonly actors: readonly ActorDefinition[];
  /** Decides what is random: what a crash leaves, `ctx.random()`, delays. Default 1. */
  readonly seed?: number;
  /** Where the calendar begins; default 2001-01-01. */
  readonly startTime?: Date;
  /** A flush policy such as "group" (the default) or "async". */
  readonly flush?: string;
  /** Virtual time that each operation of the disk takes, ms. Default 0: calls end without time moving. */
  readonly diskLatencyMs?: number;
  /** Size of the disk; default without end. */
  readonly diskBytes?: number;
  /** Default 4. */
  readonly shardCount?: number;
  /** Time limits and bounds of the worker, where they differ from a host's defaults. */
  readonly limits?: Partial<WorkerOptions["typeDefaults"]> & {
    readonly activationsMax?: number;
  };
}

/** What was logged as a warning. */
export interface TestWarning {
  readonly message: string;
  readonly error: unknown;
  readonly details: Readonly<Record<string, string | number>>;
}

/** One life of the host, from a start to a crash or a stop. */
interface Life {
  readonly worker: ActorWorker;
  readonly log: SegmentedLog;
  readonly store: StateStore;
  readonly replication: TestReplication;
}

const LOG_DIR = "/data/worker-0/log";
/** Small, so that a test sees more than one segment, and large enough for the largest turn. */
const SEGMENT_BYTES = 32 * 1024 * 1024;
const STAGING_BYTES = 17 * 1024 * 1024;
const GENERATIONS = 2 ** 32;
/** How fast the client comes back, in virtual time: `restart` waits for it. */
const RECONNECT_MS = 5;
const UNTIL_MS_DEFAULT = 60_000;
const MONITOR = Object.freeze({ enter: () => {}, resume: () => {}, leave: () => {} });

export class TestHost implements AsyncDisposable {
  readonly clock: VirtualClock;
  readonly seed: number;
  /** Warnings of all lives, oldest first. A test may want to see none. */
  readonly warnings: TestWarning[] = [];
  readonly #options: TestHostOptions;
  readonly #rng: Rng;
  readonly #points = new CrashPoints();
  #machine: Machine;
  #life: Life | undefined;
  #lives = 0;
  #client: Client | undefined;
  #connector: TestConnector | undefined;
  #starting = false;

  private constructor(options: TestHostOptions) {
    this.#options = options;
    this.seed = options.seed ?? 1;
    this.#rng = seededRng(this.seed);
    this.clock = new VirtualClock(options.startTime?.getTime());
    this.#machine = Machine.create({
      rng: this.#rng.fork("machine"),
      clock: this.clock,
      latencyMs: options.diskLatencyMs ?? 0,
      capacityBytes: options.diskBytes,
    });
  }

  static async create(options: TestHostOptions): Promise<TestHost> {
    const host = new TestHost(options);
    await host.#start();
    await host.#openClient();
    return host;
  }

  /** A client whose calls survive crashes and restarts, as a real one's do. */
  get client(): Client {
    return this.#client as Client; // set before anybody gets the host
  }

  /**
   * The disk under the log (below `/data/worker-0/log`) and the checkpointed actors (below `/data/worker-0/segments`): full it, break
   * it, flip its bits. A crash replaces it.
   */
  get disk(): SimDisk {
    return this.#machine.disk;
  }

  /** Operations of the disk and the log's index in this life of the machine. */
  get operationCount(): number {
    return this.#machine.operationCount;
  }

  get running(): boolean {
    return this.#life !== undefined && this.#life.worker.core.state === "serving";
  }

  /** Why the host serves no more, when its log has failed; a restart may help. */
  get failure(): PinionError | undefined {
    return this.#life?.worker.core.failure;
  }

  /** What the last start found in the log. */
  get recovery(): RecoverySummary | undefined {
    return this.#life?.worker.recovery;
  }

  /**
   * Moves time on until `work` is done, at most `msMax` (default one minute), and settles like it: for what needs time to pass,
   * such as retries, timeouts and slow disks. @throws `deadline-exceeded` when it is not done by then
   */
  async until<T>(work: Promise<T>, msMax = UNTIL_MS_DEFAULT): Promise<T> {
    const endMs = this.clock.nowMs() + msMax;
    const late = (): boolean => this.clock.nowMs() >= endMs;
    const ended = await this.#driven(work, late);
    if (ended !== undefined) return ended.value;
    throw new PinionError("deadline-exceeded", `not done after ${msMax} ms of virtual time`);
  }

  /** Lets what has been started go as far as it can without time moving. */
  settle(): Promise<void> {
    return this.clock.settle();
  }

  /**
   * Cuts the power at once. What was not flushed is lost, kept or torn as the seed has it, unless `survivalRate` (0 … 1) says
   * how much of it survives. Calls in flight stay pending: they are retried after `restart`.
   */
  crash(options: SimCrashOptions = {}): void {
    this.#end((machine) => machine.crash(options));
  }

  /** Kills the process, not the machine: everything written stays, flushed or not. */
  kill(): void {
    this.#end((machine) => machine.kill());
  }

  /** Cuts the power when the point is reached. Resolves then; the host is down. */
  crashAt(point: CrashPoint, options: SimCrashOptions = {}): Promise<void> {
    return new Promise((resolve) => {
      this.#points.arm(point, () => {
        this.crash(options);
        resolve();
      });
    });
  }

  /** Starts the host again on what is left, after stopping it in order if it still runs. Faults are gone. */
  async restart(): Promise<void> {
    this.#points.clear();
    if (this.failure !== undefined) this.kill();
    await this.stop();
    await this.#start();
    this.#connector?.attach(this.#loopback());
    // Time enough for the client to notice; its retries come right behind.
    await this.clock.advance(2 * RECONNECT_MS);
  }

  /** Stops in order: turns end, everything is checkpointed. */
  async stop(): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    this.#connector?.detach();
    const stopped = async (): Promise<void> => {
      await life.worker.stop(0);
      await life.log.close();
      await life.store.close();
    };
    // A crash on the way leaves nobody who could end.
    await this.#driven(stopped(), () => this.#life !== life);
    this.#life = undefined;
  }

  /** An actor as it is, without bringing it into memory. @throws `unknown-actor-type`, `unavailable` while the host is down */
  inspect(actor: string | ActorId): Promise<ActorInspection> {
    if (this.#life === undefined)
      return Promise.reject(new PinionError("unavailable", "the test host is down"));
    const id = typeof actor === "string" ? actor : formatActorId(actor);
    return this.#own(inspectActor(this.#life.worker.core, 0, id));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.close(0);
    if (this.failure !== undefined) this.kill();
    await this.stop();
  }

  // --- one life ---------------------------------------------------------------------------------------------------------

  async #start(): Promise<void> {
    assert(this.#life === undefined && !this.#starting, "a test host is started once at a time");
    this.#starting = true;
    try {
      this.#life = await this.#own(this.#assemble());
    } finally {
      this.#starting = false;
    }
  }

  async #assemble(): Promise<Life> {
    const { clock, warnings } = this;
    const { actors, flush = "group" } = this.#options;
    const machine = this.#machine;
    const rng = this.#rng.fork(`life-${++this.#lives}`);
    machine.clearFaults();
    machine.onOperation = (operation) => this.#points.onOperation(operation);
    const generations = rng.fork("generations");
    const store = machine.stateStore(rng.fork("checkpoints"), clock);
    let replication: TestReplication | undefined;
    const { worker, log } = await assembleWorker(
      { clock, rng, disk: machine.disk, logKv: machine.index, store },
      {
        telemetry: noTelemetry,
        monitor: MONITOR,
        logger: {
          warn: (message, error, details) => warnings.push({ message, error, details }),
        },
      },
      {
        worker: 0,
        log: {
          dir: LOG_DIR,
          flush,
          segmentBytes: SEGMENT_BYTES,
          stagingBytes: STAGING_BYTES,
          newGeneration: () => 1 + generations.below(GENERATIONS - 1),
        },
        options: this.#workerOptions(),
        definitions: actors,
        replicationOf: (opened) => (replication = new TestReplication(opened, this.#points)),
      },
    );
    assert(replication !== undefined, "the worker was given the test's replication");
    return { worker, log, store, replication };
  }

  #workerOptions(): WorkerOptions {
    const { shardCount = 4, limits = {} } = this.#options;
    const { activationsMax, ...typeDefaults } = limits;
    return {
      ...WORKER_DEFAULTS,
      shardCount,
      ...(activationsMax === undefined ? {} : { activationsMax }),
      typeDefaults: { ...WORKER_DEFAULTS.typeDefaults, ...typeDefaults },
    };
  }

  #end(next: (machine: Machine) => Machine): void {
    const life = this.#life;
    this.#life = undefined;
    life?.replication.stop(); // T3
    this.#machine = next(this.#machine);
    life?.worker.abandon();
    this.#connector?.detach();
  }

  // --- the client -------------------------------------------------------------------------------------------------------

  #loopback(): LoopbackOptions {
    const life = this.#life;
    assert(life !== undefined, "the test host is up");
    return {
      dispatcher: life.worker,
      identity: () => this.#identity(),
      clock: this.clock,
    };
  }

  #identity(): GatewayIdentity {
    const { shardCount } = this.#workerOptions();
    return {
      clusterId: "test",
      host: "test",
      incarnation: this.#lives,
      worker: 0,
      hostVersion: "test",
      shardMap: { shardCount, workers: [], owners: [], terms: [], version: 1 },
      sessionExpiryMs: WORKER_DEFAULTS.dedupe.sessionExpiryMs,
    };
  }

  async #openClient(): Promise<void> {
    const options: ClientOptions = {
      clock: this.clock,
      rng: this.#rng.fork("client"),
      reconnectDelayMsMin: 1,
      reconnectDelayMsMax: RECONNECT_MS,
      clientName: "test",
    };
    this.#client = await Client.open(
      [LOOPBACK_ADDRESS],
      resolveClientOptions(options),
      (session) => (this.#connector = new TestConnector(session, this.clock, this.#loopback())),
    );
  }

  /** Moves time in small steps while `work` needs it. Undefined when `late` says that it is enough. */
  async #driven<T>(
    work: Promise<T>,
    late: () => boolean = () => false,
  ): Promise<{ value: T } | undefined> {
    let ended: { value: T } | undefined;
    let failed: { error: unknown } | undefined;
    work.then(
      (value) => (ended = { value }),
      (error: unknown) => (failed = { error }),
    );
    await this.clock.settle();
    while (ended === undefined && failed === undefined && !late()) await this.clock.advance(1);
    if (failed !== undefined) throw failed.error;
    return ended;
  }

  /** Work of the host itself takes the time it takes. */
  async #own<T>(work: Promise<T>): Promise<T> {
    return ((await this.#driven(work)) as { value: T }).value;
  }
}

/** Starts a host for a test. @throws `invalid-argument` for definitions that cannot be */
export function createTestHost(options: TestHostOptions): Promise<TestHost> {
  return TestHost.create(options);
}
