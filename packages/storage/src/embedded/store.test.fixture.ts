/** A machine for tests of the embedded store: a simulated disk and index, virtual time, and a store on them. */
import { isPinionError, seededRng, VirtualClock, type Rng } from "@pinion/core";
import { SimDisk, type SimDiskOptions } from "../disk/sim-disk.ts";
import { BufferMemory } from "../extent/extent-memory.ts";
import { PlainResidency } from "../extent/extent-residency.ts";
import { SimKv } from "../kv/sim-kv.ts";
import { openStoreOn } from "./open-store.ts";
import type { StoreSettings } from "./store-options.ts";
import type { Store } from "./store.ts";

export class StoreMachine {
  readonly rng: Rng;
  disk: SimDisk;
  index: SimKv;
  clock = new VirtualClock();
  readonly warnings: string[] = [];

  constructor(seed = 1, disk: Partial<SimDiskOptions> = {}) {
    this.rng = seededRng(seed);
    this.disk = new SimDisk({ rng: this.rng.fork("disk"), ...disk });
    this.index = new SimKv({ rng: this.rng.fork("index") });
  }

  /** A small store: log segments of 256 KiB. */
  open(settings: StoreSettings = {}, memoryBytesMax = Infinity): Promise<Store> {
    // What a dead life waits for must not move the time of the next.
    this.clock = new VirtualClock();
    return openStoreOn(
      {
        disk: this.disk,
        index: this.index,
        residency: new PlainResidency(new BufferMemory(memoryBytesMax)),
        newGeneration: () => this.rng.below(2 ** 31),
      },
      "store",
      {
        clock: this.clock,
        logSegmentBytes: 256 * 1024,
        onWarning: ({ code }) => this.warnings.push(code),
        ...settings,
      },
    );
  }

  /** The power goes and comes back. */
  crash(survivalRate?: number): void {
    const options = survivalRate === undefined ? {} : { survivalRate };
    const disk = this.disk.crash(options);
    this.index = this.index.crash(options);
    this.disk = disk;
  }

  /** Goes on with one disk's volumes and another's log; what the index knew is lost. */
  async replace(rest: SimDisk, log: SimDisk): Promise<void> {
    const logFiles = log
      .paths()
      .filter((path) => path.includes("/log/"))
      .map((path) => [path, log.contents(path)] as const);
    for (const path of rest.paths()) if (path.includes("/log/")) await rest.remove(path);
    for (const [path, bytes] of logFiles) {
      const file = await rest.create(path);
      await file.write(0, bytes, { sync: true });
      await file.close();
    }
    await rest.syncDir("store/log");
    this.disk = rest;
    this.index = new SimKv({ rng: this.rng.fork("another index") });
  }
}

/** The code of the error that `work` ends with. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "nothing was thrown";
  } catch (e) {
    return isPinionError(e) ? e.code : String(e);
  }
}
