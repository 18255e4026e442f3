/**
 * Memory of one worker outside its JavaScript heap: the arena its extents are in, the pins that keep them there, and the governor that makes
 * them go before the system does.
 */
import type { Clock, Telemetry } from "@pinion/core";
import {
  AdaptiveController,
  type AdaptiveOptions,
  Arena,
  BudgetCounter,
  MemoryGovernor,
  memoryDoor,
  PinManager,
  PagePool,
  PinnedResidency,
  readMemoryLimits,
  readUsedBytes,
  TypeBudgetTable,
  type ActorKey,
  type AdaptiveReport,
  type ArenaStats,
  type BufferPoolStats,
  type GovernorReport,
  type MemoryFacts,
  type PinFilter,
  type PinListing,
  type PinStats,
  type TypeBudget,
  type TypeUse,
} from "@pinion/storage";
import { observeMemory } from "./memory-metrics.ts";
import type { WorkerHome, WorkerHomeReport } from "./worker-home.ts";
import { WorkerResidency } from "./worker-residency.ts";

export interface WorkerMemoryOptions {
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** Of this worker among those of the host, from 0. */
  readonly worker: number;
  readonly home: WorkerHome;
  readonly adaptive: AdaptiveOptions;
  /** What `hostMemory` made. */
  readonly budget: SharedArrayBuffer;
  /** For pages that are not pinned. */
  readonly poolBytes: number;
  /** As of `budget`, for types that have a bound. */
  readonly typeBudgets: SharedArrayBuffer;
  /** Actor types that declare extents: each has metrics of its own, and a bound if its definition says so. */
  readonly types: readonly { readonly name: string; readonly budget: TypeBudget | undefined }[];
}

/** What `pinion pins` and the admin port show of a worker's memory. */
export interface MemoryReport {
  /** "addon", or "portable" with the reason: then nothing can be locked. */
  readonly door: string;
  readonly degraded: string | undefined;
  readonly facts: MemoryFacts;
  readonly home: WorkerHomeReport;
  readonly arena: ArenaStats;
  readonly pins: PinStats;
  readonly pressure: GovernorReport;
  readonly adaptive: AdaptiveReport;
  readonly pool: BufferPoolStats;
}

export class WorkerMemory {
  readonly residency: WorkerResidency;
  /** What extents that are not in memory are read through. */
  readonly pool: PagePool;
  readonly #home: WorkerHomeReport;
  readonly #pins: PinManager;
  readonly #arena: Arena;
  readonly #governor: MemoryGovernor;
  readonly #adaptive: AdaptiveController;

  constructor(options: WorkerMemoryOptions) {
    const { clock, telemetry, worker, home, adaptive, budget, poolBytes, types } = options;
    this.#home = home.report;
    this.pool = new PagePool({ capacityBytes: poolBytes, clock, telemetry });
    const door = memoryDoor();
    const limits = readMemoryLimits();
    this.#arena = new Arena(door);
    const table = new TypeBudgetTable(options.typeBudgets);
    this.#pins = new PinManager({
      clock,
      budget: new BudgetCounter(budget).open(worker),
      placer: home.placer,
      types: types.flatMap(({ name, budget: bound }) =>
        bound === undefined ? [] : [{ type: name, budget: bound, cells: table.open(name, worker) }],
      ),
    });
    this.residency = new WorkerResidency(
      new PinnedResidency(clock, this.#pins, this.#arena),
      () => this.#adaptive,
    );
    this.#governor = new MemoryGovernor({
      clock,
      telemetry,
      ports: {
        usage: () => {
          const usedBytes = readUsedBytes(limits);
          return usedBytes === undefined ? undefined : { usedBytes, limitBytes: limits.limitBytes };
        },
        pool: this.pool,
        pins: this.#pins,
      },
    });
    this.#adaptive = new AdaptiveController({
      clock,
      pins: this.#pins,
      options: adaptive,
      ports: {
        hottest: (limit) => this.residency.pinned.hottest(limit),
        majorFaults: () => door.facts().majorFaults,
      },
    });
    const names = types.map(({ name }) => name);
    observeMemory(telemetry, clock, names, home.report.nodes, {
      pins: () => this.#pins.stats(),
      arena: () => this.#arena.stats(),
      pressure: () => this.#governor.report(),
      adaptive: () => this.#adaptive.report(),
      byType: () => this.residency.byType(),
    });
    this.#pins.start();
    this.#governor.start();
    this.#adaptive.start();
  }

  report(): MemoryReport {
    const door = memoryDoor();
    return {
      door: door.kind,
      degraded: door.degraded,
      facts: door.facts(),
      home: this.#home,
      arena: this.#arena.stats(),
      pins: this.#pins.stats(),
      pressure: this.#governor.report(),
      adaptive: this.#adaptive.report(),
      pool: this.pool.stats(),
    };
  }

  /** Of types that have a bound. */
  typeUse(): TypeUse[] {
    return this.#pins.typeUse();
  }

  pinList(filter: PinFilter): PinListing[] {
    return this.#pins.list(filter);
  }

  pinOf(actor: ActorKey, name: string): PinListing | undefined {
    return this.residency.pinned.pinOf(actor, name);
  }

  /** After the worker has let its activations go. */
  async stop(): Promise<void> {
    this.#governor.stop();
    this.#adaptive.stop();
    await this.#pins.stop();
    this.#arena.close();
  }
}
