/**
 * Takes appends and decides when they are flushed. Appends are copied into one staging buffer while the other is being
 * written: a flush takes the whole buffer, whoever comes meanwhile shares the next one (group commit, DeWitt et al., 1984).
 *
 * I1 one write is under way at a time; regions are written in the order of their positions.
 * I2 a failed write or sync ends the log: nothing is retried, nothing more is written. The page cache may have dropped what
 *    the failed sync was for, so a later success would prove nothing.
 * I3 a flush starts at the end of the event-loop turn that asked for it, or in the middle once half of what is usually under way
 *    has come and the disk has nothing to do: it works while the other half is made, and callers fall into two groups
 *    that take turns (docs/decisions/0022).
 * I4 memory is two buffers of `stagingBytes`; one grows for a record that is larger, for that record's write only.
 */
import { PinionError, fromSystemError, type Clock, type Lsn, type Timer } from "@pinion/core";
import { AppendQueue } from "./append-queue.ts";
import { Flusher, type SegmentObserver } from "./flusher.ts";
import type { AppendInput, FlushPolicy, LogPosition } from "./log.ts";
import type { FlushKind, LogMetrics, RefusalReason } from "./log-metrics.ts";
import { closedBy, type LogProgress } from "./log-progress.ts";
import { APPENDABLE, MARKER_BYTES, PAYLOAD_BYTES_MAX, recordBytes } from "./record-format.ts";
import { SEGMENT_HEADER_BYTES } from "./segment-header.ts";
import { headsPayloadBytes } from "./shard-heads.ts";
import { SEGMENT_TAIL_BYTES, StagingBuffer, type WritableSegment } from "./staging-buffer.ts";

/** Where the writer's segments come from. */
export interface SegmentSource {
  /** A segment that is ready to be written; undefined while there is none: then one is on its way. */
  take(): WritableSegment | undefined;
  /** The current segment fills up: get the next one ready. Harmless when repeated. */
  prepare(): void;
}

export interface LogWriterOptions {
  readonly policy: FlushPolicy;
  readonly clock: Clock;
  readonly shardCount: number;
  readonly segmentBytes: number;
  readonly stagingBytes: number;
  readonly appendQueueMax: number;
  /** Share of a segment that is full when the next one is prepared. */
  readonly prepareAt: number;
  readonly idleMarkerMs: number;
  readonly segments: SegmentSource;
  readonly observer: SegmentObserver;
  readonly progress: LogProgress;
  readonly metrics: LogMetrics;
  /** Where the first record goes. */
  readonly segment: WritableSegment;
  readonly offset: number;
}

/** What `async` hands to the kernel at once. */
const ASYNC_WRITE_BYTES = 64 * 1024;

/** Fewer records than this are not worth a flush of their own: one costs about as much as making them. */
const EARLY_RECORDS_MIN = 32;
/** What is left after each flush of the number of records once seen under way. */
const UNDER_WAY_DECAY = 0.98;

/** Reasons not to take an append, as bits: one test on the fast path. */
/** 1 of 8 MiB: the log may grow by 7 MiB while 32 are made. */
const PREPARE_AT_WHEN_SHORT = 1 / 8;
const CLOSED = 1;
const GATED = 2;
const QUEUED = 4;

/** Longest payload a segment of this size takes beside its header, heads and markers. */
export function payloadBytesMax(segmentBytes: number, shardCount: number): number {
  const heads = recordBytes(headsPayloadBytes(shardCount));
  return Math.min(
    PAYLOAD_BYTES_MAX,
    segmentBytes - SEGMENT_HEADER_BYTES - heads - SEGMENT_TAIL_BYTES - recordBytes(0),
  );
}

export class LogWriter {
  readonly #options: LogWriterOptions;
  readonly #progress: LogProgress;
  readonly #clock: Clock;
  readonly #flusher: Flusher;
  readonly #shardCount: number;
  readonly #payloadBytesMax: number;
  readonly #countToFlush: number;
  readonly #bytesToFlush: number;
  readonly #onePerFlush: boolean;
  readonly #startsEarly: boolean;
  readonly #queue: AppendQueue;
  #filling: StagingBuffer;
  /** The other buffer, unless it is being written. */
  #spare: StagingBuffer | undefined;
  #barred = 0;
  /** Why the next flush starts; undefined when nothing asks for one. */
  #due: FlushKind | undefined;
  #flushing = false;
  /** Records that ask for a flush at once (I3). */
  #earlyRecords = EARLY_RECORDS_MIN;
  /** Records written and waiting at the end of a flush: the most of late. */
  #underWay = 0;
  #flushed: Promise<void> = Promise.resolve();
  #deferred = false;
  #waitTimer: Timer | undefined;
  #idleTimer: Timer | undefined;
  #lastFlushMs = 0;
  readonly #prepareAt: number;
  #stopping: Promise<void> | undefined;

  constructor(options: LogWriterOptions) {
    const { policy, stagingBytes, shardCount, progress, segment, offset } = options;
    const durable = policy.name !== "async";
    this.#options = options;
    this.#progress = progress;
    this.#clock = options.clock;
    this.#flusher = new Flusher({ ...options, durable, onFailure: (e) => this.fail(e) });
    this.#shardCount = shardCount;
    this.#payloadBytesMax = payloadBytesMax(options.segmentBytes, shardCount);
    this.#countToFlush = policy.records;
    this.#bytesToFlush = durable ? stagingBytes / 2 : Math.min(ASYNC_WRITE_BYTES, stagingBytes / 2);
    this.#onePerFlush = policy.name === "sync";
    this.#startsEarly = policy.replyWaits && !this.#onePerFlush;
    this.#prepareAt = options.prepareAt;
    this.#queue = new AppendQueue(options.appendQueueMax);
    this.#filling = new StagingBuffer(stagingBytes, shardCount);
    this.#spare = new StagingBuffer(stagingBytes, shardCount);
    this.#filling.open(segment, offset);
  }

  /** Where the next record goes, or the marker before it. */
  get position(): LogPosition {
    return { segment: this.#filling.segment.sequence, offset: this.#filling.fileOffset };
  }

  /** When the last write ended, on the clock. */
  get lastFlushMs(): number {
    return this.#lastFlushMs;
  }

  /** Records and bytes that no write has taken yet. */
  get waiting(): { records: number; bytes: number } {
    return { records: this.#filling.records, bytes: this.#filling.used };
  }

  /** Payload bytes of appends that wait for room. */
  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  /** @returns undefined when there is no room now. @throws `log-closed`, `record-too-large`, `invalid-argument` */
  tryAppend(input: AppendInput, payload: Uint8Array): Lsn | undefined {
    if (this.#barred !== 0) return this.#refuseBarred();
    const lsn = this.#append(input, payload);
    // Here and not where waiting appends are given room: a flush gives them room itself.
    if (this.#filling.records >= this.#earlyRecords && this.#startsEarly) this.#startFlush();
    return lsn;
  }

  /** @throws as `tryAppend`, and `overloaded` when too many wait already */
  async append(input: AppendInput, payload: Uint8Array, signal?: AbortSignal): Promise<Lsn> {
    signal?.throwIfAborted();
    this.#throwIfClosed();
    this.#checkInput(input, payload.byteLength);
    const lsn = this.#barred === 0 ? this.#append(input, payload) : undefined;
    if (lsn !== undefined) return lsn;
    const queued = this.#queue.wait(input, payload, signal);
    this.#barred |= QUEUED;
    return queued;
  }

  requestFlush(): void {
    if (this.#filling.records > 0 || this.#flusher.unsynced || this.#flushing) this.#ask("forced");
  }

  /** Refuses appends until `ungate`: the archive is too far behind. */
  gate(): void {
    this.#barred |= GATED;
  }

  ungate(): void {
    this.#barred &= ~GATED;
    this.roomCame();
  }

  /** What an append may have been waiting for is there: a segment, a buffer, an archive that has caught up. */
  roomCame(): void {
    if (this.#queue.length > 0 && (this.#barred & (CLOSED | GATED)) === 0) {
      this.#queue.drain((input, payload) => this.#append(input, payload));
    }
    if (this.#queue.length === 0) this.#barred &= ~QUEUED;
  }

  /** Flushes and vouches for what was appended; takes nothing more. Resolves also when the log has failed. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Ends the log because of an error (I2). */
  fail(e: unknown): void {
    if (this.#progress.failure) return;
    this.#barred |= CLOSED;
    this.#cancelTimers();
    const error = fromSystemError(e, "log");
    this.#progress.fail(error);
    this.#queue.rejectAll(closedBy(error));
  }

  #append(input: AppendInput, payload: Uint8Array): Lsn | undefined {
    const { shard, kind, term, timestamp } = input;
    const payloadBytes = payload.byteLength;
    // One test of what is nearly always fine; `#checkInput` finds out what is wrong, if anything, and throws.
    const fine =
      shard >>> 0 === shard &&
      shard < this.#shardCount &&
      payloadBytes <= this.#payloadBytesMax &&
      APPENDABLE[kind] === 1 &&
      timestamp >= 0 &&
      term >>> 0 === term;
    if (!fine) this.#checkInput(input, payloadBytes);
    const bytes = recordBytes(payloadBytes);
    const stage = this.#filling;
    if (stage.used + bytes > stage.limit && !this.#makeRoom(stage, bytes)) return undefined;
    const heads = this.#progress.appended;
    const lsn = heads.lsn[shard]! + 1;
    // First: a payload whose memory was transferred away meanwhile throws, and must not leave a gap.
    stage.put(payload, payloadBytes, lsn, timestamp, kind, shard, term);
    heads.lsn[shard] = lsn;
    heads.timestamp[shard] = timestamp;
    heads.term[shard] = term;
    if (stage.records >= this.#countToFlush || stage.used >= this.#bytesToFlush) {
      if (this.#due === undefined) this.#ask(this.#countKind(stage));
    } else if (stage.records === 1) {
      stage.firstAtMs = this.#clock.nowMs();
      if (!this.#flushing) this.#armWait(stage);
    }
    if (this.#onePerFlush) this.#nextRegion(stage);
    return lsn as Lsn;
  }

  #checkInput(input: AppendInput, payloadBytes: number): void {
    const { shard, kind, term, timestamp } = input;
    const bad = (what: string): PinionError =>
      new PinionError("invalid-argument", `append: ${what}`);
    if (!(Number.isInteger(shard) && shard >= 0 && shard < this.#shardCount)) {
      throw bad(`shard ${shard} is not one of 0 … ${this.#shardCount - 1}`);
    }
    if (APPENDABLE[kind] !== 1) throw bad(`${kind} is not a kind of record a caller may append`);
    if (!(Number.isSafeInteger(timestamp) && timestamp >= 0))
      throw bad(`timestamp ${timestamp} is not a whole number of µs`);
    if (!(Number.isInteger(term) && term >= 0 && term < 2 ** 32))
      throw bad(`term ${term} does not fit into 32 bits`);
    if (payloadBytes > this.#payloadBytesMax) {
      throw new PinionError(
        "record-too-large",
        `a record of ${payloadBytes} bytes is larger than the ${this.#payloadBytesMax} bytes this log takes`,
        { details: { bytes: payloadBytes, max: this.#payloadBytesMax } },
      );
    }
  }

  #throwIfClosed(): void {
    const { failure } = this.#progress;
    if (failure) throw closedBy(failure);
    if ((this.#barred & CLOSED) !== 0) throw new PinionError("log-closed", "the log is closed");
  }

  #refuseBarred(): undefined {
    this.#throwIfClosed();
    this.#refuse((this.#barred & GATED) !== 0 ? "archive-behind" : "waiting-appends");
  }

  #refuse(reason: RefusalReason): false {
    this.#options.metrics.refused(reason);
    return false;
  }

  /** Makes `bytes` fit into memory and into the segment, or sees to it that they will. */
  #makeRoom(stage: StagingBuffer, bytes: number): boolean {
    const segmentHasRoom = stage.fileOffset + bytes <= stage.segment.fileBytes - SEGMENT_TAIL_BYTES;
    // A roll puts this region's marker and the next segment's heads before the record, and a marker behind it.
    const heads = segmentHasRoom
      ? 0
      : recordBytes(headsPayloadBytes(this.#progress.appended.known())) + MARKER_BYTES;
    const needed = stage.used + heads + bytes + MARKER_BYTES;
    if (needed > stage.capacity) {
      if (stage.used > 0) {
        this.#ask("buffer-full");
        return this.#refuse("buffer-full");
      }
      this.#enlarge(stage, needed);
    }
    return segmentHasRoom || this.#roll(stage);
  }

  #enlarge(stage: StagingBuffer, capacityBytes: number): void {
    const { segment, fileOffset } = stage;
    stage.abandon();
    stage.replaceMemory((capacityBytes + 7) & -8);
    stage.open(segment, fileOffset);
  }

  /** Goes on in the next segment, inside the same staging buffer. */
  #roll(stage: StagingBuffer): boolean {
    const { segments } = this.#options;
    const next = segments.take();
    if (next === undefined) {
      if (stage.records > 0) this.#ask("buffer-full");
      return this.#refuse("no-segment");
    }
    const { segment } = stage;
    const end = this.#closeRegion(stage, false);
    const previous = { sequence: segment.sequence, end, generation: segment.generation };
    stage.open(next, SEGMENT_HEADER_BYTES, { previous, heads: this.#progress.appended.copy() });
    return true;
  }

  /** @param always a marker even if there is no record  @returns the file offset behind the region */
  #closeRegion(stage: StagingBuffer, always: boolean): number {
    if (stage.openRecords === 0 && !always) {
      const { fileOffset } = stage;
      stage.abandon();
      return fileOffset;
    }
    const fileOffset = stage.fileOffset + MARKER_BYTES;
    stage.close();
    return fileOffset;
  }

  #nextRegion(stage: StagingBuffer): void {
    const { segment } = stage;
    stage.open(segment, this.#closeRegion(stage, false));
  }

  #countKind(stage: StagingBuffer): FlushKind {
    if (stage.records < this.#countToFlush) return "buffer-full";
    return this.#countToFlush === 1 ? "group" : "batched";
  }

  /** Asks for a flush: at the end of this turn, or after the one that is under way (I3). */
  #ask(kind: FlushKind): void {
    if (this.#due === undefined || kind === "forced") this.#due = kind;
    if (!this.#flushing) this.#deferFlush();
  }

  #deferFlush(): void {
    if (this.#deferred) return;
    this.#deferred = true;
    this.#clock.defer(() => {
      this.#deferred = false;
      this.#startFlush();
    });
  }

  #startFlush(): void {
    if (this.#flushing || this.#due === undefined || this.#progress.failure) return;
    const kind = this.#due;
    this.#due = undefined;
    this.#flushing = true;
    this.#flushed = this.#flush(kind).then(
      () => this.#afterFlush(),
      (e: unknown) => {
        this.#flushing = false;
        this.fail(e);
      },
    );
  }

  async #flush(kind: FlushKind): Promise<void> {
    const stage = this.#swap(kind === "idle");
    if (stage) {
      const written = this.#flusher.write(stage, kind);
      // The other buffer is empty now.
      this.roomCame();
      await written;
      this.#learn(stage.records + this.#filling.records);
      stage.reset(this.#options.stagingBytes);
      this.#spare = stage;
    } else if (kind === "forced" && this.#flusher.unsynced) {
      await this.#flusher.sync(kind);
    }
  }

  #learn(underWay: number): void {
    this.#underWay = Math.max(underWay, this.#underWay * UNDER_WAY_DECAY);
    this.#earlyRecords = Math.max(EARLY_RECORDS_MIN, this.#underWay / 2);
  }

  /** Without a pause between the end of one flush and the decision about the next: what is appended later finds none under way. */
  #afterFlush(): void {
    this.#flushing = false;
    this.#lastFlushMs = this.#clock.nowMs();
    this.#decideNext();
    // Whom this flush has woken up gets its turn first, and shares the next one.
    if (this.#due !== undefined) this.#deferFlush();
  }

  /** In the short segments that an opening begins with, sooner: the next one is longer and takes longer to make. */
  #prepareFrom({ fileBytes }: WritableSegment): number {
    const isShort = fileBytes < this.#options.segmentBytes;
    return (
      fileBytes * (isShort ? Math.min(this.#prepareAt, PREPARE_AT_WHEN_SHORT) : this.#prepareAt)
    );
  }

  /** The buffer to write, closed; appends go to the other one from now on. Undefined when it holds nothing. */
  #swap(always: boolean): StagingBuffer | undefined {
    const stage = this.#filling;
    const { segment } = stage;
    const offset = this.#closeRegion(stage, always);
    const next = stage.regions.length === 0 ? stage : this.#spare;
    if (next === undefined)
      throw new PinionError("internal", "assertion failed: both staging buffers are being written");
    next.open(segment, offset);
    if (offset > this.#prepareFrom(segment)) this.#options.segments.prepare();
    if (next === stage) return undefined;
    this.#filling = next;
    this.#spare = undefined;
    return stage;
  }

  /** After a flush: starts the next one if the policy says so, or arms the timer that will. */
  #decideNext(): void {
    if (this.#due !== undefined) return;
    const stage = this.#filling;
    if (stage.records === 0) {
      if (this.#flusher.unvouched) this.#armIdle();
    } else if (stage.records >= this.#countToFlush || stage.used >= this.#bytesToFlush) {
      this.#due = this.#countKind(stage);
    } else if (this.#queue.length > 0) {
      this.#due = "buffer-full";
    } else {
      this.#armWait(stage);
    }
  }

  /** One timer for many batches: it looks when it fires how long the first record of the current one has waited. */
  #armWait(stage: StagingBuffer): void {
    const leftMs = stage.firstAtMs + this.#options.policy.waitMs - this.#clock.nowMs();
    if (leftMs <= 0) return this.#ask("periodic");
    const look = (): void => {
      this.#waitTimer = undefined;
      if (this.#filling.records > 0 && !this.#flushing) this.#armWait(this.#filling);
    };
    // A process that has nothing else to do must not end before its records are on disk.
    this.#waitTimer ??= this.#clock.setTimer(leftMs, look, true);
  }

  /** One timer for many flushes: it looks when it fires how long the log has been idle. */
  #armIdle(): void {
    if (this.#idleTimer || (this.#barred & CLOSED) !== 0) return;
    const { idleMarkerMs } = this.#options;
    const leftMs = this.#lastFlushMs + idleMarkerMs - this.#clock.nowMs();
    this.#idleTimer = this.#clock.setTimer(Math.max(0, leftMs), () => {
      this.#idleTimer = undefined;
      if (this.#filling.records > 0 || this.#flushing || !this.#flusher.unvouched) return;
      if (this.#clock.nowMs() - this.#lastFlushMs < idleMarkerMs) this.#armIdle();
      else this.#ask("idle");
    });
  }

  async #stop(): Promise<void> {
    this.#barred |= CLOSED;
    this.#queue.rejectAll(new PinionError("log-closed", "the log was closed"));
    this.#cancelTimers();
    await this.#runToEnd("forced");
    await this.#flusher.settle();
    if (this.#flusher.unvouched) await this.#runToEnd("idle");
    this.#cancelTimers();
  }

  async #runToEnd(kind: FlushKind): Promise<void> {
    while (this.#flushing) await this.#flushed;
    this.#due = kind;
    this.#startFlush();
    while (this.#flushing) await this.#flushed;
  }

  #cancelTimers(): void {
    this.#waitTimer?.cancel();
    this.#idleTimer?.cancel();
    this.#waitTimer = undefined;
    this.#idleTimer = undefined;
  }
}
