/**
 * Opens an embedded store: on a folder of this machine, or on ports that a test has made.
 *
 *     lock          one process at a time (disk/data-dir-lock.ts)
 *     index.mdb     where the log's segments begin, and the newest checkpoint
 *     log/          segments of the log
 *     state/        segments of pages: volumes as of the newest checkpoint
 *
 * O1 what was opened before a failure is closed again, in reverse order.
 */
import { join, resolve } from "node:path";
import { lockDataDir } from "../disk/data-dir-lock.ts";
import { RealDisk } from "../disk/real-disk.ts";
import { LmdbKv } from "../kv/lmdb-kv.ts";
import { openLog } from "../log/segmented-log.ts";
import { NamedStateStore } from "./named-state-store.ts";
import { recover } from "./recovery.ts";
import { Store } from "./store.ts";
import { StoreLog } from "./store-log.ts";
import { StoreMemory } from "./store-memory.ts";
import {
  resolveStoreSettings,
  type StoreOptions,
  type StorePorts,
  type StoreSettings,
} from "./store-options.ts";

/**
 * Opens the store in a folder, or begins one.
 * @throws `data-dir-locked`, `corruption`, `format-too-new`, `config-invalid`, `disk-full`, `disk-read-only`, `io-error`
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const settings = resolveStoreSettings(options);
  await using opened = new AsyncDisposableStack(); // O1
  const disk = new RealDisk();
  const dir = resolve(options.dir);
  await disk.mkdir(dir);
  const lock = await lockDataDir(dir);
  opened.defer(() => lock.release());
  const index = await LmdbKv.open(join(dir, "index.mdb"));
  opened.defer(() => index.close());
  const memory = new StoreMemory(settings.clock, options.pinBytesMax);
  opened.defer(() => memory.stop());
  return await begin({ disk, index, residency: memory.residency }, dir, options, opened, memory);
}

/** As `openStore`, on a disk and an index of the caller's, which stay its own; no folder is locked. */
export async function openStoreOn(
  ports: StorePorts,
  dir: string,
  options: StoreSettings = {},
): Promise<Store> {
  await using opened = new AsyncDisposableStack();
  return await begin(ports, dir, options, opened);
}

async function begin(
  ports: StorePorts,
  dir: string,
  options: StoreSettings,
  opened: AsyncDisposableStack,
  memory?: StoreMemory,
): Promise<Store> {
  const settings = resolveStoreSettings(options, ports.newGeneration);
  const { clock, newGeneration } = settings;
  const { disk, index, residency, segmentPages } = ports;
  const log = await openLog({
    disk,
    kv: index,
    dir: `${dir}/log`,
    shardCount: 1,
    flush: settings.flush,
    segmentBytes: settings.logSegmentBytes,
    clock,
    newGeneration,
  });
  opened.defer(() => log.close());
  const state = new NamedStateStore({
    disk,
    dir: `${dir}/state`,
    superblocks: index,
    newGeneration,
    clock,
    shardCount: 1,
    ...(segmentPages === undefined ? {} : { segmentPages }),
  });
  opened.defer(() => state.close());
  const { pending, lastTimestamp } = await recover(log, state);
  const parts = opened.move();
  return new Store({
    log: new StoreLog(log, clock, lastTimestamp),
    state,
    pending,
    residency,
    memory,
    settings,
    release: () => parts.disposeAsync(),
  });
}
