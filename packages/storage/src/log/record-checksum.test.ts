import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { recordChecksum } from "../memory/seal-records.ts";
import { RecordChecksum } from "./record-checksum.ts";

function bytesOf(length: number): Uint8Array {
  return new Uint8Array(length).map((_, i) => i * 37 + (i >>> 8) + 1);
}

describe("RecordChecksum", () => {
  it("agrees with the writing side for every length around the switch to the native library, at every place", () => {
    const bytes = bytesOf(1024);
    const words = new Uint32Array(bytes.buffer);
    const checksum = new RecordChecksum(0x1234_5678_9abc);
    for (let payloadBytes = 0; payloadBytes <= 300; payloadBytes++) {
      for (const at of [0, 8, 24]) {
        expect(checksum.of(bytes, words, at, payloadBytes, 4096 + at)).toBe(
          recordChecksum(bytes, at, payloadBytes, 0x1234_5678_9abc, 4096 + at),
        );
      }
    }
  });

  it("agrees with the writing side for any generation, offset and content", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 2 ** 48 - 1 }),
        fc.nat({ max: 2 ** 40 }),
        fc.uint8Array({ minLength: 32, maxLength: 600 }),
        (generation, block, content) => {
          const bytes = new Uint8Array((content.length + 7) & -8);
          bytes.set(content);
          const words = new Uint32Array(bytes.buffer);
          const payloadBytes = content.length - 32;
          const offset = block * 8;
          return (
            new RecordChecksum(generation).of(bytes, words, 0, payloadBytes, offset) ===
            recordChecksum(bytes, 0, payloadBytes, generation, offset)
          );
        },
      ),
    );
  });

  it("is another one in another life of the file, and at another place", () => {
    const bytes = bytesOf(64);
    const words = new Uint32Array(bytes.buffer);
    const sum = (generation: number, offset: number): number =>
      new RecordChecksum(generation).of(bytes, words, 0, 32, offset);
    const sums = [
      sum(1, 4096),
      sum(2, 4096),
      sum(1, 4104),
      sum(1 + 2 ** 32, 4096),
      sum(1, 4096 + 2 ** 32),
    ];
    expect(new Set(sums).size).toBe(sums.length);
  });
});
