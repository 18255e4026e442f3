/**
 * The machine of the actor simulation: a simulated disk, two simulated key-value stores, and a worker on them until it is cut.
 *
 * I1 a dead machine's callbacks change nothing: whoever gets one asks `dead` first.
 */
import { noTelemetry, type Rng, type VirtualClock } from "@pinion/core";
import type { ActorDefinition } from "@pinion/runtime";
import { ActorWorker, MajorityOfOne, WORKER_DEFAULTS } from "@pinion/runtime/internal";
import {
  KvStateStore,
  openLog,
  SimDisk,
  SimKv,
  type FlushPolicy,
  type SegmentedLog,
} from "@pinion/storage";

const SHARDS = 4;
const SEGMENT_BYTES = 64 * 1024;
/** Slowest operation of the simulated devices. */
export const OPERATION_MS_MAX = 1.05;

export interface Hardware {
  readonly disk: SimDisk;
  readonly index: SimKv;
  readonly state: SimKv;
}

export interface Machine {
  readonly hardware: Hardware;
  readonly log: SegmentedLog;
  readonly worker: ActorWorker;
  /** Counts from 0. */
  readonly life: number;
  dead: boolean;
}

export function newHardware(rng: Rng, clock: VirtualClock): Hardware {
  const between = (fromMs: number, toMs: number): number => fromMs + rng.float() * (toMs - fromMs);
  // For a while the disk is slow and the stores are fast, or the other way round: each must wait for the other where it should.
  let faster: "disk" | "stores" | undefined;
  let operations = 0;
  const latencyOf = (device: "disk" | "stores") => (): number => {
    if (operations++ % 100 === 0) faster = rng.pick(["disk", "stores", undefined]);
    if (faster === undefined) return between(0.05, OPERATION_MS_MAX);
    return faster === device ? between(0.02, 0.06) : between(0.7, OPERATION_MS_MAX);
  };
  const [disk, stores] = [latencyOf("disk"), latencyOf("stores")];
  return {
    disk: new SimDisk({ rng: rng.fork("disk"), clock, latencyMs: disk }),
    index: new SimKv({ rng: rng.fork("index"), clock, latencyMs: stores, name: "index" }),
    state: new SimKv({ rng: rng.fork("state"), clock, latencyMs: stores, name: "state" }),
  };
}

/** What is found after the power was cut. */
export const crashed = ({ disk, index, state }: Hardware): Hardware =>
  withRoom({ disk: disk.crash(), index: index.crash(), state: state.crash() });

/** What is found after the process alone was killed: what was written stays readable, synced or not. */
export const killed = ({ disk, index, state }: Hardware): Hardware =>
  withRoom({ disk: disk.kill(), index: index.kill(), state: state.kill() });

/** Somebody has made room before the next start. */
function withRoom(hardware: Hardware): Hardware {
  hardware.disk.capacityBytes = Infinity;
  return hardware;
}

export function onOperation(hardware: Hardware, hook: (() => void) | undefined): void {
  hardware.disk.onOperation = hardware.index.onOperation = hardware.state.onOperation = hook;
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
    dir: "/log",
    clock,
    flush: options.policy,
    shardCount: SHARDS,
    worker: 0,
    segmentBytes: SEGMENT_BYTES,
  });
  const worker = new ActorWorker(
    {
      clock,
      rng: rng.fork("worker"),
      log,
      store: new KvStateStore(hardware.state, { clock }),
      replication: new MajorityOfOne(log),
      telemetry: noTelemetry,
      monitor: { enter: () => {}, resume: () => {}, leave: () => {} },
      logger: { warn: () => {} },
    },
    {
      ...WORKER_DEFAULTS,
      shardCount: SHARDS,
      // checkpoints as often as the worker looks, so that cuts fall into them
      checkpoint: { logBytes: 4_000, dirtyMs: 40, segmentBytes: SEGMENT_BYTES },
      typeDefaults: { ...WORKER_DEFAULTS.typeDefaults, idleDeactivationMs: 60 },
      reminderHorizonMs: 50,
    },
    options.actors,
  );
  await worker.start();
  return { hardware, log, worker, life, dead: false };
}
