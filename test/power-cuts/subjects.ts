/** What is cut: an actor host in this process, and an embedded store, both small enough that logs are cut off and segments are cleaned all the time. */
import { join } from "node:path";
import { randomSeed } from "@pinion/core";
import { defineActor, readonly, startHost, type Host } from "@pinion/runtime";
import {
  BufferMemory,
  LmdbKv,
  openStoreOn,
  PlainResidency,
  RealDisk,
  type Store,
  type Volume,
} from "@pinion/storage";
import {
  amountOf,
  LEDGERS,
  ledgerName,
  read,
  structures,
  sumOf,
  write,
  type Seen,
} from "./ledger.ts";
import type { SubjectName } from "./subject-names.ts";

export interface Subject {
  readonly name: SubjectName;
  /** Operation `operation` of a ledger, after all those below it. Resolves when it is acknowledged. */
  write(ledger: number, operation: number): Promise<void>;
  read(ledger: number): Promise<Seen>;
  /** "12 checkpoints, …" */
  summary(): Promise<string>;
  close(): Promise<void>;
}

/** Opens what is in a folder, or begins it. */
export function openSubject(name: SubjectName, dir: string): Promise<Subject> {
  return name === "host" ? HostSubject.open(dir) : StoreSubject.open(dir);
}

const KIB = 1024;

const Ledger = defineActor("ledger", {
  state: () => ({ count: 0, sum: 0 }),
  memory: { profile: "warm", extents: structures },
  methods: {
    async write(ctx, ledger: number, operation: number): Promise<void> {
      ctx.state.count++;
      ctx.state.sum += amountOf(ledger, operation);
      await write(ctx.extents, ledger, operation);
    },
    read: readonly(async (ctx, ledger: number): Promise<Seen> => {
      const { count, sum } = ctx.state;
      const seen = await read(ctx.extents, ledger);
      const problems = [...seen.problems];
      if (count !== seen.count)
        problems.push(`${ledgerName(ledger)}: state has ${count}, extents ${seen.count}`);
      if (sum !== sumOf(ledger, count))
        problems.push(`${ledgerName(ledger)}: the sum of ${count} is ${sum}`);
      return { count, problems };
    }),
  },
});

class HostSubject implements Subject {
  readonly name = "host";
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
  }

  static async open(dir: string): Promise<Subject> {
    const host = await startHost({
      dataDir: dir,
      actors: [Ledger],
      port: 0,
      adminPort: 0,
      shardCount: 4,
      segmentBytes: 512 * KIB,
      stagingBytes: 256 * KIB,
      checkpointLogBytes: 1024 * KIB,
      checkpointDirtyMs: 2_000,
      pinBytesMax: 64 * KIB * KIB,
      logLevel: "warn",
    });
    return new HostSubject(host);
  }

  async write(ledger: number, operation: number): Promise<void> {
    await this.#host.client.get(Ledger, ledgerName(ledger)).write(ledger, operation);
  }

  read(ledger: number): Promise<Seen> {
    return this.#host.client.get(Ledger, ledgerName(ledger)).read(ledger);
  }

  async summary(): Promise<string> {
    const answer = await fetch(`http://${this.#host.adminEndpoint}/metrics`);
    const text = await answer.text();
    const sumOfMetric = (name: string): number =>
      [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].reduce(
        (sum, [, value]) => sum + Number(value),
        0,
      );
    return `${sumOfMetric("pinion_checkpoints_total")} checkpoints`;
  }

  close(): Promise<void> {
    return this.#host.stop();
  }
}

class StoreSubject implements Subject {
  readonly name = "store";
  readonly #store: Store;
  readonly #index: LmdbKv;
  readonly #volumes: readonly Volume<typeof structures>[];

  constructor(store: Store, index: LmdbKv, volumes: readonly Volume<typeof structures>[]) {
    this.#store = store;
    this.#index = index;
    this.#volumes = volumes;
  }

  static async open(dir: string): Promise<Subject> {
    const disk = new RealDisk();
    await disk.mkdir(dir);
    const index = await LmdbKv.open(join(dir, "index.mdb"));
    const residency = new PlainResidency(new BufferMemory(8 * KIB * KIB));
    const store = await openStoreOn(
      { disk, index, residency, newGeneration: randomSeed, segmentPages: 256 },
      dir,
      { logSegmentBytes: 64 * KIB, checkpointLogBytes: 256 * KIB, checkpointMs: 1_000 },
    );
    const volumes: Volume<typeof structures>[] = [];
    for (let ledger = 0; ledger < LEDGERS; ledger++)
      volumes.push(await store.open(ledgerName(ledger), structures));
    return new StoreSubject(store, index, volumes);
  }

  write(ledger: number, operation: number): Promise<void> {
    return this.#volume(ledger).update((handles) => write(handles, ledger, operation));
  }

  read(ledger: number): Promise<Seen> {
    return this.#volume(ledger).read((handles) => read(handles, ledger));
  }

  async summary(): Promise<string> {
    const { checkpoints, state } = await this.#store.stats();
    return `${checkpoints.completed} checkpoints, ${state?.segments ?? 0} segments, ${state?.cleanedPages ?? 0} pages cleaned`;
  }

  async close(): Promise<void> {
    await this.#store.close();
    await this.#index.close();
  }

  #volume(ledger: number): Volume<typeof structures> {
    return this.#volumes[ledger] as Volume<typeof structures>;
  }
}
