/** The checksum of log records on disk is frozen: every existing log depends on it. */
import { describe, expect, it } from "vitest";
import { recordChecksum, sealRecords } from "./seal-records.ts";

/** Payload lengths 5 and 0, header fields and payload counting up. */
function batch(): Uint8Array {
  const bytes = Uint8Array.from({ length: 40 + 32 }, (_, i) => i);
  const view = new DataView(bytes.buffer);
  view.setUint32(4, 5, true);
  view.setUint32(40 + 4, 0, true);
  bytes.fill(0, 37, 40);
  return bytes;
}

describe("sealRecords", () => {
  it("fills in frozen checksums and changes nothing else", () => {
    const bytes = batch();
    sealRecords(bytes, bytes.length, 7, 4096);
    const view = new DataView(bytes.buffer);
    expect(view.getUint32(0, true).toString(16)).toBe("7b37ec48");
    expect(view.getUint32(40, true).toString(16)).toBe("f6c0c8c4");
    const expected = batch();
    for (const at of [0, 1, 2, 3, 40, 41, 42, 43]) expected[at] = bytes[at] as number;
    expect(bytes).toEqual(expected);
  });

  it("takes generations and offsets beyond 32 bits", () => {
    const sum = (generation: number, offset: number): string =>
      recordChecksum(batch(), 0, 5, generation, offset).toString(16);
    expect(sum(2 ** 40 + 1, 2 ** 33)).toBe("9bb07c21");
    expect(sum(1, 2 ** 33)).not.toBe(sum(2 ** 40 + 1, 2 ** 33));
    expect(sum(2 ** 40 + 1, 0)).not.toBe(sum(2 ** 40 + 1, 2 ** 33));
  });

  it("does not cover the padding, and no bytes after the given length", () => {
    const bytes = batch();
    bytes[38] = 0xff;
    bytes.fill(0xff, 40);
    sealRecords(bytes, 40, 7, 4096);
    expect(new DataView(bytes.buffer).getUint32(0, true).toString(16)).toBe("7b37ec48");
    expect(bytes.subarray(40).every((byte) => byte === 0xff)).toBe(true);
  });

  it.each([
    ["a header that is cut off", 64],
    ["a payload that ends outside", 32],
  ])("refuses %s", (_, length) => {
    expect(() => sealRecords(batch(), length, 1, 0)).toThrow(
      expect.objectContaining({ code: "internal" }),
    );
  });
});
