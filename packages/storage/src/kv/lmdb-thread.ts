/**
 * The thread of an `LmdbKv`: opens the environment, answers requests in order. Synchronous throughout: here a page fault, a
 * lock or a flush may take its time. Imports as little as it can: a thread loads all of it anew.
 *
 * I1 a commit is one transaction, flushed before it is answered (no overlapping sync): a commit that was answered is durable.
 * I2 a batch of requests begins a new snapshot, so it sees every commit that was answered before it was sent.
 */
import { closeSync, fsyncSync, openSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { getSystemErrorName } from "node:util";
import { parentPort, workerData } from "node:worker_threads";
import type { Database, RangeOptions, RootDatabase } from "lmdb";
import type * as Lmdb from "lmdb";
import { prepareLmdbFile } from "./lmdb-file.ts";
import type {
  CommitSlice,
  LmdbFailure,
  LmdbRequest,
  LmdbResponse,
  LmdbThreadData,
} from "./lmdb-messages.ts";
import { packBytes, unpackBytes, type PackedBytes } from "./packed-bytes.ts";
import { KV_TABLES_MAX } from "./kv-store.ts";

/** Not imported: as CommonJS it is one file instead of thirteen, and a quarter less to load. */
const { open } = createRequire(import.meta.url)("lmdb") as typeof Lmdb;

type Table = Database<Buffer, Buffer>;

const ENCODING = { encoding: "binary", keyEncoding: "binary", cache: false } as const;

/** LMDB's own codes that mean damage. */
const LMDB_CODES: Readonly<Record<number, string>> = {
  [-30797]: "MDB_PAGE_NOTFOUND",
  [-30796]: "MDB_CORRUPTED",
  [-30795]: "MDB_PANIC",
  [-30794]: "MDB_VERSION_MISMATCH",
  [-30793]: "MDB_INVALID",
  [-30792]: "MDB_MAP_FULL",
};

class LmdbEnvironment {
  readonly #root: RootDatabase<Buffer, Buffer>;
  readonly #tables = new Map<string, Table>();

  constructor({ path }: LmdbThreadData) {
    prepareLmdbFile(path);
    this.#root = open({
      path,
      ...ENCODING,
      noSubdir: true,
      overlappingSync: false,
      maxDbs: KV_TABLES_MAX,
    });
    syncFolder(dirname(path));
  }

  /** @returns undefined for a table nobody has written to */
  #table(name: string, create: boolean): Table | undefined {
    let table = this.#tables.get(name);
    // LMDB lists its tables in the root, each name with a zero at its end.
    if (!table && (create || this.#root.doesExist(Buffer.from(`${name}\0`)))) {
      table = this.#root.openDB({ name, ...ENCODING }) as Table;
      this.#tables.set(name, table);
    }
    return table;
  }

  refresh(): void {
    this.#root.resetReadTxn();
  }

  answer(request: Exclude<LmdbRequest, { kind: "open" | "close" }>): PackedBytes | undefined {
    if (request.kind === "commit") return this.#commit(request.slices);
    if (request.kind === "range") {
      const table = this.#table(request.table, false);
      return packBytes(table ? [...this.#range(table, request)] : []);
    }
    const tables = request.tables.map((name) => this.#table(name, false));
    const keys = unpackBytes(request.keys) as Uint8Array[];
    return packBytes(
      keys.map((key, i) => tables[request.tableOf[i] as number]?.getBinary(Buffer.from(key))),
    );
  }

  *#range(table: Table, request: Extract<LmdbRequest, { kind: "range" }>): Iterable<Uint8Array> {
    const { from, to, limit, reverse } = request;
    const bound = (key: Uint8Array | undefined): Buffer | undefined => key && Buffer.from(key);
    const options: Record<string, unknown> = reverse
      ? {
          start: bound(to),
          exclusiveStart: true,
          end: bound(from),
          inclusiveEnd: true,
          limit,
          reverse,
        }
      : { start: bound(from), end: bound(to), limit };
    for (const { key, value } of table.getRange(options as RangeOptions)) {
      yield key;
      yield value;
    }
  }

  #commit(slices: readonly CommitSlice[]): undefined {
    const names = new Set(slices.flatMap(({ tables }) => tables));
    for (const name of names) this.#table(name, true);
    this.#root.transactionSync(() => {
      for (const slice of slices) this.#write(slice);
    });
  }

  #write({ tables, tableOf, writes }: CommitSlice): void {
    const targets = tables.map((name) => this.#table(name, true) as Table);
    const list = unpackBytes(writes) as Buffer[];
    for (const [i, target] of tableOf.entries()) {
      const table = targets[target] as Table;
      const key = list[2 * i] as Buffer;
      const value = list[2 * i + 1];
      if (value) table.putSync(key, value);
      else table.removeSync(key);
    }
  }

  close(): Promise<void> {
    return this.#root.close();
  }
}

function syncFolder(dir: string): void {
  const fd = openSync(dir, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function failureOf(e: unknown): LmdbFailure {
  const number: unknown = e instanceof Error && "code" in e ? e.code : undefined;
  const code =
    typeof number === "string"
      ? number
      : typeof number !== "number"
        ? undefined
        : number > 0
          ? getSystemErrorName(-number)
          : LMDB_CODES[number];
  return { message: e instanceof Error ? e.message : String(e), code };
}

function attempt(work: () => PackedBytes | undefined): LmdbResponse {
  try {
    return { values: work() };
  } catch (e) {
    return { failure: failureOf(e) };
  }
}

function respond(responses: readonly LmdbResponse[]): void {
  const buffers = responses.flatMap((response) =>
    "values" in response && response.values ? [response.values.buffer] : [],
  );
  parentPort?.postMessage(responses, buffers);
}

let environment: LmdbEnvironment | undefined;

function answer(request: Exclude<LmdbRequest, { kind: "close" }>): PackedBytes | undefined {
  if (request.kind === "open") {
    environment = new LmdbEnvironment(workerData as LmdbThreadData);
    return undefined;
  }
  if (!environment) throw new Error(`${request.kind} before the store was opened`);
  return environment.answer(request);
}

function serve(requests: readonly LmdbRequest[]): void {
  environment?.refresh();
  const responses: LmdbResponse[] = [];
  for (const request of requests) {
    if (request.kind === "close") {
      void Promise.resolve(environment?.close()).then(() => {
        respond([...responses, { values: undefined }]);
        parentPort?.close();
      });
      return;
    }
    responses.push(attempt(() => answer(request)));
  }
  // Not to hold on to a snapshot: the next commit could not reuse the pages it sees.
  environment?.refresh();
  respond(responses);
}

parentPort?.on("message", serve);
