/**
 * Sees from the pages that are read which will be read next. Pure: it proposes, the pool disposes.
 *
 * Three in a row start it: three equal steps (1 forward, −1 back, up to `STRIDE_MAX` pages either way), or three pages in the order in which
 * they were read before (a repeating set). Then it stays `depth` pages ahead: as many as are read while one page comes from the disk, 2–32.
 *
 * State: up to `STREAMS` runs, the last `HISTORY` pages, the mean time of a read, and a cap on the depth.
 *
 * F1 all state is bounded, whatever is read. F2 at most `DEPTH_MAX` pages are proposed per access.
 * F3 every wasted page lowers the cap, every used one raises it a little: a load that does not keep what its pattern promises costs two pages a run.
 */
export const DEPTH_MIN = 2;
export const DEPTH_MAX = 32;
const STARTS_AFTER = 3;
const STRIDE_MAX = 256;
const STREAMS = 16;
const HISTORY = 256;
/** A run counts as a scan, for the statistics, from here. */
const SCAN_PAGES = 64;
const USED_RAISES = 1 / 16;
const WASTED_LOWERS = 1 / 4;
/** Weight of the newest of the times that are averaged. */
const NEWEST_WEIGHT = 1 / 8;

interface Stream {
  last: number;
  stride: number;
  /** Pages in a row with this stride. */
  run: number;
  /** The farthest page that was proposed. */
  proposed: number;
  lastMs: number;
  /** Mean time between its pages. */
  gapMs: number;
  usedAt: number;
}

/**
 * How often a run's stride fits into `step`; 0 if it does not. An established run may skip pages: who follows it hears nothing of those that
 * were in memory anyway.
 */
function stepsOf({ stride, run }: Stream, step: number): number {
  const steps = stride === 0 ? 0 : step / stride;
  const most = run < STARTS_AFTER ? 1 : DEPTH_MAX;
  return Number.isInteger(steps) && steps > 0 && steps <= most ? steps : 0;
}

export class Prefetcher {
  readonly #streams: Stream[] = [];
  readonly #history = new Float64Array(HISTORY).fill(-1);
  /** Where a page was read last, as a count of pages; only those that are still in the history. */
  readonly #lastRead = new Map<number, number>();
  #count = 0;
  /** Where the repeating set is, as a count of pages; −1: it does not repeat. */
  #repeat = -1;
  #repeated = 0;
  /** Up to where the repetition was proposed. */
  #repeatProposed = 0;
  #latencyMs = 0;
  #cap = DEPTH_MAX;
  #scans = 0;

  get depthCap(): number {
    return Math.floor(this.#cap);
  }

  /** Runs that became long. */
  get scansSeen(): number {
    return this.#scans;
  }

  /** A page came from the disk in `latencyMs`. */
  noteRead(latencyMs: number): void {
    this.#latencyMs += (latencyMs - this.#latencyMs) * NEWEST_WEIGHT;
  }

  /** A page that was proposed was read. */
  noteUsed(): void {
    this.#cap = Math.min(DEPTH_MAX, this.#cap + USED_RAISES);
  }

  /** A page that was proposed was thrown out before anybody read it. */
  noteWasted(): void {
    this.#cap = Math.max(DEPTH_MIN, this.#cap - WASTED_LOWERS);
  }

  /**
   * `key` was read: from the disk, or for the first time since it was brought in on a proposal. Other reads from memory need not be told.
   * @param into gets the pages to bring in, nearest first; some may be there already, or may not exist
   */
  access(key: number, nowMs: number, into: number[]): void {
    into.length = 0;
    const inRun = this.#followRun(key, nowMs, into);
    this.#followRepetition(key, !inRun, into);
  }

  /** @returns whether the page belongs to a run */
  #followRun(key: number, nowMs: number, into: number[]): boolean {
    this.#count++;
    const stream = this.#streamOf(key);
    if (stream === undefined) {
      this.#begin(key, nowMs);
      return false;
    }
    const step = key - stream.last;
    stream.usedAt = this.#count;
    if (step === 0) return stream.run >= STARTS_AFTER;
    const pages = stepsOf(stream, step);
    const gapMs = (nowMs - stream.lastMs) / (pages || 1);
    stream.gapMs = pages === 0 ? gapMs : stream.gapMs + (gapMs - stream.gapMs) * NEWEST_WEIGHT;
    stream.lastMs = nowMs;
    stream.last = key;
    if (pages === 0) {
      stream.stride = step;
      stream.run = 2;
      stream.proposed = key;
      return false;
    }
    if (++stream.run < STARTS_AFTER) return false;
    if (stream.run === SCAN_PAGES) this.#scans++;
    this.#propose(stream, into);
    return true;
  }

  #propose(stream: Stream, into: number[]): void {
    const { last, stride } = stream;
    const depth = this.#depth(stream);
    // What was proposed lies behind when the reader has caught up.
    const ahead = Math.max(0, (stream.proposed - last) / stride);
    // Half a depth at a time, so that neighbours become one read.
    if (ahead > depth / 2) return;
    for (let n = ahead + 1; n <= depth; n++) {
      const next = last + n * stride;
      if (next < 0 || !Number.isSafeInteger(next)) break;
      into.push(next);
      stream.proposed = next;
    }
  }

  /** Pages read while one comes in, and one more. */
  #depth({ gapMs }: Stream): number {
    const during = gapMs > 0 ? Math.ceil(this.#latencyMs / gapMs) + 1 : DEPTH_MAX;
    return Math.max(DEPTH_MIN, Math.min(during, this.depthCap));
  }

  /** The run the page continues, or could: one that is not established and lies near. */
  #streamOf(key: number): Stream | undefined {
    let near: Stream | undefined;
    for (const stream of this.#streams) {
      const step = key - stream.last;
      if (stream.run > 1 && (step === 0 || stepsOf(stream, step) > 0)) return stream;
      if (stream.run < STARTS_AFTER && Math.abs(step) <= STRIDE_MAX) near ??= stream;
    }
    return near;
  }

  /** In the place of the run that has not moved for longest. */
  #begin(key: number, nowMs: number): void {
    const fresh = { last: key, stride: 0, run: 1, proposed: key, lastMs: nowMs, gapMs: 0 };
    const stream = { ...fresh, usedAt: this.#count };
    if (this.#streams.length < STREAMS) {
      this.#streams.push(stream);
      return;
    }
    let oldest = 0;
    for (let i = 1; i < STREAMS; i++)
      if (this.#streams[i]!.usedAt < this.#streams[oldest]!.usedAt) oldest = i;
    this.#streams[oldest] = stream;
  }

  #followRepetition(key: number, proposes: boolean, into: number[]): void {
    const now = this.#count;
    const before = this.#lastRead.get(key);
    const oldest = now - HISTORY;
    const expected = this.#repeat > oldest ? this.#pageAt(this.#repeat) : -1;
    if (expected === key) {
      this.#repeated++;
      this.#repeat++;
    } else {
      this.#repeated = before === undefined ? 0 : 1;
      this.#repeat = before === undefined ? -1 : before + 1;
      this.#repeatProposed = this.#repeat;
    }
    const forgotten = this.#pageAt(now);
    if (this.#lastRead.get(forgotten) === now - HISTORY) this.#lastRead.delete(forgotten);
    this.#history[now % HISTORY] = key;
    this.#lastRead.set(key, now);
    if (!proposes || this.#repeated < STARTS_AFTER) return;
    const depth = Math.min(this.depthCap, now - this.#repeat);
    const from = Math.max(this.#repeat, this.#repeatProposed);
    for (let at = from; at < this.#repeat + depth; at++) into.push(this.#pageAt(at));
    this.#repeatProposed = Math.max(from, this.#repeat + depth);
  }

  #pageAt(count: number): number {
    return this.#history[count % HISTORY]!;
  }
}
