import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sealRecords } from "../memory/seal-records.ts";
import { RecordKind } from "./log.ts";
import {
  APPENDABLE,
  getU64,
  MARKER_BYTES,
  PAYLOAD_BYTES_MAX,
  putHeader,
  putU64,
  RECORD_HEADER_BYTES,
  recordBytes,
  RecordParser,
  Verdict,
} from "./record-format.ts";

const GENERATION = 0xabc_def0_1234;
const FILE_OFFSET = 4096;

interface Sample {
  readonly lsn: number;
  readonly timestamp: number;
  readonly kind: number;
  readonly shard: number;
  readonly term: number;
  readonly payload: Uint8Array;
}

const SAMPLE: Sample = {
  lsn: 0x1_0000_0002,
  timestamp: 1_700_000_000_123_456,
  kind: RecordKind.commit,
  shard: 513,
  term: 7,
  payload: new TextEncoder().encode("hello, log"),
};

/** Records one after the other, sealed as the disk would. */
function sealed(
  samples: readonly Sample[],
  generation = GENERATION,
  fileOffset = FILE_OFFSET,
): Uint8Array {
  const bytes = new Uint8Array(
    samples.reduce((sum, { payload }) => sum + recordBytes(payload.length), 0),
  );
  const words = new Uint32Array(bytes.buffer);
  let at = 0;
  for (const { payload, lsn, timestamp, kind, shard, term } of samples) {
    putHeader(words, at, payload.length, lsn, timestamp, kind, shard, term);
    bytes.set(payload, at + RECORD_HEADER_BYTES);
    at += recordBytes(payload.length);
  }
  sealRecords(bytes, bytes.length, generation, fileOffset);
  return bytes;
}

function parse(
  bytes: Uint8Array,
  at = 0,
  end = bytes.length,
): { verdict: Verdict; parser: RecordParser } {
  const parser = new RecordParser(GENERATION);
  parser.use(bytes);
  return { verdict: parser.parse(at, end, FILE_OFFSET), parser };
}

function found(parser: RecordParser): Sample {
  const { lsn, timestamp, kind, shard, term } = parser;
  return { lsn, timestamp, kind, shard, term, payload: new Uint8Array(parser.payload()) };
}

describe("a log record", () => {
  it("keeps its bytes: the format is frozen", () => {
    expect(Buffer.from(sealed([SAMPLE])).toString("hex")).toBe(GOLDEN_COMMIT);
    const marker = {
      lsn: 0,
      timestamp: 0,
      kind: RecordKind.marker,
      shard: 0,
      term: 0,
      payload: new Uint8Array(16),
    };
    putU64(new Uint32Array(marker.payload.buffer), 0, 3);
    putU64(new Uint32Array(marker.payload.buffer), 2, 0x12_3456_7890);
    expect(Buffer.from(sealed([marker])).toString("hex")).toBe(GOLDEN_MARKER);
    expect(RecordKind).toEqual({
      marker: 0,
      commit: 1,
      open: 2,
      done: 3,
      termStart: 4,
      truncate: 5,
      freeze: 6,
      checkpoint: 7,
      fork: 8,
      config: 9,
      out: 10,
      in: 11,
      forward: 12,
      refuse: 13,
      session: 14,
      heads: 15,
      probe: 16,
      user: 31,
    });
  });

  it("comes back as it was written, whatever is in it", () => {
    const sample = fc.record({
      lsn: fc.maxSafeNat(),
      timestamp: fc.maxSafeNat(),
      kind: fc.constantFrom(RecordKind.commit, RecordKind.session, RecordKind.user),
      shard: fc.nat({ max: 65_535 }),
      term: fc.nat({ max: 2 ** 32 - 1 }),
      payload: fc.uint8Array({ maxLength: 300 }),
    });
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 5 }), (samples) => {
        const bytes = sealed(samples);
        const parser = new RecordParser(GENERATION);
        parser.use(bytes);
        let at = 0;
        for (const expected of samples) {
          expect(parser.parse(at, bytes.length, FILE_OFFSET)).toBe(Verdict.record);
          expect(found(parser)).toEqual(expected);
          at = parser.next;
        }
        expect(at).toBe(bytes.length);
      }),
    );
  });

  it("does not verify with any single bit flipped, checksum, padding and length included", () => {
    const bytes = sealed([
      SAMPLE,
      { ...SAMPLE, lsn: SAMPLE.lsn + 1, payload: new Uint8Array(200).fill(0xaa) },
    ]);
    const first = recordBytes(SAMPLE.payload.length);
    for (let bit = 0; bit < first * 8; bit++) {
      bytes[bit >>> 3]! ^= 1 << (bit & 7);
      expect(parse(bytes).verdict, `bit ${bit}`).not.toBe(Verdict.record);
      bytes[bit >>> 3]! ^= 1 << (bit & 7);
    }
    expect(parse(bytes).verdict).toBe(Verdict.record);
  });

  it("does not verify in another life of the file, nor at another place", () => {
    expect(parse(sealed([SAMPLE], GENERATION + 1)).verdict).toBe(Verdict.invalid);
    expect(parse(sealed([SAMPLE], GENERATION, FILE_OFFSET + 8)).verdict).toBe(Verdict.invalid);
  });

  it("asks for more when the buffer ends inside it, and says how much", () => {
    const bytes = sealed([SAMPLE]);
    for (let end = 0; end < bytes.length; end++) {
      const { verdict, parser } = parse(bytes, 0, end);
      expect(verdict).toBe(Verdict.more);
      expect(parser.needBytes).toBe(end < RECORD_HEADER_BYTES ? RECORD_HEADER_BYTES : bytes.length);
    }
  });

  it("is refused as unsupported when it is whole but of an unknown kind, flag or version", () => {
    for (const byte25 of [0x20 | 1, 0x40 | 1, 0x80 | 1, 17, 30]) {
      const bytes = sealed([SAMPLE]);
      bytes[25] = byte25;
      sealRecords(bytes, bytes.length, GENERATION, FILE_OFFSET);
      expect(parse(bytes).verdict, `byte 25 = ${byte25}`).toBe(Verdict.unsupported);
    }
    const bytes = sealed([SAMPLE]);
    bytes[24] = 2;
    sealRecords(bytes, bytes.length, GENERATION, FILE_OFFSET);
    expect(parse(bytes).verdict).toBe(Verdict.unsupported);
  });

  it("is refused when its LSN or time is beyond what a number holds, or an internal one has no claim", () => {
    for (const offset of [8, 16]) {
      const bytes = sealed([SAMPLE]);
      new DataView(bytes.buffer).setBigUint64(offset, 2n ** 53n, true);
      sealRecords(bytes, bytes.length, GENERATION, FILE_OFFSET);
      expect(parse(bytes).verdict).toBe(Verdict.unsupported);
    }
    expect(
      parse(sealed([{ ...SAMPLE, kind: RecordKind.marker, payload: new Uint8Array(8) }])).verdict,
    ).toBe(Verdict.unsupported);
  });

  it("never makes the parser throw or read beyond its buffer, whatever the bytes", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 0, maxLength: 256 }),
        fc.nat({ max: 31 }),
        (noise, at) => {
          const bytes = new Uint8Array((noise.length + 7) & -8);
          bytes.set(noise);
          const { verdict } = parse(bytes, at * 8);
          expect([Verdict.more, Verdict.invalid]).toContain(verdict);
        },
      ),
    );
  });

  it("takes a multiple of 8 bytes, 32 of them for the header", () => {
    expect([0, 1, 8, 9, PAYLOAD_BYTES_MAX].map(recordBytes)).toEqual([
      32,
      40,
      40,
      48,
      PAYLOAD_BYTES_MAX + 32,
    ]);
    expect(recordBytes(16)).toBe(MARKER_BYTES);
  });

  it("may be appended by callers unless the log writes its kind itself", () => {
    expect(APPENDABLE[RecordKind.commit]).toBe(1);
    expect([RecordKind.marker, RecordKind.heads, 17, 30].map((kind) => APPENDABLE[kind])).toEqual([
      0, 0, 0, 0,
    ]);
  });
});

describe("a u64", () => {
  it("comes back exactly up to the largest safe integer, and as NaN beyond", () => {
    const words = new Uint32Array(2);
    for (const value of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 48 + 5, Number.MAX_SAFE_INTEGER]) {
      putU64(words, 0, value);
      expect(getU64(words, 0)).toBe(value);
    }
    words[1] = 0x20_0000;
    expect(getU64(words, 0)).toBeNaN();
  });
});

const GOLDEN_COMMIT =
  "a3dc35100a000000020000000100000040222018240a0600010101020700000068656c6c6f2c206c6f67000000000000";
const GOLDEN_MARKER =
  "e6d7aef91000000000000000000000000000000000000000010000000000000003000000000000009078563412000000";
