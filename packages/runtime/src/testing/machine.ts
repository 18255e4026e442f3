/**
 * The simulated machine under a test host: a disk, and the store of the log's index. Cutting its power stops both at the same moment
 * and leaves what the seed says.
 */
import type { Rng, VirtualClock } from "@pinion/core";
import {
  SegmentStateStore,
  SimDisk,
  SimKv,
  type SimCrashOptions,
  type SimOperation,
} from "@pinion/storage";

export interface MachineOptions {
  readonly rng: Rng;
  readonly clock: VirtualClock;
  /** Of each operation, ms of virtual time. */
  readonly latencyMs: number;
  /** Undefined: without end. */
  readonly capacityBytes: number | undefined;
}

const SEGMENTS_DIR = "/data/worker-0/segments";
/** 1 MiB: small, so that a test sees more than one segment. */
const SEGMENT_PAGES = 256;
const GENERATIONS = 2 ** 32;

export class Machine {
  readonly disk: SimDisk;
  readonly index: SimKv;

  constructor(disk: SimDisk, index: SimKv) {
    this.disk = disk;
    this.index = index;
  }

  static create({ rng, clock, latencyMs, capacityBytes }: MachineOptions): Machine {
    const device = (name: string) => ({ rng: rng.fork(name), clock, latencyMs });
    return new Machine(
      new SimDisk({ ...device("disk"), ...(capacityBytes === undefined ? {} : { capacityBytes }) }),
      new SimKv({ ...device("index"), name: "index" }),
    );
  }

  /** The store of the actors. Nothing of it stays in memory: whatever is loaded is an operation of the disk, which a test can make fail. */
  stateStore(rng: Rng, clock: VirtualClock): SegmentStateStore {
    return new SegmentStateStore({
      disk: this.disk,
      dir: SEGMENTS_DIR,
      superblocks: this.index,
      newGeneration: () => rng.below(GENERATIONS),
      clock,
      segmentPages: SEGMENT_PAGES,
      cachedPagesMax: 0,
    });
  }

  /** Called before every operation of either takes effect. */
  set onOperation(hook: ((operation: SimOperation) => void) | undefined) {
    this.disk.onOperation = hook;
    this.index.onOperation = hook;
  }

  /** Operations so far. */
  get operationCount(): number {
    return this.disk.operationCount + this.index.operationCount;
  }

  clearFaults(): void {
    this.disk.clearFaults();
    this.index.clearFaults();
  }

  /** Cuts the power. @returns what is there when it is back */
  crash(options: SimCrashOptions): Machine {
    return new Machine(this.disk.crash(options), this.index.crash(options));
  }

  /** Kills the process: what was written stays readable, and unsynced. */
  kill(): Machine {
    return new Machine(this.disk.kill(), this.index.kill());
  }
}
