import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeHeads, headsPayloadBytes, ShardHeads } from "./shard-heads.ts";

const PREVIOUS = { sequence: 7, end: 65_000, generation: 12_345 };

function headsOf(
  shardCount: number,
  entries: readonly (readonly [number, number, number, number])[],
): ShardHeads {
  const heads = new ShardHeads(shardCount);
  for (const [shard, lsn, timestamp, term] of entries) heads.advance(shard, lsn, timestamp, term);
  return heads;
}

describe("the payload of a heads record", () => {
  it("keeps its bytes: the format is frozen", () => {
    const heads = headsOf(300, [
      [0, 5, 1_000_000, 1],
      [299, 2 ** 40, 1_700_000_000_123_456, 9],
    ]);
    expect(Buffer.from(heads.encode(PREVIOUS)).toString("hex")).toBe(GOLDEN);
  });

  it("comes back as it was written, for any set of shards", () => {
    const entry = fc.tuple(
      fc.nat({ max: 255 }),
      fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      fc.maxSafeNat(),
      fc.nat({ max: 2 ** 32 - 1 }),
    );
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 50 }), (entries) => {
        const heads = headsOf(256, entries);
        const payload = heads.encode(PREVIOUS);
        expect(payload.length).toBe(headsPayloadBytes(heads.known()));
        const back = decodeHeads(payload, 256);
        expect(back?.heads).toEqual(heads);
        expect(back?.previous).toEqual(PREVIOUS);
        expect(back?.claim).toEqual({ segment: 0, offset: 0 });
      }),
    );
  });

  it("is refused when its length does not match its count, or it names a shard the log does not have", () => {
    const payload = headsOf(8, [[7, 1, 1, 1]]).encode(PREVIOUS);
    expect(decodeHeads(payload, 7)).toBeUndefined();
    expect(decodeHeads(payload)?.heads.shardCount).toBe(8);
    expect(decodeHeads(payload.subarray(0, -1), 8)).toBeUndefined();
    expect(decodeHeads(payload.subarray(0, 40), 8)).toBeUndefined();
    expect(decodeHeads(new Uint8Array([...payload, ...new Uint8Array(24)]), 8)).toBeUndefined();
  });

  it("is refused when its shards do not ascend", () => {
    const payload = headsOf(8, [
      [3, 1, 1, 1],
      [5, 2, 2, 2],
    ]).encode(PREVIOUS);
    payload[headsPayloadBytes(0)] = 6;
    expect(decodeHeads(payload, 8)).toBeUndefined();
  });
});

describe("ShardHeads", () => {
  it("knows the shards that have had a record", () => {
    const heads = headsOf(16, [
      [3, 1, 50, 1],
      [9, 4, 40, 2],
    ]);
    expect(heads.known()).toBe(2);
  });

  it("copies what it says, not itself", () => {
    const heads = headsOf(4, [[1, 1, 1, 1]]);
    const copy = heads.copy();
    heads.advance(1, 2, 2, 2);
    expect([copy.lsn[1], copy.timestamp[1], copy.term[1]]).toEqual([1, 1, 1]);
  });
});

const GOLDEN =
  "000000000000000000000000000000000700000000000000e8fd000000000000393000000000000002000000000000000000000001000000050000000000000040420f00000000002b01000009000000000000000001000040222018240a0600";
