/**
 * Orders the reads of a disk. What is urgent goes first, what lies side by side goes as one read, what has waited long goes before what is urgent, and
 * what would wait too long is refused at once. It knows no clock: a dispatch is its unit of time.
 *
 * State: the queued requests, by class and by place, and how many reads are running.
 *
 * Q1 at most `queuedMax` requests of a class wait and `runningMax` reads run; one more is refused (`overloaded`). Only the parts of a failed read, which
 *    were accepted before, come on top.
 * Q2 the oldest request of a class is passed over at most `patience` + 2 times: after `patience` dispatches of others its class is next,
 *    and at most two other classes can have waited longer.
 * Q3 every accepted request is answered once: after one read of its own bytes, or, if it was cancelled, without one.
 * Q4 a read is made of requests of one class that lie side by side in one file, at most `readBytesMax` together.
 * Q5 a buffer is the reader's while its read runs: cancelling takes out only what still waits.
 */
import { assert, PinionError } from "@pinion/core";

/** Most urgent first. */
export const IO_CLASSES = ["log", "checkpoint", "user", "background"] as const;
export type IoClass = (typeof IO_CLASSES)[number];

/**
 * Fills `into`, one buffer after the other, from `offset` of `file`. Resolves to the bytes read, fewer only at the end of the file. @throws what the
 * disk throws
 */
export type ReadFile = (
  file: number,
  offset: number,
  into: readonly Uint8Array[],
) => Promise<number>;

export interface IoSchedulerOptions {
  /** Reads at the same time, default 4: what libuv has threads for. */
  readonly runningMax?: number;
  /** Waiting requests of a class, default 4,096. */
  readonly queuedMax?: number;
  /** Bytes of one read, default 1 MiB. */
  readonly readBytesMax?: number;
  /** Dispatches a class waits while others are served, default 16. */
  readonly patience?: number;
}

export interface IoStats {
  /** Reads of the disk that have ended well. */
  readonly reads: number;
  readonly bytesRead: number;
  /** Reads that began where an earlier one of the same file ended, and the others. */
  readonly sequentialReads: number;
  readonly randomReads: number;
  /** Requests answered by a read that also answered another one. */
  readonly merged: number;
  readonly refused: number;
  readonly running: number;
  readonly queued: Readonly<Record<IoClass, number>>;
}

interface Request {
  readonly file: number;
  readonly offset: number;
  readonly into: readonly Uint8Array[];
  /** Of all of `into`. */
  readonly byteCount: number;
  readonly ioClass: IoClass;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
  /** Read by itself: the read it was part of has failed. */
  alone: boolean;
  /** Stops listening for a cancellation; only where there may be one. */
  settle: (() => void) | undefined;
}

/** The requests of one class, in order of arrival and by place. */
class IoQueue {
  readonly all = new Set<Request>();
  readonly #byStart = new Map<number, Map<number, Request>>();
  readonly #byEnd = new Map<number, Map<number, Request>>();
  /** Dispatches of other classes since this one was served or became non-empty. */
  passedOver = 0;

  add(request: Request): void {
    if (this.all.size === 0) this.passedOver = 0;
    this.all.add(request);
    if (request.alone) return;
    const { file, offset, byteCount } = request;
    put(this.#byStart, file, offset, request);
    put(this.#byEnd, file, offset + byteCount, request);
  }

  delete(request: Request): void {
    this.all.delete(request);
    const { file, offset, byteCount } = request;
    take(this.#byStart, file, offset, request);
    take(this.#byEnd, file, offset + byteCount, request);
  }

  /** Takes out the oldest request and what lies beside it, in the order of the file (Q4). */
  takeBatch(bytesMax: number): Request[] {
    const oldest = this.all.values().next().value;
    assert(oldest !== undefined, "a batch of an empty queue");
    this.delete(oldest);
    const batch = [oldest];
    if (oldest.alone) return batch;
    const { file } = oldest;
    let start = oldest.offset;
    let end = start + oldest.byteCount;
    for (;;) {
      const next = this.#byStart.get(file)?.get(end);
      if (next === undefined || end + next.byteCount - start > bytesMax) break;
      this.delete(next);
      batch.push(next);
      end += next.byteCount;
    }
    for (;;) {
      const next = this.#byEnd.get(file)?.get(start);
      if (next === undefined || end - start + next.byteCount > bytesMax) break;
      this.delete(next);
      batch.unshift(next);
      start -= next.byteCount;
    }
    return batch;
  }
}

type ByPlace = Map<number, Map<number, Request>>;

/** The first request at a place is the one that is found; others are read by themselves. */
function put(map: ByPlace, file: number, at: number, request: Request): void {
  let places = map.get(file);
  if (places === undefined) map.set(file, (places = new Map()));
  if (!places.has(at)) places.set(at, request);
}

function take(map: ByPlace, file: number, at: number, request: Request): void {
  const places = map.get(file);
  if (places?.get(at) !== request) return;
  places.delete(at);
  if (places.size === 0) map.delete(file);
}

/** Files whose last read's end is remembered, to tell sequential reads from others. */
const FILES_REMEMBERED = 64;

export class IoScheduler {
  readonly #readFile: ReadFile;
  readonly #runningMax: number;
  readonly #queuedMax: number;
  readonly #readBytesMax: number;
  readonly #patience: number;
  readonly #queues: Readonly<Record<IoClass, IoQueue>>;
  readonly #ends = new Map<number, number>();
  #running = 0;
  #dispatching = false;
  #reads = 0;
  #bytesRead = 0;
  #sequentialReads = 0;
  #merged = 0;
  #refused = 0;

  constructor(readFile: ReadFile, options: IoSchedulerOptions = {}) {
    this.#readFile = readFile;
    this.#runningMax = options.runningMax ?? 4;
    this.#queuedMax = options.queuedMax ?? 4096;
    this.#readBytesMax = options.readBytesMax ?? 1024 * 1024;
    this.#patience = options.patience ?? 16;
    this.#queues = {
      log: new IoQueue(),
      checkpoint: new IoQueue(),
      user: new IoQueue(),
      background: new IoQueue(),
    };
  }

  /**
   * Fills `into`, one buffer after the other, from `offset` of `file`: at most `readBytesMax` bytes. The buffers must be left alone until this settles. Requests that are made in the same turn of the event
   * loop's microtasks can become one read.
   * @param signal takes the request out while it waits; a read that runs goes on to its end
   * @throws `overloaded`, `cancelled`, `io-error` (also when the file ends too soon), and what the disk throws
   */
  read(
    file: number,
    offset: number,
    into: readonly Uint8Array[],
    ioClass: IoClass,
    signal?: AbortSignal,
  ): Promise<void> {
    const queue = this.#queues[ioClass];
    if (signal?.aborted) return Promise.reject(cancelled(signal));
    if (queue.all.size >= this.#queuedMax) {
      this.#refused++;
      const details = { class: ioClass, queued: queue.all.size };
      return Promise.reject(
        new PinionError("overloaded", `too many ${ioClass} reads wait for the disk`, { details }),
      );
    }
    let byteCount = 0;
    for (const { length } of into) byteCount += length;
    assert(byteCount <= this.#readBytesMax, "a read that is larger than reads may be");
    return new Promise((resolve, reject) => {
      const request: Request = {
        file,
        offset,
        into,
        byteCount,
        ioClass,
        resolve,
        reject,
        alone: false,
        settle: undefined,
      };
      if (signal !== undefined) this.#listen(request, signal);
      queue.add(request);
      this.#schedule();
    });
  }

  #listen(request: Request, signal: AbortSignal): void {
    const onAbort = (): void => {
      request.settle?.();
      this.#queues[request.ioClass].delete(request);
      request.reject(cancelled(signal));
    };
    request.settle = () => signal.removeEventListener("abort", onAbort);
    signal.addEventListener("abort", onAbort, { once: true });
  }

  stats(): IoStats {
    const queued = (ioClass: IoClass): number => this.#queues[ioClass].all.size;
    return {
      reads: this.#reads,
      bytesRead: this.#bytesRead,
      sequentialReads: this.#sequentialReads,
      randomReads: this.#reads - this.#sequentialReads,
      merged: this.#merged,
      refused: this.#refused,
      running: this.#running,
      queued: {
        log: queued("log"),
        checkpoint: queued("checkpoint"),
        user: queued("user"),
        background: queued("background"),
      },
    };
  }

  /** Once what is asked for together has arrived. */
  #schedule(): void {
    if (this.#dispatching || this.#running >= this.#runningMax) return;
    this.#dispatching = true;
    queueMicrotask(this.#dispatchAll);
  }

  readonly #dispatchAll = (): void => {
    this.#dispatching = false;
    while (this.#running < this.#runningMax) {
      const next = this.#next();
      if (next === undefined) return;
      this.#dispatch(next);
    }
  };

  /** The class to serve (Q2); undefined when nothing waits. */
  #next(): IoClass | undefined {
    let urgent: IoClass | undefined;
    let longest: IoClass | undefined;
    for (const ioClass of IO_CLASSES) {
      const queue = this.#queues[ioClass];
      if (queue.all.size === 0) continue;
      urgent ??= ioClass;
      if (queue.passedOver < this.#patience) continue;
      if (longest === undefined || queue.passedOver > this.#queues[longest].passedOver)
        longest = ioClass;
    }
    return longest ?? urgent;
  }

  #dispatch(ioClass: IoClass): void {
    for (const other of IO_CLASSES) this.#queues[other].passedOver++;
    const queue = this.#queues[ioClass];
    queue.passedOver = 0;
    const batch = queue.takeBatch(this.#readBytesMax);
    for (const request of batch) request.settle?.();
    this.#running++;
    const first = batch[0]!;
    const into = batch.length === 1 ? first.into : batch.flatMap((request) => request.into);
    // Callbacks and no async functions: a storm of reads left so much to the collector that it held the event loop.
    this.#readFile(first.file, first.offset, into).then(
      (readBytes) => {
        this.#ended();
        this.#answer(batch, readBytes);
      },
      (reason: unknown) => {
        this.#failed(batch, reason);
        this.#ended();
      },
    );
  }

  /** The disk goes on with what waits before anybody looks at what it brought. */
  #ended(): void {
    this.#running--;
    if (!this.#dispatching) this.#dispatchAll();
  }

  #answer(batch: readonly Request[], readBytes: number): void {
    const { file, offset } = batch[0]!;
    this.#reads++;
    this.#bytesRead += readBytes;
    if (batch.length > 1) this.#merged += batch.length;
    this.#notePlace(file, offset, offset + readBytes);
    for (const request of batch) {
      const end = request.offset + request.byteCount;
      if (end <= offset + readBytes) request.resolve();
      else request.reject(tooShort(request));
    }
  }

  /** One bad page must not fail its neighbours: each request is read again by itself, once. */
  #failed(batch: readonly Request[], reason: unknown): void {
    if (batch.length === 1) return batch[0]!.reject(reason);
    for (const request of batch) {
      request.alone = true;
      this.#queues[request.ioClass].add(request);
    }
  }

  #notePlace(file: number, start: number, end: number): void {
    if (this.#ends.get(file) === start) this.#sequentialReads++;
    this.#ends.delete(file);
    this.#ends.set(file, end);
    if (this.#ends.size > FILES_REMEMBERED) this.#ends.delete(this.#ends.keys().next().value!);
  }
}

function cancelled(signal: AbortSignal): PinionError {
  return new PinionError("cancelled", "a read was given up before it began", {
    cause: signal.reason,
  });
}

function tooShort({ file, offset, byteCount }: Request): PinionError {
  const details = { file, offset, bytes: byteCount };
  return new PinionError("io-error", "a file ends before a page that should be in it", { details });
}
