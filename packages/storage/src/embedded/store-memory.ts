/**
 * Memory of an embedded store outside the JavaScript heap: the arena its extents are in, the pins that keep them there, and the governor that
 * makes them go before the system does.
 */
import { getHeapStatistics } from "node:v8";
import type { Clock } from "@pinion/core";
import { noTelemetry, PinionError } from "@pinion/core";
import { Arena, type ArenaStats } from "../extent/arena.ts";
import { PinnedResidency, type ExtentResidency } from "../extent/extent-residency.ts";
import { memoryDoor } from "../memory/open-memory-door.ts";
import { BudgetCounter } from "../residency/budget-counter.ts";
import { memoryBudget } from "../residency/memory-budget.ts";
import { MemoryGovernor } from "../residency/memory-governor.ts";
import { readMemoryLimits, readUsedBytes } from "../residency/memory-limits.ts";
import { PinManager } from "../residency/pin-manager.ts";
import type { PinStats } from "../residency/pin-report.ts";

const MIB = 1024 * 1024;
/** Staging of the log, and what LMDB keeps. */
const BUFFER_BYTES = 64 * MIB;
const INDEX_BYTES = 32 * MIB;

export interface StoreMemoryStats {
  /** "addon", or "portable": then nothing can be locked. */
  readonly door: string;
  /** Why it is not the addon. */
  readonly degraded: string | undefined;
  readonly arena: ArenaStats;
  readonly pins: PinStats;
}

export class StoreMemory {
  readonly residency: ExtentResidency;
  readonly #arena: Arena;
  readonly #pins: PinManager;
  readonly #governor: MemoryGovernor;

  /** @param pinBytesMax bytes; undefined: what the machine's limits give @throws `config-invalid` */
  constructor(clock: Clock, pinBytesMax: number | undefined) {
    if (pinBytesMax !== undefined && !(Number.isSafeInteger(pinBytesMax) && pinBytesMax >= 0)) {
      throw new PinionError(
        "config-invalid",
        `pinBytesMax is ${pinBytesMax}: it must be a whole number of bytes`,
        { details: { key: "pinBytesMax", value: pinBytesMax } },
      );
    }
    const door = memoryDoor();
    const limits = readMemoryLimits();
    const { pinBytes } = memoryBudget({
      limitBytes: limits.limitBytes,
      lockableBytes: door.facts().lockableBytes,
      workers: 1,
      heapBytesPerWorker: getHeapStatistics().heap_size_limit,
      bufferBytes: BUFFER_BYTES,
      indexBytes: INDEX_BYTES,
    });
    const budget = BudgetCounter.create(Math.min(pinBytes, pinBytesMax ?? Infinity), 1).open(0);
    this.#arena = new Arena(door);
    this.#pins = new PinManager({ clock, budget });
    this.residency = new PinnedResidency(clock, this.#pins, this.#arena);
    this.#governor = new MemoryGovernor({
      clock,
      telemetry: noTelemetry,
      ports: {
        usage: () => {
          const usedBytes = readUsedBytes(limits);
          return usedBytes === undefined ? undefined : { usedBytes, limitBytes: limits.limitBytes };
        },
        pool: { shrink: () => 0 },
        pins: this.#pins,
      },
    });
    this.#pins.start();
    this.#governor.start();
  }

  stats(): StoreMemoryStats {
    const door = memoryDoor();
    return {
      door: door.kind,
      degraded: door.degraded,
      arena: this.#arena.stats(),
      pins: this.#pins.stats(),
    };
  }

  /** After the store has let its volumes go. */
  async stop(): Promise<void> {
    this.#governor.stop();
    await this.#pins.stop();
    this.#arena.close();
  }
}
