/**
 * A host's data directory: its layout, its version, and who may use it.
 *
 *     format.json       version of the layout; written once
 *     lock              advisory lock of the running host (storage/disk/data-dir-lock.ts)
 *     host.json         where the running host is reached; removed by a clean stop (host-info.ts)
 *     cluster           cluster id, host id, incarnation, shard count, shard → worker
 *     blocked-calls     calls that have blocked a worker (blocked-calls.ts)
 *     worker-0/         everything of worker 0
 *       log/            segments of its log
 *       log-index.mdb   index of the log's segments; of each shard where its newest checkpoint is
 *       segments/       checkpointed actors: a folder of segments for each shard
 *
 * D1 a directory that a newer version wrote, or that belongs to something else, is not changed in any way.
 * D2 at most one host uses it.
 */
import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { isPinionError, PinionError, systemCode } from "@pinion/core";
import { lockDataDir, type DataDirLock, type Disk } from "@pinion/storage";
import { CheckedFile, readWhole, replaceFile } from "./checked-file.ts";
import { HOST_INFO_FILE } from "./host-info.ts";
import { VERSION } from "./version.ts";

/** Counts incompatible changes of the layout. 2: actors are in segments; format 1 kept them in LMDB. */
export const DATA_FORMAT = 2;
const FORMAT_FILE = "format.json";
const CLUSTER_FORMAT = 1;
const BLOCKED_CALLS_FORMAT = 1;
/** Names a crash of the very first start, or a file system, may leave in a directory without `format.json`. */
const HARMLESS = new Set(["lock", `${FORMAT_FILE}.new`, HOST_INFO_FILE, "lost+found"]);

export interface WorkerPaths {
  readonly dir: string;
  readonly log: string;
  readonly logIndex: string;
  readonly segments: string;
}

export class DataDirectory {
  readonly dir: string;
  readonly disk: Disk;
  readonly #lock: DataDirLock;

  private constructor(dir: string, disk: Disk, lock: DataDirLock) {
    this.dir = dir;
    this.disk = disk;
    this.#lock = lock;
  }

  /**
   * Opens the directory for this process, or creates it.
   * @throws `data-dir-locked`, `format-too-new`, `config-invalid` (it belongs to something else), `corruption`,
   * `disk-read-only`, `disk-full`, `io-error`
   */
  static async open(path: string, disk: Disk): Promise<DataDirectory> {
    const dir = resolve(path);
    // Looked at before anything is created in it (D1).
    const known = await readFormat(disk, dir);
    if (!known) await refuseForeign(dir);
    await disk.mkdir(dir);
    const lock = await lockDataDir(dir);
    try {
      if (!known) await writeFormat(disk, dir);
      return new DataDirectory(dir, disk, lock);
    } catch (error) {
      await lock.release().catch(() => {});
      throw error;
    }
  }

  /** False where nothing but a name in a file keeps a second host away. */
  get lockEnforced(): boolean {
    return this.#lock.enforced;
  }

  get cluster(): CheckedFile {
    return this.#cell("cluster", CLUSTER_FORMAT);
  }

  get blockedCalls(): CheckedFile {
    return this.#cell("blocked-calls", BLOCKED_CALLS_FORMAT);
  }

  #cell(kind: string, formatVersion: number): CheckedFile {
    return new CheckedFile(this.disk, join(this.dir, kind), { kind, formatVersion });
  }

  worker(index: number): WorkerPaths {
    return workerPaths(workerDir(this.dir, index));
  }

  /** Gives the lock back. */
  async close(): Promise<void> {
    await this.#lock.release();
  }
}

export const workerDir = (dataDir: string, index: number): string =>
  join(resolve(dataDir), `worker-${index}`);

export function workerPaths(dir: string): WorkerPaths {
  return {
    dir,
    log: join(dir, "log"),
    logIndex: join(dir, "log-index.mdb"),
    segments: join(dir, "segments"),
  };
}

/** @returns whether the directory is one of ours. @throws `format-too-new`, `config-invalid` for one too old, `corruption` */
async function readFormat(disk: Disk, dir: string): Promise<boolean> {
  const path = join(dir, FORMAT_FILE);
  let bytes: Buffer | undefined;
  try {
    bytes = await readWhole(disk, path);
  } catch (error) {
    if (isPinionError(error) && error.details["errno"] === "ENOTDIR") throw notADirectory(dir);
    throw error;
  }
  if (bytes === undefined) return false;
  const { format, version } = parseFormat(path, bytes);
  if (format > DATA_FORMAT) {
    throw new PinionError(
      "format-too-new",
      `the data directory ${dir} has format ${format}, written by Pinion ${version}; this is Pinion ${VERSION}, which reads formats up to ${DATA_FORMAT}. Nothing was changed: run the newer version`,
      { details: { dir, format, supported: DATA_FORMAT, writtenBy: version } },
    );
  }
  if (format < DATA_FORMAT) {
    // Opened all the same, it would look empty.
    throw new PinionError(
      "config-invalid",
      `the data directory ${dir} has format ${format}, written by Pinion ${version}; this is Pinion ${VERSION}, which reads format ${DATA_FORMAT} only. Nothing was changed: use the Pinion that wrote it, or another dataDir`,
      { details: { key: "dataDir", dir, format, supported: DATA_FORMAT, writtenBy: version } },
    );
  }
  return true;
}

function parseFormat(path: string, bytes: Buffer): { format: number; version: string } {
  let fields: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    if (typeof value === "object" && value !== null) fields = value as Record<string, unknown>;
  } catch {
    // answered below
  }
  const { format, version } = fields;
  if (typeof format !== "number" || !Number.isInteger(format) || format < 1) {
    throw new PinionError("corruption", `${path} is damaged: it names no format`, {
      details: { path },
    });
  }
  return { format, version: typeof version === "string" ? version : "of an unknown version" };
}

async function writeFormat(disk: Disk, dir: string): Promise<void> {
  const text = JSON.stringify({ format: DATA_FORMAT, version: VERSION });
  await replaceFile(disk, join(dir, FORMAT_FILE), Buffer.from(`${text}\n`), { durable: true });
}

/** A path given by mistake ("/", a home) must not fill up with our files. */
async function refuseForeign(dir: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(dir);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return;
    return; // the disk port gives this error its type in a moment
  }
  const foreign = names.filter((name) => !HARMLESS.has(name));
  if (foreign.length === 0) return;
  throw new PinionError(
    "config-invalid",
    `dataDir ${dir} is not empty and no Pinion data directory: it holds ${foreign.slice(0, 3).join(", ")}${foreign.length > 3 ? " …" : ""}; choose an empty or new directory`,
    { details: { key: "dataDir", dir } },
  );
}

function notADirectory(dir: string): PinionError {
  return new PinionError("config-invalid", `dataDir ${dir} is a file, or lies below one`, {
    details: { key: "dataDir", dir },
  });
}
