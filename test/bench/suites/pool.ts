/**
 * The buffer pool on the real disk, past the page cache: a page that is not there, a storm of them, and a long scan. Floors read the same file with the
 * same calls into one aligned buffer, without a pool, checksums or leases.
 */
import { closeSync, constants, fsyncSync, openSync, read, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { PinionError, seededRng, systemClock } from "@pinion/core";
import { percentile, type BenchCase, type BenchSuite, type Measurement } from "../harness.ts";
import {
  BufferPool,
  crc32c,
  IoScheduler,
  memoryDoor,
  readVectored,
  RegionFrames,
  type Region,
} from "../traces/pool-sources.ts";

const PAGE = 4096;
const MIB = 1024 * 1024;
const POOL_BYTES = 64 * MIB;
/** Pages that one call for many asks for, and how many such calls run. */
const RUN_PAGES = 256;
const RUNS_AHEAD = 4;
const READS = 4_000;
/** Readers at the same time, and pages each of them reads. */
const STORM = 512;
const STORM_READS = 160;

interface Bed {
  readonly fd: number;
  readonly pages: number;
  readonly checksums: Uint32Array;
  readonly aligned: Uint8Array;
}

function makeFile(path: string, bytes: number): Uint32Array {
  const rng = seededRng(11);
  const checksums = new Uint32Array(bytes / PAGE);
  const fd = openSync(path, "w");
  const chunk = new Uint32Array(MIB / 4).map(() => rng.uint32());
  for (let at = 0; at < bytes; at += MIB) {
    for (let page = 0; page < MIB / PAGE; page++) {
      chunk[(page * PAGE) / 4] = at / PAGE + page;
      const content = new Uint8Array(chunk.buffer, page * PAGE, PAGE);
      checksums[at / PAGE + page] = crc32c(content);
    }
    writeSync(fd, chunk);
  }
  // Reads past the page cache of what is not on the disk yet have to write it first.
  fsyncSync(fd);
  closeSync(fd);
  return checksums;
}

const pread = (fd: number, into: Uint8Array, offset: number): Promise<number> =>
  new Promise((resolve, reject) =>
    read(fd, into, 0, into.length, offset, (e, n) => (e ? reject(e) : resolve(n))),
  );

/** As a shard's pages are: an object for each that is read, and nothing else. */
class CheckedPage {
  readonly file: number;
  readonly offset: number;
  readonly checksum: number | undefined;

  constructor(file: number, offset: number, checksum: number | undefined) {
    this.file = file;
    this.offset = offset;
    this.checksum = checksum;
  }

  verify(bytes: Uint8Array): void {
    if (crc32c(bytes) !== this.checksum)
      throw new PinionError("corruption", `page ${this.offset / PAGE}`);
  }
}

function poolOver({ fd, pages, checksums }: Bed, region: Region, prefetch: boolean): BufferPool {
  return new BufferPool({
    capacityBytes: POOL_BYTES,
    frames: new RegionFrames(region),
    source: {
      locate: (key) => (key < pages ? new CheckedPage(fd, key * PAGE, checksums[key]) : undefined),
    },
    io: new IoScheduler(readVectored),
    clock: systemClock,
    prefetch,
  });
}

export const suite: BenchSuite = {
  name: "pool",
  cases: ({ dir, scale }) => {
    const bytes = Math.round(1024 * scale) * MIB;
    let bed: Bed;
    const setUp = async (): Promise<() => Promise<void>> => {
      const path = join(dir, "pages");
      const checksums = makeFile(path, bytes);
      const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECT);
      const buffer = memoryDoor().reserve(4 * MIB);
      const aligned = new Uint8Array(buffer.view(0, 4 * MIB));
      bed = { fd, pages: bytes / PAGE, checksums, aligned };
      return async () => {
        closeSync(fd);
        buffer.release();
        rmSync(path);
      };
    };
    const withPool = async <T>(
      prefetch: boolean,
      run: (pool: BufferPool) => Promise<T>,
    ): Promise<T> => {
      const region = memoryDoor().reserve(POOL_BYTES);
      try {
        return await run(poolOver(bed, region, prefetch));
      } finally {
        region.release();
      }
    };
    const timed = async (
      count: number,
      one: (i: number) => Promise<void>,
    ): Promise<Measurement> => {
      const latenciesMs: number[] = [];
      for (let i = 0; i < count; i++) {
        const startMs = performance.now();
        await one(i);
        latenciesMs.push(performance.now() - startMs);
      }
      const value = (latenciesMs.reduce((a, b) => a + b, 0) / count) * 1000;
      return { value, p50: percentile(latenciesMs, 50), p99: percentile(latenciesMs, 99) };
    };
    let seed = 1;
    const miss: BenchCase = {
      name: "page/miss-local",
      unit: "µs",
      better: "lower",
      setUp,
      subject: () =>
        withPool(true, (pool) => {
          const rng = seededRng(seed++);
          return timed(READS * scale, async () =>
            (await pool.fetch(rng.below(bed.pages))).release(),
          );
        }),
      floor: () => {
        const rng = seededRng(seed++);
        const page = bed.aligned.subarray(0, PAGE);
        return timed(
          READS * scale,
          async () => void (await pread(bed.fd, page, rng.below(bed.pages) * PAGE)),
        );
      },
    };
    /** Many readers that each want the next page as soon as they have one. */
    const loopDelay = async (readPage: (page: number) => Promise<void>): Promise<Measurement> => {
      const rng = seededRng(seed++);
      const delay = monitorEventLoopDelay({ resolution: 1 });
      delay.enable();
      const reader = async (): Promise<void> => {
        for (let i = 0; i < STORM_READS * scale; i++) await readPage(rng.below(bed.pages));
      };
      await Promise.all(Array.from({ length: STORM }, reader));
      delay.disable();
      return { value: delay.percentile(99) / 1e6 - 1 };
    };
    const storm: BenchCase = {
      name: "page/storm-loop-delay",
      unit: "ms",
      better: "lower",
      setUp,
      subject: () =>
        withPool(true, (pool) => loopDelay(async (page) => (await pool.fetch(page)).release())),
      floor: () => {
        const page = bed.aligned.subarray(0, PAGE);
        return loopDelay(async (n) => void (await pread(bed.fd, page, n * PAGE)));
      },
    };
    const perGib = (startMs: number): Measurement => ({
      value: bytes / MIB / ((performance.now() - startMs) / 1000),
    });
    const scan: BenchCase = {
      name: "scan/cold",
      unit: "MiB/s",
      better: "higher",
      setUp,
      subject: () =>
        withPool(false, async (pool) => {
          const startMs = performance.now();
          let next = 0;
          let sum = 0;
          const run = async (): Promise<void> => {
            while (next < bed.pages) {
              const first = next;
              next += RUN_PAGES;
              const count = Math.min(RUN_PAGES, bed.pages - first);
              for (const lease of await pool.fetchRun(first, count, { hint: "analytics" })) {
                sum += lease.bytes[0]!;
                lease.release();
              }
            }
          };
          await Promise.all(Array.from({ length: RUNS_AHEAD }, run));
          if (sum === 0) throw new Error("nothing was read");
          return perGib(startMs);
        }),
      floor: async () => {
        const startMs = performance.now();
        let next = 0;
        const run = async (buffer: Uint8Array): Promise<void> => {
          while (next < bytes) await pread(bed.fd, buffer, (next += MIB) - MIB);
        };
        await Promise.all(
          [0, 1, 2, 3].map((i) => run(bed.aligned.subarray(i * MIB, (i + 1) * MIB))),
        );
        return perGib(startMs);
      },
    };
    return [miss, storm, scan];
  },
};
