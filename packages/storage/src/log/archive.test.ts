import { isPinionError, seededRng } from "@pinion/core";
import { crc32c } from "@node-rs/crc32";
import { describe, expect, it } from "vitest";
import { SimDisk } from "../disk/sim-disk.ts";
import {
  archivedName,
  FilesystemArchive,
  parseArchivedName,
  type ArchivedSegment,
} from "./archive.ts";

const CONTENT = new Uint8Array(3_000_000).map((_, i) => i * 31 + (i >>> 10));
const SEGMENT: ArchivedSegment = {
  worker: 2,
  sequence: 17,
  generation: 0xabc_def0_1234,
  bytes: CONTENT.length,
  checksum: crc32c(CONTENT),
};
const NO_ABORT = new AbortController().signal;

async function* pieces(content: Uint8Array, bytes = 700_001): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += bytes) yield content.slice(at, at + bytes);
}

async function read(archive: FilesystemArchive, segment: ArchivedSegment): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of archive.get(segment)) parts.push(new Uint8Array(piece));
  return new Uint8Array(Buffer.concat(parts));
}

function archiveOn(disk = new SimDisk({ rng: seededRng(1) })): {
  disk: SimDisk;
  archive: FilesystemArchive;
} {
  return { disk, archive: new FilesystemArchive(disk, "archive") };
}

describe("the name of an archived segment", () => {
  it("says everything about it, and is not taken for one when it is something else", () => {
    expect(archivedName(SEGMENT)).toBe(
      `0000000000000017-0abcdef01234-3000000-${SEGMENT.checksum.toString(16).padStart(8, "0")}.seg`,
    );
    expect(parseArchivedName(2, archivedName(SEGMENT))).toEqual(SEGMENT);
    expect(parseArchivedName(2, `${archivedName(SEGMENT)}.part`)).toBeUndefined();
  });
});

describe("an archive in a folder", () => {
  it("gives back what was put, and survives a power cut from the moment `put` resolved", async () => {
    const { disk, archive } = archiveOn();
    await archive.put(SEGMENT, pieces(CONTENT), NO_ABORT);
    const after = archiveOn(disk.crash({ survivalRate: 0 })).archive;
    expect(Buffer.compare(await read(after, SEGMENT), CONTENT)).toBe(0);
    expect(await after.list(2)).toEqual([SEGMENT]);
    expect(await after.list(3)).toEqual([]);
  });

  it("lists segments in order", async () => {
    const { archive } = archiveOn();
    const small = (sequence: number): ArchivedSegment => ({
      ...SEGMENT,
      sequence,
      bytes: 5,
      checksum: crc32c(CONTENT.slice(0, 5)),
    });
    for (const sequence of [10, 9, 100])
      await archive.put(small(sequence), pieces(CONTENT.slice(0, 5)), NO_ABORT);
    expect((await archive.list(2)).map(({ sequence }) => sequence)).toEqual([9, 10, 100]);
  });

  it("does nothing when the segment is there already", async () => {
    const { disk, archive } = archiveOn();
    await archive.put(SEGMENT, pieces(CONTENT), NO_ABORT);
    let asked = false;
    const content = (async function* (): AsyncGenerator<Uint8Array> {
      asked = true;
      yield CONTENT;
    })();
    await archive.put(SEGMENT, content, NO_ABORT);
    expect(asked).toBe(false);
    expect(disk.paths()).toHaveLength(1);
  });

  it("takes nothing that does not match its checksum or size", async () => {
    const { disk, archive } = archiveOn();
    const wrong = CONTENT.slice();
    wrong[1_000_000]! ^= 1;
    await expect(archive.put(SEGMENT, pieces(wrong), NO_ABORT)).rejects.toMatchObject({
      code: "corruption",
    });
    await expect(archive.put(SEGMENT, pieces(CONTENT.subarray(1)), NO_ABORT)).rejects.toMatchObject(
      { code: "corruption" },
    );
    expect(disk.paths()).toEqual([]);
  });

  it("notices a bit that flipped since", async () => {
    const { disk, archive } = archiveOn();
    await archive.put(SEGMENT, pieces(CONTENT), NO_ABORT);
    disk.flipBit(disk.paths()[0]!, 12_345_678);
    await expect(read(archive, SEGMENT)).rejects.toMatchObject({
      code: "corruption",
      details: { segment: 17 },
    });
  });

  it("leaves nothing behind when it is full, fails or is told to stop", async () => {
    const { disk, archive } = archiveOn();
    disk.capacityBytes = 1_000_000;
    await expect(archive.put(SEGMENT, pieces(CONTENT), NO_ABORT)).rejects.toMatchObject({
      code: "disk-full",
    });
    disk.capacityBytes = Infinity;
    disk.fail({ kind: "sync", error: "EIO" });
    await expect(archive.put(SEGMENT, pieces(CONTENT), NO_ABORT)).rejects.toMatchObject({
      code: "io-error",
    });
    const stop = AbortSignal.abort(new Error("stopped"));
    await expect(archive.put(SEGMENT, pieces(CONTENT), stop)).rejects.toThrow("stopped");
    expect(disk.paths()).toEqual([]);
  });

  it("begins afresh where an earlier attempt was cut", async () => {
    const { disk, archive } = archiveOn();
    disk.onOperation = ({ kind }) => {
      if (kind === "rename") next = disk.kill();
    };
    let next: SimDisk | undefined;
    void archive.put(SEGMENT, pieces(CONTENT), NO_ABORT);
    while (!next) await new Promise((resolve) => setImmediate(resolve));
    const again = archiveOn(next).archive;
    await again.put(SEGMENT, pieces(CONTENT), NO_ABORT);
    expect(Buffer.compare(await read(again, SEGMENT), CONTENT)).toBe(0);
    expect(next.paths()).toHaveLength(1);
  });

  it("removes a segment, and does not mind one that is not there", async () => {
    const { archive } = archiveOn();
    await archive.remove(SEGMENT);
    await archive.put(SEGMENT, pieces(CONTENT), NO_ABORT);
    await archive.remove(SEGMENT);
    expect(await archive.list(2)).toEqual([]);
    await expect(read(archive, SEGMENT)).rejects.toSatisfy((e) => isPinionError(e, "not-found"));
  });
});
