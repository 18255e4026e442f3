/**
 * What every start of a host begins with and every stop ends with: the data directory and its lock, the embedded cluster, the
 * list of blocked calls, host.json.
 *
 * B1 whatever a failed start has taken it gives back.
 */
import { randomSeed, seededRng, systemClock, type Rng } from "@pinion/core";
import { openEmbeddedCluster, type EmbeddedCluster } from "@pinion/placement";
import { BudgetCounter, TypeBudgetTable, RealDisk } from "@pinion/storage";
import type { Degradation, HostFacts } from "../admin/index.ts";
import { createLogger, type HostLogger } from "../observability/index.ts";
import { hostMemory, type HostMemory } from "../memory/host-memory.ts";
import { BlockedCalls } from "./blocked-calls.ts";
import { DataDirectory } from "./data-directory.ts";
import { machineDegradations, warnOfShortage } from "./degradations.ts";
import { removeHostInfo, writeHostInfo } from "./host-info.ts";
import type { HostSettings } from "./host-settings.ts";
import { assertPlatform } from "./platform.ts";
import { VERSION } from "./version.ts";
import type { WorkerSpec } from "./worker-spec.ts";

export class HostBase {
  readonly settings: HostSettings;
  readonly directory: DataDirectory;
  readonly cluster: EmbeddedCluster;
  readonly blockedCalls: BlockedCalls;
  readonly degraded: readonly Degradation[];
  readonly logger: HostLogger;
  readonly rng: Rng;
  readonly memory: HostMemory;
  readonly #startedAt: string;
  /** "values", or the module. */
  readonly #actors: string;

  private constructor(
    settings: HostSettings,
    actors: string,
    directory: DataDirectory,
    cluster: EmbeddedCluster,
    blockedCalls: BlockedCalls,
    degraded: readonly Degradation[],
    logger: HostLogger,
    rng: Rng,
    memory: HostMemory,
  ) {
    this.settings = settings;
    this.#actors = actors;
    this.directory = directory;
    this.cluster = cluster;
    this.blockedCalls = blockedCalls;
    this.degraded = degraded;
    this.logger = logger;
    this.rng = rng;
    this.memory = memory;
    this.#startedAt = new Date(systemClock.wallMs()).toISOString();
  }

  /**
   * @param heapBytes what the JavaScript heap of each thread that runs actors may grow to
   * @throws `unsupported-platform`, and as `DataDirectory.open` and `openEmbeddedCluster`
   */
  static async open(settings: HostSettings, actors: string, heapBytes: number): Promise<HostBase> {
    assertPlatform();
    const rng = seededRng(randomSeed());
    const logger = createLogger({
      level: settings.logLevel,
      format: settings.logFormat,
      thread: "host",
      clock: systemClock,
    });
    const directory = await DataDirectory.open(settings.dataDir, new RealDisk());
    try {
      const cluster = await openEmbeddedCluster(directory.cluster, {
        shardCount: settings.worker.shardCount,
        workers: settings.workers,
        rng: rng.fork("cluster"),
      });
      const blockedCalls = await BlockedCalls.open(directory.blockedCalls, systemClock, (error) =>
        logger.warn("the list of blocked calls cannot be read and begins anew", error),
      );
      const memory = hostMemory(settings.memory, settings.workers, heapBytes);
      warnOfShortage(logger, memory);
      const degraded = await machineDegradations(
        directory.lockEnforced,
        settings.log.flush,
        memory,
      );
      return new HostBase(
        settings,
        actors,
        directory,
        cluster,
        blockedCalls,
        degraded,
        logger,
        rng,
        memory,
      );
    } catch (error) {
      await directory.close().catch(() => {});
      throw error;
    }
  }

  facts(): HostFacts {
    const { membership } = this.cluster;
    const { clusterId } = membership.view();
    const { hostId, incarnation, workers } = membership.self;
    return {
      version: VERSION,
      pid: process.pid,
      hostId,
      clusterId,
      incarnation,
      shardCount: this.settings.worker.shardCount,
      dataDir: this.directory.dir,
      memory: this.#memoryFacts(),
      endpoints: workers.map((worker) => worker.address),
      adminEndpoint: "",
      startedAt: this.#startedAt,
      actors: this.#actors,
    };
  }

  #memoryFacts(): HostFacts["memory"] {
    const { limits, budget, pinBytes } = this.memory;
    const { limitBytes, limitedBy } = limits;
    return { limitBytes, limitedBy, usableBytes: budget.usableBytes, pinBytes };
  }

  /**
   * For a worker whose predecessor, if there was one, has ended.
   * @param port of the gateway; undefined: the one of the settings
   */
  workerSpec(index: number, board: SharedArrayBuffer, port?: number): WorkerSpec {
    const { settings } = this;
    const { hostId, clusterId, incarnation } = this.facts();
    // Its memory went with its thread, however that ended.
    new BudgetCounter(this.memory.shared).reclaim(index);
    new TypeBudgetTable(this.memory.typesShared).reclaim(index);
    return {
      identity: { clusterId, host: hostId, incarnation, worker: index, hostVersion: VERSION },
      shardMap: {
        shardCount: settings.worker.shardCount,
        workers: [],
        owners: [],
        terms: [],
        version: this.cluster.shardMap.view().revision,
      },
      dir: this.directory.worker(index).dir,
      log: settings.log,
      gateway: { ...settings.gateway, port: port ?? settings.gateway.port },
      options: { ...settings.worker, poisoned: this.blockedCalls.poisonedKeys() },
      logLevel: settings.logLevel,
      logFormat: settings.logFormat,
      board,
      pinBudget: this.memory.shared,
      typeBudgets: this.memory.typesShared,
      poolBytes: this.memory.poolBytes,
      adaptive: settings.adaptive,
      numaAffinity: settings.numaAffinity,
      seed: this.rng.uint32(),
    };
  }

  /** The workers serve: others may find them. */
  async announce(endpoints: readonly string[], adminEndpoint: string): Promise<void> {
    await this.cluster.membership.announce(
      endpoints.map((address, worker) => ({ worker, address })),
    );
    const { version, hostId, incarnation, startedAt, actors } = this.facts();
    await writeHostInfo(this.directory.disk, this.directory.dir, {
      startedAt,
      version,
      hostId,
      incarnation,
      endpoints,
      adminEndpoint,
      actors,
    });
  }

  async close(): Promise<void> {
    await removeHostInfo(this.directory.disk, this.directory.dir).catch(() => {});
    await this.cluster.membership.close();
    await this.cluster.shardMap.close();
    await this.directory.close();
    this.logger.flush();
  }
}
