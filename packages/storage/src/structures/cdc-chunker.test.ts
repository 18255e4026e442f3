import { seededRng } from "@pinion/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CdcChunker } from "./cdc-chunker.ts";
import { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, javascriptChunkKernels } from "./chunk-kernels.ts";

function randomBytes(seed: number, byteCount: number): Uint8Array {
  const rng = seededRng(seed);
  return new Uint8Array(byteCount).map(() => rng.below(256));
}

/** Lengths of the chunks of bytes that come in parts. */
function chunksOf(parts: readonly Uint8Array[], tellLast = false): Uint8Array[] {
  const chunker = new CdcChunker(javascriptChunkKernels);
  const chunks: Uint8Array[] = [];
  for (const [i, part] of parts.entries()) {
    chunker.push(part, tellLast && i === parts.length - 1);
    for (let chunk; (chunk = chunker.next()) !== undefined;) chunks.push(chunk.slice());
  }
  const last = chunker.finish();
  if (last !== undefined) chunks.push(last.slice());
  return chunks;
}

describe("a content-defined chunker", () => {
  it("cuts in the same places however the stream is divided, and loses nothing", () => {
    const bytes = randomBytes(1, 400_000);
    bytes.fill(0, 100_000, 300_000);
    const whole = chunksOf([bytes]).map(({ length }) => length);
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 90_000 }), { maxLength: 300 }),
        fc.boolean(),
        (sizes, tellLast) => {
          const parts: Uint8Array[] = [];
          let at = 0;
          for (const size of sizes) {
            parts.push(bytes.subarray(at, at + size));
            at += size;
          }
          parts.push(bytes.subarray(at));
          const chunks = chunksOf(parts, tellLast);
          expect(chunks.map(({ length }) => length)).toEqual(whole);
          expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("keeps to its lengths", () => {
    const chunks = chunksOf([randomBytes(2, 3_000_000)]);
    for (const { length } of chunks.slice(0, -1)) {
      expect(length).toBeGreaterThan(CHUNK_BYTES_MIN);
      expect(length).toBeLessThanOrEqual(CHUNK_BYTES_MAX);
    }
    const mean = 3_000_000 / chunks.length;
    expect(mean).toBeGreaterThan(11_000);
    expect(mean).toBeLessThan(14_000);
  });

  it("finds most chunks again behind an insertion", () => {
    const bytes = randomBytes(3, 1_000_000);
    const changed = Buffer.concat([
      bytes.subarray(0, 5000),
      Buffer.from("new"),
      bytes.subarray(5000),
    ]);
    const known = new Set(chunksOf([bytes]).map((chunk) => Buffer.from(chunk).toString("latin1")));
    const found = chunksOf([changed]).filter((chunk) =>
      known.has(Buffer.from(chunk).toString("latin1")),
    );
    expect(found.length).toBeGreaterThanOrEqual(known.size - 3);
  });

  it("cuts where it always did: the table is part of the format", () => {
    const lengths = chunksOf([randomBytes(4, 150_000)]).map(({ length }) => length);
    expect(lengths).toEqual(GOLDEN);
    expect(chunksOf([])).toEqual([]);
  });
});

const GOLDEN = [14467, 11185, 12680, 20570, 13583, 12840, 14816, 9657, 16734, 9540, 13530, 398];
