import { isPinionError } from "@pinion/core";
import { crc32c } from "@node-rs/crc32";
import { describe, expect, it } from "vitest";
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
  segmentName,
  sequenceOfName,
  type SegmentHeader,
} from "./segment-header.ts";

const HEADER: SegmentHeader = {
  generation: 0xabc_def0_1234,
  sequence: 42,
  worker: 3,
  byOpening: true,
  createdAtUs: 1_700_000_000_123_456,
  fileBytes: 64 * 2 ** 20,
  previousEnd: 60_000_000,
  previousGeneration: 99,
};

function codeOf(decode: () => unknown): string | undefined {
  try {
    decode();
    return undefined;
  } catch (e) {
    return isPinionError(e) ? e.code : String(e);
  }
}

/** Changes a word and makes the checksum match again. */
function resealed(change: (words: Uint32Array) => void): Uint8Array {
  const bytes = encodeSegmentHeader(HEADER);
  const words = new Uint32Array(bytes.buffer);
  change(words);
  words[3] = 0;
  words[3] = crc32c(bytes);
  return bytes;
}

describe("a segment header", () => {
  it("keeps its bytes: the format is frozen", () => {
    const bytes = encodeSegmentHeader(HEADER);
    expect(bytes.length).toBe(SEGMENT_HEADER_BYTES);
    expect(Buffer.from(bytes.subarray(0, 80)).toString("hex")).toBe(GOLDEN);
    expect(bytes.subarray(80).every((byte) => byte === 0)).toBe(true);
  });

  it("comes back as it was written", () => {
    expect(decodeSegmentHeader(encodeSegmentHeader(HEADER), "x")).toEqual(HEADER);
    const plain = { ...HEADER, byOpening: false, previousEnd: 0 };
    expect(decodeSegmentHeader(encodeSegmentHeader(plain), "x")).toEqual(plain);
  });

  it("does not verify with any single bit of its 4 KiB flipped", () => {
    const bytes = encodeSegmentHeader(HEADER);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >>> 3]! ^= 1 << (bit & 7);
      expect(codeOf(() => decodeSegmentHeader(bytes, "x"))).toBe("corruption");
      bytes[bit >>> 3]! ^= 1 << (bit & 7);
    }
  });

  it("of a newer format is refused as such, and says what to do", () => {
    const newer = resealed((words) => (words[2] = 2));
    expect(() => decodeSegmentHeader(newer, "log/1.log")).toThrow(
      /log\/1\.log has log format 2.*upgrade/,
    );
    expect(codeOf(() => decodeSegmentHeader(newer, "x"))).toBe("format-too-new");
  });

  it("is damaged when the file is too short or is something else", () => {
    expect(
      codeOf(() => decodeSegmentHeader(encodeSegmentHeader(HEADER).subarray(0, 4095), "x")),
    ).toBe("corruption");
    expect(codeOf(() => decodeSegmentHeader(new Uint8Array(4096), "x"))).toBe("corruption");
  });
});

describe("the name of a segment file", () => {
  it("sorts as the sequences do and gives the sequence back", () => {
    const sequences = [1, 9, 10, 123_456_789, Number.MAX_SAFE_INTEGER];
    expect(sequences.map(segmentName).toSorted()).toEqual(sequences.map(segmentName));
    expect(sequences.map((sequence) => sequenceOfName(segmentName(sequence)))).toEqual(sequences);
  });

  it("is not taken for one when it is something else", () => {
    const others = [
      "1.log",
      "0000000000000000.log",
      "0000000000000001.new",
      "spare-1.free",
      "9999999999999999.log",
      "",
    ];
    expect(others.map(sequenceOfName)).toEqual(others.map(() => undefined));
  });
});

const GOLDEN =
  "50494e494f4e4c470100000058b008543412f0debc0a00002a00000000000000030000000100000040222018240a06000000000400000000008793030000000063000000000000000000000000000000";
