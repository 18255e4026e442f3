/**
 * The log of one worker, put together: `openLog` opens the directory and connects the parts; `SegmentedLog` is the door to
 * them. What happens to an append, file by file:
 *
 *     log-writer → staging-buffer → flusher → (disk) → segment-catalog, log-progress → whoever waits
 *
 * I1 nothing is appended before `openLog` has found the end of what was there and made sure of it.
 * I2 parts that work in the background (next segment, index, archive, removal, checksums) may fail without ending the log;
 *    `stats` and `backpressure` name them.
 */
import { PinionError, type HlcTime, type Lsn, type ShardId } from "@pinion/core";
import { Archiver, type ArchiveHealth } from "./archiver.ts";
import { Checksummer } from "./checksummer.ts";
import { LogIndex, type SegmentEntry } from "./log-index.ts";
import { LogMetrics, type FlushStats } from "./log-metrics.ts";
import { openLogDirectory, type OpenedLog, type OpeningReport } from "./log-opening.ts";
import { resolveLogOptions, type LogOptions, type ResolvedLogOptions } from "./log-options.ts";
import { LogProgress } from "./log-progress.ts";
import { LogReader, type ReaderOptions } from "./log-reader.ts";
import { LogWriter } from "./log-writer.ts";
import type { AppendInput, FlushPolicy, Log, LogPosition, LogRecord } from "./log.ts";
import { NextSegment } from "./next-segment.ts";
import { Retention } from "./retention.ts";
import { SegmentCatalog } from "./segment-catalog.ts";
import { SegmentFiles } from "./segment-files.ts";
import { SegmentHandles } from "./segment-handles.ts";
import { SparseIndex } from "./sparse-index.ts";
import type { Region, StagingBuffer, WritableSegment } from "./staging-buffer.ts";

export interface LogStats extends FlushStats {
  /** Appended records and bytes that no write has taken yet. */
  readonly waitingRecords: number;
  readonly waitingBytes: number;
  readonly segments: number;
  readonly firstSegment: number;
  readonly activeSegment: number;
  readonly removedSegments: number;
  readonly spareFiles: number;
  readonly openFiles: number;
  readonly readers: number;
  readonly opening: OpeningReport;
  /** What does not work in the background, in words; empty when all does. */
  readonly troubles: readonly string[];
}

/**
 * Opens the log in `options.dir`, or begins one.
 * @throws `corruption` (nothing was changed; details name the place), `format-too-new`, `config-invalid`, `disk-full`,
 *   `disk-read-only`, `io-error`
 */
export async function openLog(options: LogOptions): Promise<SegmentedLog> {
  const resolved = resolveLogOptions(options);
  const { disk, dir, newGeneration, segmentBytes, sparesMax, kv, worker, shardCount, clock } =
    resolved;
  const flushed = resolved.flush.name !== "async";
  const files = new SegmentFiles({ disk, dir, newGeneration, segmentBytes, sparesMax, flushed });
  const index = new LogIndex(kv, worker, shardCount);
  const nowUs = (): number => Math.floor(clock.wallMs() * 1000);
  const opened = await openLogDirectory({ files, index, shardCount, worker, nowUs });
  const log = new SegmentedLog(resolved, files, index, opened, await index.consumers());
  await log.start();
  return log;
}

export class SegmentedLog implements Log {
  readonly policy: FlushPolicy;
  readonly #options: ResolvedLogOptions;
  readonly #files: SegmentFiles;
  readonly #opened: OpenedLog;
  readonly #progress: LogProgress;
  readonly #metrics: LogMetrics;
  readonly #catalog: SegmentCatalog;
  readonly #handles: SegmentHandles;
  readonly #writer: LogWriter;
  readonly #reader: LogReader;
  readonly #next: NextSegment;
  readonly #retention: Retention;
  readonly #checksummer: Checksummer;
  readonly #archiver: Archiver | undefined;
  /** Sequence of the segment prepared or written last. */
  #lastCreated: WritableSegment;
  /** Segments that may still be written, by sequence. */
  readonly #writable = new Map<number, WritableSegment>();
  #samples: SparseIndex;
  #closing: Promise<void> | undefined;

  constructor(
    options: ResolvedLogOptions,
    files: SegmentFiles,
    index: LogIndex,
    opened: OpenedLog,
    consumers: Map<string, LogPosition>,
  ) {
    const { clock, shardCount, flush, worker, archive } = options;
    this.policy = flush;
    this.#options = options;
    this.#files = files;
    this.#opened = opened;
    this.#lastCreated = opened.segment;
    this.#samples = opened.samples;
    this.#writable.set(opened.segment.sequence, opened.segment);
    const start = { segment: opened.segment.sequence, offset: opened.offset };
    const progress = new LogProgress(opened.heads, start, !flush.replyWaits);
    const metrics = new LogMetrics(options.telemetry);
    const catalog = new SegmentCatalog({
      index,
      clock,
      shardCount,
      first: opened.first,
      active: opened.entry,
      previous: opened.closed,
    });
    const handles = new SegmentHandles(
      files,
      options.idleFilesMax,
      () => void this.#retention.collect(),
    );
    const position = (): LogPosition => this.position();
    this.#progress = progress;
    this.#metrics = metrics;
    this.#catalog = catalog;
    this.#handles = handles;
    this.#reader = new LogReader({
      catalog,
      handles,
      progress,
      position,
      readersMax: options.readersMax,
    });
    this.#reader.adoptIndex(start.segment, this.#samples);
    this.#next = new NextSegment(
      () => this.#createSegment(),
      clock,
      () => this.#writer.roomCame(),
    );
    this.#writer = new LogWriter({
      ...options,
      policy: flush,
      segments: this.#next,
      observer: {
        wrote: (stage, region) => this.#wrote(stage, region),
        finished: (sequence, end) => this.#finished(sequence, end),
      },
      progress,
      metrics,
      segment: opened.segment,
      offset: opened.offset,
    });
    this.#checksummer = new Checksummer({
      catalog,
      files,
      clock,
      lastWriteMs: () => this.#writer.lastFlushMs,
    });
    const onGate = (closed: boolean): void =>
      closed ? this.#writer.gate() : this.#writer.ungate();
    const onArchived = (): void => void this.#retention.collect();
    this.#archiver =
      archive &&
      new Archiver({ options: archive, worker, catalog, handles, clock, onGate, onArchived });
    const archivedBelow = (): number => this.#archiver?.archivedBelow ?? Infinity;
    const flushed = (): LogPosition => progress.flushedPosition;
    this.#retention = new Retention({
      index,
      catalog,
      handles,
      files,
      consumers,
      position,
      flushed,
      archivedBelow,
    });
    this.#observe();
  }

  /** Starts the work in the background. `openLog` has called it. */
  async start(): Promise<void> {
    await this.#archiver?.start();
    const { closed } = this.#opened;
    if (closed) void this.#retention.shrink(closed);
  }

  get failure(): PinionError | undefined {
    return this.#progress.failure;
  }

  tryAppend(input: AppendInput, payload: Uint8Array): Lsn | undefined {
    return this.#writer.tryAppend(input, payload);
  }

  append(input: AppendInput, payload: Uint8Array, signal?: AbortSignal): Promise<Lsn> {
    return this.#writer.append(input, payload, signal);
  }

  /**
   * Why `tryAppend` refuses, or soon will, with the advice to give to a caller: the log has failed, the archive is behind, or the
   * next segment cannot be made. Undefined when nothing stands in the way but a buffer that is being written.
   */
  backpressure(): PinionError | undefined {
    if (this.failure) return this.failure;
    const health = this.archiveHealth();
    if (health.state === "behind") {
      return new PinionError(
        "overloaded",
        `the archive is ${health.backlogSegments} segments (${health.backlogBytes} bytes) behind${health.error ? `: ${health.error.message}` : ""}`,
        {
          details: { backlogSegments: health.backlogSegments, backlogBytes: health.backlogBytes },
          cause: health.error,
        },
      );
    }
    return this.#next.error;
  }

  get queuedBytes(): number {
    return this.#writer.queuedBytes;
  }

  appended(shard: ShardId): Lsn {
    return this.#progress.appended.lsn[shard] as Lsn;
  }

  flushed(shard: ShardId): Lsn {
    return this.#progress.flushed[shard] as Lsn;
  }

  requestFlush(): void {
    this.#writer.requestFlush();
  }

  whenFlushed(shard: ShardId, lsn: Lsn): Promise<void> {
    const flushed = this.#progress.whenFlushed(shard, lsn);
    // Nothing else would ever flush it.
    if (this.policy.name === "async") this.#writer.requestFlush();
    return flushed;
  }

  onFlushed(listener: () => void): () => void {
    return this.#progress.onFlushed.add(listener);
  }

  onFailure(listener: (error: PinionError) => void): () => void {
    return this.#progress.onFailure.add(listener);
  }

  read(shard: ShardId, lsn: Lsn): Promise<LogRecord | undefined> {
    return this.#reader.read(shard, lsn);
  }

  reader(options: ReaderOptions = {}): AsyncIterable<LogRecord> {
    return this.#reader.records(options);
  }

  position(): LogPosition {
    return this.#writer.position;
  }

  retain(consumer: string, position: LogPosition | undefined): Promise<void> {
    return this.#retention.retain(consumer, position);
  }

  lsnAt(shard: ShardId, time: HlcTime): Promise<Lsn> {
    return this.#reader.lsnAt(shard, time);
  }

  archiveHealth(): ArchiveHealth {
    const off = {
      state: "off",
      backlogSegments: 0,
      backlogBytes: 0,
      archivedUpTo: 0,
      error: undefined,
      failingForMs: 0,
    } as const;
    return this.#archiver?.health ?? off;
  }

  /** What the index knows of a segment; undefined when the log does not hold it. */
  async segment(sequence: number): Promise<SegmentEntry | undefined> {
    const { first, last } = this.#catalog;
    return sequence >= first && sequence <= last ? this.#catalog.entry(sequence) : undefined;
  }

  stats(): LogStats {
    const { records, bytes } = this.#writer.waiting;
    return {
      ...this.#metrics.stats(),
      waitingRecords: records,
      waitingBytes: bytes,
      segments: this.#catalog.count,
      firstSegment: this.#catalog.first,
      activeSegment: this.#catalog.last,
      removedSegments: this.#retention.removedSegments,
      spareFiles: this.#files.spareCount,
      openFiles: this.#handles.openCount + this.#writable.size,
      readers: this.#reader.readers,
      opening: this.#opened.report,
      troubles: this.#troubles(),
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#writer.stop();
    this.#reader.close();
    this.#progress.stop();
    const unused = await this.#next.stop();
    await this.#checksummer.stop();
    await this.#archiver?.stop();
    await this.#retention.stop();
    if (!this.failure) {
      await this.#recordEnd();
      await this.#recycle(unused);
    }
    await this.#catalog.close();
    await this.#handles.closeAll();
    for (const { file } of this.#writable.values()) await file.close();
  }

  /** So that the next opening need not search them for records. The last first: there is never a gap. */
  async #recycle(unused: readonly WritableSegment[]): Promise<void> {
    try {
      for (const { sequence, fileBytes, file } of unused.toReversed()) {
        await file.close();
        await this.#files.recycle(sequence, fileBytes);
      }
    } catch {
      // They stay, and the next opening takes a little longer.
    }
  }

  /** Tells the index where the log ends, so that the next opening need not look behind. */
  async #recordEnd(): Promise<void> {
    const { segment, offset } = this.#progress.flushedPosition;
    await this.#catalog.update(segment, {
      status: "finalized",
      end: offset,
      finalizedAtUs: this.#nowUs(),
    });
  }

  async #createSegment(): Promise<WritableSegment> {
    const { generation, fileBytes } = this.#lastCreated;
    const sequence = this.#lastCreated.sequence + 1;
    const segment = await this.#files.create({
      generation: this.#files.newGeneration(),
      sequence,
      worker: this.#options.worker,
      byOpening: false,
      createdAtUs: this.#nowUs(),
      fileBytes: this.#files.bytesAfter(fileBytes),
      previousEnd: 0,
      previousGeneration: generation,
    });
    this.#lastCreated = segment;
    this.#writable.set(segment.sequence, segment);
    return segment;
  }

  #wrote(stage: StagingBuffer, region: Region): void {
    const { segment, opening } = region;
    if (opening) {
      const entry = {
        sequence: segment.sequence,
        generation: segment.generation,
        status: "active",
        fileBytes: segment.fileBytes,
        end: 0,
        createdAtUs: this.#nowUs(),
        finalizedAtUs: 0,
        archivedAtUs: 0,
        checksum: undefined,
        heads: opening.heads,
      } as const;
      this.#samples = new SparseIndex();
      void this.#catalog.begin(entry, opening.previous.end);
      this.#reader.adoptIndex(segment.sequence, this.#samples);
    }
    stage.sample(region, this.#samples);
  }

  #finished(sequence: number, end: number): void {
    const segment = this.#writable.get(sequence);
    this.#writable.delete(sequence);
    void segment?.file.close().catch(() => {});
    void this.#catalog
      .update(sequence, { status: "finalized", end, finalizedAtUs: this.#nowUs() })
      .then(() => {
        this.#checksummer.finished(sequence);
        this.#archiver?.finished(sequence, end);
      });
  }

  #nowUs(): number {
    return Math.floor(this.#options.clock.wallMs() * 1000);
  }

  #troubles(): string[] {
    const index = this.#catalog.indexFailure;
    const archive = this.archiveHealth().error;
    const parts = [
      ["log", this.failure],
      ["next segment", this.#next.error],
      ["index", index],
      ["archive", archive],
      ["removal", this.#retention.failure],
      ["checksums", this.#checksummer.failure],
    ] as const;
    return parts
      .filter(([, error]) => error !== undefined)
      .map(([part, error]) => `${part}: ${error!.message}`);
  }

  #observe(): void {
    const { telemetry } = this.#options;
    telemetry.observe("pinion_log_segments", "segments the log holds", () => this.#catalog.count);
    telemetry.observe(
      "pinion_log_waiting_bytes",
      "appended bytes no write has taken yet",
      () => this.#writer.waiting.bytes,
    );
    telemetry.observe(
      "pinion_log_archive_backlog_segments",
      "finished segments the archive lacks",
      () => this.archiveHealth().backlogSegments,
    );
    telemetry.observe(
      "pinion_log_archive_backlog_bytes",
      "bytes the archive lacks",
      () => this.archiveHealth().backlogBytes,
    );
    telemetry.observe(
      "pinion_log_troubles",
      "parts of the log that do not work in the background",
      () => this.#troubles().length,
    );
  }
}
