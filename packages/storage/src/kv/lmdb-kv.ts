/**
 * The key-value store on LMDB. A thread of its own does all the work, because LMDB maps its file: any access may be a page fault that
 * waits for a disk, a commit flushes, and both would stop the event loop. One thread, so a read waits for the commits asked for before
 * it: nothing that calls wait for is read from here (docs/decisions/0012).
 *
 * Measured: a get is 35–60 µs there and back; 64 callers at once get 130,000 to 165,000 values a second, because the
 * requests of one turn of the event loop travel together.
 *
 * I1 a commit is flushed when it resolves (lmdb-thread I1), so `sync` has only to wait for the commits before it.
 * I2 after a failure that leaves durability unknown nothing is committed any more (KvStore I4).
 */
import { assert, isPinionError, PinionError } from "@pinion/core";
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
import { LmdbConnection, LmdbError } from "./lmdb-connection.ts";
import type { CommitSlice, LmdbRequest } from "./lmdb-messages.ts";
import { packBytes, unpackBytes } from "./packed-bytes.ts";

const DAMAGED = new Set([
  "MDB_INVALID",
  "MDB_CORRUPTED",
  "MDB_PAGE_NOTFOUND",
  "MDB_VERSION_MISMATCH",
]);
const FULL = new Set(["ENOSPC", "EDQUOT", "MDB_MAP_FULL"]);
const READ_ONLY = new Set(["EROFS", "EACCES", "EPERM"]);

export class LmdbKv implements KvStore {
  readonly #path: string;
  readonly #connection: LmdbConnection;
  #lastCommit: Promise<unknown> = Promise.resolve();
  #failure: PinionError | undefined;
  #closing: Promise<void> | undefined;

  private constructor(path: string, connection: LmdbConnection) {
    this.#path = path;
    this.#connection = connection;
  }

  /**
   * Opens the store in this file, or creates it. One `LmdbKv` a file and process.
   * @param folder resolves when the file's folder exists; the thread starts meanwhile
   * @throws what `folder` throws, `corruption` (not a store, or damaged), `disk-full`, `disk-read-only`, `io-error`
   */
  static async open(path: string, folder?: Promise<void>): Promise<LmdbKv> {
    const connection = new LmdbConnection(path);
    try {
      await folder;
      await connection.request({ kind: "open" });
      return new LmdbKv(path, connection);
    } catch (e) {
      await closed(connection);
      throw typed(e, "open", path);
    }
  }

  async get(table: string, key: Uint8Array): Promise<Uint8Array | undefined> {
    const [value] = await this.getMany([{ table, key }]);
    return value;
  }

  async getMany(reads: readonly KvRead[]): Promise<(Uint8Array | undefined)[]> {
    checkPlaces(reads);
    const keys = packBytes(reads.map(({ key }) => key));
    return this.#read("get", { kind: "get", ...tablesOf(reads), keys });
  }

  async range(table: string, range: KvRange): Promise<KvEntry[]> {
    checkTable(table);
    const { from, to, limit = KV_RANGE_LIMIT_DEFAULT, reverse = false } = range;
    const list = await this.#read("range", {
      kind: "range",
      table,
      from: from?.slice(),
      to: to?.slice(),
      limit,
      reverse,
    });
    const entries: KvEntry[] = [];
    for (let i = 0; i < list.length; i += 2) {
      entries.push({ key: list[i] as Uint8Array, value: list[i + 1] as Uint8Array });
    }
    return entries;
  }

  async commit(batch: KvBatch): Promise<void> {
    this.#check("commit");
    const slices: CommitSlice[] = [];
    if (Symbol.asyncIterator in batch)
      for await (const slice of batch) slices.push(packSlice(slice));
    else slices.push(packSlice(batch));
    this.#check("commit");
    const committed = this.#connection.request({ kind: "commit", slices });
    this.#lastCommit = committed.catch(() => {});
    try {
      await committed;
    } catch (e) {
      const error = typed(e, "commit", this.#path);
      if (!isPinionError(error, "disk-full")) this.#failure ??= error;
      throw error;
    }
  }

  async sync(): Promise<void> {
    this.#check("sync");
    await this.#lastCommit;
    this.#check("sync");
  }

  close(): Promise<void> {
    this.#closing ??= closed(this.#connection);
    return this.#closing;
  }

  async #read(doing: string, request: LmdbRequest): Promise<(Uint8Array | undefined)[]> {
    this.#check(doing);
    try {
      const values = await this.#connection.request(request);
      return values ? unpackBytes(values) : [];
    } catch (e) {
      throw typed(e, doing, this.#path);
    }
  }

  #check(doing: string): void {
    assert(!this.#closing, `${doing} ${this.#path} after close`);
    if (this.#failure) {
      throw new PinionError("io-error", `${doing} ${this.#path}: the store has failed before`, {
        cause: this.#failure,
      });
    }
  }
}

/** @throws `invalid-argument` */
function packSlice(writes: readonly KvWrite[]): CommitSlice {
  checkPlaces(writes);
  const list: (Uint8Array | undefined)[] = [];
  for (const { key, value } of writes) list.push(key, value);
  return { ...tablesOf(writes), writes: packBytes(list) };
}

/** The tables of a request, each once, and for each place the index of its table. */
function tablesOf(places: readonly KvRead[]): {
  tables: string[];
  tableOf: Uint8Array<ArrayBuffer>;
} {
  const tables: string[] = [];
  const tableOf = new Uint8Array(places.length);
  for (let i = 0; i < places.length; i++) {
    const { table } = places[i] as KvRead;
    let at = tables.indexOf(table);
    if (at < 0) at = tables.push(table) - 1;
    tableOf[i] = at;
  }
  return { tables, tableOf };
}

async function closed(connection: LmdbConnection): Promise<void> {
  await connection.request({ kind: "close" }).catch(() => {});
}

function typed(e: unknown, doing: string, path: string): PinionError {
  if (isPinionError(e)) return e;
  const code = e instanceof LmdbError ? (e.code ?? "") : "";
  const kind = DAMAGED.has(code)
    ? "corruption"
    : FULL.has(code)
      ? "disk-full"
      : READ_ONLY.has(code)
        ? "disk-read-only"
        : "io-error";
  const reason = e instanceof Error ? e.message : String(e);
  return new PinionError(kind, `${doing} ${path}: ${reason}`, {
    details: { path, errno: code },
    cause: e,
  });
}
