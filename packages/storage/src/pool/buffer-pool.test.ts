import { isPinionError, PinionError, seededRng, VirtualClock } from "@pinion/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { BufferPool, type BufferPoolOptions } from "./buffer-pool.ts";
import type { PageLease } from "./page-lease.ts";
import type { PageSource, StoredPage } from "./page-load.ts";
import type { ReadHint } from "./cache-policy.ts";
import { FRAME_BYTES, SlabFrames } from "./frame-store.ts";
import { IoScheduler } from "./io-scheduler.ts";

const FILE_PAGES = 100_000;

/** Pages that hold their own number, on a disk that takes `latencyMs` for a read. */
class NumberedPages implements PageSource {
  readonly damaged = new Set<number>();
  readonly reading = new Set<number>();
  /** These may be read a second time while they are being read. */
  readonly invalidated = new Set<number>();
  reads: number[] = [];
  /** Of each read, how many pieces of memory it filled. */
  readonly pieces: number[] = [];
  /** Reads that cover this page fail. */
  unreadable = -1;
  latencyMs = 1;
  readonly clock = new VirtualClock();
  readonly io = new IoScheduler((file, offset, into) => this.#read(file, offset, into));

  locate(key: number): StoredPage | undefined {
    if (key >= FILE_PAGES) return undefined;
    return { file: 1, offset: key * FRAME_BYTES, verify: (bytes) => this.#verify(key, bytes) };
  }

  #verify(key: number, bytes: Uint8Array): void {
    if (new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0) === key) return;
    throw new PinionError("corruption", `page ${key} is damaged`);
  }

  #read(_file: number, offset: number, into: readonly Uint8Array[]): Promise<number> {
    const first = offset / FRAME_BYTES;
    // Pages that lie behind one another in memory come as one piece.
    const pages = into.flatMap((piece) =>
      Array.from({ length: piece.length / FRAME_BYTES }, (_, i) =>
        piece.subarray(i * FRAME_BYTES, (i + 1) * FRAME_BYTES),
      ),
    );
    const keys = pages.map((_, i) => first + i);
    this.pieces.push(into.length);
    for (const key of keys) {
      expect(this.reading.has(key) && !this.invalidated.has(key)).toBe(false);
      this.reading.add(key);
      this.reads.push(key);
    }
    return new Promise((resolve, reject) =>
      this.clock.setTimer(this.latencyMs, () => {
        for (const [i, key] of keys.entries()) {
          this.reading.delete(key);
          const content = this.damaged.has(key) ? -1 : key;
          const page = pages[i]!;
          page.fill(0);
          new DataView(page.buffer, page.byteOffset).setFloat64(0, content);
        }
        if (keys.includes(this.unreadable)) reject(new PinionError("io-error", "cannot read"));
        else resolve(pages.length * FRAME_BYTES);
      }),
    );
  }
}

const numberIn = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0);

function poolOf(
  pages: NumberedPages,
  frames: number,
  options: Partial<BufferPoolOptions> = {},
): BufferPool {
  const { io, clock } = pages;
  return new BufferPool({
    capacityBytes: frames * FRAME_BYTES,
    source: pages,
    io,
    clock,
    prefetch: false,
    ...options,
  });
}

/** Lets the disk answer until `promise` has settled. */
async function served<T>(pages: NumberedPages, promise: Promise<T>): Promise<T> {
  let open = true;
  const settled = promise.finally(() => (open = false));
  settled.catch(() => {});
  for (let i = 0; open && i < 1000; i++) await pages.clock.advance(1);
  return settled;
}

async function load(
  pages: NumberedPages,
  pool: BufferPool,
  keys: readonly number[],
): Promise<void> {
  for (const key of keys) (await served(pages, pool.fetch(key))).release();
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

test("a page that many ask for at once is read once, and is there afterwards", async () => {
  const pages = new NumberedPages();
  const pool = poolOf(pages, 10);
  expect(pool.get(7)).toBeUndefined();
  const leases = await served(pages, Promise.all([7, 7, 7].map((key) => pool.fetch(key))));
  expect(leases.map(({ bytes }) => numberIn(bytes))).toEqual([7, 7, 7]);
  for (const lease of leases) lease.release();
  expect(numberIn(pool.get(7)!)).toBe(7);
  expect(pages.reads).toEqual([7]);
  expect(pool.stats()).toMatchObject({
    hits: 1,
    misses: 3,
    coalesced: 2,
    hitRate: 0.25,
    usedFrames: 1,
    inUseFrames: 0,
  });
  expect(pool.stats().readLatencyUs).toMatchObject({ count: 3, p50: 1000 });
});

test("a damaged page is an error for everybody who waits, and is never cached", async () => {
  const pages = new NumberedPages();
  const pool = poolOf(pages, 10);
  pages.damaged.add(3);
  const results = await served(pages, Promise.allSettled([3, 3, 4].map((key) => pool.fetch(key))));
  expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled"]);
  expect(isPinionError((results[0] as PromiseRejectedResult).reason, "corruption")).toBe(true);
  expect(pool.get(3)).toBeUndefined();
  expect(pool.stats()).toMatchObject({ damaged: 1, usedFrames: 1, t1: 1 });
  pages.damaged.clear();
  await load(pages, pool, [3]);
  expect(numberIn(pool.get(3)!)).toBe(3);
});

test("what is in use stays, and when everything is, one more is refused", async () => {
  const pages = new NumberedPages();
  const pool = poolOf(pages, 4);
  const leases = await served(pages, pool.fetchRun(0, 3));
  await load(pages, pool, [10, 11, 12, 13]);
  expect(leases.map(({ bytes }) => numberIn(bytes))).toEqual([0, 1, 2]);
  const last = await served(pages, pool.fetch(20));
  const refused: unknown = await pool.fetch(21).catch((e: unknown) => e);
  expect(isPinionError(refused, "overloaded")).toBe(true);
  // What is in use is found, kept by the policy or not.
  expect(numberIn(pool.get(1)!)).toBe(1);
  last.release();
  for (const lease of leases) lease.release();
  await load(pages, pool, [21]);
  expect(pool.stats()).toMatchObject({ totalFrames: 4, inUseFrames: 0, refused: 1 });
});

test("a page is released once", async () => {
  const pages = new NumberedPages();
  const lease = await served(pages, poolOf(pages, 4).fetch(1));
  lease.release();
  expect(() => lease.release()).toThrow("released twice");
});

test("reads for analytics leave nothing behind", async () => {
  const pages = new NumberedPages();
  const pool = poolOf(pages, 8);
  await load(pages, pool, [1, 2]);
  for (let key = 100; key < 120; key++)
    (await served(pages, pool.fetch(key, { hint: "analytics" }))).release();
  expect(pool.get(119)).toBeUndefined();
  expect(pool.stats()).toMatchObject({ usedFrames: 2, evictions: 0 });
  const both = await served(
    pages,
    Promise.all([pool.fetch(50, { hint: "analytics" }), pool.fetch(50)]),
  );
  for (const lease of both) lease.release();
  expect(numberIn(pool.get(50)!)).toBe(50);
});

test("a run is one read of what is missing, and one damaged page of it fails it without a trace", async () => {
  const pages = new NumberedPages();
  const pool = poolOf(pages, 40);
  await load(pages, pool, [5]);
  const before = pool.stats();
  const leases = await served(pages, pool.fetchRun(0, 20));
  expect(leases.map(({ bytes }) => numberIn(bytes))).toEqual(upTo(20));
  for (const lease of leases) lease.release();
  expect(pages.io.stats().reads).toBe(3);
  expect(pool.stats().misses - before.misses).toBe(19);
  pages.damaged.add(33);
  await expect(served(pages, pool.fetchRun(30, 8))).rejects.toMatchObject({ code: "corruption" });
  expect(pool.get(33)).toBeUndefined();
  expect(numberIn(pool.get(34)!)).toBe(34);
  expect(pool.stats()).toMatchObject({ inUseFrames: 0, usedFrames: 27, damaged: 1 });
});

test("a run goes into frames that lie side by side, in whatever order they became free", async () => {
  const pages = new NumberedPages();
  const pool = poolOf(pages, 64);
  const run = (first: number): Promise<PageLease[]> =>
    served(pages, pool.fetchRun(first, 16, { hint: "analytics" }));
  const leases = [await run(0), await run(16), await run(32), await run(48)];
  for (const [i] of leases[1]!.entries()) for (const n of [2, 1]) leases[n]![i]!.release();
  pages.pieces.length = 0;
  for (const lease of await run(64)) leases[0]!.push(lease);
  for (const lease of await run(80)) leases[0]!.push(lease);
  expect(pages.pieces.reduce((a, b) => a + b)).toBeLessThan(20);
  expect(leases[0]!.slice(16).map(({ bytes }) => numberIn(bytes))).toEqual(
    upTo(32).map((i) => 64 + i),
  );
  for (const lease of [...leases[0]!, ...leases[3]!]) lease.release();
  pages.pieces.length = 0;
  for (const lease of await run(0)) lease.release();
  for (const lease of await run(16)) lease.release();
  expect(pages.pieces).toEqual([1, 1]);
});

test("a page of a run that cannot be read does not take its neighbours with it", async () => {
  const pages = new NumberedPages();
  const pool = poolOf(pages, 40);
  pages.unreadable = 12;
  await expect(served(pages, pool.fetchRun(10, 5))).rejects.toMatchObject({ code: "io-error" });
  expect([10, 11, 12, 13, 14].map((key) => pool.get(key) !== undefined)).toEqual([
    true,
    true,
    false,
    true,
    true,
  ]);
  expect(pool.stats()).toMatchObject({ inUseFrames: 0, usedFrames: 4, damaged: 0 });
});

test("a run that finds no frames is refused as a whole", async () => {
  const pages = new NumberedPages();
  const pool = poolOf(pages, 6);
  const held = await served(pages, pool.fetchRun(0, 3));
  await expect(served(pages, pool.fetchRun(50, 5))).rejects.toMatchObject({ code: "overloaded" });
  for (const lease of held) lease.release();
  expect(pool.stats().inUseFrames).toBe(0);
});

test("there is no page beyond the end", async () => {
  const pages = new NumberedPages();
  await expect(poolOf(pages, 4).fetch(FILE_PAGES)).rejects.toMatchObject({ code: "not-found" });
});

test("who gives up waiting does not take the page from others, and a read that nobody wants is not made", async () => {
  const pages = new NumberedPages();
  const pool = poolOf(pages, 30);
  const abort = new AbortController();
  const busy = Promise.all([0, 2, 4, 6].map((key) => pool.fetch(key)));
  const given = pool.fetch(100, { signal: abort.signal }).catch((e: unknown) => e);
  const shared = pool.fetch(200, { signal: abort.signal }).catch((e: unknown) => e);
  const other = pool.fetch(200);
  abort.abort();
  expect(isPinionError(await given, "cancelled")).toBe(true);
  expect(isPinionError(await shared, "cancelled")).toBe(true);
  const lease = await served(pages, other);
  expect(numberIn(lease.bytes)).toBe(200);
  for (const each of await served(pages, busy)) each.release();
  lease.release();
  expect(pages.reads).not.toContain(100);
  expect(pool.stats()).toMatchObject({ inUseFrames: 0, usedFrames: 5 });
});

test("an invalidated page is read again; who has it keeps it", async () => {
  const pages = new NumberedPages();
  const pool = poolOf(pages, 4);
  const lease = await served(pages, pool.fetch(1));
  pool.invalidate(1);
  expect(pool.get(1)).toBeUndefined();
  await load(pages, pool, [1, 2, 3, 5, 6]);
  expect(numberIn(lease.bytes)).toBe(1);
  lease.release();
  expect(pages.reads.filter((key) => key === 1)).toHaveLength(2);
  expect(pool.stats().inUseFrames).toBe(0);
});

test("a smaller limit holds at once but for what is in use, and memory is given back", async () => {
  const pages = new NumberedPages();
  const frames = new SlabFrames();
  const pool = poolOf(pages, 2048, { frames });
  await load(pages, pool, upTo(2000));
  const lease = pool.use(1999)!;
  expect(frames.allocatedBytes).toBe(2048 * FRAME_BYTES);
  pool.resize(100 * FRAME_BYTES);
  expect(pool.stats().usedFrames).toBeLessThanOrEqual(101);
  for (let key = 0; key < 2000; key++) {
    const bytes = pool.get(key);
    if (bytes !== undefined) expect(numberIn(bytes)).toBe(key);
  }
  await load(pages, pool, upTo(300));
  expect(pool.stats().usedFrames).toBeLessThanOrEqual(100);
  expect(numberIn(lease.bytes)).toBe(1999);
  lease.release();
  expect(frames.allocatedBytes).toBe(512 * FRAME_BYTES);
  pool.resize(500 * FRAME_BYTES);
  await load(pages, pool, upTo(500));
  expect(pool.stats().usedFrames).toBe(500);
});

test("eviction under pressure lets go of a share of the pages and of their memory", async () => {
  const pages = new NumberedPages();
  const frames = new SlabFrames();
  const pool = poolOf(pages, 2048, { frames });
  await load(pages, pool, upTo(2048));
  pool.evict(0.5);
  expect(pool.stats()).toMatchObject({ usedFrames: 1024, totalFrames: 2048, evictions: 1024 });
  expect(frames.allocatedBytes).toBe(1024 * FRAME_BYTES);
  let found = 0;
  for (let key = 0; key < 2048; key++) {
    const bytes = pool.get(key);
    if (bytes === undefined) continue;
    found++;
    expect(numberIn(bytes)).toBe(key);
  }
  expect(found).toBe(1024);
});

test("a run is read ahead, and what was read ahead in vain is counted", async () => {
  const pages = new NumberedPages();
  const pool = poolOf(pages, 200, { prefetch: true });
  await load(pages, pool, upTo(60));
  await pages.clock.advance(50);
  const stats = pool.stats();
  expect(stats.misses).toBeLessThan(20);
  expect(stats.prefetchesUsed).toBeGreaterThan(40);
  expect(pages.reads.length).toBe(new Set(pages.reads).size);
  await load(
    pages,
    pool,
    upTo(1000).map((i) => 5_000 + i * 41 + ((i * i) % 37)),
  );
  expect(pool.stats().prefetchesWasted).toBe(stats.prefetchesIssued - stats.prefetchesUsed);
});

test("a reader does not wait behind other reads for a page that is being read ahead", async () => {
  const pages = new NumberedPages();
  const pool = poolOf(pages, 4000, { prefetch: true });
  await load(pages, pool, [1000, 1001]);
  pages.latencyMs = 10;
  const far = upTo(40).map((i) => pool.fetch(50_000 - i * 999, { ioClass: "log" }));
  const third = pool.fetch(1002);
  // Proposed by the third page, and still in the queue.
  const fourth = pool.fetch(1003);
  const order: string[] = [];
  void fourth.then(() => order.push("fourth"));
  void Promise.all(far).then(() => order.push("far"));
  const leases = await served(pages, Promise.all([third, fourth, ...far]));
  await pages.clock.advance(100);
  expect(leases).toHaveLength(42);
  expect(pages.reads.filter((key) => key === 1003)).toHaveLength(1);
  expect(pool.stats().inUseFrames).toBe(42);
});

test("under any use, bytes are those of their page for as long as somebody has them, and the limit holds", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer(), async (seed) => {
      const rng = seededRng(seed);
      const pages = new NumberedPages();
      let frames = 8 + rng.below(40);
      const pool = poolOf(pages, frames, { prefetch: rng.chance(0.5) });
      for (let i = 0; i < 5; i++) pages.damaged.add(rng.below(100));
      const leases: PageLease[] = [];
      const pending: Promise<void>[] = [];
      const take = (lease: PageLease): void => {
        expect(pages.damaged.has(lease.key)).toBe(false);
        leases.push(lease);
      };
      let at = 0;
      for (let step = 0; step < 300; step++) {
        at = rng.chance(0.7) ? (at + 1) % 100 : rng.below(100);
        const hint = rng.pick<ReadHint>(["realtime", "interactive", "batch", "analytics"]);
        const what = rng.below(22);
        if (what < 9) {
          const abort = rng.chance(0.3) ? new AbortController() : undefined;
          const key = at;
          const got = pool
            .fetch(key, { hint, ...(abort && { signal: abort.signal }) })
            .then(take, (e: unknown) => {
              if (isPinionError(e, "corruption")) expect(pages.damaged.has(key)).toBe(true);
              else if (!isPinionError(e, "cancelled") && !isPinionError(e, "overloaded")) throw e;
            });
          pending.push(got);
          if (rng.chance(0.5)) abort?.abort();
        } else if (what < 13) {
          const bytes = pool.get(at, hint);
          if (bytes !== undefined) expect(numberIn(bytes)).toBe(at);
          expect(bytes !== undefined && pages.damaged.has(at)).toBe(false);
        } else if (what < 15) {
          const lease = pool.use(at, hint);
          if (lease !== undefined) take(lease);
        } else if (what < 16) {
          pages.invalidated.add(at);
          pool.invalidate(at);
        } else if (what < 17 && rng.chance(0.2)) pool.evict(rng.float());
        else if (what < 18 && rng.chance(0.2))
          pool.resize((frames = 4 + rng.below(50)) * FRAME_BYTES);
        else if (what < 19) await pages.clock.advance(rng.below(3));
        else if (what < 20) {
          const run = pool.fetchRun(at, 1 + rng.below(10), { hint }).then(
            (all) => all.forEach(take),
            (e: unknown) => {
              if (!isPinionError(e, "corruption") && !isPinionError(e, "overloaded")) throw e;
            },
          );
          pending.push(run);
        }
        while (leases.length > 0 && (leases.length > 6 || rng.chance(0.4))) {
          const [lease] = leases.splice(rng.below(leases.length), 1);
          expect(numberIn(lease!.bytes)).toBe(lease!.key);
          lease!.release();
        }
        for (const lease of leases) expect(numberIn(lease.bytes)).toBe(lease.key);
        const { usedFrames, inUseFrames } = pool.stats();
        expect(usedFrames).toBeLessThanOrEqual(Math.max(frames, inUseFrames));
      }
      for (let i = 0; i < 50; i++) await pages.clock.advance(5);
      await Promise.all(pending);
      for (const lease of leases) {
        expect(numberIn(lease.bytes)).toBe(lease.key);
        lease.release();
      }
      const { usedFrames, inUseFrames, t1, t2, totalFrames } = pool.stats();
      expect(inUseFrames).toBe(0);
      expect(usedFrames).toBe(t1 + t2);
      expect(usedFrames).toBeLessThanOrEqual(totalFrames);
      // Afterwards everything can be read, in whatever state it is.
      for (let key = 0; key < 100; key++) {
        if (pages.damaged.has(key)) continue;
        const lease = await served(pages, pool.fetch(key));
        expect(numberIn(lease.bytes)).toBe(key);
        lease.release();
      }
    }),
    { numRuns: 12 },
  );
});
