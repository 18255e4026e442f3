/** What goes wrong in one life of the simulated machine, besides its end. */
import type { Rng, VirtualClock } from "@pinion/core";
import { LOG_DIR, SEGMENTS_DIR, type Machine } from "./actor-machine.ts";

export interface Faults {
  /** Reads or writes of the state store's segments fail. */
  readonly store: boolean;
  /** A write or sync of the log fails, or the disk is full for a while. */
  readonly disk: boolean;
}

export const NO_FAULTS: Faults = Object.freeze({ store: false, disk: false });

/** @param mild nothing that only a restart gets over */
export function armFaults(rng: Rng, machine: Machine, clock: VirtualClock, mild: boolean): Faults {
  const { disk } = machine.hardware;
  const path = SEGMENTS_DIR;
  const faults = { store: false, disk: false };
  if (rng.chance(0.25)) {
    faults.store = true;
    const nth = 1 + rng.below(12);
    disk.fail({ kind: "write", path, nth, times: 1 + rng.below(3), error: "ENOSPC" });
  }
  if (rng.chance(0.3)) {
    faults.store = true;
    disk.fail({
      kind: "read",
      path,
      nth: 1 + rng.below(20),
      times: 1 + rng.below(4),
      error: "EIO",
    });
  }
  if (mild) return faults;
  if (rng.chance(0.1)) {
    faults.store = true;
    const kind = rng.pick(["sync", "write", "create", "syncDir", "remove"] as const);
    disk.fail({ kind, path, nth: 1 + rng.below(8), times: 1, error: "EIO" });
  }
  if (rng.chance(0.25)) {
    faults.disk = true;
    const kind = rng.pick(["write", "sync"] as const);
    disk.fail({ kind, path: LOG_DIR, nth: 1 + rng.below(12), error: "EIO" });
  }
  if (rng.chance(0.1)) {
    faults.disk = true;
    clock.setTimer(rng.below(20), () => {
      disk.capacityBytes = 0;
      clock.setTimer(20 + rng.below(60), () => {
        disk.capacityBytes = Infinity;
      });
    });
  }
  return faults;
}
