/**
 * Opens a log directory: finds the end, makes sure of everything before it, and begins a new segment behind it.
 *
 * Old segments are never written to again. A process that died may have seen a flush fail: what the page cache shows of the
 * last writes need not be on the disk, and flushing again would not tell. So the records that no claim vouches for are
 * copied into the new segment, under its own generation, and flushed there before they count (P9).
 *
 * I1 the new segment gets its name after all of its content was flushed and vouched for: an opening that is interrupted
 *    changes nothing that counts, the next one finds the same end.
 * I2 what is dropped lies behind the end, and no claim covers it.
 * I3 a segment is taken out of the index, durably, before its file goes: a row without a file means a lost file.
 * I4 the work depends on the newest segments' size, not on the number of segments, as long as the index is there.
 */
import { assert, PinionError } from "@pinion/core";
import { fileBytesFor, writeFirstRecords, type TailRecords } from "./first-records.ts";
import type { LogIndex, SegmentEntry } from "./log-index.ts";
import type { LogPosition } from "./log.ts";
import {
  damage,
  findLogTail,
  readSegmentStart,
  type LogTail,
  type SegmentStart,
  type TailContext,
} from "./log-tail.ts";
import { comparePositions, LOG_START } from "./position.ts";
import type { SegmentFiles } from "./segment-files.ts";
import { SEGMENT_HEADER_BYTES, type SegmentHeader } from "./segment-header.ts";
import { ShardHeads, type PreviousSegment } from "./shard-heads.ts";
import { SparseIndex } from "./sparse-index.ts";
import type { WritableSegment } from "./staging-buffer.ts";

export interface OpeningContext {
  readonly files: SegmentFiles;
  readonly index: LogIndex;
  readonly shardCount: number;
  readonly worker: number;
  readonly nowUs: () => number;
}

/** What an opening found and did. */
export interface OpeningReport {
  /** Bytes of records read to find the end. */
  readonly scannedBytes: number;
  /** Where the log ended, and up to where that was vouched for. */
  readonly end: LogPosition;
  readonly vouched: LogPosition;
  /** Records in between, copied or made sure of where they are. */
  readonly unvouchedRecords: number;
  /** Segments whose row in the index was missing or out of date. */
  readonly rebuiltRows: number;
}

export interface OpenedLog {
  /** Lowest sequence of the log. */
  readonly first: number;
  readonly segment: WritableSegment;
  /** Where the next record goes. */
  readonly offset: number;
  readonly entry: SegmentEntry;
  readonly samples: SparseIndex;
  /** Where each shard stands at the end; all of it flushed. */
  readonly heads: ShardHeads;
  /** The segment before the new one. */
  readonly closed: SegmentEntry | undefined;
  readonly report: OpeningReport;
}

/** @throws `corruption`, `format-too-new`, `config-invalid`, `disk-full`, `disk-read-only`, `io-error` */
export async function openLogDirectory(context: OpeningContext): Promise<OpenedLog> {
  const { files, index } = context;
  const { sequences, unfinished } = await files.scan();
  await files.tidy(unfinished);
  const live = await reconcile(context, sequences);
  if (live.length === 0) return begin(context, undefined, 1, []);
  const tailContext = { ...context, entry: (sequence: number) => index.entry(sequence) };
  const tail = await findLogTail(tailContext, live);
  try {
    return await begin(context, tail, live[0]!, await missingRows(tailContext, tail, live));
  } finally {
    for (const { file } of tail.starts) await file.close();
  }
}

/** Brings the directory and the index to the same set of segments. @returns it, ascending */
async function reconcile(
  context: OpeningContext,
  sequences: readonly number[],
): Promise<readonly number[]> {
  const { files, index } = context;
  const rows = await index.range();
  const newest = sequences.at(-1) ?? 0;
  if (rows && rows.last > newest) throw missingFile(files, rows.last);
  // Below the first row: a removal whose files were still to go (I3).
  const gone = rows ? sequences.filter((sequence) => sequence < rows.first) : [];
  // What the index shows need not be durable yet.
  if (gone.length > 0) await index.sync();
  for (const sequence of gone) {
    await files.disk.remove(files.segmentPath(sequence));
    // One after the other, so that a power cut leaves no gap.
    await files.disk.syncDir(files.dir);
  }
  const live = sequences.slice(gone.length);
  const first = live[0] ?? 0;
  for (let i = 1; i < live.length; i++)
    if (live[i] !== first + i) throw missingFile(files, first + i);
  if (rows && rows.first < first) throw missingFile(files, rows.first);
  return live;
}

function missingFile(files: SegmentFiles, sequence: number): PinionError {
  const path = files.segmentPath(sequence);
  return new PinionError(
    "corruption",
    `log segment ${sequence} is missing: ${path} should exist. Put the file back or restore it from the archive; if the index was put back from an older copy, remove it instead: it is rebuilt`,
    { details: { segment: sequence, offset: 0, path } },
  );
}

/** Rows for segments before the end that the index lacks or still calls active: newest first, down to the first good one. */
async function missingRows(
  context: TailContext,
  tail: LogTail,
  live: readonly number[],
): Promise<SegmentEntry[]> {
  const missing: SegmentEntry[] = [];
  const read = new Map(tail.starts.map((start) => [start.header.sequence, start]));
  let next = read.get(tail.end.segment)?.heads;
  for (let sequence = tail.end.segment - 1; sequence >= live[0]!; sequence--) {
    const row = await context.entry(sequence);
    const good = row !== undefined && row.status !== "active";
    if (good && !read.has(sequence)) break;
    const start = read.get(sequence) ?? (await readSegmentStart(context, sequence));
    if (!read.has(sequence)) await start.file.close();
    const { header, heads, fileBytes } = start;
    assert(next !== undefined, "a segment before the end has no heads behind it");
    if (
      !heads ||
      next.previous.sequence !== sequence ||
      next.previous.generation !== header.generation
    ) {
      throw damage(`segment ${sequence + 1} does not continue this one`, {
        segment: sequence,
        offset: SEGMENT_HEADER_BYTES,
      });
    }
    if (!good || row.generation !== header.generation) {
      missing.push(entryOf(header, "finalized", heads.heads, fileBytes, next.previous.end));
    }
    next = heads;
  }
  return missing;
}

function entryOf(
  header: SegmentHeader,
  status: "active" | "finalized",
  heads: ShardHeads,
  fileBytes: number,
  end: number,
): SegmentEntry {
  const { sequence, generation, createdAtUs } = header;
  const finalizedAtUs = status === "active" ? 0 : createdAtUs;
  const unknown = { archivedAtUs: 0, checksum: undefined };
  return {
    sequence,
    generation,
    status,
    fileBytes,
    end,
    createdAtUs,
    finalizedAtUs,
    heads,
    ...unknown,
  };
}

async function begin(
  context: OpeningContext,
  tail: LogTail | undefined,
  first: number,
  missing: readonly SegmentEntry[],
): Promise<OpenedLog> {
  const { files, index, worker, nowUs } = context;
  if (tail) await dropBehind(context, tail);
  const base = tail ? await vouch(files, tail) : NOTHING(context.shardCount);
  const header: SegmentHeader = {
    generation: files.newGeneration(),
    sequence: base.previous.sequence + 1,
    worker,
    byOpening: true,
    createdAtUs: nowUs(),
    fileBytes: fileBytesFor(base, files.bytesAfter(undefined)),
    previousEnd: base.previous.end,
    previousGeneration: base.previous.generation,
  };
  let written = { offset: 0, samples: new SparseIndex() };
  const segment = await files.create(header, async (created) => {
    written = await writeFirstRecords(created, base);
  });
  const entry = entryOf(header, "active", base.heads, header.fileBytes, 0);
  const rows = [...missing, ...(base.closed ? [base.closed] : []), entry];
  await index.commit(rows.map((row) => index.put(row)));
  const report = {
    scannedBytes: tail?.scannedBytes ?? 0,
    end: tail?.end ?? LOG_START,
    vouched: tail?.vouched ?? LOG_START,
    unvouchedRecords: tail?.unvouchedRecords ?? 0,
    rebuiltRows: missing.length,
  };
  return {
    first,
    segment,
    entry,
    ...written,
    heads: tail?.heads ?? base.heads,
    closed: base.closed,
    report,
  };
}

/** Where the old segments end for certain, and what has to be copied from behind that. */
interface Base {
  readonly previous: PreviousSegment;
  readonly heads: ShardHeads;
  readonly tail: TailRecords | undefined;
  readonly closed: SegmentEntry | undefined;
}

const NOTHING = (shardCount: number): Base => ({
  previous: { sequence: 0, end: 0, generation: 0 },
  heads: new ShardHeads(shardCount),
  tail: undefined,
  closed: undefined,
});

/** Segments behind the end: prepared and never used, or (`async`) beyond a hole. Highest first, so that none is left alone. */
async function dropBehind(
  { files, index }: OpeningContext,
  { starts, end }: LogTail,
): Promise<void> {
  const behind = starts.filter(({ header }) => header.sequence > end.segment).toReversed();
  if (behind.length === 0) return;
  await index.commit(behind.map(({ header }) => index.drop(header.sequence)));
  await index.sync();
  for (const { header, fileBytes } of behind) await files.recycle(header.sequence, fileBytes);
}

async function vouch(files: SegmentFiles, tail: LogTail): Promise<Base> {
  const { starts, end, vouched } = tail;
  const last = starts.find(({ header }) => header.sequence === end.segment);
  assert(last?.heads !== undefined, "the log ends in a segment without heads");
  const { file, header, recordsFrom } = last;
  const { sequence, generation } = header;
  const base = (
    offset: number,
    heads: ShardHeads,
    fileBytes: number,
    copied: TailRecords | undefined,
  ): Base => ({
    previous: { sequence, end: offset, generation },
    heads,
    tail: copied,
    closed: entryOf(header, "finalized", last.heads!.heads, fileBytes, offset),
  });
  if (comparePositions(vouched, { segment: sequence, offset: recordsFrom }) < 0) {
    await vouchInPlace(files, starts, tail);
    return base(end.offset, tail.heads, end.offset, undefined);
  }
  const copied = { file, sequence, generation, from: vouched.offset, to: end.offset };
  return base(
    vouched.offset,
    tail.vouchedHeads,
    last.fileBytes,
    tail.unvouchedRecords > 0 ? copied : undefined,
  );
}

/** Not even the last segment's heads are vouched for: everything from there on is written again, byte for byte. */
async function vouchInPlace(
  files: SegmentFiles,
  starts: readonly SegmentStart[],
  { end, vouched }: LogTail,
): Promise<void> {
  for (let i = 0; i < starts.length; i++) {
    const { sequence } = starts[i]!.header;
    if (sequence > end.segment) return;
    const ends = sequence === end.segment ? end.offset : starts[i + 1]!.heads!.previous.end;
    if (comparePositions(vouched, { segment: sequence, offset: ends }) < 0)
      await files.rewrite(sequence, ends);
  }
}
