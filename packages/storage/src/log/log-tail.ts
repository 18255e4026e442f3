/**
 * Finds where the log ends: the first place that holds no valid record, with nothing after it that claims otherwise.
 *
 * Power may go while a batch is being written, so an invalid record can be the end of what there is. It can also be damage
 * to something that was flushed. The claims tell the two apart (P9): every batch states what was flushed before it.
 *
 * I1 only the segments that can hold anything unflushed are read: from the newest one whose predecessors are vouched for.
 * I2 a claim, a finalized row of the index, or an opening's header that lies beyond the first invalid record means
 *    corruption: nothing is cut, nothing is written, the error names both places.
 * I3 what is found has consecutive LSNs in every shard, from the heads on that its segment states.
 */
import { assert, PinionError } from "@pinion/core";
import type { DiskFile } from "../disk/disk.ts";
import type { SegmentEntry } from "./log-index.ts";
import { RecordKind, type LogPosition } from "./log.ts";
import { comparePositions, describePosition, LOG_START } from "./position.ts";
import {
  isInternal,
  MARKER_BYTES,
  RECORD_ALIGN_BYTES,
  RecordParser,
  Verdict,
} from "./record-format.ts";
import { SegmentCursor } from "./segment-cursor.ts";
import type { SegmentFiles } from "./segment-files.ts";
import { SEGMENT_HEADER_BYTES, type SegmentHeader } from "./segment-header.ts";
import { decodeHeads, type HeadsRecord, type ShardHeads } from "./shard-heads.ts";

/** Read at a time; also how long a scan holds the event loop: 2,700 records of 64 B take about 0.5 ms. */
export const SCAN_CHUNK_BYTES = 256 * 1024;

/** How a segment begins. */
export interface SegmentStart {
  readonly file: DiskFile;
  readonly header: SegmentHeader;
  readonly fileBytes: number;
  /** Undefined when the first record is not valid: nothing was written yet, or it is damaged. */
  readonly heads: HeadsRecord | undefined;
  /** Behind the heads record, or where it should be. */
  readonly recordsFrom: number;
}

export interface LogTail {
  /** The segments that were read, ascending; the last one with content is `end.segment`. Their files are open. */
  readonly starts: readonly SegmentStart[];
  /** Where the log ends, and where each shard stands there. */
  readonly end: LogPosition;
  readonly heads: ShardHeads;
  /** Everything before was flushed, for certain; and where each shard stands there. */
  readonly vouched: LogPosition;
  readonly vouchedHeads: ShardHeads;
  /** Records between `vouched` and `end`. */
  readonly unvouchedRecords: number;
  readonly scannedBytes: number;
}

export interface TailContext {
  readonly files: SegmentFiles;
  readonly shardCount: number;
  readonly worker: number;
  /** What the index says of a segment. */
  readonly entry: (sequence: number) => Promise<SegmentEntry | undefined>;
}

/** @throws `corruption`, `format-too-new`, `config-invalid` (another worker's log, more shards than configured) */
export async function readSegmentStart(
  context: TailContext,
  sequence: number,
): Promise<SegmentStart> {
  const { files, shardCount, worker } = context;
  const file = await files.disk.open(files.segmentPath(sequence), { readOnly: true });
  try {
    const header = await files.readHeader(file);
    if (header.sequence !== sequence) {
      throw damage(`${file.path} holds segment ${header.sequence}: the file was renamed`, {
        segment: sequence,
        offset: 0,
      });
    }
    if (header.worker !== worker) {
      throw new PinionError(
        "config-invalid",
        `${files.dir} holds the log of worker ${header.worker}, not of worker ${worker}`,
        {
          details: { dir: files.dir, found: header.worker, expected: worker },
        },
      );
    }
    const fileBytes = await file.size();
    const cursor = new SegmentCursor(
      file,
      header.generation,
      SEGMENT_HEADER_BYTES,
      fileBytes,
      SCAN_CHUNK_BYTES,
    );
    const verdict = await nextRecord(cursor);
    if (verdict !== Verdict.record) {
      // What an opening creates is flushed, heads included, before it gets its name.
      if (header.byOpening)
        throw damage("the first record of a segment is damaged", {
          segment: sequence,
          offset: SEGMENT_HEADER_BYTES,
        });
      return { file, header, fileBytes, heads: undefined, recordsFrom: SEGMENT_HEADER_BYTES };
    }
    const heads =
      cursor.parser.kind === RecordKind.heads
        ? decodeHeads(cursor.parser.payload(), shardCount)
        : undefined;
    if (!heads) throw notTheseHeads(cursor.parser, shardCount, sequence);
    return { file, header, fileBytes, heads, recordsFrom: cursor.offset };
  } catch (e) {
    await file.close();
    throw e;
  }
}

/** @param sequences of the directory, ascending, consecutive, not empty */
export async function findLogTail(
  context: TailContext,
  sequences: readonly number[],
): Promise<LogTail> {
  const starts: SegmentStart[] = [];
  try {
    for (const sequence of sequences.toReversed()) {
      const start = await readSegmentStart(context, sequence);
      starts.unshift(start);
      if (start.heads && predecessorsVouched(start.heads)) break;
    }
    return await scanForward(context, starts);
  } catch (e) {
    for (const { file } of starts) await file.close();
    throw e;
  }
}

/** The next record, reading on as needed. */
export async function nextRecord(cursor: SegmentCursor): Promise<Verdict> {
  for (;;) {
    const verdict = cursor.step();
    if (verdict === Verdict.unsupported) throw tooNew(cursor);
    if (verdict !== Verdict.more) return verdict;
    if (!(await cursor.fill())) return Verdict.invalid;
  }
}

/** I1: everything before this segment was flushed before its first record was written. */
function predecessorsVouched({ claim, previous }: HeadsRecord): boolean {
  return comparePositions(claim, { segment: previous.sequence, offset: previous.end }) >= 0;
}

async function scanForward(
  context: TailContext,
  starts: readonly SegmentStart[],
): Promise<LogTail> {
  const first = starts[0];
  assert(first !== undefined, "a log without segments has no tail to find");
  if (!first.heads) {
    throw damage("the first record of the oldest segment is damaged", {
      segment: first.header.sequence,
      offset: SEGMENT_HEADER_BYTES,
    });
  }
  const scan = new TailScan(context, first.heads.heads);
  scan.claim(first.heads.claim);
  for (let i = 0; ; i++) {
    const next = starts[i + 1];
    const complete = await scan.segment(starts[i]!, next);
    if (complete && next) continue;
    for (const later of starts.slice(i)) await scan.claimsBeyond(later);
    return scan.result(starts);
  }
}

/**
 * The records before a marker and behind the one before. A claim covers all of them or none, so nothing need be known of a single record: a tail may
 * hold millions.
 */
class SeenBatch {
  readonly start: LogPosition;
  /** Where its marker is, once that was read. */
  end: LogPosition;
  records = 0;
  /** Shard, LSN, timestamp and term of the last record of each shard. */
  readonly #last: number[] = [];

  constructor(start: LogPosition) {
    this.start = start;
    this.end = start;
  }

  /** @param slots where each shard's values are, for the batch that is being read */
  add(
    slots: Map<number, number>,
    shard: number,
    lsn: number,
    timestamp: number,
    term: number,
  ): void {
    this.records++;
    const last = this.#last;
    let i = slots.get(shard);
    if (i === undefined) slots.set(shard, (i = last.length));
    last[i] = shard;
    last[i + 1] = lsn;
    last[i + 2] = timestamp;
    last[i + 3] = term;
  }

  moveTo(heads: ShardHeads): void {
    const last = this.#last;
    for (let i = 0; i < last.length; i += 4) {
      heads.advance(last[i]!, last[i + 1]!, last[i + 2]!, last[i + 3]!);
    }
  }
}

class TailScan {
  readonly #context: TailContext;
  readonly #heads: ShardHeads;
  #end: LogPosition = LOG_START;
  #vouched: LogPosition = LOG_START;
  readonly #vouchedHeads: ShardHeads;
  /** What was read since `#vouched`; the last one may still be without its marker. */
  readonly #unvouched: SeenBatch[] = [];
  #open: SeenBatch | undefined;
  readonly #openSlots = new Map<number, number>();
  /** Where the index says that the log was closed, if it says so of the segment that was read last. */
  #closedAt: LogPosition = LOG_START;
  #scannedBytes = 0;

  constructor(context: TailContext, heads: ShardHeads) {
    this.#context = context;
    this.#heads = heads.copy();
    this.#vouchedHeads = heads.copy();
  }

  claim(position: LogPosition): void {
    if (comparePositions(position, this.#vouched) <= 0) return;
    this.#vouched = position;
    const batches = this.#unvouched;
    let covered = 0;
    while (covered < batches.length && comparePositions(batches[covered]!.end, position) <= 0) {
      const batch = batches[covered]!;
      if (batch === this.#open) break;
      batch.moveTo(this.#vouchedHeads);
      covered++;
    }
    batches.splice(0, covered);
  }

  /** Reads a segment to its end. @returns whether it ends where `next` says it does */
  async segment(start: SegmentStart, next: SegmentStart | undefined): Promise<boolean> {
    const { header, file, recordsFrom, fileBytes } = start;
    const { sequence } = header;
    const entry = await this.#context.entry(sequence);
    if (entry && entry.generation === header.generation && entry.status !== "active") {
      this.#closedAt = { segment: sequence, offset: entry.end };
      this.claim(this.#closedAt);
    }
    if (
      next?.heads &&
      (next.heads.previous.sequence !== sequence ||
        next.heads.previous.generation !== header.generation)
    ) {
      throw damage(`segment ${next.header.sequence} does not continue this one`, {
        segment: sequence,
        offset: 0,
      });
    }
    // What an opening created was flushed before it got its name.
    if (header.byOpening) this.claim({ segment: sequence, offset: recordsFrom });
    const limit = next?.heads ? next.heads.previous.end : fileBytes;
    const cursor = new SegmentCursor(file, header.generation, recordsFrom, limit, SCAN_CHUNK_BYTES);
    while (!cursor.atLimit && (await nextRecord(cursor)) === Verdict.record) {
      this.#record(cursor.parser, { segment: sequence, offset: cursor.recordOffset });
    }
    this.#scannedBytes += cursor.offset - recordsFrom;
    this.#end = { segment: sequence, offset: cursor.offset };
    if (!next?.heads || cursor.offset < limit) return false;
    if (!sameHeads(this.#heads, next.heads.heads)) {
      throw damage(
        `segment ${next.header.sequence} states other last records than this one holds`,
        this.#end,
      );
    }
    this.claim(next.heads.claim);
    return true;
  }

  /** Looks for claims at and behind the end that was found (I2). */
  async claimsBeyond({ file, header, fileBytes, heads, recordsFrom }: SegmentStart): Promise<void> {
    const { sequence, generation } = header;
    if (heads) this.#refuse(heads.claim, { segment: sequence, offset: SEGMENT_HEADER_BYTES });
    this.#refuse(this.#vouched, undefined);
    // Closed in good order, here: what lies behind was written in an earlier life of the file.
    if (comparePositions(this.#closedAt, this.#end) === 0 && sequence === this.#end.segment) return;
    const from = sequence === this.#end.segment ? this.#end.offset : recordsFrom;
    const parser = new RecordParser(generation);
    const chunk = new Uint8Array(SCAN_CHUNK_BYTES);
    parser.use(chunk);
    // Chunks overlap by a marker, so that one on a boundary is found.
    for (let at = from; at < fileBytes; at += SCAN_CHUNK_BYTES - MARKER_BYTES) {
      const read = await file.read(at, chunk);
      // What was only written once beforehand: a few ms for a segment, not fifty on the event loop.
      if (isZero(chunk.subarray(0, read))) continue;
      for (let i = 0; i + MARKER_BYTES <= read; i += RECORD_ALIGN_BYTES) {
        if (!parser.looksLikeMarker(i) || parser.parse(i, read, at) !== Verdict.record) continue;
        const claim = { segment: parser.claimSegment(), offset: parser.claimOffset() };
        this.#refuse(claim, { segment: sequence, offset: at + i });
      }
    }
  }

  result(starts: readonly SegmentStart[]): LogTail {
    return {
      starts,
      end: this.#end,
      heads: this.#heads,
      vouched: this.#vouched,
      vouchedHeads: this.#vouchedHeads,
      unvouchedRecords: this.#unvouched.reduce((sum, { records }) => sum + records, 0),
      scannedBytes: this.#scannedBytes,
    };
  }

  #record(parser: RecordParser, at: LogPosition): void {
    if (parser.kind === RecordKind.marker) {
      const claim = { segment: parser.claimSegment(), offset: parser.claimOffset() };
      if (comparePositions(claim, at) > 0)
        throw damage("a marker claims more than was written before it", at);
      const open = this.#open;
      if (open && comparePositions(claim, open.start) > 0 && comparePositions(claim, at) < 0)
        throw damage("a marker claims a part of its own batch", at);
      if (open) open.end = at;
      this.#open = undefined;
      this.claim(claim);
      return;
    }
    const { shard, lsn } = parser;
    if (isInternal(parser.kind) || shard >= this.#heads.shardCount) {
      throw damage(`a record of kind ${parser.kind} and shard ${shard} does not belong here`, at);
    }
    const expected = this.#heads.lsn[shard]! + 1;
    if (lsn !== expected)
      throw damage(`shard ${shard} goes on with record ${lsn} instead of ${expected}`, at);
    const { timestamp, term } = parser;
    this.#heads.advance(shard, lsn, timestamp, term);
    if (comparePositions(at, this.#vouched) < 0) {
      this.#vouchedHeads.advance(shard, lsn, timestamp, term);
      return;
    }
    if (!this.#open) {
      this.#unvouched.push((this.#open = new SeenBatch(at)));
      this.#openSlots.clear();
    }
    this.#open.add(this.#openSlots, shard, lsn, timestamp, term);
  }

  #refuse(claim: LogPosition, claimedAt: LogPosition | undefined): void {
    if (comparePositions(claim, this.#end) <= 0) return;
    const by = claimedAt ? `the record at ${describePosition(claimedAt)}` : "the index";
    throw damage(
      `the record is damaged: ${by} says that everything before ${describePosition(claim)} was flushed`,
      this.#end,
      {
        claimSegment: claim.segment,
        claimOffset: claim.offset,
      },
    );
  }
}

const ZEROS = new Uint8Array(SCAN_CHUNK_BYTES);

const isZero = (bytes: Uint8Array): boolean =>
  Buffer.compare(bytes, ZEROS.subarray(0, bytes.length)) === 0;

function sameHeads(a: ShardHeads, b: ShardHeads): boolean {
  for (let shard = 0; shard < a.shardCount; shard++) {
    if (
      a.lsn[shard] !== b.lsn[shard] ||
      a.timestamp[shard] !== b.timestamp[shard] ||
      a.term[shard] !== b.term[shard]
    ) {
      return false;
    }
  }
  return true;
}

/** `corruption` at a place of the log. */
export function damage(
  what: string,
  at: LogPosition,
  details: Readonly<Record<string, number>> = {},
): PinionError {
  return new PinionError("corruption", `log ${describePosition(at)}: ${what}`, {
    details: { segment: at.segment, offset: at.offset, ...details },
  });
}

function tooNew(cursor: SegmentCursor): PinionError {
  const { kind, shard, lsn } = cursor.parser;
  return new PinionError(
    "format-too-new",
    `log record at offset ${cursor.offset} (kind ${kind}, shard ${shard}, LSN ${lsn}) was written by a newer version: upgrade, or use the version that wrote it`,
    { details: { offset: cursor.offset, kind } },
  );
}

/** Why the first record of a segment does not do. */
function notTheseHeads(parser: RecordParser, shardCount: number, sequence: number): PinionError {
  const found = parser.kind === RecordKind.heads ? decodeHeads(parser.payload()) : undefined;
  if (!found)
    return damage("the segment does not begin with its heads", {
      segment: sequence,
      offset: SEGMENT_HEADER_BYTES,
    });
  return new PinionError(
    "config-invalid",
    `the log holds records of shard ${found.heads.shardCount - 1}, but shardCount is ${shardCount}: it must be at least ${found.heads.shardCount}`,
    { details: { key: "shardCount", value: shardCount, min: found.heads.shardCount } },
  );
}
