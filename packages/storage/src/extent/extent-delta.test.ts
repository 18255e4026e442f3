import { isPinionError, seededRng, type Rng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { decodeDeltas, encodeDeltas, type DeltaRange, type ExtentDelta } from "./extent-delta.ts";

const NAMES = ["a", "delays", "x".repeat(64), "größe", "0"];
const NUMBERS = [0, 1, 127, 128, 16_383, 16_384, 2 ** 32, 2 ** 52, Number.MAX_SAFE_INTEGER];

function bytesOf(rng: Rng, byteCount: number): Uint8Array {
  return Uint8Array.from({ length: byteCount }, () => rng.below(256));
}

function deltaOf(rng: Rng): ExtentDelta {
  const ranges: DeltaRange[] = [];
  let end = 0;
  for (let left = rng.below(6); left > 0; left--) {
    const offset = end + (rng.chance(0.2) ? rng.below(2 ** 31) * 1_024 : rng.below(300));
    const parts = Array.from({ length: 1 + rng.below(3) }, () => bytesOf(rng, rng.below(200)));
    const byteCount = parts.reduce((sum, part) => sum + part.length, 0);
    ranges.push({ offset, byteCount, parts });
    end = offset + byteCount;
  }
  const lengthBytes = rng.chance(0.2) ? Number.MAX_SAFE_INTEGER : end + rng.below(5_000);
  return {
    name: rng.pick(NAMES),
    kind: rng.pick(["column", "map", ""]),
    version: rng.pick([1, 2, 300, 65_535]),
    lengthBytes,
    minLengthBytes: rng.pick([...NUMBERS.filter((n) => n <= lengthBytes), lengthBytes]),
    ranges,
    ...(rng.chance(0.3) && { facts: bytesOf(rng, rng.below(300)) }),
  };
}

/** The same whatever pieces its bytes come in. */
const plain = (delta: ExtentDelta): unknown => ({
  ...delta,
  ranges: delta.ranges.map(({ offset, byteCount, parts }) => ({
    offset,
    byteCount,
    bytes: Buffer.concat(parts).toString("hex"),
  })),
});

/** Either these are exactly the bytes of what comes out, or they are refused. */
function expectExactOrCorrupt(bytes: Uint8Array): boolean {
  let deltas: ExtentDelta[];
  try {
    deltas = decodeDeltas(bytes);
  } catch (e) {
    if (!isPinionError(e, "corruption")) throw e;
    return false;
  }
  expect(Buffer.compare(encodeDeltas(deltas), bytes)).toBe(0);
  return true;
}

describe("changes of extents", () => {
  it("come out as they went in", () => {
    const rng = seededRng(1);
    for (let i = 0; i < 1_000; i++) {
      const deltas = Array.from({ length: rng.below(5) }, () => deltaOf(rng));
      const bytes = encodeDeltas(deltas);
      expect(decodeDeltas(bytes).map(plain)).toEqual(deltas.map(plain));
    }
  });

  it("take up numbers of any size", () => {
    for (const lengthBytes of NUMBERS) {
      const delta = {
        ...deltaOf(seededRng(2)),
        lengthBytes,
        minLengthBytes: lengthBytes,
        ranges: [],
      };
      expect(decodeDeltas(encodeDeltas([delta]))).toEqual([delta]);
    }
  });

  it("that were cut off anywhere are corrupt", () => {
    const rng = seededRng(3);
    for (let i = 0; i < 20; i++) {
      const bytes = encodeDeltas([deltaOf(rng), deltaOf(rng)]);
      for (let length = 0; length < bytes.length; length++)
        expect(() => decodeDeltas(bytes.subarray(0, length))).toThrow(
          expect.objectContaining({ code: "corruption" }) as Error,
        );
    }
  });

  it("that were damaged are corrupt, or are the changes that those bytes stand for", () => {
    const rng = seededRng(4);
    let understood = 0;
    for (let i = 0; i < 5_000; i++) {
      const bytes = encodeDeltas([deltaOf(rng), deltaOf(rng)]);
      for (let flips = 1 + rng.below(3); flips > 0; flips--) {
        const at = rng.below(Math.min(bytes.length, rng.chance(0.5) ? 40 : Infinity));
        bytes[at] = rng.below(256);
      }
      const more = rng.chance(0.1) ? Buffer.concat([bytes, bytesOf(rng, 3)]) : bytes;
      if (expectExactOrCorrupt(more)) understood++;
    }
    expect(understood).toBeGreaterThan(250); // flips in the bytes of ranges change nothing else
  });

  it("are not seen in random bytes", () => {
    const rng = seededRng(5);
    for (let i = 0; i < 20_000; i++) {
      const bytes = bytesOf(rng, rng.below(60));
      if (rng.chance(0.9)) bytes[0] = 1;
      if (rng.chance(0.7)) bytes[1] = rng.below(3);
      expectExactOrCorrupt(bytes);
    }
  });
});
