/**
 * The machine of the actor simulation: a simulated disk, a simulated key-value store, and a worker on them until it is cut.
 *
 * I1 a dead machine's callbacks change nothing: whoever gets one asks `dead` first.
 */
import { noTelemetry, type Rng, type VirtualClock } from "@pinion/core";
import type { ActorDefinition } from "@pinion/runtime";
import { ActorWorker, MajorityOfOne, WORKER_DEFAULTS } from "@pinion/runtime/internal";
import {
  openLog,
  SegmentStateStore,
  SimDisk,
  SimKv,
  type FlushPolicy,
  type SegmentedLog,
  type SimOperation,
} from "@pinion/storage";

export const SHARDS = 4;
export const LOG_DIR = "/log";
export const SEGMENTS_DIR = "/segments";
const SEGMENT_BYTES = 64 * 1024;
/** So small that a checkpoint often needs a new one, and that most are emptied again. */
const SEGMENT_PAGES = 16;
/** Of all shards: so few that loads and checkpoints read. */
const CACHED_PAGES_MAX = 8;
const GENERATIONS = 2 ** 32;
/** Slowest operation of the simulated devices. */
export const OPERATION_MS_MAX = 1.05;

type Device = "log" | "stores";

export interface Hardware {
  readonly disk: SimDisk;
  readonly index: SimKv;
  readonly newIndex: () => SimKv;
}

export interface Machine {
  readonly hardware: Hardware;
  readonly log: SegmentedLog;
  readonly store: SegmentStateStore;
  readonly worker: ActorWorker;
  /** Counts from 0. */
  readonly life: number;
  dead: boolean;
}

export function newHardware(rng: Rng, clock: VirtualClock): Hardware {
  const between = (fromMs: number, toMs: number): number => fromMs + rng.float() * (toMs - fromMs);
  // For a while the log is slow and all that checkpoints go to is fast, or the other way round: each must wait for the other where it
  // should.
  let faster: Device | undefined;
  let operations = 0;
  const latencyOf = (device: Device): number => {
    if (operations++ % 100 === 0) faster = rng.pick(["log", "stores", undefined]);
    if (faster === undefined) return between(0.05, OPERATION_MS_MAX);
    return faster === device ? between(0.02, 0.06) : between(0.7, OPERATION_MS_MAX);
  };
  const deviceOf = (path: string): Device => (path.startsWith(LOG_DIR) ? "log" : "stores");
  let indexes = 0;
  const newIndex = (): SimKv =>
    new SimKv({
      rng: rng.fork(`index-${indexes++}`),
      clock,
      latencyMs: () => latencyOf("stores"),
      name: "index",
    });
  const disk = new SimDisk({
    inMemoryRate: 0.5,
    rng: rng.fork("disk"),
    clock,
    latencyMs: ({ path }) => latencyOf(deviceOf(path)),
  });
  return { disk, index: newIndex(), newIndex };
}

/** What is found after the power was cut. */
export const crashed = ({ disk, index, newIndex }: Hardware): Hardware =>
  withRoom({ disk: disk.crash(), index: index.crash(), newIndex });

/** What is found after the process alone was killed: what was written stays readable, synced or not. */
export const killed = ({ disk, index, newIndex }: Hardware): Hardware =>
  withRoom({ disk: disk.kill(), index: index.kill(), newIndex });

/** Somebody has deleted the index of the log, and where the newest checkpoints are with it. */
export const withoutIndex = ({ disk, newIndex }: Hardware): Hardware => ({
  disk,
  index: newIndex(),
  newIndex,
});

/** Somebody has made room before the next start. */
function withRoom(hardware: Hardware): Hardware {
  hardware.disk.capacityBytes = Infinity;
  return hardware;
}

export function onOperation(
  hardware: Hardware,
  hook: ((operation: SimOperation) => void) | undefined,
): void {
  hardware.disk.onOperation = hardware.index.onOperation = hook;
}

export function openStateStore(
  { disk, index }: Hardware,
  rng: Rng,
  clock: VirtualClock,
): SegmentStateStore {
  const generations = rng.fork("generations");
  return new SegmentStateStore({
    disk,
    dir: SEGMENTS_DIR,
    superblocks: index,
    newGeneration: () => generations.below(GENERATIONS),
    clock,
    segmentPages: SEGMENT_PAGES,
    cachedPagesMax: CACHED_PAGES_MAX,
    shardCount: SHARDS,
  });
}

export interface MachineOptions {
  readonly hardware: Hardware;
  readonly clock: VirtualClock;
  readonly rng: Rng;
  readonly policy: FlushPolicy;
  readonly actors: readonly ActorDefinition[];
  readonly life: number;
}

/** Starts a worker on what is there. Rejects when it cannot. */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  const { hardware, clock, rng, life } = options;
  const log = await openLog({
    disk: hardware.disk,
    kv: hardware.index,
    dir: LOG_DIR,
    clock,
    flush: options.policy,
    shardCount: SHARDS,
    worker: 0,
    segmentBytes: SEGMENT_BYTES,
    // A life is short: 16 MiB of fresh memory for each would be most of its cost.
    stagingBytes: 4 * SEGMENT_BYTES,
  });
  const store = openStateStore(hardware, rng, clock);
  const worker = new ActorWorker(
    {
      clock,
      rng: rng.fork("worker"),
      log,
      store,
      replication: new MajorityOfOne(log),
      telemetry: noTelemetry,
      monitor: { enter: () => {}, resume: () => {}, leave: () => {} },
      logger: { warn: () => {} },
    },
    {
      ...WORKER_DEFAULTS,
      shardCount: SHARDS,
      // checkpoints as often as the worker looks, so that cuts fall into them
      checkpoint: {
        logBytes: 4_000,
        dirtyBytes: 64 * 4_096,
        dirtyMs: 40,
        segmentBytes: SEGMENT_BYTES,
      },
      typeDefaults: { ...WORKER_DEFAULTS.typeDefaults, idleDeactivationMs: 60 },
      reminderHorizonMs: 50,
    },
    options.actors,
  );
  await worker.start();
  return { hardware, log, store, worker, life, dead: false };
}
