import { isPinionError, seededRng, VirtualClock } from "@pinion/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { IO_CLASSES, IoScheduler, type IoClass } from "./io-scheduler.ts";

const byteAt = (file: number, at: number): number => (file * 31 + at * 7 + (at >> 8)) & 255;

/** A disk that answers when told. */
class HeldDisk {
  readonly reads: { file: number; offset: number; bytes: number }[] = [];
  readonly #waiting: (() => void)[] = [];
  fileBytes = Infinity;
  /** Reads that cover this offset fail. */
  badOffset = -1;

  readonly read = (file: number, offset: number, into: readonly Uint8Array[]): Promise<number> => {
    const bytes = into.reduce((sum, { length }) => sum + length, 0);
    this.reads.push({ file, offset, bytes });
    return new Promise((resolve, reject) =>
      this.#waiting.push(() => {
        if (offset <= this.badOffset && this.badOffset < offset + bytes)
          return reject(new Error("EIO"));
        let at = offset;
        for (const buffer of into)
          for (let i = 0; i < buffer.length && at < this.fileBytes; i++)
            buffer[i] = byteAt(file, at++);
        resolve(at - offset);
      }),
    );
  };

  get running(): number {
    return this.#waiting.length;
  }

  /** Answers one of the running reads. */
  answer(which = 0): void {
    this.#waiting.splice(which, 1)[0]!();
  }

  async drain(): Promise<void> {
    for (await settled(); this.#waiting.length > 0; await settled()) this.answer();
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const page = (): Uint8Array => new Uint8Array(16);

test("urgent reads go before the others that wait", async () => {
  const disk = new HeldDisk();
  const io = new IoScheduler(disk.read, { runningMax: 1 });
  const done: string[] = [];
  const all = (["background", "user", "checkpoint", "log"] as const).map((ioClass, i) =>
    io.read(i, 0, [page()], ioClass).then(() => done.push(ioClass)),
  );
  await disk.drain();
  await Promise.all(all);
  expect(done).toEqual(["log", "checkpoint", "user", "background"]);
});

test("requests side by side become one read, up to its limit, and each gets its own bytes", async () => {
  const disk = new HeldDisk();
  const io = new IoScheduler(disk.read, { runningMax: 1, readBytesMax: 64 });
  const pages = [5, 3, 4, 2, 6, 1, 9].map((n) => ({ n, into: page() }));
  const all = pages.map(({ n, into }) => io.read(1, n * 16, [into], "user"));
  const other = io.read(1, 7 * 16, [page()], "log");
  await disk.drain();
  await Promise.all([...all, other]);
  expect(disk.reads.map(({ offset, bytes }) => [offset / 16, bytes / 16])).toEqual([
    [7, 1],
    [3, 4],
    [1, 2],
    [9, 1],
  ]);
  for (const { n, into } of pages)
    expect([...into]).toEqual(Array.from({ length: 16 }, (_, i) => byteAt(1, n * 16 + i)));
  expect(io.stats()).toMatchObject({ reads: 4, bytesRead: 128, merged: 6 });
});

test("a page that cannot be read does not fail its neighbours", async () => {
  const disk = new HeldDisk();
  disk.badOffset = 20;
  const io = new IoScheduler(disk.read);
  const all = Promise.allSettled([0, 16, 32].map((at) => io.read(1, at, [page()], "user")));
  await disk.drain();
  expect((await all).map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
});

test("a file that ends too soon is an error for those beyond its end only", async () => {
  const disk = new HeldDisk();
  disk.fileBytes = 40;
  const io = new IoScheduler(disk.read);
  const all = Promise.allSettled([0, 16, 32].map((at) => io.read(1, at, [page()], "user")));
  await disk.drain();
  const results = await all;
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
  expect(isPinionError((results[2] as PromiseRejectedResult).reason, "io-error")).toBe(true);
});

test("one request too many is refused, and those that wait are served", async () => {
  const disk = new HeldDisk();
  const io = new IoScheduler(disk.read, { runningMax: 1, queuedMax: 2 });
  const all = Promise.allSettled([0, 100, 200].map((at) => io.read(1, at, [page()], "user")));
  const urgent = io.read(2, 0, [page()], "log");
  await disk.drain();
  const results = await all;
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
  expect(isPinionError((results[2] as PromiseRejectedResult).reason, "overloaded")).toBe(true);
  await urgent;
});

test("what waits can be cancelled, what runs cannot", async () => {
  const disk = new HeldDisk();
  const io = new IoScheduler(disk.read, { runningMax: 1 });
  const [first, second] = [new AbortController(), new AbortController()];
  const running = io.read(1, 0, [page()], "user", first.signal);
  const waiting = io.read(1, 100, [page()], "user", second.signal).catch((e: unknown) => e);
  await settled();
  first.abort();
  second.abort();
  expect(isPinionError(await waiting, "cancelled")).toBe(true);
  await disk.drain();
  await running;
  expect(disk.reads).toHaveLength(1);
});

test("no class starves, nothing is lost, doubled or mixed up under any load", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer(), async (seed) => {
      const rng = seededRng(seed);
      const clock = new VirtualClock();
      const options = {
        runningMax: 1 + rng.below(4),
        queuedMax: 20,
        readBytesMax: 64,
        patience: 3,
      };
      /** Bytes being read, to find those that are read twice. */
      const wanted = new Map<string, number>();
      const started: { file: number; offset: number; bytes: number }[] = [];
      let running = 0;
      const io = new IoScheduler((file, offset, into) => {
        const bytes = into.reduce((sum, { length }) => sum + length, 0);
        started.push({ file, offset, bytes });
        expect(++running).toBeLessThanOrEqual(options.runningMax);
        expect(bytes).toBeLessThanOrEqual(options.readBytesMax);
        return new Promise((resolve) =>
          clock.setTimer(1 + rng.below(20), () => {
            running--;
            let at = offset;
            for (const buffer of into)
              for (let i = 0; i < buffer.length; i++) buffer[i] = byteAt(file, at++);
            resolve(bytes);
          }),
        );
      }, options);
      const waits: { ioClass: IoClass; dispatches: number; ahead: number }[] = [];
      const answers: Promise<void>[] = [];
      let [accepted, refused, cancelled] = [0, 0, 0];
      for (let i = 0; i < 200; i++) {
        const ioClass = rng.chance(0.5) ? "log" : rng.pick(IO_CLASSES);
        const [file, slot] = [IO_CLASSES.indexOf(ioClass), rng.below(1000)];
        const into = page();
        const begun = started.length;
        const ahead = io.stats().queued[ioClass];
        const abort = new AbortController();
        answers.push(
          io.read(file, slot * 16, [into], ioClass, abort.signal).then(
            () => {
              accepted++;
              const at = started.findIndex(
                (r, n) =>
                  n >= begun &&
                  r.file === file &&
                  r.offset <= slot * 16 &&
                  slot * 16 < r.offset + r.bytes,
              );
              expect(at).not.toBe(-1);
              wanted.set(`${file}/${at}`, (wanted.get(`${file}/${at}`) ?? 0) + 16);
              waits.push({ ioClass, dispatches: at - begun, ahead });
              for (let b = 0; b < 16; b++) expect(into[b]).toBe(byteAt(file, slot * 16 + b));
            },
            (e: unknown) => {
              if (isPinionError(e, "cancelled")) cancelled++;
              else if (isPinionError(e, "overloaded")) refused++;
              else throw e;
            },
          ),
        );
        if (rng.chance(0.05)) abort.abort();
        if (rng.chance(0.3)) await clock.advance(rng.below(20));
        for (const queued of Object.values(io.stats().queued))
          expect(queued).toBeLessThanOrEqual(options.queuedMax);
      }
      for (let i = 0; i < 400; i++) await clock.advance(20);
      await Promise.all(answers);
      expect(accepted + refused + cancelled).toBe(200);
      // No byte is read that nobody asked for, none twice.
      expect(started.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(accepted * 16);
      for (const { dispatches, ahead } of waits)
        expect(dispatches).toBeLessThanOrEqual((ahead + 1) * (options.patience + 3));
      expect(io.stats()).toMatchObject({
        running: 0,
        queued: { log: 0, checkpoint: 0, user: 0, background: 0 },
      });
    }),
    { numRuns: 20 },
  );
});
