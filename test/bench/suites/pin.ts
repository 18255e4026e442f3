/**
 * Pinning: memory that is there is locked and let go again; memory that is not is brought in from a file, checksums included or not.
 * The floors are the bare system calls, and one read of the same bytes into fresh memory.
 */
import { closeSync, constants, openSync, read, writeSync } from "node:fs";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { promisify } from "node:util";
import { crc32c } from "@node-rs/crc32";
import {
  CHUNK_BYTES,
  memoryAddon,
  memoryDoor,
  type LoadRun,
  type Region,
} from "../memory-access.ts";
import { median, type BenchCase, type BenchContext, type BenchSuite } from "../harness.ts";

const PAGE_BYTES = 4096;
const LARGE_BYTES = 64 << 20;
const MPOL_LOCAL = 4;
const RANGE_LOCK = 0;
const RANGE_UNLOCK = 1;
const readFile = promisify(read);

/** The library types of Node leave WebAssembly out: its memory is fresh, and aligned for direct reads. */
const { Memory } = (globalThis as unknown as { WebAssembly: WebAssemblyNamespace }).WebAssembly;
interface WebAssemblyNamespace {
  readonly Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
}

/** Pin and unpin of resident memory, in µs a pair. */
function residentCase(name: string, byteCount: number, count: number, file: string): BenchCase {
  const addon = memoryAddon();
  const fd = openSync(file, "r");
  const region = memoryDoor().mapFile(fd, 0, byteCount);
  const floorRegion = addon.map(fd, 0, byteCount, MPOL_LOCAL, new Int32Array(), 0);
  if (typeof floorRegion === "number") throw new Error("the file cannot be mapped");
  closeSync(fd);
  const timed = async (work: () => Promise<void> | void): Promise<{ value: number }> => {
    const startMs = performance.now();
    await work();
    return { value: ((performance.now() - startMs) * 1000) / count };
  };
  return {
    name,
    unit: "µs",
    better: "lower",
    setUp: async () => {
      await region.populate(0, byteCount);
      new Uint8Array(byteCount).set(
        new Uint8Array(addon.view(floorRegion, 0, byteCount, 0) as ArrayBuffer),
      );
      return async () => {
        region.release();
        addon.release(floorRegion);
      };
    },
    subject: () =>
      timed(async () => {
        for (let i = 0; i < count; i++) {
          if ((await region.lock(0, byteCount)) !== undefined) throw new Error("no right to lock");
          region.unlock(0, byteCount);
        }
      }),
    floor: () =>
      timed(() => {
        for (let i = 0; i < count; i++) {
          for (let at = 0; at < byteCount;)
            at += addon.range(RANGE_LOCK, floorRegion, at, byteCount - at);
          addon.range(RANGE_UNLOCK, floorRegion, 0, byteCount);
        }
      }),
  };
}

function checksOf(bytes: Uint8Array): Uint8Array {
  const checks = new Uint8Array((bytes.length / PAGE_BYTES) * 32);
  const view = new DataView(checks.buffer);
  for (let page = 0; page * PAGE_BYTES < bytes.length; page++) {
    const seed = crc32c(checks.subarray(page * 32, page * 32 + 28));
    const content = bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    view.setUint32(page * 32 + 28, crc32c(content, seed), true);
  }
  return checks;
}

/** From absent to resident, huge pages, locked; in ms. p99 is that of the event loop's delay meanwhile. */
function absentCase(name: string, file: string, checks: Uint8Array | undefined): BenchCase {
  const fd = openSync(file, "r");
  const direct = openSync(file, constants.O_RDONLY | constants.O_DIRECT);
  const arena: Region = memoryDoor().reserve(2 * LARGE_BYTES);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const run: LoadRun = {
    fd,
    fileOffset: 0,
    regionOffset: 0,
    byteCount: LARGE_BYTES,
    ...(checks && { checks }),
  };
  const once = async (work: () => Promise<void>): Promise<number> => {
    const startMs = performance.now();
    await work();
    return performance.now() - startMs;
  };
  const repeated = async (work: () => Promise<void>, after = (): void => {}) => {
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      times.push(await once(work));
      after();
    }
    return median(times);
  };
  const intoFresh = (from: number) => async (): Promise<void> => {
    const { buffer } = new Memory({ initial: LARGE_BYTES / 65_536 });
    const { bytesRead } = await readFile(from, new Uint8Array(buffer), 0, LARGE_BYTES, 0);
    if (bytesRead !== LARGE_BYTES) throw new Error(`${bytesRead} bytes were read`);
  };
  return {
    name,
    unit: "ms",
    better: "lower",
    setUp: async () => async () => {
      arena.release();
      closeSync(fd);
      closeSync(direct);
    },
    subject: async () => {
      delay.reset();
      delay.enable();
      const value = await repeated(
        async () => {
          await arena.populate(0, LARGE_BYTES, { hugePages: true });
          const { damaged, short } = await arena.load([run]);
          if (damaged.length + short.length > 0) throw new Error("the file is damaged");
          await arena.lock(0, LARGE_BYTES);
        },
        () => {
          arena.unlock(0, LARGE_BYTES);
          arena.discard(0, LARGE_BYTES);
        },
      );
      delay.disable();
      return {
        value,
        p50: delay.percentile(50) / 1e6 - 1,
        p99: delay.percentile(99) / 1e6 - 1,
      };
    },
    floor: async () => ({ value: await repeated(intoFresh(direct)) }),
    peers: {
      "buffered read, cached": async () => ({ value: await repeated(intoFresh(fd)) }),
      "load into memory that is there": async () => {
        await arena.populate(LARGE_BYTES, LARGE_BYTES, { hugePages: true });
        const there: LoadRun = { ...run, regionOffset: LARGE_BYTES };
        return { value: await repeated(async () => void (await arena.load([there]))) };
      },
    },
  };
}

export const suite: BenchSuite = {
  name: "pin",
  cases: ({ dir, scale }: BenchContext) => {
    const file = join(dir, "pages");
    const bytes = new Uint8Array(LARGE_BYTES).map((_, i) => i * 31 + (i >>> 9));
    const fd = openSync(file, "w");
    writeSync(fd, bytes);
    closeSync(fd);
    return [
      residentCase("64mb", LARGE_BYTES, Math.ceil(100 * scale), file),
      residentCase("2mb", CHUNK_BYTES, Math.ceil(5_000 * scale), file),
      residentCase("64kb", 64 << 10, Math.ceil(50_000 * scale), file),
      absentCase("arena-64mb", file, undefined),
      absentCase("cold-64mb", file, checksOf(bytes)),
    ];
  },
};
