import { seededRng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { sealRecords } from "../memory/seal-records.ts";
import type { DiskFile } from "../disk/disk.ts";
import { RecordKind } from "./log.ts";
import { MARKER_BYTES, recordBytes, RecordParser, Verdict } from "./record-format.ts";
import { decodeHeads, headsPayloadBytes, ShardHeads } from "./shard-heads.ts";
import { INDEX_BLOCK_BYTES, SparseIndex } from "./sparse-index.ts";
import {
  SEGMENT_TAIL_BYTES,
  StagingBuffer,
  type Region,
  type WritableSegment,
} from "./staging-buffer.ts";

const MIB = 1 << 20;

function segment(sequence: number, fileBytes = MIB): WritableSegment {
  return { sequence, generation: sequence * 11, fileBytes, file: undefined as unknown as DiskFile };
}

function put(stage: StagingBuffer, shard: number, lsn: number, bytes = 100): void {
  stage.put(new Uint8Array(bytes).fill(lsn), bytes, lsn, lsn * 10, RecordKind.commit, shard, 1);
}

/** What a region holds once it is sealed: kinds, shards and LSNs in order. */
function contents(
  stage: StagingBuffer,
  region: Region,
): { kind: number; shard: number; lsn: number; at: number }[] {
  const bytes = stage.bytes.slice(region.start, region.end);
  sealRecords(bytes, bytes.length, region.segment.generation, region.fileOffset);
  const parser = new RecordParser(region.segment.generation);
  parser.use(bytes);
  const found = [];
  for (let at = 0; at < bytes.length; at = parser.next) {
    expect(parser.parse(at, bytes.length, region.fileOffset)).toBe(Verdict.record);
    found.push({
      kind: parser.kind,
      shard: parser.shard,
      lsn: parser.lsn,
      at: region.fileOffset + at,
    });
  }
  return found;
}

function lastLsns(stage: StagingBuffer, region: Region): Record<number, number> {
  const last: Record<number, number> = {};
  stage.lastLsns(region, { wrote: (shard, lsn) => void (last[shard] = lsn) });
  return last;
}

describe("a staging buffer", () => {
  it("holds whole records that end with a marker, and knows where they go", () => {
    const stage = new StagingBuffer(16_384, 8);
    stage.open(segment(3), 4096);
    put(stage, 1, 5);
    put(stage, 2, 9, 33);
    expect(stage).toMatchObject({
      records: 2,
      openRecords: 2,
      fileOffset: 4096 + recordBytes(100) + recordBytes(33),
    });
    stage.close();
    const [region] = stage.regions;
    expect(contents(stage, region!)).toEqual([
      { kind: 1, shard: 1, lsn: 5, at: 4096 },
      { kind: 1, shard: 2, lsn: 9, at: 4096 + recordBytes(100) },
      { kind: 0, shard: 0, lsn: 0, at: 4096 + recordBytes(100) + recordBytes(33) },
    ]);
    expect(lastLsns(stage, region!)).toEqual({ 1: 5, 2: 9 });
  });

  it("fills in what was flushed just before it is written", () => {
    const stage = new StagingBuffer(16_384, 8);
    const heads = new ShardHeads(8);
    heads.advance(6, 77, 1234, 2);
    stage.open(segment(4), 4096, { previous: { sequence: 3, end: 60_000, generation: 33 }, heads });
    put(stage, 6, 78);
    stage.close();
    const region = stage.regions[0]!;
    stage.fillClaims(region, { segment: 3, offset: 60_000 });
    const bytes = stage.bytes.slice(region.start, region.end);
    sealRecords(bytes, bytes.length, 44, 4096);
    const parser = new RecordParser(44);
    parser.use(bytes);
    parser.parse(0, bytes.length, 4096);
    const back = decodeHeads(parser.payload(), 8)!;
    expect(back).toEqual({
      claim: { segment: 3, offset: 60_000 },
      previous: { sequence: 3, end: 60_000, generation: 33 },
      heads,
    });
    parser.parse(bytes.length - MARKER_BYTES, bytes.length, 4096);
    expect([parser.claimSegment(), parser.claimOffset()]).toEqual([3, 60_000]);
  });

  it("goes on in the next segment within the same memory, each shard told apart by region", () => {
    const stage = new StagingBuffer(16_384, 8);
    stage.open(segment(1), 60_000);
    put(stage, 1, 1);
    stage.close();
    const heads = new ShardHeads(8);
    heads.advance(1, 1, 10, 1);
    stage.open(segment(2), 4096, { previous: { sequence: 1, end: 61_000, generation: 11 }, heads });
    put(stage, 1, 2);
    put(stage, 3, 1);
    stage.close();
    const [first, second] = stage.regions;
    expect(lastLsns(stage, first!)).toEqual({ 1: 1 });
    expect(lastLsns(stage, second!)).toEqual({ 1: 2, 3: 1 });
    expect(contents(stage, second!).map(({ kind }) => kind)).toEqual([RecordKind.heads, 1, 1, 0]);
    expect(contents(stage, second!)[1]!.at).toBe(4096 + recordBytes(headsPayloadBytes(1)));
  });

  it("keeps room for its marker, and at the segment's end for one more", () => {
    const small = new StagingBuffer(1024, 8);
    small.open(segment(1), 4096);
    expect(small.limit).toBe(1024 - MARKER_BYTES);
    const large = new StagingBuffer(16_384, 8);
    large.open(segment(1, 8192), 4096 + 800);
    expect(large.limit).toBe(8192 - SEGMENT_TAIL_BYTES - 4096 - 800);
  });

  it("samples the first record of each shard in each block of the file", () => {
    const stage = new StagingBuffer(4 * INDEX_BLOCK_BYTES, 2000);
    const from = 3 * INDEX_BLOCK_BYTES - 1000;
    stage.open(segment(1), from);
    const rng = seededRng(5);
    const placed: { shard: number; lsn: number; at: number }[] = [];
    const next = new Map<number, number>();
    while (stage.used < 3 * INDEX_BLOCK_BYTES) {
      const shard = rng.below(2000);
      const lsn = (next.get(shard) ?? 0) + 1;
      next.set(shard, lsn);
      placed.push({ shard, lsn, at: stage.fileOffset });
      put(stage, shard, lsn, rng.below(300));
    }
    stage.close();
    const index = new SparseIndex();
    stage.sample(stage.regions[0]!, index);
    const block = (at: number): number => Math.floor(at / INDEX_BLOCK_BYTES);
    for (const { shard, lsn, at } of placed) {
      const sample = index.before(shard, lsn)!;
      expect(sample).toBeLessThanOrEqual(at);
      expect(block(sample)).toBe(block(at));
      expect(placed.some((record) => record.shard === shard && record.at === sample)).toBe(true);
    }
    expect(lastLsns(stage, stage.regions[0]!)).toEqual(Object.fromEntries(next));
  });

  it("forgets everything when it is used again, also the touch of a shard", () => {
    const stage = new StagingBuffer(16_384, 8);
    for (let round = 1; round <= 3; round++) {
      stage.open(segment(round), 4096);
      put(stage, round % 2, round);
      stage.close();
      expect(lastLsns(stage, stage.regions[0]!)).toEqual({ [round % 2]: round });
      stage.reset(16_384);
      expect(stage).toMatchObject({ used: 0, records: 0 });
    }
  });

  it("gives back memory that was only for one large record", () => {
    const stage = new StagingBuffer(1024, 8);
    stage.open(segment(1), 4096);
    stage.abandon();
    stage.replaceMemory(100_000);
    stage.open(segment(1), 4096);
    put(stage, 1, 1, 90_000);
    stage.close();
    expect(contents(stage, stage.regions[0]!)).toHaveLength(2);
    stage.reset(1024);
    expect(stage.capacity).toBe(1024);
  });

  it("is used in the right order or not at all", () => {
    const stage = new StagingBuffer(1024, 8);
    expect(() => stage.close()).toThrow(/assertion failed/);
    stage.open(segment(1), 4096);
    expect(() => stage.open(segment(1), 4096)).toThrow(/assertion failed/);
    put(stage, 1, 1);
    expect(() => stage.abandon()).toThrow(/assertion failed/);
    expect(() => stage.replaceMemory(2048)).toThrow(/assertion failed/);
    expect(() => stage.reset(1024)).toThrow(/assertion failed/);
  });
});
