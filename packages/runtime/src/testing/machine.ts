/**
 * The simulated machine under a test host: a disk, the store of the log's index, the store of the actors. Cutting its power stops
 * all three at the same moment and leaves what the seed says.
 */
import type { Rng, VirtualClock } from "@pinion/core";
import { SimDisk, SimKv, type SimCrashOptions, type SimOperation } from "@pinion/storage";

export interface MachineOptions {
  readonly rng: Rng;
  readonly clock: VirtualClock;
  /** Of each operation, ms of virtual time. */
  readonly latencyMs: number;
  /** Undefined: without end. */
  readonly capacityBytes: number | undefined;
}

export class Machine {
  readonly disk: SimDisk;
  readonly index: SimKv;
  readonly state: SimKv;

  constructor(disk: SimDisk, index: SimKv, state: SimKv) {
    this.disk = disk;
    this.index = index;
    this.state = state;
  }

  static create({ rng, clock, latencyMs, capacityBytes }: MachineOptions): Machine {
    const device = (name: string) => ({ rng: rng.fork(name), clock, latencyMs });
    return new Machine(
      new SimDisk({ ...device("disk"), ...(capacityBytes === undefined ? {} : { capacityBytes }) }),
      new SimKv({ ...device("index"), name: "index" }),
      new SimKv({ ...device("state"), name: "state" }),
    );
  }

  /** Called before every operation of any of the three takes effect. */
  set onOperation(hook: ((operation: SimOperation) => void) | undefined) {
    this.disk.onOperation = hook;
    this.index.onOperation = hook;
    this.state.onOperation = hook;
  }

  /** Operations so far. */
  get operationCount(): number {
    return this.disk.operationCount + this.index.operationCount + this.state.operationCount;
  }

  clearFaults(): void {
    this.disk.clearFaults();
    this.index.clearFaults();
    this.state.clearFaults();
  }

  /** Cuts the power. @returns what is there when it is back */
  crash(options: SimCrashOptions): Machine {
    return new Machine(
      this.disk.crash(options),
      this.index.crash(options),
      this.state.crash(options),
    );
  }

  /** Kills the process: what was written stays readable, and unsynced. */
  kill(): Machine {
    return new Machine(this.disk.kill(), this.index.kill(), this.state.kill());
  }
}
