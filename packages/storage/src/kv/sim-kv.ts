/**
 * A key-value store in memory whose commits and flushes a seeded crash can lose, on the same clock, hooks and injected errors
 * as `SimDisk`.
 *
 * State: `visible` is what reads see, `durable` what the platter holds, `unsynced` the commits between the two in order.
 *
 * I1 a crash leaves `durable` plus a prefix of `unsynced` (KvStore I1, I2); a commit under way counts as unsynced.
 * I2 killing the process alone loses nothing that has resolved: LMDB's pages are in the page cache.
 */
import { assert, PinionError, type Rng } from "@pinion/core";
import { diskError } from "../disk/disk-error.ts";
import {
  SimOperations,
  type SimFaultRule,
  type SimOperation,
  type SimOperationKind,
  type SimOptions,
  type SimQueue,
} from "../disk/sim-operations.ts";
import { checkPlaces, checkTable } from "./kv-check.ts";
import {
  KV_RANGE_LIMIT_DEFAULT,
  type KvBatch,
  type KvEntry,
  type KvRange,
  type KvRead,
  type KvStore,
  type KvWrite,
} from "./kv-store.ts";
import { SortedTable } from "./sorted-table.ts";

export interface SimKvOptions extends SimOptions {
  /** Shown to hooks and matched by fault rules as the path; default "kv". */
  readonly name?: string;
}

type Tables = Map<string, SortedTable>;

export class SimKv implements KvStore {
  readonly #options: SimKvOptions;
  readonly #name: string;
  readonly #rng: Rng;
  readonly #operations: SimOperations;
  readonly #queue: SimQueue;
  readonly #visible: Tables;
  readonly #durable: Tables;
  /** Commits that have resolved since the last sync. */
  #unsynced: (readonly KvWrite[])[] = [];
  /** Commits that were issued and have not resolved. */
  readonly #issued: (readonly KvWrite[])[] = [];
  #failure: PinionError | undefined;
  #closed = false;

  constructor(
    options: SimKvOptions,
    durable: Tables = new Map(),
    unsynced: (readonly KvWrite[])[] = [],
  ) {
    this.#options = options;
    this.#name = options.name ?? "kv";
    this.#rng = options.rng.fork("kv");
    this.#operations = new SimOperations(options);
    this.#queue = this.#operations.queue();
    this.#durable = durable;
    this.#unsynced = unsynced;
    this.#visible = copyTables(durable);
    for (const writes of unsynced) applyWrites(this.#visible, writes);
  }

  /** Called just before an operation takes effect. */
  get onOperation(): ((operation: SimOperation) => void) | undefined {
    return this.#operations.onOperation;
  }
  set onOperation(hook: ((operation: SimOperation) => void) | undefined) {
    this.#operations.onOperation = hook;
  }

  get operationCount(): number {
    return this.#operations.count;
  }

  /** Makes chosen operations (`get`, `range`, `commit`, `sync`) fail. @returns takes the rule away again. */
  fail(rule: SimFaultRule): () => void {
    return this.#operations.fail(rule);
  }

  setErrorRates(rates: Partial<Record<SimOperationKind, number>>): void {
    this.#operations.errorRates = rates;
  }

  clearFaults(): void {
    this.#operations.clearFaults();
  }

  /** Stops this store: nothing takes effect or settles any more. */
  halt(): void {
    this.#operations.halt();
  }

  /** Cuts the power: stops this store and returns what is found afterwards. */
  crash(options: { survivalRate?: number } = {}): SimKv {
    const image = this.crashImage(options);
    this.halt();
    return image;
  }

  /** What `crash` would return, while this store goes on. @param options.survivalRate chance that the next unsynced commit survives too */
  crashImage(options: { survivalRate?: number } = {}): SimKv {
    const rate = options.survivalRate ?? this.#rng.pick([0, 0.5, 0.9, 1]);
    const durable = copyTables(this.#durable);
    for (const writes of [...this.#unsynced, ...this.#issued]) {
      if (!this.#rng.chance(rate)) break;
      applyWrites(durable, writes);
    }
    return this.#successor(durable, []);
  }

  /** Kills the process but not the machine: every resolved commit stays readable, and stays unsynced. */
  kill(): SimKv {
    this.halt();
    const begun = this.#issued.slice(0, this.#rng.below(this.#issued.length + 1));
    return this.#successor(copyTables(this.#durable), [...this.#unsynced, ...begun]);
  }

  async get(table: string, key: Uint8Array): Promise<Uint8Array | undefined> {
    const [value] = await this.getMany([{ table, key }]);
    return value;
  }

  async getMany(reads: readonly KvRead[]): Promise<(Uint8Array | undefined)[]> {
    checkPlaces(reads);
    const own = reads.map(({ table, key }) => ({ table, key: key.slice() }));
    return this.#run("get", () =>
      own.map(({ table, key }) => this.#visible.get(table)?.get(key)?.slice()),
    );
  }

  async range(table: string, range: KvRange): Promise<KvEntry[]> {
    checkTable(table);
    const limit = range.limit ?? KV_RANGE_LIMIT_DEFAULT;
    const own = { ...range, limit };
    if (range.from) own.from = range.from.slice();
    if (range.to) own.to = range.to.slice();
    return this.#run("range", () => this.#visible.get(table)?.range(own) ?? []);
  }

  async commit(batch: KvBatch): Promise<void> {
    const own: KvWrite[] = [];
    if (Symbol.asyncIterator in batch)
      for await (const slice of batch) own.push(...copyWrites(slice));
    else own.push(...copyWrites(batch));
    this.#issued.push(own);
    try {
      await this.#run("commit", () => {
        applyWrites(this.#visible, own);
        this.#unsynced.push(own);
        remove(this.#issued, own);
      });
    } catch (e) {
      remove(this.#issued, own);
      throw e;
    }
  }

  sync(): Promise<void> {
    return this.#run("sync", () => {
      for (const writes of this.#unsynced) applyWrites(this.#durable, writes);
      this.#unsynced = [];
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#queue.run(async () => {});
  }

  #run<T>(kind: SimOperationKind, effect: () => T): Promise<T> {
    const closed = this.#closed;
    return this.#queue.run(async () => {
      assert(!closed, `${kind} ${this.#name} after close`);
      if (this.#failure) {
        throw new PinionError("io-error", `${kind} ${this.#name}: the store has failed before`, {
          cause: this.#failure,
        });
      }
      try {
        await this.#operations.begin(kind, this.#name, 0);
      } catch (e) {
        const error = diskError(e, kind, this.#name);
        const fatal = kind === "sync" || (kind === "commit" && error.code !== "disk-full");
        if (fatal) this.#failure = error;
        throw error;
      }
      return effect();
    });
  }

  #successor(durable: Tables, unsynced: (readonly KvWrite[])[]): SimKv {
    const { onOperation: _, errorRates: __, ...options } = this.#options;
    return new SimKv(
      { ...options, rng: options.rng.fork(`life-${this.#rng.uint32()}`) },
      durable,
      unsynced,
    );
  }
}

function remove<T>(list: T[], item: T): void {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
}

/** @throws `invalid-argument` */
function copyWrites(writes: readonly KvWrite[]): KvWrite[] {
  checkPlaces(writes);
  return writes.map(({ table, key, value }) => ({
    table,
    key: key.slice(),
    value: value?.slice(),
  }));
}

function copyTables(tables: Tables): Tables {
  return new Map(Array.from(tables, ([name, table]) => [name, table.copy()]));
}

function applyWrites(tables: Tables, writes: readonly KvWrite[]): void {
  for (const { table: name, key, value } of writes) {
    let table = tables.get(name);
    if (!table) tables.set(name, (table = new SortedTable()));
    if (value) table.set(key, value);
    else table.delete(key);
  }
}
